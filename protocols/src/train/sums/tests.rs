use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use zeroize::Zeroizing;

use super::super::context::Context;
use super::super::decode::{DecodeError, Decoder};
use super::super::elgamal::{
    Answers, ElGamalError, Encryptor, Receiver, Statistic, TrainingKey, TrainingSeed,
};
use super::super::mask::{MaskingKey, Masks, Node};
use super::*;
use crate::party::{PartyId, SessionId};

const SEED: u64 = 20_261_129;
const ROWS: usize = 400;
const BOUND: u64 = 1 << 22;
const NODE: Node = Node { block: 0, tree: 0, level: 0, place: 0 };

/// Bins of a row that a carrier does not hold.
const ABSENT: u8 = 255;

/// The label holder, and what it knows in clear numbers.
struct Bank {
    key: TrainingKey,
    decoder: Decoder,
    indicator: Vec<i64>,
    residual: Vec<i64>,
    rng: ChaCha20Rng,
}

fn context() -> Context {
    Context::new(&[7; 64], &[])
}

impl Bank {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let indicator: Vec<i64> = (0..ROWS).map(|_| i64::from(rng.next_u32() % 3 == 0)).collect();
        let residual: Vec<i64> =
            indicator.iter().map(|c| c * (i64::from(rng.next_u32() % 2_049) - 1_024)).collect();
        Self {
            key: TrainingKey::derive(&TrainingSeed::random(&mut rng)),
            decoder: Decoder::new(BOUND).unwrap(),
            residual,
            indicator,
            rng,
        }
    }

    fn send(&self, statistic: Statistic, values: &[i64]) -> Ciphertexts {
        let mut receiver = Receiver::new(statistic, values.len()).unwrap();
        let bytes = Encryptor::new(&self.key, statistic, values.len()).unwrap().chunk(values, 2).unwrap();
        receiver.on_chunk(bytes.as_flattened(), 2).unwrap();
        receiver.finish().unwrap().0
    }

    fn provider(&self) -> Statistics {
        let indicator = self.send(Statistic::Indicator, &self.indicator);
        let mut statistics = Statistics::new(self.key.public().clone(), indicator);
        let residual = self.send(Statistic::Residual { block: 0 }, &self.residual);
        statistics.begin_block(residual).unwrap();
        statistics
    }

    /// What the bank makes of all providers' answers.
    fn open(&self, answers: &[Vec<EncodedCiphertext>]) -> Result<Vec<i64>, ElGamalError> {
        let read = |answer: &Vec<EncodedCiphertext>| Answers::decode(answer.as_flattened(), answer.len(), 2);
        let mut total = read(&answers[0])?;
        for answer in &answers[1..] {
            total.add_assign(&read(answer)?);
        }
        self.key.decrypt(&total, &self.decoder, 2)
    }
}

/// A provider's own data: bins by feature.
struct Columns {
    bins: Vec<Vec<u8>>,
    group_of_bin: Vec<Vec<u8>>,
    groups: Vec<usize>,
}

impl Columns {
    fn random(rng: &mut ChaCha20Rng) -> Self {
        let bins_of = [33_u32, 2, 7, 1];
        let held: Vec<bool> = (0..ROWS).map(|_| !rng.next_u32().is_multiple_of(5)).collect();
        let mut column = |bins: u32| -> Vec<u8> {
            let bin = |held: &bool| if *held { (rng.next_u32() % bins) as u8 } else { ABSENT };
            held.iter().map(bin).collect()
        };
        Self {
            bins: bins_of.map(&mut column).to_vec(),
            group_of_bin: bins_of.map(|bins| (0..bins).map(|bin| (bin / 3) as u8).collect()).to_vec(),
            // The second feature has a group without rows.
            groups: vec![11, 2, 3, 1],
        }
    }

    fn features(&self) -> Vec<Feature<'_>> {
        let columns = self.bins.iter().zip(&self.group_of_bin).zip(&self.groups);
        columns.map(|((bins, group_of_bin), &groups)| Feature { bins, group_of_bin, groups }).collect()
    }

    /// Sums of clear integers by group.
    fn clear(&self, values: &[i64], rows: &[u32]) -> Vec<i64> {
        let mut sums = Vec::new();
        for (bins, &groups) in self.bins.iter().zip(&self.groups) {
            let mut of_feature = vec![0; groups];
            for &row in rows {
                let bin = bins[row as usize];
                if bin != ABSENT {
                    of_feature[usize::from(bin) / 3] += values[row as usize];
                }
            }
            sums.extend(of_feature);
        }
        sums
    }
}

/// Masks of so many providers.
fn masks(count: usize) -> Vec<Masks> {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED + 1);
    let parties: Vec<(PartyId, MaskingKey)> =
        (0..count).map(|i| (format!("carrier-{i}").parse().unwrap(), MaskingKey::random(&mut rng))).collect();
    let agree = |(own, key): &(PartyId, MaskingKey)| {
        let peers = parties.iter().filter(|(peer, _)| peer != own);
        let peers: Vec<_> = peers.map(|(peer, key)| (peer.clone(), *key.public())).collect();
        key.agree(&SessionId::from_bytes([1; 16]), own, &peers).unwrap()
    };
    parties.iter().map(agree).collect()
}

#[test]
fn encrypted_sums_equal_sums_of_clear_integers() {
    let mut bank = Bank::new();
    let provider = bank.provider();
    let columns = Columns::random(&mut bank.rng);
    let all: Vec<u32> = (0..ROWS as u32).collect();
    let node: Vec<u32> = all.iter().copied().filter(|row| row % 3 == 1).rev().collect();
    for rows in [&all[..], &node, &node[..1], &[]] {
        for (kind, values) in [(Kind::Indicator, &bank.indicator), (Kind::Residual, &bank.residual)] {
            for threads in [1, 2, 9] {
                let sums = provider.sums(kind, rows, &columns.features(), threads).unwrap();
                let answer = provider.answer_sums(&sums, None, threads, &mut bank.rng.clone()).unwrap();
                assert_eq!(bank.open(&[answer]).unwrap(), columns.clear(values, rows));
            }
        }
    }
}

#[test]
fn updates_take_the_leaf_off_real_rows_alone() {
    let mut bank = Bank::new();
    let mut provider = bank.provider();
    let columns = Columns::random(&mut bank.rng);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let mut residual = bank.residual.clone();
    for (largest, threads) in [(1, 1), (300, 2), (1_024, 1), (MAX_CONTRIBUTION, 2)] {
        let leaves: Vec<i32> =
            (0..ROWS).map(|row| [largest, -largest, 0, 5, -1][row % 5].clamp(-largest, largest)).collect();
        provider.update(&leaves, threads).unwrap();
        for ((r, c), leaf) in residual.iter_mut().zip(&bank.indicator).zip(&leaves) {
            *r -= c * i64::from(*leaf);
        }
        let bound = Decoder::new(1 << 28).unwrap();
        let sums = provider.sums(Kind::Residual, &rows, &columns.features(), 1).unwrap();
        let answer = provider.answer_sums(&sums, None, 1, &mut bank.rng).unwrap();
        let answer = Answers::decode(answer.as_flattened(), sums.len(), 1).unwrap();
        assert_eq!(bank.key.decrypt(&answer, &bound, 1).unwrap(), columns.clear(&residual, &rows));
    }
    // The next block begins from what the bank sends.
    provider.begin_block(bank.send(Statistic::Residual { block: 1 }, &bank.residual)).unwrap();
    let sums = provider.sums(Kind::Residual, &rows, &columns.features(), 1).unwrap();
    let answer = provider.answer_sums(&sums, None, 1, &mut bank.rng).unwrap();
    assert_eq!(bank.open(&[answer]).unwrap(), columns.clear(&bank.residual, &rows));
}

#[test]
fn contributions_of_all_providers_add_up_and_of_fewer_tell_nothing() {
    let mut bank = Bank::new();
    let provider = bank.provider();
    for count in 1..=3 {
        let masks = masks(count);
        let values: Vec<Vec<i32>> = (0..count)
            .map(|_| (0..ROWS).map(|_| (bank.rng.next_u32() % 200_001) as i32 - 100_000).collect())
            .collect();
        let mut answers = Vec::new();
        for (masks, values) in masks.iter().zip(&values) {
            let masks = (count > 1).then(|| masks.contributions(&context(), 0, 0..ROWS as u32));
            let mut answer = Vec::new();
            // In two parts, the second with several threads.
            for (first, end, threads) in [(0, 150, 1), (150, ROWS, 3)] {
                let masks = masks.as_ref().map(|masks| &masks[first..end]);
                let part = provider.contributions(first, &values[first..end], masks, threads, &mut bank.rng);
                answer.extend(part.unwrap());
            }
            answers.push(answer);
        }
        let total = |row: usize| values.iter().map(|values| i64::from(values[row])).sum::<i64>();
        let expected: Vec<i64> = (0..ROWS).map(|row| bank.indicator[row] * total(row)).collect();
        assert_eq!(bank.open(&answers).unwrap(), expected);
        for missing in (0..count).filter(|_| count > 1) {
            let mut fewer = answers.clone();
            fewer.remove(missing);
            let beyond = DecodeError::Beyond { index: 0, bound: BOUND };
            assert_eq!(bank.open(&fewer), Err(beyond.into()));
        }
    }
}

#[test]
fn carriers_that_grow_trees_as_one_show_totals_alone() {
    let mut bank = Bank::new();
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let columns: Vec<_> = (0..3).map(|_| Columns::random(&mut bank.rng)).collect();
    let mut answers = Vec::new();
    for (columns, masks) in columns.iter().zip(masks(3)) {
        let provider = bank.provider();
        let sums = provider.sums(Kind::Residual, &rows, &columns.features(), 2).unwrap();
        let masks: Zeroizing<Vec<_>> = masks.cells(&context(), NODE, Kind::Residual, &columns.groups);
        answers.push(provider.answer_sums(&sums, Some(&masks), 2, &mut bank.rng).unwrap());
    }
    let clear: Vec<_> = columns.iter().map(|columns| columns.clear(&bank.residual, &rows)).collect();
    let expected: Vec<i64> = (0..clear[0].len()).map(|cell| clear.iter().map(|c| c[cell]).sum()).collect();
    assert_eq!(bank.open(&answers).unwrap(), expected);
    assert!(bank.open(&answers[..1]).is_err());
    assert!(bank.open(&answers[1..]).is_err());
}

#[test]
fn equal_answers_differ_in_every_half() {
    let mut bank = Bank::new();
    let provider = bank.provider();
    let columns = Columns::random(&mut bank.rng);
    let sums = provider.sums(Kind::Residual, &[1, 2, 3], &columns.features(), 1).unwrap();
    let mut halves = Vec::new();
    for _ in 0..2 {
        halves.extend(provider.answer_sums(&sums, None, 1, &mut bank.rng).unwrap());
        halves.extend(provider.contributions(0, &[0, 0, 1], None, 1, &mut bank.rng).unwrap());
    }
    let mut halves: Vec<_> = halves.iter().flat_map(|c| [&c[..32], &c[32..]]).collect();
    halves.sort_unstable();
    assert!(halves.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut bank = Bank::new();
    let mut provider = bank.provider();
    let short = bank.send(Statistic::Residual { block: 1 }, &[1; 3]);
    assert_eq!(provider.begin_block(short), Err(SumsError::Rows { expected: ROWS, found: 3 }));
    let (bins, groups) = (vec![0; ROWS], vec![0, 1]);
    let feature = Feature { bins: &bins, group_of_bin: &groups, groups: 2 };
    let sums = |rows: &[u32], feature| provider.sums(Kind::Indicator, rows, &[feature], 1).err();
    assert_eq!(sums(&[ROWS as u32], feature), Some(SumsError::Row { row: ROWS as u32 }));
    let wrong = Feature { groups: 1, ..feature };
    assert_eq!(sums(&[0], wrong), Some(SumsError::Group { feature: 0, group: 1 }));
    let wrong = Feature { bins: &bins[1..], ..feature };
    assert_eq!(sums(&[0], wrong), Some(SumsError::Rows { expected: ROWS, found: ROWS - 1 }));
    let wrong = Feature { groups: MAX_NODE_CELLS + 1, ..feature };
    assert_eq!(sums(&[0], wrong), Some(SumsError::Cells { found: MAX_NODE_CELLS + 1 }));
    let two = provider.sums(Kind::Indicator, &[0], &[feature], 1).unwrap();
    let masks = Some(&[Scalar::ONE][..]);
    let answer = provider.answer_sums(&two, masks, 1, &mut bank.rng).err();
    assert_eq!(answer, Some(SumsError::Masks { expected: 2, found: 1 }));
    let mut contributions =
        |first, values: &[i32]| provider.contributions(first, values, None, 1, &mut bank.rng).err();
    let expected = Some(SumsError::Rows { expected: ROWS, found: ROWS + 1 });
    assert_eq!(contributions(ROWS - 1, &[1, 2]), expected);
    assert_eq!(contributions(7, &[0, MAX_CONTRIBUTION + 1]), Some(SumsError::Value { row: 8 }));
    assert_eq!(contributions(7, &[i32::MIN]), Some(SumsError::Value { row: 7 }));
    assert_eq!(contributions(7, &[-MAX_CONTRIBUTION]), None);
    assert_eq!(provider.update(&[1; 3], 1), Err(SumsError::Rows { expected: ROWS, found: 3 }));
    let empty = Statistics::new(bank.key.public().clone(), bank.send(Statistic::Indicator, &[1]));
    let residual = empty.sums(Kind::Residual, &[], &[], 1).err();
    assert_eq!(residual, Some(SumsError::Rows { expected: 1, found: 0 }));
}
