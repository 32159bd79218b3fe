use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::*;

const SEED: u64 = 20_261_126;

fn multiples(values: &[i64]) -> Points {
    Points::mul_base(&values.iter().map(|&value| signed(value)).collect::<Vec<_>>())
}

#[test]
fn every_integer_within_the_bound_is_found_and_no_other() {
    for (bound, side) in [(0, 5), (1, 5), (5, 5), (6, 5), (15, 5), (16, 5), (17, 5), (1_000, 20), (700, 0)] {
        let decoder = Decoder::with_side(bound, side).unwrap();
        let limit = bound.cast_signed();
        let values: Vec<i64> = (-limit..=limit).collect();
        assert_eq!(decoder.decode(&multiples(&values)).unwrap(), values, "{bound} {side}");
        for beyond in [limit + 1, -limit - 1, limit + 2, 3 * limit + 50] {
            let values = [0, beyond, limit];
            assert_eq!(
                decoder.decode(&multiples(&values)),
                Err(DecodeError::Beyond { index: 1, bound }),
                "{beyond} {bound} {side}"
            );
        }
    }
}

#[test]
fn a_large_bound_is_searched_to_its_ends() {
    let bound = 1 << 28;
    let decoder = Decoder::new(bound).unwrap();
    let (side, bound) = (LARGEST_SIDE.cast_signed(), bound.cast_signed());
    let width = 2 * side + 1;
    let mut values = vec![0, 1, -1, bound, -bound, bound - 1, side, -side, side + 1, -side - 1];
    values.extend([width, -width, width + side, width + side + 1, -width - side, 7 * width - side]);
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    values.extend((0..100).map(|_| rng.next_u64().cast_signed() % (bound + 1)));
    assert_eq!(decoder.decode(&multiples(&values)).unwrap(), values);
    for beyond in [bound + 1, -bound - 1, bound + width] {
        let found = decoder.decode(&multiples(&[beyond]));
        assert_eq!(found, Err(DecodeError::Beyond { index: 0, bound: decoder.bound() }));
    }
    assert_eq!(
        decoder.giant_steps(),
        2 * (bound - side).unsigned_abs().div_ceil(width.unsigned_abs()) as usize
    );
    assert!(decoder.memory_bytes() < 13 << 20);
}

#[test]
fn an_error_names_its_place_behind_whole_batches() {
    let decoder = Decoder::with_side(100, 30).unwrap();
    let mut values = vec![-99; 2 * BATCH + 7];
    values[BATCH + 3] = 101;
    assert_eq!(
        decoder.decode(&multiples(&values)),
        Err(DecodeError::Beyond { index: BATCH + 3, bound: 100 })
    );
    assert_eq!(decoder.decode(&multiples(&[])), Ok(vec![]));
}

#[test]
fn a_uniform_point_is_no_small_multiple() {
    let decoder = Decoder::new(1 << 20).unwrap();
    let points = Points::from_uniform(&[[7; 64]]);
    assert!(decoder.decode(&points).is_err());
}

#[test]
fn a_bound_without_bound_is_refused() {
    let found = MAX_TRAINING_SUM + 1;
    assert_eq!(Decoder::new(found).err(), Some(DecodeError::Bound { found }));
}
