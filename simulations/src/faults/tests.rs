use std::sync::Arc;

use super::command::simulate;
use super::ledger::Invariant;
use super::net::{Counts, Rates};
use super::report::Report;
use super::run::{Plan, run};
use super::template::Template;

mod mended;

/// The first seed of all tests but one.
const SEED: u64 = 7_000;

/// A seed whose first hundreds of operations revoke a requester, so that it calls when it must be refused. It and the next
/// have all kinds of operations between them.
const REVOKING: u64 = 7_164;

fn plan(seed: u64, operations: u64) -> Plan {
    Plan {
        seed,
        operations,
        rates: Rates::ROUGH,
        accidents: true,
        #[cfg(feature = "bugs")]
        bug: None,
    }
}

fn simulated(plans: impl Iterator<Item = Plan>) -> Report {
    simulate(plans, &mut |_| ()).unwrap()
}

#[test]
fn a_seed_without_accidents_has_the_same_trace_twice_and_another_seed_another() {
    let template = Template::make().unwrap();
    let ran = |seed| {
        let plan = Plan { rates: Rates::default(), accidents: false, ..plan(seed, 300) };
        let ran = run(&template, &plan, &Arc::<Counts>::default()).unwrap();
        assert!(ran.violations.is_empty(), "{:#?}", ran.violations);
        ran.trace
    };
    let trace = ran(SEED);
    assert_eq!(ran(SEED), trace);
    assert_ne!(ran(SEED + 1), trace);
}

#[test]
fn every_invariant_holds_on_bad_days() {
    let report = simulated((0..2).map(|i| plan(REVOKING + i, 2_000)));
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.operations >= 4_000, "{report}");
    // Otherwise nothing was held.
    for kind in ["verify", "ask", "burst", "replay", "tail", "fall", "change", "rotate", "renew", "revoke"] {
        assert!(report.by_kind.get(kind).is_some_and(|count| *count > 0), "no {kind}: {report}");
    }
    for invariant in Invariant::ALL {
        assert!(report.checks[&invariant] > 0, "{invariant:?} was never held: {report}");
    }
    for fault in ["delayed", "corrupted", "cut"] {
        assert!(report.network[fault] > 0, "nothing was {fault}: {report}");
    }
    assert!(report.outcomes["answered"] > 500 && report.outcomes["match"] > 100, "{report}");
}

#[cfg(feature = "bugs")]
mod bugs {
    use windvane::faults::Bug;

    use super::*;

    /// The invariants that do not hold under a bug, within 10,000 operations.
    #[expect(clippy::print_stdout, reason = "how soon a bug was found is shown with --nocapture")]
    fn found(bug: Bug) -> Vec<Invariant> {
        let report = simulated((0..5).map(|i| Plan { bug: Some(bug), ..plan(SEED + i, 2_000) }));
        println!("{bug:?} after {} operations: {:?}", report.operations, report.violations.first());
        report.violations.iter().map(|failed| failed.violation.invariant).collect()
    }

    #[test]
    fn a_quota_that_is_counted_after_the_reply_is_found() {
        assert!(found(Bug::QuotaAfterReply).contains(&Invariant::Quota));
    }

    #[test]
    fn an_entry_that_is_written_after_the_reply_is_found() {
        assert!(found(Bug::LogAfterReply).contains(&Invariant::Acknowledged));
    }

    #[test]
    fn a_task_that_panics_is_found_and_the_report_says_how_again() {
        let report = simulated(std::iter::once(Plan { bug: Some(Bug::PanicAfterReply), ..plan(SEED, 500) }));
        let Some(failed) = report.violations.iter().find(|f| f.violation.invariant == Invariant::Panics)
        else {
            panic!("{report}")
        };
        assert!(failed.violation.text.contains("a deliberate bug"), "{}", failed.violation.text);
        assert_eq!(
            failed.again,
            format!("faults --seed {SEED} --seeds 1 --operations 500 --bug panic-after-reply")
        );
    }

    #[test]
    fn a_delta_that_reuses_a_publication_id_is_found() {
        assert!(found(Bug::PublicationIdReused).contains(&Invariant::Publications));
    }
}
