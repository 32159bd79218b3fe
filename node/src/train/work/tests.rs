//! A unit's computing, driven by a bank that decrypts: trees equal those of clear numbers, and nothing else is answered.

use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::train::binning::Binned;
use windvane_protocols::train::boosting::{Row, Unit, bound};
use windvane_protocols::train::decode::Decoder;
use windvane_protocols::train::elgamal::{
    Answers, CIPHERTEXT_BYTES, Encryptor, Statistic, TrainingKey, TrainingSeed,
};
use windvane_protocols::train::growth::{Growth, Step as Grown};
use windvane_protocols::train::histogram::{Cell, Child, FeatureCells, NodeCells};
use windvane_protocols::train::mask::MaskingKey;
use windvane_protocols::train::parameters::Numbers;
use windvane_protocols::train::partition::agree;
use windvane_protocols::train::scale::{Span, Values};
use windvane_protocols::train::tree::{ABSENT, Split};

use super::*;

const ROWS: usize = 180;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

fn hyperparameters() -> Hyperparameters {
    let numbers = Numbers {
        blocks: 2,
        trees: 2,
        depth: 2,
        rate_micros: 300_000,
        lambda: 1,
        minimum_rows: 5,
        minimum_count: 9,
    };
    Hyperparameters::new(numbers).unwrap()
}

/// Every third row is a decoy; labels follow the first feature.
fn rows() -> Vec<Row> {
    let row = |i: usize| (!i.is_multiple_of(3)).then(|| bins(i)[0] > 2 || i.is_multiple_of(7));
    (0..ROWS).map(|i| Row::new(row(i), 400)).collect()
}

fn bins(row: usize) -> [u8; 2] {
    [(row * 13 % 5) as u8, (row * 29 / 10 % 4) as u8]
}

/// The rows that one of so many carriers holds.
fn binned(carrier: usize, of: usize) -> Binned {
    let column = |f: usize| (0..ROWS).map(|i| if i % of == carrier { bins(i)[f] } else { ABSENT }).collect();
    Binned::new(vec![column(0), column(1)], vec![5, 4]).unwrap()
}

struct Bank {
    key: TrainingKey,
    decoder: Decoder,
    rows: Vec<Row>,
    /// By feature the groups and counts of the root, which are shown once.
    counts: Vec<u64>,
}

impl Bank {
    fn new() -> Self {
        let key = TrainingKey::derive(&TrainingSeed::from_bytes([3; 32]));
        Self { key, decoder: Decoder::new(1 << 20).unwrap(), rows: rows(), counts: Vec::new() }
    }

    fn encrypted(&self, statistic: Statistic, of: impl Fn(&Row) -> i64) -> Ciphertexts {
        let values: Vec<_> = self.rows.iter().map(of).collect();
        let mut encryptor = Encryptor::new(&self.key, statistic, values.len()).unwrap();
        let encoded = encryptor.chunk(&values, 1).unwrap();
        Ciphertexts::decode(encoded.as_flattened(), 1).unwrap()
    }

    fn residuals(&self, block: u16) -> Ciphertexts {
        self.encrypted(Statistic::Residual { block }, |row| row.residual.into())
    }

    /// A unit of carriers, and what else masks contributions with it: nobody.
    fn unit(&self, carriers: usize) -> Vec<Work> {
        let keys: Vec<_> = (0..carriers).map(|_| MaskingKey::random(&mut rng())).collect();
        let keys: Vec<_> = if carriers == 1 { keys } else { distinct(carriers) };
        (0..carriers).map(|own| self.work(own, &keys)).collect()
    }

    fn work(&self, own: usize, keys: &[MaskingKey]) -> Work {
        self.work_under(hyperparameters(), own, keys)
    }

    fn work_under(&self, hyperparameters: Hyperparameters, own: usize, keys: &[MaskingKey]) -> Work {
        let carriers = keys.len();
        let party = |i: usize| format!("carrier-{i}").parse::<PartyId>().unwrap();
        let peers: Vec<_> =
            (0..carriers).filter(|i| *i != own).map(|i| (party(i), *keys[i].public())).collect();
        let masks = || keys[own].agree(&SessionId::from_bytes([1; 16]), &party(own), &peers).unwrap();
        let masks = SessionMasks { contributions: masks(), sums: masks() };
        let root = Root::new(Arc::new(binned(own, carriers)), &hyperparameters, carriers).unwrap();
        let indicator = self.encrypted(Statistic::Indicator, |row| row.indicator.into());
        let statistics = Statistics::new(self.key.public().clone(), indicator);
        Work::new(hyperparameters, root, statistics, masks, 1)
    }

    /// The integers of answers, all carriers' together.
    fn decrypt(&self, answers: &[Returned]) -> Vec<i64> {
        let bytes = |returned: &Returned| returned.ciphertexts.len() / CIPHERTEXT_BYTES;
        let decode = |r: &Returned| Answers::decode(&r.ciphertexts, bytes(r), 1).unwrap();
        let mut sum = decode(&answers[0]);
        answers[1..].iter().for_each(|returned| sum.add_assign(&decode(returned)));
        self.key.decrypt(&sum, &self.decoder, 1).unwrap()
    }

    /// The cells of a level, in the order in which sums travel.
    fn cells(&mut self, place: Place, agreed: &[Proposal], answers: &[Returned]) -> Vec<NodeCells> {
        let numbers = self.decrypt(answers);
        let mut rest = numbers.as_slice();
        let mut nodes = Vec::new();
        for proposal in agreed {
            let count = proposal.groups.iter().map(|groups| groups.cells()).sum();
            let (sums, more) = rest.split_at(count);
            let counts: Vec<u64> = if place.has_counts() {
                let (counts, more) = more.split_at(count);
                rest = more;
                counts.iter().map(|count| *count as u64).collect()
            } else {
                rest = more;
                self.counts.clone()
            };
            if place == Place::first(0) {
                self.counts = counts.clone();
            }
            let mut cells = sums.iter().zip(&counts).map(|(sum, count)| Cell { sum: *sum, count: *count });
            let feature = |groups: &windvane_protocols::train::histogram::Groups| FeatureCells {
                groups: groups.clone(),
                cells: cells.by_ref().take(groups.cells()).collect(),
            };
            nodes.push(NodeCells {
                child: proposal.child,
                features: proposal.groups.iter().map(feature).collect(),
            });
        }
        assert!(rest.is_empty());
        nodes
    }

    /// Grows a block's trees; gives them, every step, and the contributions' totals.
    fn block(&mut self, unit: &mut [Work], block: u16) -> (Vec<Tree>, Vec<Step>, Vec<i64>) {
        let (mut trees, mut steps, mut last) = (Vec::new(), Vec::new(), Vec::new());
        let mut bound = bound(&self.rows).unwrap();
        for work in unit.iter_mut() {
            work.residuals(block, self.residuals(block)).unwrap();
        }
        for tree in 0..hyperparameters().trees {
            let mut growth = Growth::new(&hyperparameters(), &[5, 4], bound).unwrap();
            for level in 0.. {
                let place = Place { block, tree, level };
                let (agreed, answers) = self.level(unit, place, std::mem::take(&mut last), &mut steps);
                let cells = self.cells(place, &agreed, &answers);
                match growth.on_cells(cells).unwrap() {
                    Grown::Deeper { growth: next, decisions } => (growth, last) = (next, decisions),
                    Grown::Grown { tree, decisions } => {
                        bound = bound.after(&tree).unwrap();
                        trees.push(tree);
                        last = decisions;
                        break;
                    }
                }
            }
        }
        let end = Step::Contributions { block, decisions: last };
        let answers = ask(unit, &end);
        steps.push(end);
        let totals = self.decrypt(&answers);
        (trees, steps, totals)
    }

    fn level(
        &self,
        unit: &mut [Work],
        place: Place,
        decisions: Vec<Decision>,
        steps: &mut Vec<Step>,
    ) -> (Vec<Proposal>, Vec<Returned>) {
        let grow = Step::Grow { place, decisions };
        let grown = ask(unit, &grow);
        steps.push(grow);
        let proposals: Vec<_> = grown.iter().map(|returned| returned.proposals.as_slice()).collect();
        let agreed = agree(&proposals).unwrap();
        if unit.len() == 1 {
            return (agreed, grown);
        }
        assert!(grown.iter().all(|returned| returned.ciphertexts.is_empty()));
        let sum = Step::Sum { place, agreed: agreed.clone() };
        let answers = ask(unit, &sum);
        steps.push(sum);
        (agreed, answers)
    }
}

fn distinct(carriers: usize) -> Vec<MaskingKey> {
    let mut rng = rng();
    (0..carriers).map(|_| MaskingKey::random(&mut rng)).collect()
}

fn ask(unit: &mut [Work], step: &Step) -> Vec<Returned> {
    unit.iter_mut()
        .map(|work| {
            work.step(step).unwrap();
            work.answer(&mut rng()).unwrap()
        })
        .collect()
}

/// The same block with clear numbers.
fn clear(carriers: usize, rows: &mut [Row]) -> (Vec<Tree>, Vec<i32>) {
    let binned = (0..carriers).map(|carrier| binned(carrier, carriers)).collect();
    Unit::providers(binned, &hyperparameters()).unwrap().block(&hyperparameters(), rows).unwrap()
}

#[test]
fn trees_and_contributions_equal_those_of_clear_numbers_for_one_provider_and_for_carriers() {
    for carriers in [1, 2, 3] {
        let mut bank = Bank::new();
        let mut unit = bank.unit(carriers);
        for block in 0..2 {
            assert_eq!(unit[0].residuals_due(), Some(block));
            let (trees, _, totals) = bank.block(&mut unit, block);
            let (expected, contributions) = clear(carriers, &mut bank.rows.clone());
            assert_eq!(trees, expected);
            assert!(trees.iter().any(|tree| tree.nodes().len() > 1), "a tree that splits");
            for ((total, value), row) in totals.iter().zip(contributions).zip(&bank.rows) {
                assert_eq!(*total, i64::from(value) * i64::from(row.indicator));
            }
            windvane_protocols::train::boosting::subtract(
                &mut bank.rows,
                &totals.iter().map(|total| *total as i32).collect::<Vec<_>>(),
            )
            .unwrap();
        }
        assert!(unit[0].parts_are_due() && !unit[0].is_through());
        assert_eq!(unit[0].residuals_due(), None);
    }
}

fn scaling(widest: u64) -> Scaling {
    Scaling::new(widest, Span::new(-100, 100).unwrap(), Values::Fine).unwrap()
}

#[test]
fn parts_are_told_behind_the_last_block_as_their_sum_over_all_carriers_of_real_and_held_out_rows() {
    for carriers in [1, 2, 3] {
        let mut bank = Bank::new();
        let mut unit = bank.unit(carriers);
        let held_out = |i: usize| i.is_multiple_of(6);
        let statistic: Vec<_> = (0..ROWS).map(|i| i64::from(held_out(i))).collect();
        let mut encryptor = Encryptor::new(&bank.key, Statistic::HeldOut, ROWS).unwrap();
        let statistic = encryptor.chunk(&statistic, 1).unwrap();
        let statistic = Ciphertexts::decode(statistic.as_flattened(), 1).unwrap();
        for work in &mut unit {
            work.hold_out(&statistic).unwrap();
        }
        let parts = |own: usize| (0..ROWS).map(|i| (i * 7 + own * 100) as u8).collect::<Vec<_>>();
        for block in 0..2 {
            assert_eq!(unit[0].part(scaling(200), &parts(0)).unwrap_err().code(), "TRAIN_ORDER");
            bank.block(&mut unit, block);
        }
        assert_eq!(unit[0].part(scaling(200), &parts(0)[1..]).unwrap_err().code(), "TRAIN_SUMS");
        let told: Vec<_> = unit
            .iter_mut()
            .enumerate()
            .map(|(own, work)| {
                work.part(scaling(200), &parts(own)).unwrap();
                work.answer(&mut rng()).unwrap()
            })
            .collect();
        for (i, sum) in bank.decrypt(&told).into_iter().enumerate() {
            let all: i64 = (0..carriers).map(|own| i64::from(parts(own)[i])).sum();
            assert_eq!(sum, if bank.rows[i].indicator == 1 || held_out(i) { all } else { 0 });
        }
        assert!(unit[0].is_through() && !unit[0].parts_are_due());
        assert_eq!(unit[0].part(scaling(200), &parts(0)).unwrap_err().code(), "TRAIN_ORDER");
        let past = Step::Contributions { block: 1, decisions: Vec::new() };
        assert_eq!(unit[0].step(&past).unwrap_err().code(), "TRAIN_ORDER");
    }
}

#[test]
fn parts_under_different_scales_decrypt_to_nothing() {
    let mut bank = Bank::new();
    let mut unit = bank.unit(2);
    (0..2).for_each(|block| drop(bank.block(&mut unit, block)));
    let told: Vec<_> = unit
        .iter_mut()
        .zip([200, 201])
        .map(|(work, widest)| {
            work.part(scaling(widest), &[0; ROWS]).unwrap();
            work.answer(&mut rng()).unwrap()
        })
        .collect();
    let decode = |i: usize| Answers::decode(&told[i].ciphertexts, ROWS, 1).unwrap();
    let mut sum = decode(0);
    sum.add_assign(&decode(1));
    assert!(bank.key.decrypt(&sum, &bank.decoder, 1).is_err());
}

#[test]
fn one_carriers_masked_answers_alone_decrypt_to_nothing() {
    let mut bank = Bank::new();
    let mut unit = bank.unit(2);
    bank.block(&mut unit, 0);
    let alone = unit[0].answer(&mut rng()).unwrap();
    let answers = Answers::decode(&alone.ciphertexts, ROWS, 1).unwrap();
    assert!(bank.key.decrypt(&answers, &bank.decoder, 1).is_err());
}

#[test]
fn steps_that_are_taken_again_in_the_middle_of_a_tree_give_the_same_state() {
    for carriers in [1, 2] {
        let mut bank = Bank::new();
        let keys = distinct(carriers);
        let mut unit: Vec<_> = (0..carriers).map(|own| bank.work(own, &keys)).collect();
        let (_, steps, totals) = bank.block(&mut unit, 0);
        for restart in 1..steps.len() {
            let mut unit: Vec<_> = (0..carriers).map(|own| bank.work(own, &keys)).collect();
            for work in &mut unit {
                work.residuals(0, bank.residuals(0)).unwrap();
                steps[..restart].iter().for_each(|step| work.step(step).unwrap());
            }
            // The last answer can be had again, and the rest goes on to the same end.
            let again: Vec<_> = unit.iter().map(|work| work.answer(&mut rng()).unwrap()).collect();
            assert!(again.iter().all(|returned| returned.digest().len() == 64));
            let answers = steps[restart..].iter().map(|step| ask(&mut unit, step)).last().unwrap();
            assert_eq!(bank.decrypt(&answers), totals);
        }
    }
}

#[test]
fn an_answer_comes_again_under_fresh_randomness_and_tells_the_same() {
    let mut bank = Bank::new();
    let mut unit = bank.unit(1);
    bank.block(&mut unit, 0);
    let mut rng = rng();
    let (one, two) = (unit[0].answer(&mut rng).unwrap(), unit[0].answer(&mut rng).unwrap());
    assert_ne!(one.ciphertexts, two.ciphertexts);
    assert_eq!(bank.decrypt(&[one]), bank.decrypt(&[two]));
}

#[test]
fn a_step_that_is_not_due_is_refused_and_changes_nothing() {
    let bank = Bank::new();
    let mut unit = bank.unit(1);
    let grow = |block, tree, level, decisions: &[Decision]| Step::Grow {
        place: Place { block, tree, level },
        decisions: decisions.to_vec(),
    };
    let refused = |work: &mut Work, step: Step| {
        assert_eq!(work.step(&step).unwrap_err().code(), "TRAIN_ORDER", "{step:?}");
    };
    refused(&mut unit[0], grow(0, 0, 0, &[]));
    let work = &mut unit[0];
    work.residuals(0, bank.residuals(0)).unwrap();
    for wrong in [
        grow(0, 0, 0, &[Decision::Leaf(0)]),
        grow(0, 0, 1, &[]),
        grow(0, 1, 0, &[]),
        grow(1, 0, 0, &[]),
        Step::Sum { place: Place::first(0), agreed: Vec::new() },
        Step::Contributions { block: 0, decisions: Vec::new() },
    ] {
        refused(work, wrong);
    }
    work.step(&grow(0, 0, 0, &[])).unwrap();
    let leaf = [Decision::Leaf(1)];
    for wrong in [
        grow(0, 0, 2, &leaf),
        grow(0, 2, 0, &leaf),
        Step::Sum { place: Place::first(0), agreed: Vec::new() },
        Step::Contributions { block: 0, decisions: leaf.to_vec() },
        Step::Contributions { block: 1, decisions: leaf.to_vec() },
    ] {
        refused(work, wrong);
    }
    // A tree of one leaf, twice, and the block is through.
    work.step(&grow(0, 1, 0, &leaf)).unwrap();
    work.step(&Step::Contributions { block: 0, decisions: leaf.to_vec() }).unwrap();
    refused(work, grow(0, 1, 1, &[]));
    assert!(!work.is_through());
    let expected: Vec<_> = bank.rows.iter().map(|row| 2 * i64::from(row.indicator)).collect();
    assert_eq!(bank.decrypt(&[work.answer(&mut rng()).unwrap()]), expected);
}

#[test]
fn decisions_that_do_not_fit_are_refused_without_a_word_about_rows() {
    let bank = Bank::new();
    let split = |feature, bin| Decision::Split(Split { feature, bin });
    let most = MAX_CONTRIBUTION / i32::from(hyperparameters().trees);
    for (tree, level, decisions) in [
        (0, 1, vec![]),
        (0, 1, vec![split(0, 2), Decision::Leaf(0)]),
        (0, 1, vec![split(2, 0)]),
        (0, 1, vec![split(1, 3)]),
        (0, 1, vec![split(0, 200)]),
        (1, 0, vec![Decision::Leaf(most + 1)]),
        (1, 0, vec![Decision::Leaf(i32::MIN)]),
        (0, 1, vec![Decision::Leaf(0)]),
        (1, 0, vec![split(0, 2)]),
    ] {
        let mut unit = bank.unit(1);
        let work = &mut unit[0];
        work.residuals(0, bank.residuals(0)).unwrap();
        work.step(&Step::Grow { place: Place::first(0), decisions: vec![] }).unwrap();
        let place = Place { block: 0, tree, level };
        let error = work.step(&Step::Grow { place, decisions: decisions.clone() }).unwrap_err();
        assert!(["TRAIN_DECISION_INVALID", "TRAIN_ORDER"].contains(&error.code()), "{decisions:?}: {error}");
        assert!(!error.to_string().contains("row"), "{error}");
    }
}

#[test]
fn groups_that_a_carrier_did_not_propose_are_refused() {
    let bank = Bank::new();
    // Half of each carrier's rows must be in a group.
    let numbers = Numbers { minimum_count: ROWS as u32 / 2, ..*hyperparameters() };
    let work = &mut bank.work_under(Hyperparameters::new(numbers).unwrap(), 0, &distinct(2));
    work.residuals(0, bank.residuals(0)).unwrap();
    let place = Place::first(0);
    work.step(&Step::Grow { place, decisions: vec![] }).unwrap();
    let proposals = work.answer(&mut rng()).unwrap().proposals;
    let finest = |last| windvane_protocols::train::histogram::Groups::new((0..=last).collect()).unwrap();
    let agreed = vec![Proposal { child: Child::Left, groups: vec![finest(4), finest(3)] }];
    assert_ne!(proposals[0].groups, agreed[0].groups);
    let error = work.step(&Step::Sum { place, agreed }).unwrap_err();
    assert_eq!(error.code(), "TRAIN_GROUPS_INVALID");
    // What failed is of no use until it is built again.
    assert_eq!(work.step(&Step::Sum { place, agreed: proposals }).unwrap_err().code(), "TRAIN_ORDER");
}

#[test]
fn the_log_of_trees_follows_from_decisions_alone() {
    let mut bank = Bank::new();
    let mut unit = bank.unit(2);
    let (mut log, mut all) = (TreeLog::default(), Vec::new());
    for block in 0..2 {
        let (trees, steps, _) = bank.block(&mut unit, block);
        steps.iter().for_each(|step| log.take(step).unwrap());
        all.extend(trees);
        assert_eq!(log.trees(), all);
    }
}
