//! Faults that the simulation found, each in the fewest steps that show it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use windvane::audit::{VerifyOptions, verify};
use windvane::clock::Clock as _;
use windvane::evidence::LogReader;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::identity::Family;
use windvane_protocols::transcript::Record as _;

use super::super::clock::MachineClock;
use super::super::desk::{Acknowledged, DeskError};
use super::super::disk::Mode;
use super::super::ledger::Invariant;
use super::super::machine::{Machine, Place};
use super::super::net::{Network, Rates};
use super::super::operation::Operation;
use super::super::people::{Fit, Known};
use super::super::template::{CARRIERS, DESK, Template, terms};
use super::super::time::{Outside, virtual_time};
use super::super::world::World;
use super::SEED;

const KNOWN: Known = Known { carrier: 0, subscriber: 0, fit: Fit::Right };

const MINUTE_MS: i64 = 60_000;

/// Carries out steps in a world without faults, whose machines run.
fn in_a_calm_world(steps: impl AsyncFnOnce(&World, u64)) {
    let template = Template::make().unwrap();
    let outside = Arc::<Outside>::default();
    let root = template.dir().join("calm");
    virtual_time(&outside).unwrap().block_on(async {
        let network = Network::new(SEED, Rates::default(), Arc::default());
        let place = Place {
            root: &root,
            network: &network,
            outside: &outside,
            #[cfg(feature = "bugs")]
            bug: None,
        };
        let world = World::new(&template, &place).unwrap();
        for machine in &world.machines {
            machine.start().await.unwrap();
        }
        steps(&world, template.now_ms()).await;
        for machine in &world.machines {
            machine.stop().await.unwrap();
        }
    });
}

fn code(asked: Result<Acknowledged, DeskError>) -> String {
    match asked {
        Ok(_) => "answered".to_owned(),
        Err(DeskError::Peer(error)) => error.code,
        Err(error) => panic!("{error}"),
    }
}

fn events(machine: &Machine) -> Vec<Event> {
    let reader = LogReader::open(&machine.data_dir().join("log")).unwrap();
    reader.entries(0).map(|entry| Entry::decode(&entry.unwrap().1).unwrap().event).collect()
}

#[test]
fn a_session_is_answered_once_whatever_becomes_of_its_provider() {
    in_a_calm_world(async |world, now_ms| {
        let (carrier, desk) = (&world.machines[1], &world.desk);
        desk.ask(0, KNOWN, desk.standing(0), now_ms).await.unwrap();
        assert_eq!(code(desk.replay(0, 0).await.unwrap()), "answered", "a retry has the same answer");
        // With nothing left to countersign, a start has no other reason to read the log again.
        assert_eq!(desk.countersign(0, now_ms).await.unwrap(), 1);
        for _ in 0..2 {
            carrier.stop().await.unwrap();
            carrier.start().await.unwrap();
            assert_eq!(code(desk.replay(0, 0).await.unwrap()), "SESSION_REPLAYED");
        }
        carrier.clock().jump_ms(3 * MINUTE_MS);
        let (_, redated) = desk.reuse(0, 0, KNOWN, Some(now_ms + 3 * 60_000)).await.unwrap();
        assert_eq!(code(redated), "SESSION_DATE");
        assert_eq!(code(desk.replay(0, 0).await.unwrap()), "CLOCK_SKEW");
        // Another question lets the provider forget what is too old; then its clock is put right.
        desk.ask(0, KNOWN, desk.standing(0), now_ms + 3 * 60_000).await.unwrap();
        carrier.clock().jump_ms(-3 * MINUTE_MS);
        assert_eq!(code(desk.replay(0, 1).await.unwrap()), "REQUEST_STALE");
        carrier.stop().await.unwrap();
        carrier.start().await.unwrap();
        assert_eq!(code(desk.replay(0, 1).await.unwrap()), "SESSION_REPLAYED");
    });
}

#[test]
fn a_countersignature_that_could_not_be_logged_is_not_acknowledged_when_it_comes_again() {
    in_a_calm_world(async |world, now_ms| {
        let (carrier, desk) = (&world.machines[1], &world.desk);
        desk.ask(0, KNOWN, desk.standing(0), now_ms).await.unwrap();
        carrier.ail(Mode::Full);
        for _ in 0..2 {
            assert!(desk.countersign(0, now_ms).await.is_err());
        }
        carrier.fall();
        carrier.bury().await;
        carrier.mend();
        carrier.start().await.unwrap();
        assert_eq!(desk.countersign(0, now_ms).await.unwrap(), 1);
        carrier.stop().await.unwrap();
        let told = events(carrier).iter().filter(|event| matches!(event, Event::Countersigned(_))).count();
        assert_eq!(told, 1);
    });
}

#[test]
fn a_peer_that_is_revoked_is_refused_and_that_is_held() {
    in_a_calm_world(async |world, _| {
        let ask = Operation::Ask { carrier: 0, known: KNOWN };
        let held = || world.ledger.checks().get(&Invariant::Revocation).copied().unwrap_or_default();
        assert_eq!(world.perform(ask, 0).await, "answered");
        let revoke = Operation::Revoke { requester: 1, lasting: Duration::from_secs(3) };
        let asks = async {
            // Longer than a revocation may take, and shorter than this one lasts.
            sleep(Duration::from_millis(6_500)).await;
            let before = held();
            (before, world.perform(ask, 2).await, held())
        };
        let (revoked, (before, outcome, after)) = tokio::join!(world.perform(revoke, 1), asks);
        assert_eq!((revoked.as_str(), before, after), ("renewed", 0, 1));
        assert_ne!(outcome, "answered");
        assert_eq!(world.perform(ask, 3).await, "answered");
        assert!(world.ledger.is_clean(), "{:?}", world.ledger.violations());
    });
}

#[test]
fn a_write_that_is_torn_leaves_no_answer_without_its_decision() {
    in_a_calm_world(async |world, _| {
        let bank = &world.machines[0];
        bank.up().unwrap().bank.unwrap().verify(KNOWN.inquiry(1)).await.unwrap();
        bank.stop().await.unwrap();
        let events = events(bank);
        let place = |which: fn(&Event) -> bool| events.iter().position(which).unwrap();
        let decided = place(|event| matches!(event, Event::Decided(_)));
        assert!(decided < place(|event| matches!(event, Event::Answered(_))));
    });
}

#[test]
fn a_receipt_that_comes_while_two_rounds_countersign_is_countersigned() {
    const CALLS: u64 = 24;
    in_a_calm_world(async |world, _| {
        let machine = &world.machines[0];
        let bank = machine.up().unwrap().bank.unwrap();
        let later = async |ms| sleep(Duration::from_millis(ms)).await;
        let verify = async |number| drop(bank.verify(KNOWN.inquiry(number)).await.unwrap());
        // Two rounds with the same batch, and a receipt that comes at every time before, between and after their ends.
        for lag_ms in 0..CALLS {
            verify(lag_ms).await;
            let second = async {
                later(3).await;
                bank.countersign().await;
            };
            let call = async {
                later(lag_ms).await;
                verify(CALLS + lag_ms).await;
            };
            tokio::join!(bank.countersign(), second, call);
        }
        // The last round is the stopping node's.
        machine.stop().await.unwrap();
        let events = events(machine);
        let countersigned: HashSet<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Countersigned(signed) => Some(signed.body().receipts.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        let answered = events.iter().filter_map(|event| match event {
            Event::Answered(receipt) => Some(receipt.digest()),
            _ => None,
        });
        let (with, without): (Vec<_>, Vec<_>) = answered.partition(|receipt| countersigned.contains(receipt));
        let all = usize::try_from(CALLS).unwrap() * 2 * CARRIERS.len();
        assert_eq!((with.len(), without.len()), (all, 0));
    });
}

#[test]
fn hours_do_not_pass_between_an_entry_that_is_queued_and_the_log() {
    in_a_calm_world(async |world, now_ms| {
        let (carrier, desk) = (&world.machines[1], &world.desk);
        let ask = async |now_ms| desk.ask(0, KNOWN, desk.standing(0), now_ms).await.is_ok();
        // Something is queued nearly always, and answers are logged beside it.
        let busy = async {
            let (mut before, mut after) = (0, 0);
            while after < 60 {
                carrier.admin().unwrap().issue_grant(&terms(DESK, &[Family::Phone])).unwrap();
                let at_ms = carrier.clock().now_ms();
                let answered = if at_ms < now_ms + 3_600_000 { &mut before } else { &mut after };
                *answered += u32::from(ask(at_ms).await);
                sleep(Duration::from_millis(10)).await;
            }
            before
        };
        let (passed, before) = tokio::join!(world.perform(Operation::Pass { hours: 5 }, 0), busy);
        assert_eq!((passed.as_str(), before > 0), ("done", true));
        carrier.stop().await.unwrap();
        let report = verify(&carrier.data_dir().join("log"), &VerifyOptions { vkey: None, since: None });
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    });
}

#[test]
fn a_clock_tells_whether_it_was_read_at_this_instant() {
    virtual_time(&Arc::default()).unwrap().block_on(async {
        let clock = MachineClock::new(7);
        assert!(clock.hold().is_unread());
        assert_eq!(clock.now_ms(), 7);
        assert!(!clock.hold().is_unread());
        sleep(Duration::from_millis(1)).await;
        assert!(clock.hold().is_unread());
        clock.hold().jump_ms(100);
        assert_eq!(clock.now_ms(), 108);
    });
}
