//! Readiness turns false for every cause, with its code, and true again when the cause is gone.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use windvane::Node;
use windvane::admin::GrantTerms;
use windvane::config::Config;
use windvane::dataset::DataSetConfig;
use windvane::functions::Function;
use windvane::peer::channel;

use super::{Pair, page, shown};
use crate::lab::{HEADER, Lab, Party, SUBSCRIBERS, bank_of, error_of, terms, zhang};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What fails, and all findings.
async fn readiness(node: &Node) -> (Vec<String>, Value) {
    let (status, body) = page(node.observability_address().unwrap(), "/readyz").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let failing: Vec<String> = serde_json::from_value(body["failing"].clone()).unwrap();
    assert_eq!(status == 200, failing.is_empty(), "{body}");
    assert_eq!(body["ready"], failing.is_empty(), "{body}");
    for finding in body["findings"].as_array().unwrap() {
        let told = |field: &str| finding[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(told("code") && told("what") && told("advice"), "{finding}");
    }
    (failing, body["findings"].clone())
}

async fn failing(node: &Node) -> Vec<String> {
    readiness(node).await.0
}

const NOTHING: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn files_that_vanish_and_come_back() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    assert_eq!(page(pair.provider.observability_address().unwrap(), "/healthz").await.0, 200);
    for (name, code) in [("keys", "KEYS_MISSING"), ("state.db", "STATE_MISSING"), ("log", "LOG_MISSING")] {
        for (party, node) in [(&pair.carrier, &pair.provider), (&pair.bank, &pair.node)] {
            assert_eq!(failing(node).await, NOTHING);
            let (path, away) = (party.config.node.data_dir.join(name), lab.dir.path().join("away"));
            fs::rename(&path, &away).unwrap();
            assert_eq!(failing(node).await, [code]);
            fs::rename(&away, &path).unwrap();
            assert_eq!(failing(node).await, NOTHING);
        }
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_until_the_node_starts_again() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    let (log, away) = (pair.carrier.log_dir(), lab.dir.path().join("away"));
    fs::rename(&log, &away).unwrap();
    fs::write(&log, "in the way").unwrap();
    bank_of(&pair.node).verify(zhang()).await.unwrap();
    pair.provider.log().publish().await.unwrap_err();
    assert_eq!(failing(&pair.provider).await, ["LOG_MISSING", "LOG_UNAVAILABLE"]);
    fs::remove_file(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    assert_eq!(failing(&pair.provider).await, ["LOG_UNAVAILABLE"]);
    pair.node.stop().await.unwrap();
    pair.provider.stop().await.unwrap_err();
    let provider = lab.start(&pair.carrier).await;
    assert_eq!(failing(&provider).await, NOTHING);
    provider.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_does_not_come() {
    let lab = Lab::new();
    let slow = |config: &mut Config| {
        shown(config);
        config.log.checkpoint_interval_ms = 3_600_000;
        config.observability.max_checkpoint_age_ms = 1_000;
    };
    let pair = Pair::start(&lab, slow).await;
    pair.provider.log().publish().await.unwrap();
    assert_eq!(failing(&pair.provider).await, NOTHING);
    bank_of(&pair.node).verify(zhang()).await.unwrap();
    let overdue = async {
        while failing(&pair.provider).await != ["CHECKPOINT_OVERDUE"] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), overdue).await.unwrap();
    pair.provider.log().publish().await.unwrap();
    assert_eq!(failing(&pair.provider).await, NOTHING);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_room() {
    let lab = Lab::new();
    let mut carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    shown(&mut carrier.config);
    for (least, expected) in [(u64::MAX, &["DISK_FULL"][..]), (0, &[])] {
        carrier.config.observability.min_free_disk_mb = least;
        let node = lab.start(&carrier).await;
        assert_eq!(failing(&node).await, expected);
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_another_purpose_that_no_table_serves_takes_no_readiness() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    // The table's epoch is longer than this grant permits.
    let other = GrantTerms { purposes: vec!["screening".into()], epoch_hours: 1, ..terms() };
    let other = pair.carrier.admin.issue_grant(&other).unwrap();
    pair.bank.admin.accept_grant(&other).unwrap();
    pair.carrier.taken_over_by(&pair.provider).await;
    pair.bank.taken_over_by(&pair.node).await;
    assert_eq!(error_of(&pair.node, zhang()).await, None);
    assert_eq!(failing(&pair.node).await, NOTHING);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_told_and_verification_fails() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    let parties = [(&pair.carrier, &pair.provider, "bank"), (&pair.bank, &pair.node, "carrier-a")];
    for (party, node, other) in parties {
        party.admin.switch(Function::Verification, false).unwrap();
        party.admin.switch(Function::Screening, false).unwrap();
        party.taken_over_by(node).await;
        let (failing, found) = readiness(node).await;
        assert_eq!(failing, ["VERIFICATION_OFF"]);
        assert!(found.to_string().contains("windvane function on screening"), "{found}");
        party.admin.switch(Function::Verification, true).unwrap();
        party.taken_over_by(node).await;
        let (failing, found) = readiness(node).await;
        assert_eq!(failing, NOTHING);
        let off = found.as_array().unwrap().iter().find(|finding| finding["code"] == "SCREENING_OFF");
        assert_eq!(off.unwrap()["severity"], "warning", "it keeps no verification from its answer");
        party.admin.suspend(&other.parse().unwrap()).unwrap();
        party.taken_over_by(node).await;
        let (_, found) = readiness(node).await;
        let suspended = found.as_array().unwrap().iter().filter(|f| f["code"] == "PARTNER_SUSPENDED");
        let severities: Vec<_> = suspended.map(|finding| finding["severity"].as_str()).collect();
        // A bank that may not ask cannot work; a provider can.
        let expected = if other == "bank" { "warning" } else { "problem" };
        assert_eq!(severities, [Some(expected)], "{found}");
    }
    pair.stop().await;
}

/// A fresh epoch, published and fetched.
async fn renew(pair: &Pair) {
    pair.carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
    pair.carrier.admin.publish(&DataSetConfig::carrier()).unwrap();
    pair.carrier.taken_over_by(&pair.provider).await;
    pair.bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
    pair.bank.taken_over_by(&pair.node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_grow_old_and_epochs_and_certificates_that_end() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, |config| {
        shown(config);
        config.observability.max_data_age_hours = Some(10);
    })
    .await;
    let both = async |at_provider: &[&str], at_bank: &[&str]| {
        assert_eq!(failing(&pair.provider).await, at_provider);
        assert_eq!(failing(&pair.node).await, at_bank);
    };
    both(&[], &[]).await;
    lab.clock.advance_ms(11 * HOUR_MS);
    both(&["subscribers: DATA_OLD"], &["carrier-a: DATA_OLD"]).await;
    renew(&pair).await;
    both(&[], &[]).await;
    lab.clock.advance_ms(25 * HOUR_MS);
    both(&["subscribers: EPOCH_EXPIRED"], &["carrier-a: EPOCH_EXPIRED"]).await;
    renew(&pair).await;
    both(&[], &[]).await;

    // The grant runs for ten days, the certificates for twenty.
    lab.clock.advance_ms(9 * DAY_MS);
    let grant = pair.carrier.admin.issue_grant(&terms()).unwrap();
    pair.bank.admin.accept_grant(&grant).unwrap();
    renew(&pair).await;
    both(&[], &[]).await;
    lab.clock.advance_ms(8 * DAY_MS + 12 * HOUR_MS);
    renew(&pair).await;
    let (_, found) = readiness(&pair.node).await;
    let warned: Vec<_> = found.as_array().unwrap().iter().map(|finding| finding["code"].clone()).collect();
    let certificates = ["CERTIFICATE_ENDS", "PARTNER_CERTIFICATE_ENDS", "AUTHORITY_CERTIFICATE_ENDS"];
    assert_eq!(warned, [&certificates[..], &["GRANT_ENDS"]].concat(), "{found}");
    lab.clock.advance_ms(HOUR_MS);
    both(&[], &[]).await;
    lab.clock.advance_ms(DAY_MS);
    let ended = async || {
        let mut of: Vec<_> =
            failing(&pair.node).await.into_iter().chain(failing(&pair.provider).await).collect();
        of.retain(|code| code.ends_with("CERTIFICATE_EXPIRED"));
        of.sort();
        of
    };
    assert_eq!(ended().await, ["bank: CERTIFICATE_EXPIRED", "carrier-a: CERTIFICATE_EXPIRED"]);
    let (_, found) = readiness(&pair.provider).await;
    let theirs = found.as_array().unwrap().iter().find(|f| f["code"] == "PARTNER_CERTIFICATE_EXPIRED");
    assert_eq!(theirs.unwrap()["severity"], "warning", "it stops that partner alone");
    let theirs = lab.enrol(&pair.carrier.admin, 5);
    let ours = lab.enrol(&pair.bank.admin, 5);
    pair.carrier.admin.import_enrolment(&ours).unwrap();
    pair.bank.admin.import_enrolment(&theirs).unwrap();
    pair.carrier.taken_over_by(&pair.provider).await;
    pair.bank.taken_over_by(&pair.node).await;
    assert_eq!(ended().await, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_not_there() {
    let lab = Lab::new();
    let list = lab.dir.path().join("risk.csv");
    let section = format!(
        "[grpc]\nlisten = \"127.0.0.1:0\"\n[[psi]]\nlist = \"risk\"\nfile = \"{}\"\nkey = \"phone\"\n\
         key_columns = [\"phone\"]\n",
        list.display()
    );
    let mut carrier = lab.party("carrier-a", &section);
    shown(&mut carrier.config);
    let node = lab.start(&carrier).await;
    assert_eq!(failing(&node).await, ["risk: LIST_MISSING"]);
    fs::write(&list, "phone\n13800138000\n").unwrap();
    assert_eq!(failing(&node).await, NOTHING);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_names_the_provider_and_what_it_lacks_of_it() {
    let lab = Lab::new();
    let (a, b) = (lab.carrier("carrier-a", SUBSCRIBERS), lab.carrier("carrier-b", SUBSCRIBERS));
    let (node_a, node_b) = (lab.start(&a).await, lab.start(&b).await);
    let address = |node: &Node| node.grpc_address().unwrap().to_string();
    let sections = [("carrier-a", address(&node_a)), ("carrier-b", address(&node_b))].map(|(party, at)| {
        format!("[[provider]]\nparty = \"{party}\"\naddress = \"{at}\"\ndata_set = \"subscribers\"\n")
    });
    let mut bank = lab.party("bank", &format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", sections.concat()));
    shown(&mut bank.config);
    let node = lab.start(&bank).await;
    let now = async || {
        bank.taken_over_by(&node).await;
        failing(&node).await
    };
    assert_eq!(now().await, ["carrier-a: PARTNER_MISSING", "carrier-b: PARTNER_MISSING"]);
    for (party, running) in [(&a, &node_a), (&b, &node_b)] {
        party.admin.import_enrolment(&bank.enrolment).unwrap();
        bank.admin.import_enrolment(&party.enrolment).unwrap();
        party.taken_over_by(running).await;
    }
    assert_eq!(now().await, ["carrier-a: GRANT_MISSING", "carrier-b: GRANT_MISSING"]);
    for (party, running) in [(&a, &node_a), (&b, &node_b)] {
        bank.admin.accept_grant(&party.admin.issue_grant(&terms()).unwrap()).unwrap();
        party.taken_over_by(running).await;
    }
    assert_eq!(now().await, ["carrier-a: SNAPSHOT_MISSING", "carrier-b: SNAPSHOT_MISSING"]);
    bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
    // A fetch leaves no entry that the node would notice it by; a caller's admission does.
    bank.admin.admit_caller("counter").unwrap();
    assert_eq!(now().await, ["carrier-b: SNAPSHOT_MISSING"]);
    let (status, body) = page(node.http_address().unwrap(), "/readyz").await;
    assert!(status == 503 && body.contains("carrier-b: SNAPSHOT_MISSING"), "{status} {body}");
    bank.admin.fetch_snapshot("carrier-b", |_, _| ()).await.unwrap();
    bank.admin.admit_caller("branch").unwrap();
    assert_eq!(now().await, NOTHING);
    assert_eq!(page(node.http_address().unwrap(), "/readyz").await.0, 200);
    node.stop().await.unwrap();
}

/// What a service's health turns to next.
async fn turns(party: &Party, node: &Node, service: &str, expected: ServingStatus) {
    let address = node.grpc_address().unwrap().to_string();
    let channel = channel(&party.certificate(), &"carrier-a".parse().unwrap(), &address).unwrap();
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    let turned = async {
        while let Some(told) = watch.message().await.unwrap() {
            if told.status() == expected {
                return;
            }
        }
        panic!("{service} never was {expected:?}");
    };
    tokio::time::timeout(Duration::from_secs(20), turned).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_lacks_as_a_bank_stops_none_of_its_services() {
    use ServingStatus::{NotServing, Serving};
    let lab = Lab::new();
    let sections = "[grpc]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[provider]]\n\
                    party = \"carrier-b\"\naddress = \"127.0.0.1:1\"\ndata_set = \"subscribers\"\n";
    let mut both = lab.party("carrier-a", sections);
    shown(&mut both.config);
    let file = lab.dir.path().join("subscribers.csv");
    fs::write(&file, format!("{HEADER}{SUBSCRIBERS}")).unwrap();
    both.publish(&file);
    let peer = lab.party("bank", "");
    both.admin.import_enrolment(&peer.enrolment).unwrap();
    let node = lab.start(&both).await;
    assert_eq!(failing(&node).await, ["carrier-b: PARTNER_MISSING"]);
    let told = async |service: &str, expected| turns(&peer, &node, service, expected).await;
    told("windvane.psi.v1.Psi", NotServing).await;
    for service in ["", "windvane.lookup.v1.Lookup", "windvane.audit.v1.Audit"] {
        told(service, Serving).await;
    }
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_a_health_of_its_own_over_grpc() {
    use ServingStatus::{NotServing, Serving};
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    let lookup = "windvane.lookup.v1.Lookup";
    let told = async |service: &str, expected| turns(&pair.bank, &pair.provider, service, expected).await;
    told("", Serving).await;
    told(lookup, Serving).await;
    told("windvane.audit.v1.Audit", Serving).await;
    // Nothing is offered there.
    for service in ["windvane.psi.v1.Psi", "windvane.score.v1.Score", "windvane.train.v1.Train"] {
        told(service, NotServing).await;
    }
    pair.carrier.admin.switch(Function::Verification, false).unwrap();
    pair.carrier.taken_over_by(&pair.provider).await;
    told(lookup, NotServing).await;
    told("", NotServing).await;
    pair.carrier.admin.switch(Function::Verification, true).unwrap();
    pair.carrier.taken_over_by(&pair.provider).await;
    told(lookup, Serving).await;
    lab.clock.advance_ms(25 * HOUR_MS);
    told(lookup, NotServing).await;
    told("", NotServing).await;
    told("windvane.audit.v1.Audit", Serving).await;
    renew(&pair).await;
    told(lookup, Serving).await;
    told("", Serving).await;
    pair.stop().await;
}
