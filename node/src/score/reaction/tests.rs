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
    world
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
    let before = ActiveState::load(&world.folder).unwrap();
    let alert = |repeated| Verdict::Alert { findings: found(What::Drift), repeated };
    let change = apply(&alert(false), &choice(2), &world.life(), Fallback::Rules).unwrap().unwrap();
    assert_eq!(change, Change { state: before.clone(), events: vec![model_event(&world, 2, "alert")] });
    assert_eq!(apply(&alert(true), &choice(2), &world.life(), Fallback::Rules).unwrap(), None);
    assert_eq!(apply(&Verdict::Fine, &choice(2), &world.life(), Fallback::LastGood).unwrap(), None);
    assert_eq!(ActiveState::load(&world.folder).unwrap(), before);
}

#[test]
fn a_fallback_to_rules_happens_once() {
    let world = world();
    let change = apply(&fallback(What::Drift), &choice(2), &world.life(), Fallback::Rules).unwrap().unwrap();
    assert_eq!(change.events, [model_event(&world, 2, "fallback")]);
    assert!(change.state.rules_only && ActiveState::load(&world.folder).unwrap() == change.state);
    assert_eq!(apply(&fallback(What::Drift), &choice(2), &world.life(), Fallback::Rules).unwrap(), None);
}

#[test]
fn a_fallback_to_the_last_good_model_ends_with_the_rules_when_none_is_whole() {
    let world = world();
    let change =
        apply(&fallback(What::Drift), &choice(2), &world.life(), Fallback::LastGood).unwrap().unwrap();
    assert_eq!(change.events[0], model_event(&world, 1, "fallback"));
    assert_eq!(change.state.in_use().map(|choice| choice.epoch), Some(FIRST));
    let change =
        apply(&fallback(What::Undecodable), &choice(1), &world.life(), Fallback::LastGood).unwrap().unwrap();
    assert_eq!((change.state.in_use(), change.state.rules_only), (None, true));
}

#[test]
fn a_standby_that_was_altered_is_not_fallen_back_to() {
    let world = world();
    alter(&world.file(FIRST, "table"), 5);
    let change =
        apply(&fallback(What::Drift), &choice(2), &world.life(), Fallback::LastGood).unwrap().unwrap();
    assert_eq!(change.events, [model_event(&world, 2, "fallback")]);
    assert!(change.state.rules_only);
}

#[test]
fn providers_that_do_not_answer_are_no_reason_for_an_earlier_model() {
    let world = world();
    let change =
        apply(&fallback(What::Unavailable), &choice(2), &world.life(), Fallback::LastGood).unwrap().unwrap();
    assert!(change.state.rules_only);
    assert_eq!(change.state.active.map(|choice| choice.epoch), Some(FIRST + 1));
}

#[test]
fn a_verdict_on_what_is_no_longer_in_use_does_nothing() {
    let world = world();
    let before = ActiveState::load(&world.folder).unwrap();
    let alert = Verdict::Alert { findings: found(What::Drift), repeated: false };
    for verdict in [alert, fallback(What::Drift)] {
        assert_eq!(apply(&verdict, &choice(1), &world.life(), Fallback::LastGood).unwrap(), None);
    }
    assert_eq!(ActiveState::load(&world.folder).unwrap(), before);
}
