//! Functions that are switched off, partners that are suspended, and providers that do not answer.

use std::time::{Duration, Instant};

use windvane::functions::Function;
use windvane_protocols::audit::entry::Event;

use crate::lab::{Lab, SUBSCRIBERS, bank_of, error_of, events, terms, zhang};
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
