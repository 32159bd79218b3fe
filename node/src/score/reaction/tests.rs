//! Verdicts carried out on a group that is really set up.

use super::*;
use crate::score::test_world::{FIRST, World, alter, card};
use windvane_protocols::audit::entry::Event;

fn found(what: What) -> Vec<Finding> {
    vec![Finding { what, found: 0.3, limit: 0.25 }]
}

fn fallback(what: What) -> Verdict {
    Verdict::Fallback { findings: found(what) }
}

/// `fraud-1` or `fraud-2` in its epoch.
fn choice(number: u64) -> Choice {
    Choice { epoch: FIRST + number - 1, model: format!("fraud-{number}") }
}

/// The bank with `fraud-1` as standby and `fraud-2` active.
fn world() -> World {
    let world = World::bank().with_models();
    world.life().activate(FIRST, "fraud-1", "carol").unwrap();
    world.life().activate(FIRST + 1, "fraud-2", "carol").unwrap();
    world.told();
    world
}

fn state(world: &World) -> ActiveState {
    ActiveState::load(&world.folder).unwrap()
}

/// Carries a verdict on `fraud-1` or `fraud-2` out.
fn carried_out(world: &World, verdict: &Verdict, number: u64, with: Fallback) {
    apply(verdict, &choice(number), &world.life(), with).unwrap();
}

fn model_event(world: &World, number: u64, action: &str) -> Event {
    Event::ScoreModel {
        group: world.folder.group().clone(),
        model: card(number).digest(),
        action: action.to_owned(),
        by: "monitor".to_owned(),
    }
}

#[test]
fn an_alert_is_told_once_and_changes_nothing() {
    let world = world();
    let before = state(&world);
    let alert = |repeated| Verdict::Alert { findings: found(What::Drift), repeated };
    carried_out(&world, &alert(false), 2, Fallback::Rules);
    assert_eq!(world.told(), [model_event(&world, 2, "alert")]);
    carried_out(&world, &alert(true), 2, Fallback::Rules);
    carried_out(&world, &Verdict::Fine, 2, Fallback::LastGood);
    assert_eq!((world.told(), state(&world)), (vec![], before));
}

#[test]
fn a_fallback_to_rules_happens_once() {
    let world = world();
    carried_out(&world, &fallback(What::Drift), 2, Fallback::Rules);
    assert_eq!(world.told(), [model_event(&world, 2, "fallback")]);
    let after = state(&world);
    assert!(after.rules_only);
    carried_out(&world, &fallback(What::Drift), 2, Fallback::Rules);
    assert_eq!((world.told(), state(&world)), (vec![], after));
}

#[test]
fn a_fallback_to_the_last_good_model_ends_with_the_rules_when_none_is_whole() {
    let world = world();
    carried_out(&world, &fallback(What::Drift), 2, Fallback::LastGood);
    assert_eq!(world.told()[0], model_event(&world, 1, "fallback"));
    assert_eq!(state(&world).in_use().map(|choice| choice.epoch), Some(FIRST));
    carried_out(&world, &fallback(What::Undecodable), 1, Fallback::LastGood);
    assert_eq!((state(&world).in_use(), state(&world).rules_only), (None, true));
}

#[test]
fn a_standby_that_was_altered_is_not_fallen_back_to() {
    let world = world();
    alter(&world.file(FIRST, "table"), 5);
    carried_out(&world, &fallback(What::Drift), 2, Fallback::LastGood);
    assert_eq!(world.told(), [model_event(&world, 2, "fallback")]);
    assert!(state(&world).rules_only);
}

#[test]
fn providers_that_do_not_answer_are_no_reason_for_an_earlier_model() {
    let world = world();
    carried_out(&world, &fallback(What::Unavailable), 2, Fallback::LastGood);
    assert!(state(&world).rules_only);
    assert_eq!(state(&world).active.map(|choice| choice.epoch), Some(FIRST + 1));
}

#[test]
fn a_verdict_on_what_is_no_longer_in_use_does_nothing() {
    let world = world();
    let before = state(&world);
    let alert = Verdict::Alert { findings: found(What::Drift), repeated: false };
    for verdict in [alert, fallback(What::Drift)] {
        carried_out(&world, &verdict, 1, Fallback::LastGood);
    }
    assert_eq!((world.told(), state(&world)), (vec![], before));
}

#[test]
fn a_fallback_that_could_not_be_told_is_told_with_the_next_one() {
    let world = world();
    let verdict = fallback(What::Drift);
    let told = world.while_nothing_is_told(|| apply(&verdict, &choice(2), &world.life(), Fallback::LastGood));
    assert!(matches!(told, Err(ActivationError::Store(_))));
    assert_eq!(state(&world).in_use(), Some(&choice(1)), "what was found wanting is out of use nevertheless");
    // The node has not heard of it, and its next window still is of the second model.
    carried_out(&world, &verdict, 2, Fallback::LastGood);
    assert_eq!(world.told()[0], model_event(&world, 1, "fallback"));
    assert_eq!(state(&world).in_use(), Some(&choice(1)));
}
