//! Whatever a stranger sends, metrics keep their few names.

use tonic::Request;
use tonic::client::Grpc;
use windvane::peer::channel;
use windvane_proto::lookup::v1::{FetchManifestRequest, FetchManifestResponse};

use super::{Pair, metrics, shown, value};
use crate::lab::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_strangers_name_nor_an_invented_method_becomes_a_label() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, |config| {
        shown(config);
        // Calls of it are refused before they reach a service.
        config.functions.scoring = false;
    })
    .await;
    let stranger = lab.party("stranger", "[grpc]\nlisten = \"127.0.0.1:0\"\n");
    let address = pair.provider.grpc_address().unwrap().to_string();
    let call = async |party: &crate::lab::Party, path: &'static str| {
        let channel = channel(&party.certificate(), &"carrier-a".parse().unwrap(), &address).unwrap();
        let mut client = Grpc::new(channel);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<FetchManifestRequest, FetchManifestResponse>::default();
        let request = Request::new(FetchManifestRequest { data_set: "subscribers".into() });
        client.unary(request, path.parse().unwrap(), codec).await.unwrap_err()
    };
    call(&stranger, "/windvane.lookup.v1.Lookup/FetchManifest").await;
    call(&stranger, "/windvane.score.v1.Score/Announce").await;
    call(&pair.bank, "/windvane.score.v1.Score/Announce").await;
    call(&pair.bank, "/windvane.lookup.v1.Lookup/Of13800138000").await;
    call(&pair.bank, "/13800138000/Zhang").await;
    let text = metrics(&pair.provider).await;
    let series = |service: &str, method: &str, peer: &str, code: &str| {
        format!(
            "windvane_calls_total{{service=\"{service}\",method=\"{method}\",peer=\"{peer}\",code=\"{code}\"}}"
        )
    };
    assert_eq!(value(&text, &series("lookup", "FetchManifest", "unknown", "PEER_UNKNOWN")), 1.0);
    assert_eq!(value(&text, &series("other", "OTHER", "bank", "UNIMPLEMENTED")), 2.0);
    let refusals = |peer: &str, code: &str| {
        value(&text, &format!("windvane_refusals_total{{peer=\"{peer}\",code=\"{code}\"}}"))
    };
    assert_eq!((refusals("unknown", "SCORING_OFF"), refusals("bank", "SCORING_OFF")), (1.0, 1.0));
    for never in ["stranger", "13800138000", "Zhang"] {
        assert!(!text.contains(never), "{never} is in\n{text}");
    }
    pair.stop().await;
}
