//! A carrier's days: what their files say is what is true afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use windvane_world::{Days, Subscriber, World, WorldConfig};

fn days(carrier: usize) -> Days {
    let config = WorldConfig { subscribers_per_carrier: 600, applicants: 60, ..WorldConfig::default() };
    World::generate(&config).carriers[carrier].days()
}

fn by_number(days: &Days) -> BTreeMap<String, Subscriber> {
    let mut all = BTreeMap::new();
    for subscriber in days.subscribers() {
        assert!(all.insert(subscriber.phone.clone(), subscriber).is_none(), "a number stands twice");
    }
    all
}

#[test]
fn a_days_changes_lead_from_what_was_true_to_what_is() {
    let dir = tempfile::tempdir().unwrap();
    for carrier in 0..3 {
        let mut days = days(carrier);
        let mut known = by_number(&days);
        assert_eq!(known.len(), 600);
        let mut counts = [0; 3];
        for day in 0..5 {
            let changes = days.next_day(60, &dir.path().join(format!("{day}.csv"))).unwrap();
            for change in changes {
                let phone = &change.before.as_ref().or(change.after.as_ref()).unwrap().phone;
                assert_eq!(known.get(phone), change.before.as_ref());
                let kind = match (&change.before, &change.after) {
                    (None, _) => 0,
                    (_, None) => 1,
                    _ => 2,
                };
                counts[kind] += 1;
                match change.after {
                    Some(after) => drop(known.insert(after.phone.clone(), after)),
                    None => drop(known.remove(phone)),
                }
            }
            assert_eq!(by_number(&days), known);
        }
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }
}

#[test]
fn equal_worlds_have_equal_days() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let mut days = days(1);
        let path = dir.path().join(name);
        days.next_day(50, &path).unwrap();
        days.next_day(50, &path).unwrap();
        std::fs::read(path).unwrap()
    };
    assert_eq!(write("a.csv"), write("b.csv"));
}
