//! One verification is one trace over both parties.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tonic::Request;
use windvane::config::Config;
use windvane::peer::channel;
use windvane_proto::common::v1::HelloRequest;
use windvane_proto::common::v1::peer_client::PeerClient;

use super::collector::{Collector, attribute};
use super::{Pair, shown};
use crate::lab::{Lab, bank_of, zhang};

const EVALUATE: &str = "windvane.lookup.v1.Lookup/Evaluate";
const HELLO: &str = "windvane.common.v1.Peer/Hello";

async fn traced(lab: &Lab, share: f64) -> (Collector, Pair) {
    let (collector, address) = Collector::serve(None).await;
    let change = |config: &mut Config| {
        shown(config);
        config.observability.otlp_endpoint = Some(format!("http://{address}"));
        config.observability.trace_share = share;
    };
    (collector.clone(), Pair::start(lab, change).await)
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_both_parties_join_in_one_trace_with_their_parents() {
    let lab = Lab::new();
    let (collector, pair) = traced(&lab, 1.0).await;
    bank_of(&pair.node).verify(zhang()).await.unwrap();
    let mut marketing = zhang();
    marketing.purpose = "marketing".into();
    bank_of(&pair.node).verify(marketing).await.unwrap();
    pair.stop().await;

    let (bank, carrier) = (collector.of("bank"), collector.of("carrier-a"));
    let roots = named(&bank, "verification");
    assert_eq!(roots.len(), 2);
    assert!(roots.iter().all(|root| root.parent_span_id.is_empty()));
    assert_ne!(roots[0].trace_id, roots[1].trace_id);
    let within = |spans: &[Span], root: &Span| -> Vec<Span> {
        spans.iter().filter(|span| span.trace_id == root.trace_id).cloned().collect()
    };
    for (root, code) in roots.iter().zip([None, Some("GRANT_SCOPE")]) {
        let (ours, theirs) = (within(&bank, root), within(&carrier, root));
        let asking = only(&ours, EVALUATE);
        assert_eq!((asking.kind(), &asking.parent_span_id), (SpanKind::Client, &root.span_id));
        assert_eq!(attribute(asking, "windvane.peer").as_deref(), Some("carrier-a"));
        let serving = only(&theirs, EVALUATE);
        assert_eq!((serving.kind(), &serving.parent_span_id), (SpanKind::Server, &asking.span_id));
        assert_eq!(attribute(serving, "windvane.peer").as_deref(), Some("bank"));
        for span in [asking, serving] {
            assert_eq!(attribute(span, "windvane.code").as_deref(), code);
        }
        for name in ["log", "keep"] {
            assert_eq!(only(&ours, name).parent_span_id, root.span_id, "{name}");
        }
        let below: BTreeSet<_> =
            theirs.iter().filter(|s| s.parent_span_id == serving.span_id).map(|s| s.name.as_str()).collect();
        let expected = if code.is_none() { vec!["evaluate", "log"] } else { vec!["log"] };
        assert_eq!(below.into_iter().collect::<Vec<_>>(), expected);
        assert!(root.start_time_unix_nano <= asking.start_time_unix_nano);
        assert!(asking.start_time_unix_nano <= serving.start_time_unix_nano);
        assert!(serving.end_time_unix_nano <= asking.end_time_unix_nano);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_nothing_sends_nothing_and_the_provider_follows_the_bank() {
    let lab = Lab::new();
    let (collector, pair) = traced(&lab, 0.0).await;
    bank_of(&pair.node).verify(zhang()).await.unwrap();
    pair.stop().await;
    assert!(named(&collector.of("bank"), "verification").is_empty());
    assert!(named(&collector.of("carrier-a"), EVALUATE).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_enrolled_peer_with_a_whole_header_joins_its_trace() {
    let lab = Lab::new();
    let (collector, pair) = traced(&lab, 1.0).await;
    let stranger = lab.party("stranger", "[grpc]\nlisten = \"127.0.0.1:0\"\n");
    let address = pair.provider.grpc_address().unwrap().to_string();
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let long = format!("{good}-{}", "13800138000".repeat(300));
    for (party, header) in
        [(&pair.bank, good), (&stranger, good), (&pair.bank, &good[..54]), (&pair.bank, &long)]
    {
        let channel = channel(&party.certificate(), &"carrier-a".parse().unwrap(), &address).unwrap();
        let protocols = vec!["lookup/v1".to_owned()];
        let mut request = Request::new(HelloRequest { protocols, now_ms: 0 });
        request.metadata_mut().insert("traceparent", header.parse().unwrap());
        request.metadata_mut().insert("tracestate", "vendor=13800138000".parse().unwrap());
        request.metadata_mut().insert("baggage", "user=13800138000".parse().unwrap());
        // A stranger is refused.
        let _ = PeerClient::new(channel).hello(request).await;
    }
    pair.stop().await;
    let spans = collector.of("carrier-a");
    let hellos = named(&spans, HELLO);
    assert_eq!(hellos.len(), 4);
    let joined: Vec<_> = hellos
        .iter()
        .filter(|span| hex::encode(&span.trace_id) == "0af7651916cd43dd8448eb211c80319c")
        .collect();
    assert_eq!(joined.len(), 1, "{hellos:?}");
    assert_eq!(hex::encode(&joined[0].parent_span_id), "b7ad6b7169203331");
    assert_eq!(attribute(joined[0], "windvane.peer").as_deref(), Some("bank"));
    let text = format!("{spans:?}");
    assert!(!text.contains("13800138000") && !text.contains("vendor"), "{text}");
}
