use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::*;

fn random(seed: u128, count: usize) -> Vec<u128> {
    let mut values = vec![0; count];
    Prg::new(seed).fill(&mut values);
    values
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(11)
}

#[test]
fn a_store_decodes_to_its_values_and_to_noise_elsewhere() {
    for (count, capacity) in
        [(0, 0), (0, 9), (1, 1), (2, 2), (7, 100), (100, 100), (1_000, 1_000), (9_999, 20_000)]
    {
        let shape = Shape::new(capacity, 40).unwrap();
        let rows = Rows::derive(shape, 5, &random(1, count)).unwrap();
        let values = random(2, count);
        let store = rows.encode(&values, &mut rng()).unwrap();
        assert_eq!(store.len(), shape.columns());
        assert_eq!(rows.decode(&store).unwrap(), values, "{count} of {capacity}");
        let strangers = Rows::derive(shape, 5, &random(3, count)).unwrap();
        let noise = strangers.decode(&store).unwrap();
        assert!(noise.iter().all(|value| !values.contains(value)), "{count} of {capacity}");
    }
}

#[test]
fn rows_are_a_permutation_of_the_keys() {
    let keys = random(1, 5_000);
    let rows = Rows::derive(Shape::new(5_000, 40).unwrap(), 6, &keys).unwrap();
    assert!(rows.starts.is_sorted());
    assert!(rows.origins().iter().zip(rows.keys()).all(|(origin, key)| keys[*origin as usize] == *key));
    let mut origins = rows.origins().to_vec();
    origins.sort_unstable();
    assert!(origins.into_iter().eq(0..5_000));
    assert!(rows.duplicates().is_empty());
}

#[test]
fn rows_of_a_seed_do_not_depend_on_the_order_of_the_keys() {
    let shape = Shape::new(3_000, 40).unwrap();
    let keys = random(1, 3_000);
    let backwards: Vec<u128> = keys.iter().rev().copied().collect();
    let store = random(2, shape.columns());
    let decoded = |keys: &[u128]| {
        let rows = Rows::derive(shape, 7, keys).unwrap();
        let mut pairs: Vec<_> = rows.keys().iter().copied().zip(rows.decode(&store).unwrap()).collect();
        pairs.sort_unstable();
        pairs
    };
    assert_eq!(decoded(&keys), decoded(&backwards));
    assert_ne!(Rows::derive(shape, 8, &keys).unwrap().starts, Rows::derive(shape, 7, &keys).unwrap().starts);
}

#[test]
fn keys_that_come_again_are_dropped_and_reported() {
    let mut keys = random(1, 2_000);
    keys.extend([keys[17], keys[3], keys[17]]);
    let rows = Rows::derive(Shape::new(3_000, 40).unwrap(), 9, &keys).unwrap();
    assert_eq!(rows.len(), 2_000);
    let mut found: Vec<_> = rows.duplicates().iter().map(|d| (d.kept, d.dropped)).collect();
    found.sort_unstable();
    assert_eq!(found, [(3, 2_001), (17, 2_000), (17, 2_002)]);
    let values = random(2, 2_000);
    assert_eq!(rows.decode(&rows.encode(&values, &mut rng()).unwrap()).unwrap(), values);
}

#[test]
fn one_key_many_times_is_one_row() {
    let rows = Rows::derive(Shape::new(70_000, 40).unwrap(), 9, &[4; 70_000]).unwrap();
    assert_eq!((rows.len(), rows.duplicates().len()), (1, 69_999));
    assert!(rows.duplicates().iter().all(|duplicate| duplicate.kept == 0));
}

#[test]
fn free_columns_are_random() {
    let shape = Shape::new(4_000, 40).unwrap();
    let rows = Rows::derive(shape, 5, &random(1, 100)).unwrap();
    let values = vec![0; 100];
    let mut rng = rng();
    let (first, second) = (rows.encode(&values, &mut rng).unwrap(), rows.encode(&values, &mut rng).unwrap());
    let equal = first.iter().zip(&second).filter(|(a, b)| a == b).count();
    assert_eq!(equal, 0, "no column of a store is a function of the keys alone");
    let ones: u32 = first.iter().map(|column| column.count_ones()).sum();
    let bits = 128 * shape.columns() as u32;
    assert!(ones.abs_diff(bits / 2) < 4 * bits.isqrt(), "{ones} of {bits}");
}

/// A place for every eight columns, and 31 blocks behind the last.
#[test]
fn columns_grow_with_rows_and_with_the_failure_bound() {
    let columns = |rows, bits| Shape::new(rows, bits).unwrap().columns();
    assert_eq!([0, 1, 7].map(|rows| columns(rows, 40)), [256, 256, 256]);
    assert_eq!(columns(8, 40), 264);
    assert_eq!(columns(1 << 14, 45), (1_usize << 14) * 1_080 / 8_000 * 8 + 8 + 248);
    assert_eq!(columns(1 << 18, 40), columns(1 << 18, 41));
    assert!(columns(1 << 18, 41) < columns(1 << 18, 46));
    assert!(columns(1 << 18, 46) < columns(1 << 18, 52));
    let share = |rows: usize, bits| (columns(rows, bits) - 248) * 1_000 / rows;
    assert_eq!(
        [(1 << 18, 40), (1 << 18, 46), (1 << 18, 52)].map(|(n, b)| share(n, b)),
        [1_080, 1_090, 1_100]
    );
    assert_eq!(
        [(1 << 20, 40), (1 << 21, 52), (1 << 21, 57)].map(|(n, b)| share(n, b)),
        [1_085, 1_105, 1_110]
    );
}

#[test]
fn dependent_rows_are_unsolvable() {
    let band = [0x5555, 0x77, 1 << 60, 3];
    assert!(is_solvable(40, [(3, band)]));
    assert!(!is_solvable(40, [(3, band), (3, band)]));
    let other = [0x5554, 0x71, 9, 1 << 63];
    let sum = std::array::from_fn(|w| band[w] ^ other[w]);
    assert!(!is_solvable(40, [(0, band), (0, other), (0, sum)]));
    assert!(!is_solvable(40, [(0, [0; 4])]));
    let crowd = random(1, 512);
    let crowd =
        crowd.chunks(2).map(|w| (0, [w[0] as u64, w[1] as u64, (w[0] >> 64) as u64, (w[1] >> 64) as u64]));
    assert!(is_solvable(40, crowd.clone().take(240)));
    assert!(!is_solvable(40, crowd.clone().chain(crowd)));
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(Shape::new(MAX_OKVS_ROWS + 1, 40), Err(OkvsError::Rows { found: MAX_OKVS_ROWS + 1 }));
    assert_eq!(Shape::new(10, 65), Err(OkvsError::FailureBits { found: 65 }));
    assert_eq!(Shape::new(MAX_OKVS_ROWS, 58), Err(OkvsError::FailureBits { found: 58 }));
    let shape = Shape::new(10, 40).unwrap();
    let keys = random(1, 11);
    assert_eq!(Rows::derive(shape, 1, &keys).unwrap_err(), OkvsError::Keys { expected: 10, found: 11 });
    let rows = Rows::derive(shape, 1, &keys[..4]).unwrap();
    assert_eq!(rows.encode(&keys, &mut rng()), Err(OkvsError::Values { expected: 4, found: 11 }));
    let expected = shape.columns();
    assert_eq!(rows.decode(&keys), Err(OkvsError::Columns { expected, found: 11 }));
}
