//! Every message that each process received in a training, held against what it may learn.
//!
//! The recordings alone are looked at, with what no single party has: the bank's seed, and everybody's tables. What a
//! provider received is exactly the list, ciphertexts that are the seed's, decisions about its own unit's trees, what its
//! unit agreed on, its own unit's scale, and a card. What the bank decrypts is exactly sums over real rows of groups that
//! are large enough, in both children, and of rows, for each block and for the parts behind them, the sum over all
//! providers. Then recordings are forged, and what was forged is found.

use std::collections::{HashMap, HashSet};

use tokio::sync::OnceCell;
use windvane::train::sample::Kind;
use windvane_protocols::train::tree::Tree;

use super::World;
use crate::recorder::{Call, Recording};

mod answered;
mod clear;
mod forged;
mod received;
mod scaled;
mod seen;
mod shown;
mod truth;

use clear::Clear;
use seen::Seen;
use truth::{Told, Truth};

/// Calls by provider.
type Calls = HashMap<&'static str, Vec<Call>>;

/// A training, and all that passed in it.
struct Recorded {
    truth: Truth,
    clear: Clear,
    calls: Calls,
}

/// One training for all tests.
async fn recorded() -> &'static Recorded {
    static RECORDED: OnceCell<Recorded> = OnceCell::const_new();
    RECORDED.get_or_init(record).await
}

async fn record() -> Recorded {
    let mut world = World::new().await;
    let (mut recordings, mut addresses) = (HashMap::new(), world.addresses());
    for (name, address) in &mut addresses {
        let (recording, relay) = Recording::beside(&world.providers[name].0, &world.bank, *address).await;
        recordings.insert(*name, recording);
        *address = relay;
    }
    world.know(&addresses, "");
    let plan = world.plan("recorded");
    let training = world.begun(&plan);
    let report = world.go_on(training).await.unwrap();
    let truth = Truth::of(&world, training, &plan, &report);
    let calls = recordings.into_iter().map(|(name, recording)| (name, recording.calls())).collect();
    Recorded { clear: Clear::of(&truth), truth, calls }
}

/// Everything that is wrong with what providers received.
fn providers(recorded: &Recorded, calls: &Calls) -> Vec<String> {
    let (seen, mut findings) = all_seen(calls);
    let seen = by_name(&seen);
    for member in &recorded.truth.members {
        let found = received::received(&recorded.truth, member, &seen).into_iter();
        let found = found.chain(recorded.clear.search_calls(&calls[member.name]));
        findings.extend(found.map(|what| format!("{}: {what}", member.name)));
    }
    findings
}

/// Everything that is wrong with what the bank received of trees.
fn trees(recorded: &Recorded, calls: &Calls) -> Vec<String> {
    let truth = &recorded.truth;
    let (seen, mut findings) = all_seen(calls);
    let seen = by_name(&seen);
    for unit in 0..truth.trees.len() {
        findings.extend(shown::shown(truth, unit, &seen));
    }
    let repeat = truth.members.iter().filter(|member| answered::sums_repeat(truth, seen[member.name]));
    findings.extend(repeat.map(|member| format!("{}: two sums under one mask", member.name)));
    findings
}

/// Everything that is wrong with what it received of rows.
fn rows(recorded: &Recorded, calls: &Calls) -> Vec<String> {
    recorded.truth.all_told().flat_map(|told| rows_of(told, recorded, calls)).collect()
}

fn rows_of(told: Told, recorded: &Recorded, calls: &Calls) -> Vec<String> {
    let (seen, mut findings) = all_seen(calls);
    findings.extend(answered::told(&recorded.truth, told, &by_name(&seen)));
    findings
}

/// Everything that is wrong with the records and digests that it received.
fn records(recorded: &Recorded, calls: &Calls) -> Vec<String> {
    let (seen, mut findings) = all_seen(calls);
    let members = recorded.truth.members.iter();
    findings.extend(members.flat_map(|m| answered::records(&recorded.truth, m, &seen[m.name])));
    findings
}

fn all_seen(calls: &Calls) -> (HashMap<&'static str, Vec<Seen>>, Vec<String>) {
    let (mut all, mut findings) = (HashMap::new(), Vec::new());
    for (name, calls) in calls {
        let (seen, wrong) = seen::seen(calls);
        all.insert(*name, seen);
        findings.extend(wrong.into_iter().map(|what| format!("{name}: {what}")));
    }
    (all, findings)
}

fn by_name<'a>(seen: &'a HashMap<&'static str, Vec<Seen>>) -> HashMap<&'a str, &'a [Seen]> {
    seen.iter().map(|(name, seen)| (*name, seen.as_slice())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_provider_sees_a_label_a_residual_or_which_rows_are_real() {
    let recorded = recorded().await;
    assert_eq!(providers(recorded, &recorded.calls), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_sees_no_small_group_no_single_providers_row_and_nothing_of_decoys() {
    let recorded = recorded().await;
    for check in [trees, rows, records] {
        assert_eq!(check(recorded, &recorded.calls), [""; 0]);
    }
    // There was something to see: levels below roots, and rows to which two providers add, of the bank's and of decoys.
    let truth = &recorded.truth;
    let deep = |tree: &Tree| truth::levels(tree, truth.charter.hyperparameters.depth).len() > 1;
    assert!(truth.trees.iter().all(|blocks| blocks.iter().flatten().any(deep)));
    for told in truth.all_told() {
        let add = |row: &usize| truth.members.iter().filter(|member| member.told(told, *row) != 0).count();
        let rows: Vec<_> = (0..truth.positions.len()).filter(|row| add(row) > 1).collect();
        let real = rows.iter().filter(|row| truth.kinds[**row] != Kind::Decoy).count();
        assert!(real > 100 && rows.len() - real > 100, "{told}: {real} of {}", rows.len());
    }
    // Parts are of many values, under scales that differ.
    let sums: HashSet<_> = (0..truth.positions.len()).map(|row| truth.told(Told::Parts, row)).collect();
    assert!(sums.len() > 20 && truth.scales[0] != truth.scales[1], "{sums:?}, {:?}", truth.scales);
}
