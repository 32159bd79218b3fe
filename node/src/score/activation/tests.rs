//! Activation, rollback and retirement on a group that is really set up.

use std::cell::Cell;
use std::fs;

use super::*;
use crate::score::test_world::{FIRST, NOW_MS, Standing, World, alter, card, described, plan};
use windvane_keys::symmetric::StorageKey;

const SECOND: u64 = FIRST + 1;

fn choice(epoch: u64) -> Choice {
    Choice { epoch, model: card(epoch + 1 - FIRST).name().to_owned() }
}

impl World {
    fn activate(&self, epoch: u64) -> Result<ActiveState, ActivationError> {
        self.life().activate(epoch, &choice(epoch).model, "carol")
    }

    /// `fraud-1` and then `fraud-2` active.
    fn with_both(self) -> Self {
        self.activate(FIRST).unwrap();
        self.activate(SECOND).unwrap();
        self.told();
        self
    }

    fn state(&self) -> ActiveState {
        ActiveState::load(&self.folder).unwrap()
    }

    fn retire(&self, epoch: u64) -> Result<ActiveState, ActivationError> {
        self.life().retire(epoch, "carol", || Ok(()))
    }
}

/// What waits for the log, in words.
fn told(world: &World) -> Vec<String> {
    let word = |event: &Event| match event {
        Event::ScoreModel { model, action, by, .. } => {
            let number = if *model == card(1).digest() { 1 } else { 2 };
            format!("fraud-{number} {action} by {by}")
        }
        Event::ScoreEpoch { epoch, state, .. } => format!("{epoch} {state}"),
        other => panic!("{other:?}"),
    };
    world.told().iter().map(word).collect()
}

#[test]
fn what_is_whole_and_approved_becomes_active_and_what_was_before_is_a_standby() {
    let world = World::bank().with_models();
    assert_eq!(world.state(), ActiveState::default());
    world.activate(FIRST).unwrap();
    assert_eq!(told(&world), ["fraud-1 activated by carol", "3 active"]);
    let state = world.activate(SECOND).unwrap();
    assert_eq!(told(&world), ["fraud-2 activated by carol", "4 active", "3 standby"]);
    let expected =
        ActiveState { active: Some(choice(SECOND)), previous: vec![choice(FIRST)], ..ActiveState::default() };
    assert_eq!((state, world.state()), (expected.clone(), expected));
    let activations = world.registry().open("fraud-2").unwrap().record().activations.clone();
    assert_eq!(activations.iter().map(|it| (it.epoch, it.at_ms)).collect::<Vec<_>>(), [(SECOND, NOW_MS)]);
}

#[test]
fn an_activation_that_is_repeated_changes_nothing_and_is_told_again() {
    let world = World::bank().with_models().with_both();
    let before = world.state();
    world.activate(SECOND).unwrap();
    assert_eq!(told(&world), ["fraud-2 activated by carol", "4 active"]);
    assert_eq!(world.state(), before);
    assert_eq!(world.registry().open("fraud-2").unwrap().record().activations.len(), 1);
}

#[test]
fn an_activation_needs_every_file_of_the_epoch() {
    for (file, code) in [
        ("evidence", "SCORE_EPOCH_UNFINISHED"),
        ("table", "SCORE_TABLE_MISSING"),
        ("sum-root", "SCORE_TABLE_MISSING"),
        ("manifests/carrier-a", "SCORE_TABLE_MISSING"),
        ("manifests/carrier-b", "SCORE_TABLE_MISSING"),
    ] {
        let world = World::bank().with_models();
        fs::remove_file(world.file(FIRST, file)).unwrap();
        assert_eq!(world.activate(FIRST).unwrap_err().code(), code, "{file}");
        assert_eq!(world.state(), ActiveState::default());
    }
}

#[test]
fn an_altered_file_of_the_epoch_is_found() {
    for (file, at, code) in [
        ("evidence", 2_000, "SCORE_"),
        ("table", 0, "SCORE_TABLE_DAMAGED"),
        ("table", 319_999, "SCORE_TABLE_DAMAGED"),
        ("sum-root", 250, "SCORE_"),
        ("manifests/carrier-b", 400, "SCORE_MANIFEST_INVALID"),
    ] {
        let world = World::bank().with_models();
        alter(&world.file(FIRST, file), at);
        let error = world.activate(FIRST).unwrap_err();
        assert!(error.code().starts_with(code), "{file}: {}", error.code());
    }
    let world = World::bank().with_models();
    let table = fs::read(world.file(FIRST, "table")).unwrap();
    write_private(&world.file(FIRST, "table"), &table[..table.len() - 1]).unwrap();
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "SCORE_TABLE_DAMAGED");
}

#[test]
fn the_evidence_of_another_epoch_or_under_other_pins_is_refused() {
    let world = World::bank().with_models();
    fs::copy(world.file(SECOND, "evidence"), world.file(FIRST, "evidence")).unwrap();
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "SCORE_EVIDENCE_INVALID");
    let world = World::bank().with_models();
    plan(FIRST, 9).store_for(&world.folder, FIRST).unwrap();
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "SCORE_EVIDENCE_INVALID");
}

#[test]
fn only_the_approved_model_of_the_epochs_terms_becomes_active() {
    let world = World::bank();
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "MODEL_UNKNOWN");
    let add = |number, key: &StorageKey| {
        world.registry().add(&card(number), None, &described("alice"), key, NOW_MS).unwrap();
    };
    add(1, &world.key);
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "MODEL_NOT_APPROVED");
    add(2, &world.key);
    world.registry().approve("fraud-2", "bob", NOW_MS).unwrap();
    let error = world.life().activate(FIRST, "fraud-2", "carol").unwrap_err();
    assert_eq!(error.code(), "SCORE_MODEL_MISMATCH");
    world.registry().approve("fraud-1", "bob", NOW_MS).unwrap();
    alter(&world.folder.join("models/fraud-1/card"), 60);
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "MODEL_CHANGED");
    assert_eq!(world.life().activate(FIRST, "fraud-1", "ca rol").unwrap_err().code(), "MODEL_INVALID");
    assert_eq!(world.state(), ActiveState::default());
}

#[test]
fn a_provider_does_not_choose_and_two_commands_do_not_choose_at_once() {
    let world = World::of("carrier-a").with_models();
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "SCORE_NOT_BANK");
    let world = World::bank().with_models();
    let _held = world.folder.lock().unwrap();
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "SCORE_BUSY");
}

#[test]
fn a_rollback_goes_to_the_table_that_is_there_byte_for_byte() {
    let world = World::bank().with_models().with_both();
    let table = fs::read(world.file(FIRST, "table")).unwrap();
    world.life().rollback(SECOND, "dave").unwrap();
    assert_eq!(told(&world), ["fraud-1 rolled back by dave", "3 active", "4 standby"]);
    let expected = ActiveState { active: Some(choice(FIRST)), left: Some(SECOND), ..ActiveState::default() };
    assert_eq!(world.state(), expected);
    assert_eq!(fs::read(world.file(FIRST, "table")).unwrap(), table);
}

#[test]
fn a_rollback_to_an_altered_table_is_refused_and_says_what_to_do() {
    let world = World::bank().with_models().with_both();
    let before = world.state();
    alter(&world.file(FIRST, "table"), 123_456);
    let error = world.life().rollback(SECOND, "dave").unwrap_err();
    assert_eq!(error.code(), "SCORE_NO_STANDBY");
    let text = error.to_string();
    for command in ["score setup", "score publish --group joint-risk --model fraud-1", "score activate"] {
        assert!(text.contains(command), "{text}");
    }
    assert_eq!(world.state(), before);
    alter(&world.file(FIRST, "table"), 123_456);
    world.life().rollback(SECOND, "dave").unwrap();
    assert_eq!(world.life().rollback(FIRST, "dave").unwrap_err().code(), "SCORE_NO_STANDBY");
}

#[test]
fn a_rollback_skips_what_is_not_whole() {
    let world = World::bank().with_models().with_both();
    world.activate(FIRST).unwrap();
    assert_eq!(world.state().previous, [choice(SECOND)]);
    let mut state = world.state();
    state.previous = vec![choice(SECOND), Choice { epoch: 9, model: "fraud-1".to_owned() }];
    state.store(&world.folder).unwrap();
    assert_eq!(world.life().rollback(FIRST, "dave").unwrap().active, Some(choice(SECOND)));
}

#[test]
fn a_step_back_that_cannot_be_stored_passes_over_nothing() {
    let world = World::bank().with_models().with_both();
    // A directory in the place of the file that is renamed to the state, as a disk that takes nothing.
    let blocked = world.folder.join("state.tmp");
    fs::create_dir(&blocked).unwrap();
    assert_eq!(world.life().rollback(SECOND, "dave").unwrap_err().code(), "FILE_IO");
    fs::remove_dir(&blocked).unwrap();
    assert_eq!((world.state().active, told(&world)), (Some(choice(SECOND)), vec![]));
    assert_eq!(world.life().rollback(SECOND, "dave").unwrap().active, Some(choice(FIRST)));
    assert_eq!(told(&world), BACK);
}

#[test]
fn a_change_on_top_of_one_that_is_not_told_yet_leaves_both_for_the_log() {
    let world = World::bank().with_models().with_both();
    world.life().step_back("fallback", MONITOR).unwrap();
    // As where the monitor could not tell whether its step back was stored.
    world.life().stop_scoring(MONITOR).unwrap();
    world.life().tell_what_is_left().unwrap();
    let back = ["fraud-1 fallback by monitor", "3 active", "4 standby"];
    assert_eq!(told(&world), [&back[..], &["fraud-1 fallback by monitor"]].concat());
    assert_eq!(world.state().in_use(), None);
}

#[test]
fn rules_alone_decide_until_the_next_activation_or_rollback() {
    let world = World::bank().with_models();
    assert_eq!(world.life().rules_only("dave").unwrap_err().code(), "SCORE_NOT_ACTIVE");
    let world = world.with_both();
    world.life().rules_only("dave").unwrap();
    assert_eq!(told(&world), ["fraud-2 fallback by dave"]);
    assert_eq!((world.state().active, world.state().in_use()), (Some(choice(SECOND)), None));
    assert_eq!(world.activate(SECOND).unwrap().in_use(), Some(&choice(SECOND)));
    world.life().rules_only("dave").unwrap();
    assert_eq!(world.life().rollback(SECOND, "dave").unwrap().in_use(), Some(&choice(FIRST)));
}

#[test]
fn rules_alone_can_decide_when_the_model_is_damaged() {
    let world = World::bank().with_models().with_both();
    alter(&world.folder.join("models/fraud-2/card"), 60);
    world.life().rules_only("dave").unwrap();
    assert_eq!(told(&world), ["fraud-2 fallback by dave"]);
}

#[test]
fn an_epoch_in_use_is_not_retired_and_a_retired_one_does_not_come_back() {
    let world = World::bank().with_models().with_both();
    let error = world.retire(SECOND).unwrap_err();
    assert_eq!(error.code(), "SCORE_EPOCH_ACTIVE");
    assert!(error.to_string().contains("score rollback"), "{error}");
    assert!(!world.folder.epoch(SECOND).is_retired() && world.file(SECOND, "table").exists());
    world.retire(FIRST).unwrap();
    assert_eq!(told(&world), ["fraud-1 retired by carol", "3 retired"]);
    assert!(world.folder.epoch(FIRST).is_retired() && !world.file(FIRST, "table").exists());
    assert!(world.file(FIRST, "evidence").exists() && world.file(FIRST, "manifests/carrier-a").exists());
    assert_eq!(world.state().previous, []);
    assert_eq!(world.activate(FIRST).unwrap_err().code(), "SCORE_EPOCH_RETIRED");
    assert_eq!(world.life().rollback(SECOND, "dave").unwrap_err().code(), "SCORE_NO_STANDBY");
    world.life().rules_only("dave").unwrap();
    assert_eq!(world.retire(SECOND).unwrap(), ActiveState { rules_only: true, ..Default::default() });
}

#[test]
fn an_epoch_is_not_retired_while_its_table_is_made() {
    let world = World::of("carrier-a");
    let made = DirectoryLock::try_acquire(world.folder.epoch(FIRST).path()).unwrap().unwrap();
    assert_eq!(world.retire(FIRST).unwrap_err().code(), "SCORE_BUSY");
    assert!(!world.folder.epoch(FIRST).is_retired() && world.file(FIRST, "table").exists());
    drop(made);
    world.retire(FIRST).unwrap();
    assert!(world.folder.epoch(FIRST).is_retired());
}

#[test]
fn a_provider_destroys_its_keys_after_the_mark_and_repeats_what_was_interrupted() {
    let world = World::of("carrier-a");
    fs::write(world.file(FIRST, "table.tmp"), b"half a table").unwrap();
    let marked = Cell::new(false);
    let interrupted = world.life().retire(FIRST, "carol", || {
        marked.set(world.folder.epoch(FIRST).is_retired());
        Err(StoreError::Missing { purpose: windvane_keys::record::Purpose::Storage })
    });
    assert_eq!(interrupted.unwrap_err().code(), "KEY_MISSING");
    assert!(marked.get() && world.file(FIRST, "table").exists());
    let calls = Cell::new(0);
    for _ in 0..2 {
        let destroy = || {
            calls.set(calls.get() + 1);
            Ok(())
        };
        world.life().retire(FIRST, "carol", destroy).unwrap();
        assert_eq!(told(&world).len(), 2, "an entry that was not queued is queued by the repetition");
    }
    assert_eq!(calls.get(), 2);
    assert!(!world.file(FIRST, "table").exists() && !world.file(FIRST, "table.tmp").exists());
    assert_eq!(world.retire(9).unwrap_err().code(), "SCORE_EPOCH_UNFINISHED");
}

#[test]
fn a_state_with_unknown_fields_or_entries_is_damaged() {
    let world = World::bank();
    for more in ["\"rules\":true", "\"rules_only\":false,\"pending\":[\"00\"]"] {
        let state = format!("{{\"active\":null,\"previous\":[],{more}}}");
        write_private(&world.folder.join("state"), state.as_bytes()).unwrap();
        assert_eq!(ActiveState::load(&world.folder).unwrap_err().code(), "SCORE_STATE_DAMAGED", "{more}");
    }
}

/// What the log is to have of a rollback by dave to `fraud-1`.
const BACK: [&str; 3] = ["fraud-1 rolled back by dave", "3 active", "4 standby"];

#[test]
fn a_rollback_goes_back_once_however_often_it_is_interrupted_told_of_and_repeated() {
    let world = World::bank().with_models().with_both();
    // From the first once more, so that a second step back would find one.
    let mut state = world.state();
    state.previous.insert(0, choice(SECOND));
    state.store(&world.folder).unwrap();
    world.life().step_back("rolled back", "dave").unwrap();
    let stored = fs::read(world.folder.join("state")).unwrap();
    assert_eq!(told(&world), Vec::<String>::new());
    let state = world.life().rollback(SECOND, "erin").unwrap();
    assert_eq!((state.active.as_ref(), state.left), (Some(&choice(FIRST)), Some(SECOND)));
    assert_eq!((world.state(), told(&world)), (state.clone(), BACK.map(str::to_owned).to_vec()));
    // Killed once more, after the entries were queued; and told of by a node before it is repeated.
    write_private(&world.folder.join("state"), &stored).unwrap();
    assert_eq!(world.life().rollback(SECOND, "erin").unwrap(), state);
    assert_eq!(told(&world), BACK);
    write_private(&world.folder.join("state"), &stored).unwrap();
    world.life().tell_what_is_left().unwrap();
    world.told();
    for _ in 0..2 {
        assert_eq!(world.life().rollback(SECOND, "erin").unwrap(), state);
        assert_eq!(told(&world), Vec::<String>::new());
    }
    assert_eq!(world.life().rollback(FIRST, "erin").unwrap().active, Some(choice(SECOND)));
}

#[test]
fn a_rollback_leaves_the_epoch_that_it_names_and_no_other() {
    let world = World::bank().with_models();
    assert_eq!(world.life().rollback(FIRST, "dave").unwrap_err().code(), "SCORE_NOT_ACTIVE");
    let world = world.with_both();
    let before = world.state();
    let error = world.life().rollback(FIRST, "dave").unwrap_err();
    assert_eq!(error.code(), "SCORE_EPOCH_NOT_ACTIVE");
    assert!(error.to_string().contains("score rollback --group joint-risk --from 4 --by NAME"), "{error}");
    assert_eq!(world.state(), before);
    world.life().rollback(SECOND, "dave").unwrap();
    // Once it was activated again it was not left.
    world.activate(SECOND).unwrap();
    world.activate(FIRST).unwrap();
    assert_eq!(world.life().rollback(SECOND, "dave").unwrap_err().code(), "SCORE_EPOCH_NOT_ACTIVE");
}

#[test]
fn what_the_monitor_left_a_person_does_not_leave_once_more() {
    let world = World::bank().with_models().with_both();
    world.life().step_back("fallback", MONITOR).unwrap();
    let state = world.life().rollback(SECOND, "dave").unwrap();
    assert_eq!(state.active, Some(choice(FIRST)));
    assert_eq!(told(&world), ["fraud-1 fallback by monitor", "3 active", "4 standby"]);
}

#[test]
fn what_an_interrupted_change_left_is_told_before_the_next() {
    let world = World::bank().with_models();
    world.activate(FIRST).unwrap();
    world.told();
    world.life().choose(choice(SECOND), "activated", "carol", ActiveState::with).unwrap();
    world.activate(SECOND).unwrap();
    let once = ["fraud-2 activated by carol", "4 active", "3 standby"];
    assert_eq!(told(&world), [&once[..], &once[..2]].concat());
    world.life().stop_scoring("dave").unwrap();
    world.life().rollback(SECOND, "erin").unwrap();
    let back = ["fraud-1 rolled back by erin", "3 active", "4 standby"];
    assert_eq!(told(&world), [&["fraud-2 fallback by dave"][..], &back].concat());
}

#[test]
fn what_is_told_late_has_the_time_at_which_it_is_told() {
    let world = World::bank().with_models().with_both();
    world.life().stop_scoring("dave").unwrap();
    Lifecycle { clock: &Standing(NOW_MS + 1_000_000), ..world.life() }.tell_what_is_left().unwrap();
    let waiting = world.store.outbox().unwrap();
    let [(_, entry)] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!(Entry::decode(entry).unwrap().at_ms, NOW_MS + 1_000_000, "a log's times do not go back");
}

#[test]
fn what_is_left_is_told_by_whoever_finds_it_and_not_while_another_holds_the_group() {
    let world = World::bank().with_models().with_both();
    world.life().step_back("rolled back", "dave").unwrap();
    let held = world.folder.lock().unwrap();
    world.life().tell_what_is_left().unwrap();
    assert_eq!(told(&world), Vec::<String>::new());
    drop(held);
    for expected in [&BACK[..], &[]] {
        world.life().tell_what_is_left().unwrap();
        assert_eq!(told(&world), expected);
    }
    assert_eq!(world.state().active, Some(choice(FIRST)));
}

#[test]
fn where_nothing_can_be_queued_what_changed_is_told_later_and_nothing_changes_before() {
    let world = World::bank().with_models().with_both();
    world.while_nothing_is_told(|| {
        assert!(matches!(world.life().rollback(SECOND, "dave"), Err(ActivationError::Store(_))));
        assert!(matches!(world.activate(SECOND), Err(ActivationError::Store(_))));
    });
    assert_eq!(world.state().active, Some(choice(FIRST)));
    world.life().rollback(SECOND, "dave").unwrap();
    assert_eq!(told(&world), BACK);
}
