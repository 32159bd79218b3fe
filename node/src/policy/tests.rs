use windvane_protocols::identity::{Family, IDENTITY_VERSION};
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::party::SessionId;

use super::*;

const NOW: u64 = 20_000 * DAY_MS + 1_000;

fn grant() -> Grant {
    Grant {
        id: GrantId::from_bytes([7; 16]),
        provider: "carrier-a".parse().unwrap(),
        requester: "bank".parse().unwrap(),
        data_sets: vec!["subscribers".parse().unwrap()],
        families: vec![Family::Phone, Family::PhoneId, Family::PhoneName],
        operations: vec![Operation::Verify],
        purposes: vec!["account_opening".into()],
        columns: vec![],
        minimum_result: 0,
        score_bands: None,
        psi: Default::default(),
        train: Default::default(),
        epoch_hours: 24,
        rate_per_s: 100,
        per_day: 10,
        total: 16,
        not_before_ms: 0,
        not_after_ms: u64::MAX,
        issued_at_ms: 0,
    }
}

/// Two match elements and one attribute element per customer.
fn request(customers: u64) -> Request {
    Request {
        session: SessionId::from_bytes([1; 16]),
        requester: "bank".parse().unwrap(),
        provider: "carrier-a".parse().unwrap(),
        grant: grant().id,
        purpose: "account_opening".into(),
        data_set: "subscribers".parse().unwrap(),
        epoch: 1,
        identity_version: IDENTITY_VERSION.into(),
        families: grant().families,
        customers,
        commitments: [0; 32],
        elements: [0; 64],
        score: None,
        requested_at_ms: NOW,
    }
}

fn policy(grant: Grant) -> Policy {
    let policy = Policy::new(1_000);
    *policy.grants.write().unwrap() = Arc::new([(grant.id, grant)].into());
    policy
}

fn admit(policy: &Policy, customers: u64, now_ms: u64) -> Result<(), Refusal> {
    policy.admit(&request(customers), 24, &"carrier-a".parse().unwrap(), now_ms)
}

fn quota(result: Result<(), Refusal>) -> &'static str {
    match result {
        Err(Refusal::QuotaExhausted { quota, .. }) => quota,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_quota_is_counted_per_key_and_named_when_it_is_used_up() {
    let policy = policy(grant());
    assert_eq!(admit(&policy, 5, NOW), Ok(()));
    assert_eq!(quota(admit(&policy, 1, NOW)), "per day");
    assert_eq!(admit(&policy, 3, NOW + DAY_MS), Ok(()));
    assert_eq!(quota(admit(&policy, 1, NOW + DAY_MS)), "in total");
}

#[test]
fn a_refused_call_counts_nothing() {
    let policy = policy(grant());
    assert_eq!(quota(admit(&policy, 6, NOW)), "per day");
    assert_eq!(admit(&policy, 5, NOW), Ok(()));
}

#[test]
fn a_lookup_in_an_epoch_that_goes_on_for_longer_than_its_grant_permits_is_refused_and_counts_nothing() {
    let policy = policy(grant());
    let admit_in = |epoch_hours| {
        let admitted = policy.admit(&request(5), epoch_hours, &"carrier-a".parse().unwrap(), NOW);
        admitted.map_err(|refusal| refusal.code())
    };
    assert_eq!(admit_in(25), Err("GRANT_EPOCH"));
    assert_eq!(admit_in(24), Ok(()));
}

#[test]
fn the_rate_refills_with_time() {
    let policy = policy(Grant { rate_per_s: 4, per_day: 1_000, total: 1_000, ..grant() });
    assert_eq!(admit(&policy, 2, NOW), Ok(()));
    assert_eq!(quota(admit(&policy, 1, NOW)), "per second");
    assert_eq!(admit(&policy, 1, NOW + 500), Ok(()));
    assert_eq!(quota(admit(&policy, 1, NOW + 501)), "per second");
}

#[test]
fn counters_survive_through_the_state_file_and_the_log() {
    let before = policy(grant());
    admit(&before, 3, NOW).unwrap();
    let after = policy(grant());
    after.restore(&before.take_changed().changed, &before.buckets());
    after.recount(&request(2), 0, NOW);
    assert_eq!(quota(admit(&after, 1, NOW)), "per day");
}

#[test]
fn what_changed_is_kept_once_and_days_that_are_over_are_forgotten() {
    let policy = policy(Grant { per_day: 1 << 40, total: 1 << 40, ..grant() });
    let (day, none) = (NOW / DAY_MS, Counters::default());
    let days = |counters: &Counters| -> HashSet<u64> { counters.changed.iter().map(|c| c.day).collect() };
    admit(&policy, 1, NOW).unwrap();
    let first = policy.take_changed();
    assert_eq!((days(&first), first.changed.len()), ([ALL_DAYS, day].into(), 6));
    assert_eq!(policy.take_changed(), none, "nothing changed");
    policy.give_back(&first);
    assert_eq!(days(&policy.take_changed()), days(&first), "it could not be kept");

    admit(&policy, 1, NOW + DAY_MS).unwrap();
    let second = policy.take_changed();
    assert_eq!((days(&second), second.forgotten.len()), ([ALL_DAYS, day + 1].into(), 0));
    admit(&policy, 1, NOW + 2 * DAY_MS).unwrap();
    let third = policy.take_changed();
    assert_eq!(days(&third), [ALL_DAYS, day + 2].into());
    assert_eq!(third.forgotten.iter().map(|place| place.2).collect::<Vec<_>>(), [day; 2]);
    assert!(policy.lock().used.keys().all(|place| place.2 != day));
}

#[test]
fn a_score_needs_its_operation_and_its_group_and_is_counted_by_itself() {
    let scores = Grant {
        operations: vec![Operation::Verify, Operation::Score],
        data_sets: vec!["subscribers".parse().unwrap(), "joint-risk".parse().unwrap()],
        ..grant()
    };
    let asked = ScoreAsked { group: "joint-risk".parse().unwrap(), epoch: 3, question: [0; 64] };
    let admit_score = |policy: &Policy, asked: &ScoreAsked, customers| {
        policy.admit_score(&request(customers), asked, &"carrier-a".parse().unwrap(), NOW)
    };
    let policy_of_scores = policy(scores.clone());
    assert_eq!(admit_score(&policy_of_scores, &asked, 10), Ok(()));
    assert_eq!(quota(admit_score(&policy_of_scores, &asked, 1)), "per day");
    assert_eq!(admit(&policy_of_scores, 5, NOW), Ok(()));
    let other = ScoreAsked { group: "subscribers-2".parse().unwrap(), ..asked.clone() };
    let scope = |what| Err(Refusal::Grant(windvane_protocols::audit::grant::GrantError::Scope { what }));
    assert_eq!(admit_score(&policy(scores), &other, 1), scope("data set"));
    assert_eq!(admit_score(&policy(grant()), &asked, 1), scope("operation"));
    let again = policy(Grant { operations: vec![Operation::Score], ..grant() });
    again.recount(&Request { families: Vec::new(), score: Some(asked), ..request(10) }, 10, NOW);
    let used: Vec<_> =
        again.take_changed().changed.iter().map(|counter| (counter.group, counter.used)).collect();
    assert_eq!(used, [(SCORE, 10); 3]);
}

#[test]
fn a_key_is_refused_past_its_limit_under_any_grant() {
    let policy = policy(Grant { per_day: u64::MAX, total: u64::MAX, ..grant() });
    let key = key_subject(&"subscribers".parse().unwrap(), 1);
    let group = KeyGroup::Match.code();
    policy.restore(&[Counter { subject: key, group, day: ALL_DAYS, used: MAX_EVALUATIONS_PER_KEY - 1 }], &[]);
    assert_eq!(quota(admit(&policy, 1, NOW)), "of the key");
}

#[test]
fn tables_of_scores_need_a_running_grant_that_names_the_score() {
    let (bank, group): (PartyId, DataSet) = ("bank".parse().unwrap(), "subscribers".parse().unwrap());
    let verifying = policy(grant());
    assert!(verifying.may_download(&bank, &group, NOW));
    assert!(!verifying.may_download_scores(&bank, &group, NOW));
    let terms = Grant { operations: vec![Operation::Score], not_after_ms: NOW, ..grant() };
    let scoring = policy(terms);
    assert!(scoring.may_download_scores(&bank, &group, NOW));
    assert!(!scoring.may_download(&bank, &group, NOW));
    assert!(!scoring.may_download_scores(&bank, &group, NOW + 1));
    assert!(!scoring.may_download_scores(&"other-bank".parse().unwrap(), &group, NOW));
    assert!(!scoring.may_download_scores(&bank, &"fraud".parse().unwrap(), NOW));
}

/// Plenty in all, so that only rates refuse.
fn unlimited(rate_per_s: u64) -> Grant {
    Grant { rate_per_s, per_day: 1 << 40, total: 1 << 40, ..grant() }
}

#[test]
fn neither_a_restart_nor_a_clock_that_is_set_fills_a_rate() {
    let before = policy(unlimited(10));
    assert_eq!(admit(&before, 5, NOW), Ok(()), "ten match elements");
    assert_eq!(quota(admit(&before, 1, NOW)), "per second");

    let after = policy(unlimited(10));
    after.restore(&before.take_changed().changed, &before.buckets());
    assert_eq!(quota(admit(&after, 1, NOW)), "per second");
    assert_eq!(quota(admit(&after, 1, NOW - DAY_MS)), "per second");
    assert_eq!(admit(&after, 5, NOW + 30 * DAY_MS), Ok(()));
    assert_eq!(quota(admit(&after, 1, NOW + 30 * DAY_MS)), "per second");
}

#[test]
fn a_session_larger_than_a_second_passes_a_full_bucket_and_is_paid_before_the_next() {
    let before = policy(unlimited(10));
    let retry =
        |policy: &Policy, customers, now_ms| admit(policy, customers, now_ms).unwrap_err().retry_after_ms();
    assert_eq!(admit(&before, 50, NOW), Ok(()), "a hundred match elements, ninety of them owed");
    assert_eq!(retry(&before, 1, NOW), Some(9_200), "until there are two");
    assert_eq!(retry(&before, 50, NOW + 1_000), Some(9_000), "until it is full");

    let stopped = policy(unlimited(10));
    stopped.restore(&before.take_changed().changed, &before.buckets());
    let killed = policy(unlimited(10));
    killed.recount(&request(50), 0, NOW);
    for after in [before, stopped, killed] {
        assert_eq!(quota(admit(&after, 50, NOW + 9_999)), "per second");
        assert_eq!(admit(&after, 50, NOW + 10_000), Ok(()), "ten a second");
        assert_eq!(retry(&after, 1, NOW + 10_000), Some(9_200));
    }
}

#[test]
fn what_the_log_tells_of_is_taken_from_the_rates_after_a_kill() {
    let killed = policy(unlimited(10));
    killed.recount(&request(5), 0, NOW);
    assert_eq!(quota(admit(&killed, 1, NOW)), "per second");
    assert_eq!(admit(&killed, 1, NOW + 200), Ok(()), "two match elements in a fifth of a second");
}

#[test]
fn a_peer_has_one_rate_for_a_purpose_whatever_its_grants_permit() {
    let policy = policy(unlimited(1_000_000));
    assert_eq!(admit(&policy, 500, NOW), Ok(()));
    let refused = admit(&policy, 100, NOW).unwrap_err();
    assert_eq!((refused.code(), refused.retry_after_ms()), ("RATE_EXCEEDED", Some(200)));
    let mut other = request(100);
    other.purpose = "screening".into();
    let granted = Grant { purposes: vec!["screening".into()], ..unlimited(1_000_000) };
    *policy.grants.write().unwrap() = Arc::new([(granted.id, granted)].into());
    assert_eq!(policy.admit(&other, 24, &"carrier-a".parse().unwrap(), NOW), Ok(()));
}
