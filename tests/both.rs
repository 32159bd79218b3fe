//! A node that asks and answers: what it answered is not what it was answered.

use windvane::admin::GrantTerms;

use crate::lab::{Lab, SUBSCRIBERS, bank_of, error_of, terms, zhang};

/// Longer than a test runs, so that nothing is countersigned before the nodes are killed.
const LONG_MS: u64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_tells_receipts_that_it_gave_from_receipts_that_it_got() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-b", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let address = carrier_node.grpc_address().unwrap();
    let sections = format!(
        "[grpc]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [verification]\ndeadline_ms = 5000\n\
         [[provider]]\nparty = \"carrier-b\"\naddress = \"{address}\"\ndata_set = \"subscribers\"\n"
    );
    let mut both = lab.carrier_with("carrier-a", SUBSCRIBERS, &sections);
    both.config.verification.countersign_interval_ms = LONG_MS;
    carrier.admin.import_enrolment(&both.enrolment).unwrap();
    both.admin.import_enrolment(&carrier.enrolment).unwrap();
    let theirs = GrantTerms { requester: "carrier-a".parse().unwrap(), ..terms() };
    both.admin.accept_grant(&carrier.admin.issue_grant(&theirs).unwrap()).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    both.admin.fetch_snapshot("carrier-b", |_, _| ()).await.unwrap();
    // The port stays the same over the restart.
    let node = lab.start(&both).await;
    both.config.grpc.as_mut().unwrap().listen = node.grpc_address().unwrap();
    let (mut bank, bank_node) = lab.bank(&[(&both, &node)], &terms()).await;
    bank_node.stop().await.unwrap();
    bank.config.verification.countersign_interval_ms = LONG_MS;
    let bank_node = lab.start(&bank).await;

    assert_eq!(error_of(&bank_node, zhang()).await, None);
    assert_eq!(error_of(&node, zhang()).await, None);
    bank_node.abandon().await;
    node.abandon().await;
    let node = lab.start(&both).await;
    assert!(bank_of(&node).uncountersigned("carrier-a", 10).unwrap().is_empty());
    assert_eq!(bank_of(&node).uncountersigned("carrier-b", 10).unwrap().len(), 1);
    assert_eq!(node.provider().unwrap().waiting().receipts, 1);

    let bank_node = lab.start(&bank).await;
    bank_of(&bank_node).countersign().await;
    bank_of(&node).countersign().await;
    assert_eq!(node.provider().unwrap().waiting().receipts, 0);
    assert_eq!(carrier_node.provider().unwrap().waiting().receipts, 0);
    for node in [bank_node, node, carrier_node] {
        node.stop().await.unwrap();
    }
}
