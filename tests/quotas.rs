//! Grants and quotas: expired, exhausted, ended; counts survive a stop and a kill.

use windvane::admin::GrantTerms;
use windvane::dataset::DataSetConfig;
use windvane::verification::MatchResult;

use crate::lab::{Lab, SUBSCRIBERS, bank_of, error_of, failures, terms, zhang};

const HOUR_MS: u64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_grant_stays_exhausted_after_a_stop_and_after_a_kill() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    // Six match elements in all: two calls of three.
    let (mut bank, node) = lab.bank(&[(&carrier, &carrier_node)], &GrantTerms { total: 6, ..terms() }).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();

    // The listener takes another port at every start, as after a move.
    let carrier_node = lab.start(&carrier).await;
    bank.config.providers[0].address = carrier_node.grpc_address().unwrap().to_string();
    let node = lab.start(&bank).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("GRANT_EXHAUSTED"));
    node.stop().await.unwrap();
    // Dropped without a stop: counters were not written, the log is not sealed.
    kill(carrier_node).await;

    let carrier_node = lab.start(&carrier).await;
    bank.config.providers[0].address = carrier_node.grpc_address().unwrap().to_string();
    let node = lab.start(&bank).await;
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("GRANT_EXHAUSTED"));
    assert_eq!(failures(&carrier, &carrier_node).await, ["GRANT_EXHAUSTED", "GRANT_EXHAUSTED"]);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

/// As near to `kill -9` as one process allows: nothing is written any more, and the lock is released.
async fn kill(node: windvane::Node) {
    node.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_and_grants_end_and_fresh_ones_serve_at_once() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.bank(&[(&carrier, &carrier_node)], &GrantTerms { days: 1, ..terms() }).await;
    lab.clock.advance_ms(23 * HOUR_MS);
    carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
    let at_once = DataSetConfig::carrier().with_overlap_minutes(0);
    assert_eq!(carrier.admin.publish(&at_once).unwrap().ended, [1]);
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("EPOCH_UNKNOWN"));
    bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
    bank.taken_over_by(&node).await;
    assert_eq!(error_of(&node, zhang()).await, None);

    lab.clock.advance_ms(2 * HOUR_MS);
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("GRANT_EXPIRED"));
    assert_eq!(failures(&carrier, &carrier_node).await, ["EPOCH_UNKNOWN", "GRANT_EXPIRED"]);
    assert_eq!(failures(&bank, &node).await, ["EPOCH_UNKNOWN", "GRANT_EXPIRED"]);

    bank.admin.accept_grant(&carrier.admin.issue_grant(&terms()).unwrap()).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    bank.taken_over_by(&node).await;
    assert_eq!(bank_of(&node).verify(zhang()).await.unwrap().result, MatchResult::Match);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_nobody_could_read_is_neither_issued_nor_logged() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (_bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    let refused = |terms: GrantTerms| carrier.admin.issue_grant(&terms).unwrap_err();
    let long = "开户核验与反欺诈联合风险评估的内部试点用途".to_owned() + "一二";
    let error = refused(GrantTerms { purposes: vec!["account_opening".into(), long], ..terms() });
    assert_eq!(error.code(), "GRANT_INVALID");
    assert_eq!(error.to_string(), "purpose 2 has 69 bytes in UTF-8; it has 1 to 64");
    let error = refused(GrantTerms { columns: vec!["列".into(); 65], ..terms() });
    assert_eq!(error.to_string(), "65 columns: a grant names at most 64");
    assert_eq!(carrier.admin.grants().unwrap().len(), 1);
    carrier.admin.issue_grant(&GrantTerms { purposes: vec!["字".repeat(21)], ..terms() }).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_in_an_epoch_that_is_longer_than_its_grant_permits_is_refused_to_its_end() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) =
        lab.bank(&[(&carrier, &carrier_node)], &GrantTerms { epoch_hours: 23, ..terms() }).await;
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("GRANT_EPOCH"));
    lab.clock.advance_ms(23 * HOUR_MS);
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("GRANT_EPOCH"));
    assert!(failures(&carrier, &carrier_node).await.is_empty(), "the bank did not ask");
    let wider = carrier.admin.issue_grant(&terms()).unwrap();
    bank.admin.accept_grant(&wider).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    bank.taken_over_by(&node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_grant_and_a_purpose_outside_it_are_refused() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (_bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    let mut marketing = zhang();
    marketing.purpose = "marketing".into();
    assert_eq!(error_of(&node, marketing).await.as_deref(), Some("GRANT_SCOPE"));
    let id = carrier.admin.grants().unwrap()[0].0.id.to_string();
    carrier.admin.end_grant(&id).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("GRANT_UNKNOWN"));
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_grant_for_another_purpose_takes_nothing_from_the_first() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    let screening = GrantTerms { purposes: vec!["screening".into()], ..terms() };
    let screening = carrier.admin.issue_grant(&screening).unwrap();
    let screening = bank.admin.accept_grant(&screening).unwrap().id;
    carrier.taken_over_by(&carrier_node).await;
    bank.taken_over_by(&node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    let mut screened = zhang();
    screened.purpose = "screening".into();
    assert_eq!(error_of(&node, screened.clone()).await, None);
    // Neither stands in for the other.
    carrier.admin.end_grant(&screening.to_string()).unwrap();
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, screened).await.as_deref(), Some("GRANT_UNKNOWN"));
    assert_eq!(error_of(&node, zhang()).await, None);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}
