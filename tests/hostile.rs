//! Each kind of misbehaviour ends in its own error code and a log entry, and nothing is lost.

use std::sync::Arc;

use tonic::Request as Call;
use windvane::error::PeerError;
use windvane::peer::channel;
use windvane::verification::MatchResult;
use windvane_proto::audit::v1::CountersignRequest;
use windvane_proto::audit::v1::audit_client::AuditClient;
use windvane_proto::convert::WireError;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::{EvaluateRequest, FetchManifestRequest, GroupElements};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::limits::{MAX_FAMILIES, MAX_MESSAGE_BYTES};
use windvane_protocols::lookup::client::{Customer, LookupTerms, Question, Terms, ask};
use windvane_protocols::lookup::request::Request;
use windvane_protocols::party::SessionId;
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::Signed;

use crate::lab::{FAMILIES, Lab, Party, SUBSCRIBERS, bank_of, error_of, events, failures, terms, zhang};
use crate::liar::{Liar, Lie};
use crate::observe::{metrics, shown, value};

/// A bank whose only provider was honest while the snapshot was fetched, and then tells this lie.
async fn bank_facing(lab: &Lab, lie: Lie) -> (Arc<Party>, Party, windvane::Node) {
    let carrier = Arc::new(lab.carrier("carrier-a", SUBSCRIBERS));
    let node = lab.start(&carrier).await;
    let address = node.grpc_address().unwrap().to_string();
    let mut bank = lab.bank_files(&[(&*carrier, address)], &terms());
    carrier.taken_over_by(&node).await;
    bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
    node.stop().await.unwrap();
    bank.config.providers[0].address = Liar::serve(&carrier, lie).await.to_string();
    bank.config.verification.deadline_ms = 1_000;
    let node = lab.start(&bank).await;
    (carrier, bank, node)
}

async fn outcome(lie: Lie) -> (Option<String>, Vec<String>) {
    let lab = Lab::new();
    let (_carrier, bank, node) = bank_facing(&lab, lie).await;
    let report = bank_of(&node).verify(zhang()).await.unwrap();
    assert_eq!(report.result, MatchResult::Unavailable);
    assert_eq!(report.decision.missing_sources, ["carrier-a"]);
    assert_eq!(bank_of(&node).report(&report.id).await.unwrap().unwrap(), report);
    let logged = failures(&bank, &node).await;
    node.stop().await.unwrap();
    (report.providers[0].error.clone(), logged)
}

async fn expect(lie: Lie, code: &str) {
    let (found, logged) = outcome(lie).await;
    assert_eq!(found.as_deref(), Some(code), "{lie:?}");
    assert_eq!(logged, [code], "{lie:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_another_key_is_a_key_mismatch() {
    expect(Lie::OtherKey, "KEY_MISMATCH").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_another_key_that_names_the_right_one_has_no_valid_proof() {
    expect(Lie::OtherKeyNamedRight, "PROOF_INVALID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_elements_have_no_valid_proof() {
    expect(Lie::WrongProof, "PROOF_INVALID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_over_another_answer_is_invalid() {
    expect(Lie::WrongReceipt, "RECEIPT_INVALID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_elements_than_were_asked_for_are_malformed() {
    expect(Lie::TooManyElements, "ANSWER_MALFORMED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_larger_than_it_looks_is_not_decoded() {
    expect(Lie::EmptyRecords, "ANSWER_MALFORMED").await;
    // A decoded one would have the same code: the client stopped at the first record too many.
    let lab = Lab::new();
    let carrier = Arc::new(lab.carrier("carrier-a", SUBSCRIBERS));
    let address = Liar::serve(&carrier, Lie::EmptyRecords).await.to_string();
    let bank = lab.bank_files(&[(&*carrier, address.clone())], &terms());
    let channel = channel(&bank.certificate(), &"carrier-a".parse().unwrap(), &address).unwrap();
    let refused = LookupClient::new(channel).evaluate(Call::new(EvaluateRequest::default())).await;
    let size = WireError::Size { field: "groups", found: MAX_FAMILIES + 1, limit: MAX_FAMILIES };
    assert_eq!(WireError::of(&refused.unwrap_err()), Some(&size));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_is_missing_at_the_deadline() {
    expect(Lie::Hang, "DEADLINE_EXCEEDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_download_installs_nothing_and_goes_on_from_where_it_ended() {
    let lab = Lab::new();
    let rows: String =
        (0..200).map(|i| SUBSCRIBERS.replacen("13800138000", &format!("1380013{i:04}"), 1)).collect();
    let rows = rows
        .replace("\n13900139000", "\n")
        .lines()
        .filter(|l| l.starts_with("138"))
        .map(|l| format!("{l}\n"))
        .collect::<String>();
    let carrier = Arc::new(lab.carrier("carrier-a", &rows));
    let address = Liar::serve(&carrier, Lie::Truncate).await.to_string();
    let mut bank = lab.bank_files(&[(&*carrier, address)], &terms());
    let error = bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap_err();
    assert_eq!(error.code(), "SNAPSHOT_TRUNCATED");
    assert!(!bank.config.node.data_dir.join("snapshots/carrier-a/subscribers/1").exists());

    let honest = lab.start(&carrier).await;
    bank.config.providers[0].address = honest.grpc_address().unwrap().to_string();
    let again = windvane::admin::Admin::open(&bank.config, Arc::new(lab.clock.clone())).unwrap();
    let mut first = None;
    again
        .fetch_snapshot("carrier-a", |done, _| {
            first.get_or_insert(done);
        })
        .await
        .unwrap();
    assert!(first.unwrap() > 1, "the first page was not fetched again");
    honest.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_reported_here_and_not_to_the_provider() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    let pages = bank.config.node.data_dir.join("snapshots/carrier-a/subscribers/1/pages");
    let mut bytes = std::fs::read(&pages).unwrap();
    bytes.chunks_exact_mut(40).for_each(|row| row[39] ^= 1);
    std::fs::write(&pages, bytes).unwrap();
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("ROW_CORRUPT"));
    bank_of(&node).countersign().await;
    assert!(failures(&carrier, &carrier_node).await.is_empty());
    let countersigned = events(&carrier).iter().filter(|e| matches!(e, Event::Countersigned(_))).count();
    assert_eq!(countersigned, 1, "the provider sees an ordinary, countersigned call");
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

/// A question that the bank's own code would send, to be bent.
fn question(bank: &Party, carrier: &Party, customers: usize) -> Question {
    let data_set = "subscribers".parse().unwrap();
    let dir = windvane::dataset::published_dir(&carrier.config.node.data_dir, &data_set, 1);
    let snapshot = windvane::snapshot::Snapshot::open(&dir).unwrap();
    let inquiry = zhang();
    let customer = Customer { person: &inquiry.person, ticket: b"T", consent: b"C" };
    let requester = bank.config.party();
    let now_ms = windvane::clock::Clock::now_ms(&windvane::clock::SystemClock);
    let terms = Terms {
        requester: &requester,
        grant: bank.admin.grants().unwrap()[0].0.id,
        purpose: "account_opening",
        provider: &snapshot.manifest().body().provider,
        lookup: Some(LookupTerms { manifest: snapshot.manifest().body(), families: &FAMILIES }),
        score: None,
        session: SessionId::dated(now_ms, &mut rand::rng()),
        seed: &Secret::new([1; 32]),
    };
    let key = bank.admin.keys().signing_key();
    let asked = ask(&[terms], &vec![customer; customers], now_ms, key, &mut rand::rng()).pop();
    asked.unwrap().unwrap().1
}

/// Sends raw messages as `party` to a carrier; gives the code of the refusal.
async fn send(party: &Party, address: &str, message: EvaluateRequest) -> Option<String> {
    let channel = channel(&party.certificate(), &"carrier-a".parse().unwrap(), address).unwrap();
    let mut client = LookupClient::new(channel).max_encoding_message_size(64 << 20);
    client.evaluate(Call::new(message)).await.err().map(|status| PeerError::from(&status).code)
}

/// A carrier that runs, a bank that it granted everything, and where it is asked.
async fn asked(lab: &Lab) -> (Party, windvane::Node, Party, String) {
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let node = lab.start(&carrier).await;
    let address = node.grpc_address().unwrap().to_string();
    let bank = lab.bank_files(&[(&carrier, address.clone())], &terms());
    carrier.taken_over_by(&node).await;
    (carrier, node, bank, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_refused_before_it_counted_is_not_remembered() {
    let lab = Lab::new();
    let (carrier, node, bank, address) = asked(&lab).await;
    let ask = || send(&bank, &address, EvaluateRequest::from(&question(&bank, &carrier, 1)));
    assert_eq!(ask().await, None);
    let id = bank.admin.grants().unwrap()[0].0.id.to_string();
    carrier.admin.end_grant(&id).unwrap();
    carrier.taken_over_by(&node).await;
    for _ in 0..2 {
        assert_eq!(ask().await.as_deref(), Some("GRANT_UNKNOWN"));
    }
    assert_eq!(node.provider().unwrap().waiting().sessions, 1);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_bank_gets_an_error_and_a_log_entry_for_each_attempt() {
    let lab = Lab::new();
    let (carrier, node, bank, address) = asked(&lab).await;
    let fresh = || EvaluateRequest::from(&question(&bank, &carrier, 1));

    let first = fresh();
    assert_eq!(send(&bank, &address, first.clone()).await, None);
    assert_eq!(send(&bank, &address, first.clone()).await, None, "a retry of the same bytes");
    let mut expected = Vec::new();
    let mut attempt = async |message, code: &str| {
        assert_eq!(send(&bank, &address, message).await.as_deref(), Some(code));
        expected.push(code.to_owned());
    };

    let mut replayed = question(&bank, &carrier, 1);
    let mut body = replayed.request.body().clone();
    let original = Question::try_from(first.clone()).unwrap();
    body.session = original.request.body().session;
    let key = bank.admin.keys().signing_key();
    // Whenever a provider may have forgotten a session, requests of its date are too old.
    let redated = Request { requested_at_ms: original.request.body().requested_at_ms + 1, ..body.clone() };
    replayed.request = Signed::sign(redated, key);
    attempt(EvaluateRequest::from(&replayed), "SESSION_DATE").await;
    body.requested_at_ms = original.request.body().requested_at_ms;
    replayed.request = Signed::sign(body, key);
    attempt(EvaluateRequest::from(&replayed), "SESSION_REPLAYED").await;

    let mut many = fresh();
    many.groups[0].elements = vec![7; 32 * 16_385].into();
    attempt(many, "MESSAGE_TOO_LARGE").await;

    let mut more = fresh();
    more.groups[0].elements = [&more.groups[0].elements[..], &more.groups[0].elements[..]].concat().into();
    attempt(more, "REQUEST_ELEMENTS_MISMATCH").await;

    let mut identity = fresh();
    identity.groups[0].elements = vec![0; 32].into();
    attempt(identity, "MESSAGE_MALFORMED").await;

    let mut unsigned = fresh();
    let mut bytes = unsigned.request.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    unsigned.request = bytes.into();
    attempt(unsigned, "REQUEST_SIGNATURE_INVALID").await;

    lab.clock.advance_ms(120_000);
    attempt(fresh(), "CLOCK_SKEW").await;

    assert_eq!(failures(&carrier, &node).await, expected);
    let answered = events(&carrier).iter().filter(|e| matches!(e, Event::Answered(_))).count();
    assert_eq!(answered, 1, "a retry is not counted and refusals are not answered");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_larger_than_it_looks_is_refused_before_it_is_decoded() {
    let lab = Lab::new();
    let mut carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    shown(&mut carrier.config);
    let node = lab.start(&carrier).await;
    let address = node.grpc_address().unwrap().to_string();
    let bank = lab.bank_files(&[(&carrier, address.clone())], &terms());
    carrier.taken_over_by(&node).await;

    let groups = |count| EvaluateRequest {
        groups: vec![GroupElements::default(); count],
        ..EvaluateRequest::from(&question(&bank, &carrier, 1))
    };
    // Two bytes each: all that a message may have, and one more than it may have.
    for count in [MAX_MESSAGE_BYTES / 2 - 1_024, MAX_FAMILIES + 1] {
        assert_eq!(send(&bank, &address, groups(count)).await.as_deref(), Some("MESSAGE_TOO_LARGE"));
    }
    // This one is refused by its length alone.
    let long = EvaluateRequest { request: vec![0; MAX_MESSAGE_BYTES].into(), ..EvaluateRequest::default() };
    assert_eq!(send(&bank, &address, long).await.as_deref(), Some("MESSAGE_TOO_LARGE"));
    // So many are decoded, and are no question.
    assert_eq!(send(&bank, &address, groups(MAX_FAMILIES)).await.as_deref(), Some("MESSAGE_MALFORMED"));

    assert_eq!(failures(&carrier, &node).await, ["MESSAGE_MALFORMED"], "a service saw the last one alone");
    let told = metrics(&node).await;
    let refusals = |code| format!("windvane_refusals_total{{peer=\"bank\",code=\"{code}\"}}");
    assert_eq!(value(&told, &refusals("MESSAGE_TOO_LARGE")), 3.0);
    assert_eq!(value(&told, &refusals("MESSAGE_MALFORMED")), 1.0);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_peer_reaches_only_the_structured_log() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let node = lab.start(&carrier).await;
    let stranger = lab.party("stranger", "");
    let before = node.log().size();
    let channel = channel(
        &stranger.certificate(),
        &"carrier-a".parse().unwrap(),
        &node.grpc_address().unwrap().to_string(),
    );
    let request = FetchManifestRequest { data_set: "subscribers".into() };
    let refused = LookupClient::new(channel.unwrap()).fetch_manifest(Call::new(request)).await;
    assert_eq!(PeerError::from(&refused.unwrap_err()).code, "PEER_UNKNOWN");
    assert_eq!(node.log().size(), before);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_countersignature_brings_nothing_into_the_log_that_is_not_there() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (bank, node) = lab.waiting_bank(&[(&carrier, &carrier_node)], &terms()).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    let open = bank_of(&node).uncountersigned("carrier-a", 1).unwrap()[0].receipt;
    let body = Countersignature {
        requester: bank.config.party(),
        provider: carrier.config.party(),
        receipts: vec![open, [9; 64]],
        signed_at_ms: windvane::clock::Clock::now_ms(&windvane::clock::SystemClock),
    };
    let signed = Signed::sign(body, bank.admin.keys().signing_key());
    let address = carrier_node.grpc_address().unwrap().to_string();
    let channel = channel(&bank.certificate(), &carrier.config.party(), &address).unwrap();
    let refused = AuditClient::new(channel).countersign(CountersignRequest::from(&signed)).await;
    assert_eq!(PeerError::from(&refused.unwrap_err()).code, "COUNTERSIGNATURE_MIXED");
    assert_eq!(carrier_node.provider().unwrap().waiting().receipts, 1, "it waits all the same");

    // A bank whose provider has forgotten some of what waits gets rid of these too.
    node.abandon().await;
    let state = rusqlite::Connection::open(bank.config.node.data_dir.join("state.db")).unwrap();
    let forgotten = "INSERT INTO uncountersigned VALUES (?1, 'carrier-a', zeroblob(64))";
    for id in [-1, 1_000] {
        state.execute(forgotten, [id]).unwrap();
    }
    drop(state);
    let node = lab.start(&bank).await;
    bank_of(&node).countersign().await;
    assert!(bank_of(&node).uncountersigned("carrier-a", 9).unwrap().is_empty());
    assert_eq!(carrier_node.provider().unwrap().waiting().receipts, 0);
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
    let countersigned = |event| match event {
        Event::Countersigned(signed) => Some(signed.body().receipts.clone()),
        _ => None,
    };
    let logged: Vec<_> = events(&carrier).into_iter().filter_map(countersigned).collect();
    assert_eq!(logged, [[open]]);
}
