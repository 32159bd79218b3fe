//! Requests that the protocol does not know: each gets its code, and the provider's log has it.

use curve25519_dalek::RistrettoPoint;
use windvane::admin::{GrantTerms, ScoreOutput};
use windvane::clock::Clock as _;
use windvane::verification::ScoreStatus;
use windvane_proto::lookup::v1::EvaluateRequest;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::lookup::request::{Request, ScoreAsked, ScoreReply};
use windvane_protocols::party::SessionId;
use windvane_protocols::score::query::Question;

use super::operator::Operator;
use crate::lab::{self, FAMILIES, Party, events, failures};
use crate::score::calls::{Scored, group, number};

/// What the first provider's log has, besides answers.
async fn logged(scored: &Scored) -> Vec<String> {
    failures(&scored.providers[0].0, &scored.providers[0].1).await
}

/// What the first provider says to a request that `bend` changed before it was signed.
async fn bent(
    operator: &Operator<'_>,
    position: usize,
    bend: impl FnOnce(&mut Request, &mut Question),
) -> Result<ScoreReply, String> {
    let mut question = operator.question(&[operator.hash(position)]);
    let mut request = operator.request(0, &question);
    bend(&mut request, &mut question);
    if let Some(asked) = &mut request.score {
        asked.question = question.digest();
    }
    let message = operator.signed(request, question);
    operator.send(0, message).await
}

/// A request for a score alone is refused as a whole.
fn refused(code: &str) -> Result<ScoreReply, String> {
    Err(code.to_owned())
}

fn answered(party: &Party) -> usize {
    events(party).iter().filter(|event| matches!(event, Event::Answered(_))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gets_the_stored_answer_for_the_same_bytes_and_nothing_for_others() {
    let scored = Scored::new(3, 2, 1).await;
    let operator = Operator::new(&scored).await;
    let question = operator.question(&[operator.hash(5)]);
    let request = operator.request(0, &question);
    let message = operator.signed(request.clone(), question);
    let first = operator.send(0, message.clone()).await.unwrap();
    assert!(matches!(first, ScoreReply::Answered(_)));
    assert_eq!(operator.send(0, message).await, Ok(first));
    let (session, at_ms) = (request.session, request.requested_at_ms);
    let again = bent(&operator, 6, |request, _| {
        (request.session, request.requested_at_ms) = (session, at_ms);
    });
    let again = again.await;
    assert_eq!(again, Err("SESSION_REPLAYED".to_owned()));
    assert_eq!(logged(&scored).await, ["SESSION_REPLAYED"]);
    assert_eq!(answered(&scored.providers[0].0), 1, "a replay is answered once, and counted once");
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_that_the_signature_does_not_cover_and_bytes_that_are_no_elements_are_refused() {
    let scored = Scored::new(3, 2, 1).await;
    let operator = Operator::new(&scored).await;
    let elements = [operator.hash(5), operator.hash(6)];
    let fresh = |elements: &[RistrettoPoint]| {
        let question = operator.question(elements);
        operator.signed(operator.request(0, &question), question)
    };
    let other: EvaluateRequest = fresh(&[elements[1]]);
    let score = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = fresh(&elements[..1]);
        let asked = message.score.as_mut().unwrap();
        let mut bytes = asked.elements.to_vec();
        change(&mut bytes);
        asked.elements = bytes.into();
        message
    };
    let more = score(&|bytes| *bytes = [&bytes[..], &other.score.as_ref().unwrap().elements[..]].concat());
    let mixed = EvaluateRequest { score: other.score.clone(), ..fresh(&elements[..1]) };
    let none = EvaluateRequest { score: None, ..fresh(&elements[..1]) };
    let identity = score(&|bytes| bytes.fill(0));
    // The field's prime plus three: no canonical encoding.
    let large = score(&|bytes| {
        bytes.fill(0xff);
        (bytes[0], bytes[31]) = (0xf0, 0x7f);
    });
    let negative = score(&|bytes| {
        bytes.fill(0);
        bytes[0] = 1;
    });
    let short = score(&|bytes| bytes.truncate(31));
    let attempts = [
        (mixed, "REQUEST_ELEMENTS_MISMATCH"),
        (more, "REQUEST_ELEMENTS_MISMATCH"),
        (none, "REQUEST_ELEMENTS_MISMATCH"),
        (identity, "MESSAGE_MALFORMED"),
        (large, "MESSAGE_MALFORMED"),
        (negative, "MESSAGE_MALFORMED"),
        (short, "MESSAGE_MALFORMED"),
    ];
    let mut expected = Vec::new();
    for (message, code) in attempts {
        assert_eq!(operator.send(0, message).await, Err(code.to_owned()));
        expected.push(code);
    }
    assert_eq!(logged(&scored).await, expected);
    assert_eq!(answered(&scored.providers[0].0), 0);
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_another_context_epoch_or_group_is_of_no_epoch_here() {
    let scored = Scored::new(3, 2, 1).await;
    let operator = Operator::new(&scored).await;
    let asked = |request: &mut Request, change: &dyn Fn(&mut ScoreAsked)| {
        change(request.score.as_mut().unwrap());
    };
    let replies = [
        bent(&operator, 1, |_, question| question.context = [9; 64]).await,
        bent(&operator, 2, |request, _| {
            asked(request, &|score| score.epoch = 2);
            request.epoch = 2;
        })
        .await,
        bent(&operator, 3, |request, _| {
            asked(request, &|score| score.group = "others".parse().unwrap());
            request.data_set = "others".parse().unwrap();
        })
        .await,
    ];
    assert!(replies.iter().all(|reply| *reply == refused("SCORE_EPOCH_UNKNOWN")), "{replies:?}");
    assert_eq!(logged(&scored).await, ["SCORE_EPOCH_UNKNOWN"; 3]);
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_epoch_answers_nobody_and_serves_no_table() {
    let scored = Scored::new(2, 2, 1).await;
    let operator = Operator::new(&scored).await;
    let (provider, node) = &scored.providers[0];
    provider.admin.retire_score(&group(), 1, "carol").unwrap();
    provider.taken_over_by(node).await;
    assert_eq!(bent(&operator, 1, |_, _| ()).await, refused("SCORE_EPOCH_UNKNOWN"));
    let score = scored.score(&number(5)).await;
    let missing: Vec<_> = score.missing.iter().map(|s| (s.provider.as_str(), s.error.as_str())).collect();
    assert_eq!(
        (score.status, &missing[..]),
        (ScoreStatus::Unavailable, &[("provider-0", "SCORE_EPOCH_UNKNOWN")][..])
    );
    std::fs::remove_dir_all(scored.bank.config.node.data_dir.join("score/joint-risk/epochs/1/manifests"))
        .unwrap();
    std::fs::remove_file(scored.bank.config.node.data_dir.join("score/joint-risk/epochs/1/sum-root"))
        .unwrap();
    let error = scored.bank.admin.score_fetch(&group(), Some(1), &()).await.unwrap_err();
    assert_eq!(error.code(), "SCORE_TABLE_UNKNOWN");
    assert_eq!(logged(&scored).await, ["SCORE_EPOCH_UNKNOWN", "SCORE_EPOCH_UNKNOWN", "SCORE_TABLE_UNKNOWN"]);
    scored.stop().await;
}

/// Another grant of the first provider for the bank.
async fn granted(scored: &Scored, terms: GrantTerms) -> GrantId {
    let (provider, node) = &scored.providers[0];
    let terms = GrantTerms { data_sets: vec![group()], ..terms };
    let grant = scored.bank.admin.accept_grant(&provider.admin.issue_grant(&terms).unwrap()).unwrap().id;
    provider.taken_over_by(node).await;
    grant
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_gives_the_operation_that_it_names_and_as_much_of_it() {
    let scored = Scored::new(2, 2, 1).await;
    let operator = Operator::new(&scored).await;
    let lookups = granted(&scored, lab::terms()).await;
    assert_eq!(lab::terms().families, FAMILIES);
    let score = Some(ScoreOutput::Everything);
    let few = GrantTerms { families: Vec::new(), score, per_day: 3, total: 3, ..lab::terms() };
    let few = granted(&scored, few).await;
    assert_eq!(bent(&operator, 1, |request, _| request.grant = lookups).await, refused("GRANT_SCOPE"));
    let purpose = bent(&operator, 1, |request, _| request.purpose = "marketing".into()).await;
    assert_eq!(purpose, refused("GRANT_SCOPE"));
    for position in 0..3 {
        let reply = bent(&operator, position, |request, _| request.grant = few).await.unwrap();
        assert!(matches!(reply, ScoreReply::Answered(_)), "{reply:?}");
    }
    assert_eq!(bent(&operator, 4, |request, _| request.grant = few).await, refused("GRANT_EXHAUSTED"));
    let unknown = bent(&operator, 5, |request, _| request.grant = GrantId::from_bytes([7; 16])).await;
    assert_eq!(unknown, refused("GRANT_UNKNOWN"));
    scored.lab.clock.advance_ms(120_000);
    let early = scored.lab.clock.now_ms() - 120_000;
    let late = bent(&operator, 6, |request, _| {
        request.session = SessionId::dated(early, &mut rand::rng());
        request.requested_at_ms = early;
    });
    let late = late.await;
    assert_eq!(late, Err("CLOCK_SKEW".to_owned()));
    let expected = ["GRANT_SCOPE", "GRANT_SCOPE", "GRANT_EXHAUSTED", "GRANT_UNKNOWN", "CLOCK_SKEW"];
    assert_eq!(logged(&scored).await, expected);
    // The bank itself goes by its newest grant, and says whose is used up.
    scored.bank.taken_over_by(&scored.bank_node).await;
    let score = scored.score(&number(5)).await;
    let missing: Vec<_> = score.missing.iter().map(|s| (s.provider.as_str(), s.error.as_str())).collect();
    assert_eq!((score.sum, &missing[..]), (None, &[("provider-0", "GRANT_EXHAUSTED")][..]));
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_banks_certificate_gets_nothing_in_its_own_name_and_nothing_in_this_banks() {
    let scored = Scored::new(2, 2, 1).await;
    let other = scored.lab.party("other-bank", "[http]\nlisten = \"127.0.0.1:0\"\n");
    let (provider, node) = &scored.providers[0];
    let mut operator = Operator::new(&scored).await;
    operator.party = &other;
    assert_eq!(bent(&operator, 1, |_, _| ()).await, Err("PEER_UNKNOWN".to_owned()));
    provider.admin.import_enrolment(&other.enrolment).unwrap();
    let score = Some(ScoreOutput::Everything);
    let terms = GrantTerms {
        requester: "other-bank".parse().unwrap(),
        data_sets: vec![group()],
        families: Vec::new(),
        score,
        ..lab::terms()
    };
    other.admin.import_enrolment(&provider.enrolment).unwrap();
    let own = other.admin.accept_grant(&provider.admin.issue_grant(&terms).unwrap()).unwrap().id;
    provider.taken_over_by(node).await;
    // A grant for this very group does not make it the group's bank.
    assert_eq!(bent(&operator, 1, |request, _| request.grant = own).await, refused("SCORE_EPOCH_UNKNOWN"));
    assert_eq!(bent(&operator, 1, |_, _| ()).await, refused("SCORE_EPOCH_UNKNOWN"));
    let bank = scored.bank.config.party();
    let posing = bent(&operator, 1, |request, _| request.requester = bank).await;
    assert_eq!(posing, Err("PARTIES_MISMATCH".to_owned()));
    let table = operator.refused_table(0).await;
    assert_eq!(table, "GRANT_UNKNOWN");
    let expected = ["SCORE_EPOCH_UNKNOWN", "SCORE_EPOCH_UNKNOWN", "PARTIES_MISMATCH", "GRANT_UNKNOWN"];
    assert_eq!(logged(&scored).await, expected);
    scored.stop().await;
}
