//! What a bank that is restored scores with.

use windvane::score::plan::GroupPlan;

use super::calls::{Scored, activate, group, publish};
use crate::backup::restored;

/// A bank whose second epoch is active, with a backup in `backups`.
async fn backed_up() -> Scored {
    let scored = Scored::new(2, 2, 1).await;
    let plan = GroupPlan::load(&scored.lab.dir.path().join("group.toml")).unwrap();
    assert_eq!(scored.bank.admin.score_setup(&plan, None, &()).await.unwrap().epoch, 2);
    for (i, (provider, node)) in scored.providers.iter().enumerate() {
        publish(&scored.lab, provider, i, scored.segments);
        provider.taken_over_by(node).await;
    }
    activate(&scored.lab, &scored.bank, 2).await;
    scored.bank.taken_over_by(&scored.bank_node).await;
    scored.bank_node.log().publish().await.unwrap();
    let to = scored.lab.dir.path().join("backups");
    tokio::task::block_in_place(|| scored.bank.admin.back_up(&to, None, &|_, _| ())).unwrap();
    scored
}

/// The epochs that a restored bank has as active and before, and what its operator is told of the choice.
async fn after_a_restore(scored: Scored) -> (Option<u64>, Vec<u64>, Vec<String>) {
    let Scored { lab, bank, bank_node, providers, .. } = scored;
    bank.taken_over_by(&bank_node).await;
    bank_node.stop().await.unwrap();
    for (_, node) in providers {
        node.stop().await.unwrap();
    }
    let (from, to) = (lab.dir.path().join("backups"), lab.dir.path().join("restored"));
    let (report, _) = tokio::task::block_in_place(|| restored(&lab, &bank, &from, &to));
    let state = std::fs::read(to.join("score/joint-risk/state")).unwrap_or_else(|_| b"{}".to_vec());
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let previous = state["previous"].as_array().into_iter().flatten();
    let notes = report.notes.into_iter().filter(|note| note.contains("choice of model"));
    (
        state["active"]["epoch"].as_u64(),
        previous.filter_map(|choice| choice["epoch"].as_u64()).collect(),
        notes.collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_keeps_the_choice_that_the_end_of_another_epoch_left_alone() {
    let scored = backed_up().await;
    scored.bank.admin.retire_score(&group(), 1, "carol").unwrap();
    assert_eq!(after_a_restore(scored).await, (Some(2), vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_forgets_a_choice_that_was_changed_and_says_how_to_make_it_again() {
    let scored = backed_up().await;
    scored.bank.admin.roll_back_score(&group(), 2, "dave").unwrap();
    let (active, previous, notes) = after_a_restore(scored).await;
    assert_eq!((active, previous), (None, vec![]));
    assert!(notes[0].contains("`windvane score activate --group joint-risk"), "{notes:?}");
}
