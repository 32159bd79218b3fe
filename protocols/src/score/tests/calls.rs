//! Sums of every group size, threshold and quorum; wrong answers and their authors.

use super::world::{World, members, party, phone, quorums, rng, universe};
use crate::limits::MAX_ELEMENTS_PER_PROOF;
use crate::oprf::{Elements, OprfError, Proof};
use crate::score::query::{AskError, Fault, FaultKind, QuestionError, Undecodable, ask, ask_positions};
use crate::score::table::Row;
use crate::score::universe::Universe;

/// Rows of the tables of most tests.
const ROWS: usize = 64;

fn fault(provider: usize, kind: FaultKind) -> Fault {
    Fault { provider: party(provider), kind }
}

fn rows(world: &World, positions: &[Option<u64>]) -> Vec<Row> {
    positions.iter().flatten().map(|u| world.sum[*u as usize]).collect()
}

#[test]
fn every_quorum_of_every_threshold_gives_the_sums_of_the_parts() {
    for (n, t) in [(1, 1), (2, 2), (3, 2), (3, 3), (4, 2), (4, 3), (4, 4)] {
        let world = World::new(n, t, ROWS);
        let truth: Vec<_> = (0..ROWS).map(|u| Some(Ok(world.truth(u)))).collect();
        for quorum in quorums(n, t) {
            let positions = (0..ROWS as u64).map(Some).collect();
            let (state, question) = ask_positions(world.epoch(), positions, &mut rng(1)).unwrap();
            let opened = state.on_answers(&world.answers(&question, &quorum)).unwrap();
            assert!(opened.faults().is_empty());
            assert_eq!(opened.open(&world.sum), truth, "{quorum:?} of {n}");
        }
    }
}

#[test]
fn a_whole_segment_scores_by_batch_and_some_of_it_by_single_calls() {
    let world = World::new(3, 2, 10_000);
    let universe = universe();
    let phones: Vec<_> = (0..10_000).map(phone).collect();
    let numbers: Vec<_> = phones.iter().map(Some).collect();
    let (state, question) = ask(world.epoch(), &universe, &numbers, &mut rng(1)).unwrap();
    let opened = state.on_answers(&world.answers(&question, &[0, 2])).unwrap().open(&world.sum);
    assert!(opened.iter().enumerate().all(|(u, sum)| *sum == Some(Ok(world.truth(u)))));
    for u in (0..10_000).step_by(97) {
        let (state, question) = ask(world.epoch(), &universe, &[Some(&phones[u])], &mut rng(2)).unwrap();
        let opened = state.on_answers(&world.answers(&question, &[2, 1])).unwrap();
        assert_eq!(opened.open(&[world.sum[u]]), [Some(Ok(world.truth(u)))]);
    }
}

#[test]
fn the_smallest_and_the_largest_sum_of_the_largest_group_decode() {
    let parts = (0..16).map(|i| vec![0, 255, u8::from(i == 3)]).collect();
    let world = World::with_parts(9, parts);
    let (state, question) = ask_positions(world.epoch(), (0..3).map(Some).collect(), &mut rng(1)).unwrap();
    let answers = world.answers(&question, &[15, 1, 2, 3, 8, 9, 13, 14, 4]);
    let opened = state.on_answers(&answers).unwrap().open(&world.sum);
    assert_eq!(opened, [Some(Ok(0)), Some(Ok(4_080)), Some(Ok(1))]);
}

#[test]
fn a_number_outside_the_universe_is_asked_like_any_other_and_has_no_score() {
    let world = World::new(2, 2, ROWS);
    let (inside, outside) = (phone(5), crate::identity::Phone::parse("13900000000").unwrap());
    let numbers = [Some(&outside), Some(&inside), None];
    let (state, question) = ask(world.epoch(), &universe(), &numbers, &mut rng(1)).unwrap();
    assert_eq!(question.elements.len(), 3);
    let opened = state.on_answers(&world.answers(&question, &[0, 1])).unwrap();
    assert_eq!(opened.positions(), [None, Some(5), None]);
    assert_eq!(opened.open(&[world.sum[5]]), [None, Some(Ok(world.truth(5))), None]);
}

#[test]
fn another_universe_another_epoch_and_another_batch_size_are_refused() {
    let (world, rng) = (World::new(2, 2, ROWS), &mut rng(1));
    let other = Universe::new(party(0), 1, vec!["1380013".parse().unwrap()]).unwrap();
    assert_eq!(ask(world.epoch(), &other, &[None], rng).err(), Some(AskError::Universe));
    for found in [0, MAX_ELEMENTS_PER_PROOF + 1] {
        let refused = ask(world.epoch(), &universe(), &vec![None; found], rng).err();
        assert_eq!(refused, Some(AskError::Oprf(OprfError::BatchSize { found })));
    }
    let later = members(2, 2, 2);
    let (_, question) = ask(later[0].epoch(), &universe(), &[None], rng).unwrap();
    assert_eq!(world.members[0].answer(&question, rng), Err(QuestionError::Context { epoch: 1 }));
}

#[test]
fn too_few_answers_give_no_score_and_name_who_is_missing() {
    let world = World::new(4, 3, ROWS);
    let (state, question) = ask_positions(world.epoch(), vec![Some(1)], &mut rng(1)).unwrap();
    let error = state.on_answers(&world.answers(&question, &[3, 1])).unwrap_err();
    assert_eq!((error.needed, error.found), (3, 2));
    assert_eq!(error.missing, [party(0), party(2)]);
    let repeated = world.answers(&question, &[3, 1, 1]);
    let (state, _) = ask_positions(world.epoch(), vec![Some(1)], &mut rng(1)).unwrap();
    let error = state.on_answers(&repeated).unwrap_err();
    assert_eq!(error.faults, [fault(1, FaultKind::Repeated)]);
}

#[test]
fn a_wrong_answer_is_pinned_to_its_author_and_another_takes_its_place() {
    let world = World::new(4, 2, ROWS);
    let positions = || vec![Some(1), Some(2), None];
    let (state, question) = ask_positions(world.epoch(), positions(), &mut rng(1)).unwrap();
    let mut answers = world.answers(&question, &[0, 1, 2, 3]);
    // One swaps its answers, one answers with another's share of the key, one sends too few.
    answers[0].elements = answers[0].elements.gather(&[1, 0, 2]);
    answers[1] = crate::score::query::Answer { provider: party(1), ..answers[2].clone() };
    answers[2].elements = answers[2].elements.slice(0..2);
    let error = state.on_answers(&answers).unwrap_err();
    let wrong = [fault(2, FaultKind::Count), fault(0, FaultKind::Proof), fault(1, FaultKind::Proof)];
    assert_eq!((error.found, error.faults.as_slice()), (1, wrong.as_slice()));

    let (state, question) = ask_positions(world.epoch(), positions(), &mut rng(1)).unwrap();
    let mut answers = world.answers(&question, &[0, 1, 3]);
    answers[0].elements = answers[0].elements.gather(&[1, 0, 2]);
    let opened = state.on_answers(&answers).unwrap();
    assert_eq!(opened.faults(), [fault(0, FaultKind::Proof)]);
    let rows = rows(&world, &positions());
    assert_eq!(opened.open(&rows), [Some(Ok(world.truth(1))), Some(Ok(world.truth(2))), None]);
}

#[test]
fn a_replayed_answer_and_one_of_another_epoch_are_pinned() {
    let world = World::new(2, 2, ROWS);
    let (_, before) = ask_positions(world.epoch(), vec![Some(1)], &mut rng(1)).unwrap();
    let (state, question) = ask_positions(world.epoch(), vec![Some(1)], &mut rng(2)).unwrap();
    assert_ne!(before, question);
    let mut answers = world.answers(&question, &[0, 1]);
    answers[1] = world.answers(&before, &[1]).remove(0);
    let error = state.on_answers(&answers).unwrap_err();
    assert_eq!(error.faults, [fault(1, FaultKind::Proof)]);

    let later = members(2, 2, 2);
    let (state, question) = ask_positions(later[0].epoch(), vec![Some(1)], &mut rng(2)).unwrap();
    let fresh = later[0].answer(&question, &mut rng(3)).unwrap();
    let error = state.on_answers(&[fresh, answers[0].clone(), answers[1].clone()]).unwrap_err();
    assert_eq!(error.faults, [fault(0, FaultKind::Repeated), fault(1, FaultKind::Context)]);
}

#[test]
fn an_answer_by_a_stranger_and_a_proof_of_zeros_are_refused() {
    let world = World::new(2, 2, ROWS);
    let (state, question) = ask_positions(world.epoch(), vec![Some(1)], &mut rng(2)).unwrap();
    let mut answers = world.answers(&question, &[0, 1, 1]);
    answers[0].proof = Proof::from_bytes(&[0; 64]).unwrap();
    answers[2].provider = party(9);
    let error = state.on_answers(&answers).unwrap_err();
    assert_eq!(error.faults, [fault(9, FaultKind::Stranger), fault(0, FaultKind::Proof)]);
}

#[test]
fn elements_that_are_the_identity_or_no_encodings_do_not_become_a_question() {
    for bytes in [[0; 32], [0xff; 32], [1; 32]] {
        assert_eq!(Elements::from_bytes(&bytes), Err(OprfError::InvalidElement));
    }
}

#[test]
fn an_undecodable_row_is_an_error_that_names_the_epoch_and_spares_the_others() {
    let world = World::new(2, 2, ROWS);
    let positions: Vec<_> = (0..4).map(Some).collect();
    let (state, question) = ask_positions(world.epoch(), positions.clone(), &mut rng(1)).unwrap();
    let answers = world.answers(&question, &[0, 1]);
    // Of another position; damaged; with a sum that no parts have.
    let planted = planted(&world);
    let rows = [world.sum[0], world.sum[0], [0xff; 32], planted];
    let undecodable = |customer| Some(Err(Undecodable { epoch: 1, customer }));
    let opened = state.on_answers(&answers).unwrap().open(&rows);
    assert_eq!(opened, [Some(Ok(world.truth(0))), undecodable(1), undecodable(2), undecodable(3)]);
}

/// The sum of position 3 plus 511, one more than two parts can have.
fn planted(world: &World) -> Row {
    use curve25519_dalek::{RistrettoPoint, Scalar, ristretto::CompressedRistretto};
    let excess = Scalar::from(511 - u64::from(world.truth(3)));
    let row = CompressedRistretto(world.sum[3]).decompress().unwrap() + RistrettoPoint::mul_base(&excess);
    row.compress().to_bytes()
}
