//! The bank's operator attacks the parts of running providers with everything that it holds.
//!
//! `attacker.rs` has the attacks, which run in the same words against the nodes and against a weak construction.

use curve25519_dalek::{RistrettoPoint, Scalar};

use super::calls::{Scored, part, sum};
use crate::lab::failures;

mod attacker;
mod calls;
mod operator;
mod tables;

use attacker::{ElGamalSum, Multiples, Target, alone, crafted, difference};
use operator::{Operator, combine};

/// Parts that an attack tries to read.
const HIDDEN: usize = 100;

/// Providers and positions where at least two providers hold a part that is not the default.
fn hidden() -> Vec<(usize, usize)> {
    let told = |i, position| part(i, position) != 3;
    let hidden = |position: &usize| (0..3).filter(|i| told(*i, *position)).count() >= 2;
    let targets = (0..).filter(hidden).map(|position| (position % 3, position));
    targets.filter(|(i, position)| told(*i, *position)).take(HIDDEN).collect()
}

/// How many parts, or differences of parts, each attack reads rightly, and how many it reads at all.
async fn reads(target: &impl Target) -> [(usize, usize); 3] {
    let (known, mut counts) = (Multiples::new(), [(0, 0); 3]);
    for (i, position) in hidden() {
        let (here, next) = (i16::from(part(i, position)), i16::from(part(i, position + 1)));
        let found = [
            (alone(target, &known, i, position).await, here),
            (difference(target, &known, i, position).await, here - next),
            (crafted(target, &known, i, position).await, here),
        ];
        for ((right, all), (found, truth)) in counts.iter_mut().zip(found) {
            *right += usize::from(found == Some(truth));
            *all += usize::from(found.is_some());
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attack_reads_every_part_of_the_weak_construction() {
    let counts = reads(&ElGamalSum::new(3, 2 * HIDDEN)).await;
    assert_eq!(counts.map(|(right, _)| right), [HIDDEN; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_reads_a_part_of_running_providers() {
    let scored = Scored::new(3, 2, 1).await;
    let operator = Operator::new(&scored).await;
    assert_eq!(reads(&operator).await, [(0, 0); 3]);
    // The questions were answered, and what they open is what they may: the sums.
    for (i, (party, node)) in scored.providers.iter().enumerate() {
        assert!(failures(party, node).await.is_empty(), "{i}");
    }
    let known = Multiples::new();
    for (_, position) in hidden() {
        let mask = operator.ask(&[operator.hash(position)]).await[0];
        assert_eq!(known.find(&[operator.summed(position) - mask]), Some(sum(3, position) as i16));
    }
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multiples_and_sums_of_hashes_open_the_sums_that_they_are_made_of_and_nothing_else() {
    let scored = Scored::new(3, 2, 1).await;
    let operator = Operator::new(&scored).await;
    let known = Multiples::new();
    for (i, position) in hidden() {
        let (one, two) = (operator.hash(position), operator.hash(position + 1));
        let masks = operator.ask(&[one + one, one + two]).await;
        let half = Scalar::from(2_u8).invert() * masks[0];
        let both = operator.summed(position) + operator.summed(position + 1) - masks[1];
        let sums = [sum(3, position) as i16, sum(3, position + 1) as i16];
        assert_eq!(known.find(&[operator.summed(position) - half]), Some(sums[0]));
        if sums[0] + sums[1] <= 1_020 {
            assert_eq!(known.find(&[both]), Some(sums[0] + sums[1]));
        }
        let rows = [operator.row(i, position)[0], operator.row(i, position + 1)[0]];
        let masks = [half, masks[0], masks[1], masks[1] - half];
        let open = |row: &RistrettoPoint| known.find(&masks.map(|mask| row - mask));
        assert_eq!([rows[0], rows[1], rows[0] + rows[1]].iter().find_map(open), None);
    }
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_fewer_than_the_threshold_open_nothing_however_they_are_combined() {
    let scored = Scored::new(4, 3, 1).await;
    let operator = Operator::new(&scored).await;
    let (known, targets) = (Multiples::new(), hidden());
    let hashes: Vec<_> = targets.iter().map(|(_, position)| operator.hash(*position)).collect();
    let answers = [operator.share(1, &hashes).await, operator.share(3, &hashes).await];
    let two = combine(&[1, 3], &answers);
    let weights = || {
        (-6_i8..=6).map(|weight| {
            let size = Scalar::from(weight.unsigned_abs());
            if weight < 0 { -size } else { size }
        })
    };
    for (at, (i, position)) in targets.into_iter().enumerate() {
        let mut masks = vec![two[at]];
        masks.extend(
            weights()
                .flat_map(|a| weights().map(move |b| (a, b)))
                .map(|(a, b)| a * answers[0][at] + b * answers[1][at]),
        );
        let rows = [operator.summed(position), operator.row(i, position)[0], operator.row(3, position)[0]];
        let all: Vec<_> = rows.iter().flat_map(|row| masks.iter().map(move |mask| row - mask)).collect();
        assert_eq!(known.find(&all), None);
    }
    // Three open it: the attack fails for want of an answer only.
    let answers = [vec![answers[0][0]], operator.share(2, &hashes[..1]).await, vec![answers[1][0]]];
    let (_, position) = hidden()[0];
    let mask = combine(&[1, 2, 3], &answers)[0];
    assert_eq!(known.find(&[operator.summed(position) - mask]), Some(sum(4, position) as i16));
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_group_that_lost_a_member_open_nothing() {
    let scored = Scored::new(3, 2, 1).await;
    let operator = Operator::new(&scored).await;
    let (known, mut opened) = (Multiples::new(), 0);
    for (_, position) in hidden() {
        let mask = operator.ask(&[operator.hash(position)]).await[0];
        let row = |i| operator.row(i, position)[0];
        let pairs = [row(0) + row(1), row(0) + row(2), row(1) + row(2)];
        opened += usize::from(known.find(&pairs.map(|pair| pair - mask)).is_some());
    }
    assert_eq!(opened, 0);
    scored.stop().await;
}
