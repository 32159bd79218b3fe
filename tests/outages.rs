//! Functions that are switched off, partners that are suspended, providers that do not answer, and a state that cannot be
//! written.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, StreamBody};
use rusqlite::Connection;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::Server;
use windvane::functions::Function;
use windvane::http::{Client, VerificationBody};
use windvane::peer::Incoming;
use windvane_protocols::audit::entry::Event;

use crate::lab::{Lab, Party, SUBSCRIBERS, bank_of, error_of, events, terms, zhang};
use crate::observe::{metrics, shown, value};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_switched_off_and_on_while_the_node_runs() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    carrier.admin.switch(Function::Batches, false).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    let batch = bank_of(&node).verify_batch(vec![zhang(), zhang()]).await.unwrap();
    assert_eq!(batch[0].providers[0].error.as_deref(), Some("BATCHES_OFF"));
    carrier.admin.switch(Function::Verification, false).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("VERIFICATION_OFF"));
    let refused = bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap_err();
    assert_eq!(refused.code(), "VERIFICATION_OFF");
    for function in [Function::Verification, Function::Batches] {
        carrier.admin.switch(function, true).unwrap();
    }
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(
        bank_of(&node).verify_batch(vec![zhang(), zhang()]).await.unwrap()[1].providers[0].error,
        None
    );

    bank.admin.switch(Function::Batches, false).unwrap();
    bank.taken_over_by(&node).await;
    assert_eq!(bank_of(&node).verify_batch(vec![zhang()]).await.unwrap_err().code, "BATCHES_OFF");
    assert_eq!(error_of(&node, zhang()).await, None);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
    let switched = |event| match event {
        Event::Switched { subject, action } => Some(format!("{subject} {action}")),
        _ => None,
    };
    let logged: Vec<_> = events(&carrier).into_iter().filter_map(switched).collect();
    let expected = ["batches off", "verification off", "verification on", "batches on"];
    assert_eq!(logged, expected.map(|what| format!("function/{what}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_partner_is_refused_on_its_open_connection_and_not_asked() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    let (ours, theirs) = ("bank".parse().unwrap(), "carrier-a".parse().unwrap());
    carrier.admin.suspend(&ours).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("PARTNER_SUSPENDED"));
    carrier.admin.resume(&ours).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    bank.admin.suspend(&theirs).unwrap();
    bank.taken_over_by(&node).await;
    let before = carrier_node.log().size();
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("PARTNER_SUSPENDED"));
    assert_eq!(carrier_node.log().size(), before, "it was not asked");
    bank.admin.resume(&theirs).unwrap();
    bank.taken_over_by(&node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_answer_is_not_asked_until_it_does() {
    let lab = Lab::new();
    let mut carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (mut bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    node.stop().await.unwrap();
    bank.config.breaker.failures = 3;
    bank.config.breaker.open_ms = 2_000;
    shown(&mut bank.config);
    let node = lab.start(&bank).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    // The port stays the same, as after a restart.
    carrier.config.grpc.as_mut().unwrap().listen = carrier_node.grpc_address().unwrap();
    carrier_node.stop().await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(error_of(&node, zhang()).await.unwrap());
    }
    assert_eq!(codes, ["PEER_UNAVAILABLE", "PEER_UNAVAILABLE", "PEER_UNAVAILABLE", "CIRCUIT_OPEN"]);
    let open = &bank_of(&node).breakers()[0];
    assert_eq!((open.provider.as_str(), open.state), ("carrier-a", "open"));
    assert_eq!(open.last_failure.as_deref(), Some("PEER_UNAVAILABLE"));
    let circuit = "windvane_circuit_open{peer=\"carrier-a\"}";
    assert_eq!(value(&metrics(&node).await, circuit), 1.0);
    let report = bank_of(&node).verify(zhang()).await.unwrap();
    assert_eq!(report.decision.missing_sources, ["carrier-a"]);

    let carrier_node = lab.start(&carrier).await;
    let begun = Instant::now();
    while let Some(code) = error_of(&node, zhang()).await {
        assert!(begun.elapsed() < Duration::from_secs(30), "still {code}");
    }
    assert_eq!(bank_of(&node).breakers()[0].state, "closed");
    assert_eq!(value(&metrics(&node).await, circuit), 0.0);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

/// Answers every countersignature with an answer's headers and nothing behind them.
#[derive(Clone)]
struct Headers;

impl Headers {
    /// Serves in place of `party`; gives the address.
    async fn serve(party: &Party) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = Incoming::new(listener, &party.certificate(), 8).unwrap();
        tokio::spawn(Server::builder().add_service(Self).serve_with_incoming(incoming));
        address
    }
}

impl NamedService for Headers {
    const NAME: &'static str = "windvane.audit.v1.Audit";
}

impl Service<http::Request<Body>> for Headers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let body = StreamBody::new(tokio_stream::pending()).map_err(|status: Status| status);
        let response = http::Response::builder().header("content-type", "application/grpc");
        ready(Ok(response.body(Body::new(body)).unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_acknowledges_nothing_keeps_nobody_from_the_others_countersignatures() {
    let lab = Lab::new();
    let carriers = ["carrier-a", "carrier-b"].map(|name| lab.carrier(name, SUBSCRIBERS));
    let [node_a, node_b] = [lab.start(&carriers[0]).await, lab.start(&carriers[1]).await];
    let providers = [(&carriers[0], &node_a), (&carriers[1], &node_b)];
    let (mut bank, node) = lab.waiting_bank(&providers, &terms()).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    node.abandon().await;
    bank.config.providers[0].address = Headers::serve(&carriers[0]).await.to_string();
    let node = lab.start(&bank).await;
    let waiting = |provider| bank_of(&node).uncountersigned(provider, 10).unwrap().len();
    assert_eq!((waiting("carrier-a"), waiting("carrier-b")), (1, 1));

    let begun = Instant::now();
    let honest = async {
        while waiting("carrier-b") > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(8),
                "the honest one waits for the one that is silent"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let turn = tokio::time::timeout(Duration::from_secs(30), bank_of(&node).countersign());
    let ((), turn) = tokio::join!(honest, turn);
    turn.expect("nobody is waited for without an end");
    assert_eq!(waiting("carrier-a"), 1);
    node.abandon().await;
    node_a.stop().await.unwrap();
    node_b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_failed_while_the_state_could_not_be_written_is_explained_by_the_node_that_runs() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.waiting_bank(&[(&carrier, &carrier_node)], &terms()).await;
    let state = Connection::open(bank.config.node.data_dir.join("state.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON verification BEGIN SELECT RAISE(ABORT, 'full'); END";
    state.execute_batch(full).unwrap();
    assert_eq!(bank_of(&node).verify(zhang()).await.unwrap_err().code, "STATE_UNAVAILABLE");
    let size = node.log().size();
    state.execute_batch("DROP TRIGGER full").unwrap();
    assert!(bank_of(&node).uncountersigned("carrier-a", 10).unwrap().is_empty());

    tokio::task::block_in_place(|| bank_of(&node).explain_failed()).unwrap();
    assert_eq!(bank_of(&node).uncountersigned("carrier-a", 10).unwrap().len(), 1);
    bank_of(&node).persist().unwrap();
    let sql = "SELECT value FROM fact WHERE name = 'explained entries'";
    let explained: i64 = state.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(u64::try_from(explained).unwrap(), size, "the next start reads from here");
    bank_of(&node).countersign().await;
    assert_eq!(carrier_node.provider().unwrap().waiting().receipts, 0);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
    let interrupted = |event: &Event| matches!(event, Event::Failed { code, .. } if code == "INTERRUPTED");
    assert!(!events(&bank).iter().any(interrupted), "the session has its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_a_key_has_its_answer_once_it_is_kept_under_the_key() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    let token = bank.admin.admit_caller("counter").unwrap();
    bank.taken_over_by(&node).await;
    let client = Client::new(&format!("http://{}", node.http_address().unwrap()), &token).unwrap();
    let body: VerificationBody = serde_json::from_value(json!({
        "name": "张三", "id_number": "11010519491231002X", "phone": "13800138000",
        "purpose": "account_opening", "ticket": "T-1", "consent": { "id": "C-1" }, "operator": "teller-1"
    }))
    .unwrap();
    let state = Connection::open(bank.config.node.data_dir.join("state.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE UPDATE ON idempotency BEGIN SELECT RAISE(ABORT, 'full'); END";
    state.execute_batch(full).unwrap();
    let refused = client.verify_once(&body, "k-1").await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (503, "STATE_UNAVAILABLE"));
    state.execute_batch("DROP TRIGGER full").unwrap();
    let count = "SELECT count(*) FROM verification";
    let records = || state.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(records(), 0, "the record goes with the answer");

    let first = client.verify_once(&body, "k-1").await.unwrap();
    assert_eq!(client.verify_once(&body, "k-1").await.unwrap(), first);
    assert_eq!(records(), 1);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
    let answered = events(&carrier).iter().filter(|event| matches!(event, Event::Answered(_))).count();
    assert_eq!(answered, 2, "the call that failed, and the one that was answered");
}
