//! Each operation on 10,000 random inputs, and at its edges: the lanes give dalek's bytes.

use curve25519_dalek::ristretto::CompressedRistretto;

use super::*;

/// Fewer where every operation is interpreted.
const COUNT: usize = if cfg!(miri) { 9 } else { 10_000 };
/// From one edge to the next that is tried.
const STEP: usize = if cfg!(miri) { 4 } else { 1 };

fn points(rng: &mut ChaCha20Rng, backend: Backend) -> (Vec<RistrettoPoint>, Points) {
    let encodings = encodings(rng, COUNT);
    let dalek = portable::decode(&encodings).expect("made by dalek");
    (dalek, Points::decode_with(backend, &encodings).expect("made by dalek"))
}

fn compress(points: impl IntoIterator<Item = RistrettoPoint>) -> Vec<[u8; 32]> {
    points.into_iter().map(|point| point.compress().to_bytes()).collect()
}

#[test]
fn decoding_and_encoding_give_the_same_bytes_back() {
    for backend in backends() {
        let (dalek, points) = points(&mut rng(), backend);
        assert_eq!(points.encode(), compress(dalek));
        assert_eq!(points.backend(), backend);
    }
}

#[test]
fn random_strings_are_accepted_and_refused_as_dalek_does() {
    let mut rng = rng();
    for backend in backends() {
        let mut accepted = 0;
        for _ in 0..COUNT {
            let mut string: [u8; 32] = std::array::from_fn(|_| rng.random());
            (string[0], string[31]) = (string[0] & 0xfe, string[31] & 0x7f);
            let dalek = CompressedRistretto(string).decompress();
            let ours = Points::decode_with(backend, &[string]);
            assert_eq!(ours.as_ref().map(Points::encode).ok(), dalek.map(|point| compress([point])));
            accepted += usize::from(ours.is_ok());
        }
        assert!(accepted > COUNT / 8 && accepted < COUNT / 2, "{accepted}");
    }
}

#[test]
fn hashes_equal_daleks() {
    let strings = uniform(&mut rng(), COUNT);
    for backend in backends() {
        let expected = compress(strings.iter().map(RistrettoPoint::from_uniform_bytes));
        assert_eq!(Points::from_uniform_with(backend, &strings).encode(), expected);
    }
}

#[test]
fn multiples_by_one_scalar_equal_daleks() {
    for backend in backends() {
        let mut rng = rng();
        let (dalek, points) = points(&mut rng, backend);
        let scalar = Scalar::random(&mut rng);
        assert_eq!(points.mul(&scalar).encode(), compress(dalek.iter().map(|point| point * scalar)));
    }
}

#[test]
fn multiples_by_scalars_of_their_own_equal_daleks() {
    for backend in backends() {
        let mut rng = rng();
        let (dalek, points) = points(&mut rng, backend);
        let scalars = scalars(&mut rng, COUNT);
        let expected = compress(dalek.iter().zip(&scalars).map(|(point, scalar)| point * scalar));
        assert_eq!(points.mul_each(&scalars).encode(), expected);
    }
}

#[test]
fn multiples_of_the_generator_equal_daleks() {
    let scalars = scalars(&mut rng(), COUNT);
    for backend in backends() {
        let expected = compress(scalars.iter().map(RistrettoPoint::mul_base));
        assert_eq!(Points::mul_base_with(backend, &scalars).encode(), expected);
    }
}

#[test]
fn multiples_of_a_fixed_point_equal_daleks() {
    for backend in backends() {
        let mut rng = rng();
        let (dalek, points) = points(&mut rng, backend);
        let scalars = scalars(&mut rng, COUNT);
        let fixed = FixedBase::new(&points.slice(3..4));
        let expected = compress(scalars.iter().map(|scalar| dalek[3] * scalar));
        assert_eq!(fixed.mul(&scalars).encode(), expected);
    }
}

/// Of every number of digits, with the largest and the least that so many digits hold.
#[test]
fn multiples_by_small_integers_equal_daleks() {
    for backend in backends() {
        let mut rng = rng();
        let (dalek, points) = points(&mut rng, backend);
        for digits in (1..=9).step_by(STEP) {
            let ones = ((1_i64 << (4 * digits)) - 1) / 15;
            let within = |value: i64| value.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            let (least, largest) = (within(-8 * ones), within(7 * ones));
            let mut factors: Vec<i32> = (0..COUNT).map(|_| rng.random_range(least..=largest)).collect();
            factors[..5].copy_from_slice(&[least, largest, 0, -1, 1]);
            let scalar = |factor: &i32| {
                let magnitude = Scalar::from(factor.unsigned_abs());
                if *factor < 0 { -magnitude } else { magnitude }
            };
            let expected = compress(dalek.iter().zip(&factors).map(|(point, factor)| point * scalar(factor)));
            assert_eq!(points.mul_each_small(&factors).encode(), expected, "{digits} digits");
        }
    }
}

#[test]
fn sums_differences_doubles_and_negatives_equal_daleks() {
    for backend in backends() {
        let mut rng = rng();
        let (dalek_a, a) = points(&mut rng, backend);
        let (dalek_b, b) = points(&mut rng, backend);
        let pairs = || dalek_a.iter().zip(&dalek_b);
        assert_eq!(a.add(&b).encode(), compress(pairs().map(|(a, b)| a + b)));
        assert_eq!(a.sub(&b).encode(), compress(pairs().map(|(a, b)| a - b)));
        assert_eq!(a.double().encode(), compress(dalek_a.iter().map(|a| a + a)));
        assert_eq!(a.neg().encode(), compress(dalek_a.iter().map(|a| -a)));
    }
}

#[test]
fn encodings_of_doubles_equal_daleks() {
    for backend in backends() {
        let (dalek, points) = points(&mut rng(), backend);
        assert_eq!(points.encode_doubled(), compress(dalek.iter().map(|point| point + point)));
    }
}

#[test]
fn bins_collect_their_points() {
    const BINS: usize = 100;
    for backend in backends() {
        let mut rng = rng();
        let (dalek, points) = points(&mut rng, backend);
        // Bins 90 and up stay empty, and bin 0 is crowded.
        let bins: Vec<u32> =
            (0..COUNT).map(|_| rng.random_range(0..180_u32) % 90).map(|b| b * u32::from(b > 20)).collect();
        let mut expected = vec![RistrettoPoint::default(); BINS];
        for (bin, point) in bins.iter().zip(&dalek) {
            expected[*bin as usize] += point;
        }
        assert_eq!(points.vartime_accumulate(&bins, BINS).encode(), compress(expected));
        let scalars = scalars(&mut rng, COUNT);
        let mut expected = vec![RistrettoPoint::default(); BINS];
        for ((bin, point), scalar) in bins.iter().zip(&dalek).zip(&scalars) {
            expected[*bin as usize] += point * scalar;
        }
        assert_eq!(points.mul_accumulate(&scalars, &bins, BINS).encode(), compress(expected));
    }
}

#[test]
fn runs_of_pairs_add_up() {
    for backend in backends() {
        let mut rng = rng();
        let (dalek, points) = points(&mut rng, backend);
        // Points that are not affine, and pairs that stand in several runs or in none.
        let (doubled, dalek_doubled) = (points.double(), dalek.iter().map(|point| point + point));
        let dalek: Vec<_> = dalek.iter().copied().zip(dalek_doubled).collect();
        let order: Vec<u32> = (0..2 * COUNT).map(|_| rng.random_range(0..COUNT as u32)).collect();
        let mut ends: Vec<u32> = (0..98).map(|_| rng.random_range(0..=order.len() as u32)).collect();
        ends.extend([0, ends[0], order.len() as u32]);
        ends.sort_unstable();
        let mut expected = [Vec::new(), Vec::new()];
        let mut begin = 0;
        for &end in &ends {
            let run = || order[begin..end as usize].iter().map(|&pair| dalek[pair as usize]);
            expected[0].push(run().map(|pair| pair.0).sum::<RistrettoPoint>());
            expected[1].push(run().map(|pair| pair.1).sum::<RistrettoPoint>());
            begin = end as usize;
        }
        let sums = Addends::new(&points, &doubled).vartime_sum_runs(&order, &ends);
        assert_eq!(sums.map(|sums| sums.encode()), expected.map(compress));
    }
}

#[test]
fn fused_calls_equal_their_steps() {
    let mut rng = rng();
    let (encodings, strings) = (encodings(&mut rng, COUNT), uniform(&mut rng, COUNT));
    let scalar = Scalar::random(&mut rng);
    for backend in backends() {
        let expected = portable::decode(&encodings).expect("made by dalek");
        let expected = compress(expected.iter().map(|point| point * scalar));
        assert_eq!(decode_mul_encode_with(backend, &encodings, &scalar), Ok(expected));
        let expected = compress(strings.iter().map(|s| RistrettoPoint::from_uniform_bytes(s) * scalar));
        assert_eq!(hash_mul_encode_with(backend, &strings, &scalar), expected);
    }
}

/// Points, among them the identity, by scalars, among them 0, 1 and ℓ − 1, in every combination.
#[test]
fn edge_points_by_edge_scalars_equal_daleks() {
    let base = RistrettoPoint::mul_base(&Scalar::ONE);
    let dalek = [RistrettoPoint::default(), base, -base, base + base, base * Scalar::from(7_u64)];
    let encodings = compress(dalek);
    for backend in backends() {
        let points = Points::decode_with(backend, &encodings).expect("made by dalek");
        for scalar in edge_scalars().into_iter().step_by(STEP) {
            let expected = compress(dalek.iter().map(|point| point * scalar));
            assert_eq!(points.mul(&scalar).encode(), expected, "{scalar:?}");
            assert_eq!(points.mul_each(&[scalar; 5]).encode(), expected, "{scalar:?}");
            assert_eq!(decode_mul_encode_with(backend, &encodings, &scalar).as_ref(), Ok(&expected));
            let base = Points::mul_base_with(backend, &[scalar]);
            assert_eq!(base.encode(), compress([RistrettoPoint::mul_base(&scalar)]), "{scalar:?}");
            for (point, expected) in expected.iter().enumerate() {
                let fixed = FixedBase::new(&points.slice(point..point + 1));
                assert_eq!(fixed.mul(&[scalar]).encode(), [*expected], "{scalar:?}");
            }
        }
    }
}

/// Runs of the identity, of a point and its opposite, and of one point many times.
#[test]
fn runs_of_edge_points_equal_daleks() {
    let base = RistrettoPoint::mul_base(&Scalar::from(5_u64));
    let dalek = [RistrettoPoint::default(), base, -base, base + base];
    let encodings = compress(dalek);
    let runs: [&[u32]; 7] = [&[0], &[1, 2], &[1; 40], &[2, 2, 3], &[0, 0, 0], &[3, 2, 2, 0, 1], &[2; 9]];
    let ends = runs.iter().scan(0, |end, run| {
        *end += run.len() as u32;
        Some(*end)
    });
    let ends: Vec<u32> = ends.collect();
    let expected = compress(runs.map(|run| run.iter().map(|&pair| dalek[pair as usize]).sum()));
    for backend in backends() {
        let points = Points::decode_with(backend, &encodings).expect("made by dalek");
        let [first, second] = Addends::new(&points, &points.neg()).vartime_sum_runs(&runs.concat(), &ends);
        assert_eq!(first.encode(), expected);
        assert_eq!(second.neg().encode(), expected);
    }
}

/// All sums of two edge points: equal, opposite, and the identity.
#[test]
fn sums_of_edge_points_equal_daleks() {
    let multiples: Vec<_> = (0..16)
        .step_by(STEP)
        .map(|i| RistrettoPoint::mul_base(&(Scalar::from(i as u64) - Scalar::from(8_u64))))
        .collect();
    let pairs: Vec<_> = multiples.iter().flat_map(|a| multiples.iter().map(move |b| (*a, *b))).collect();
    let (left, right): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    for backend in backends() {
        let decode =
            |points: &[_]| Points::decode_with(backend, &compress(points.iter().copied())).expect("points");
        let (a, b) = (decode(&left), decode(&right));
        assert_eq!(a.add(&b).encode(), compress(pairs.iter().map(|(a, b)| a + b)));
        assert_eq!(a.sub(&b).encode(), compress(pairs.iter().map(|(a, b)| a - b)));
        assert_eq!(a.sub(&b).encode_doubled(), compress(pairs.iter().map(|(a, b)| a - b + a - b)));
    }
}
