//! Slices of every length, and what is done with parts of a batch.

use super::*;

/// Fewer where every operation is interpreted.
const LONGEST: usize = if cfg!(miri) { 4 } else { 40 };

#[test]
fn slices_of_every_length_give_what_single_elements_give() {
    let mut rng = rng();
    let (strings, scalars) = (uniform(&mut rng, LONGEST), scalars(&mut rng, LONGEST));
    let one = scalars[3];
    let dalek: Vec<_> = strings.iter().map(RistrettoPoint::from_uniform_bytes).collect();
    for backend in backends() {
        for length in 0..=LONGEST {
            let (dalek, strings, scalars) = (&dalek[..length], &strings[..length], &scalars[..length]);
            let encodings = portable::encode(dalek);
            let mut each = dalek.to_vec();
            portable::multiply_each(&mut each, scalars);
            let mut all = dalek.to_vec();
            portable::multiply(&mut all, &one);
            let points = Points::decode_with(backend, &encodings).expect("encodings");
            assert_eq!((points.len(), points.is_empty()), (length, length == 0));
            assert_eq!(points.encode(), encodings);
            assert_eq!(points.mul(&one).encode(), portable::encode(&all));
            assert_eq!(points.mul_each(scalars).encode(), portable::encode(&each));
            assert_eq!(points.encode_doubled(), portable::encode_doubled(dalek));
            assert_eq!(Points::from_uniform_with(backend, strings).encode(), encodings);
            let base = portable::encode(&portable::multiply_base(scalars));
            assert_eq!(Points::mul_base_with(backend, scalars).encode(), base);
            assert_eq!(decode_mul_encode_with(backend, &encodings, &one), Ok(portable::encode(&all)));
            assert_eq!(hash_mul_encode_with(backend, strings, &one), portable::encode(&all));
            assert_eq!(points.neg().add(&points).encode(), vec![[0; 32]; length]);
            let others = Points::mul_base_with(backend, scalars);
            let dalek_others = portable::multiply_base(scalars);
            let mut sums = dalek.to_vec();
            portable::add(&mut sums, &dalek_others);
            assert_eq!(points.add(&others).encode(), portable::encode(&sums));
            assert_eq!(points.add(&others).sub(&others).encode(), encodings);
            assert_eq!(points.double().encode(), portable::encode_doubled(dalek));
        }
    }
}

#[test]
fn parts_of_a_batch_are_the_parts_of_its_encodings() {
    let encodings = encodings(&mut rng(), LONGEST);
    for backend in backends() {
        let points = Points::decode_with(backend, &encodings).expect("encodings");
        for start in 0..LONGEST {
            let (head, tail) = (points.slice(0..start), points.slice(start..LONGEST));
            assert_eq!(tail.encode(), encodings[start..]);
            assert_eq!(Points::concat(&[&head, &tail]).encode(), encodings);
            let mut turned = tail;
            turned.append(&head);
            assert_eq!(turned.encode(), [&encodings[start..], &encodings[..start]].concat());
        }
        let backwards: Vec<usize> = (0..LONGEST).rev().collect();
        assert!(points.gather(&backwards).encode().iter().eq(encodings.iter().rev()));
    }
    assert!(Points::concat(&[]).is_empty());
}

#[test]
fn bins_of_every_count_are_filled() {
    let encodings = encodings(&mut rng(), LONGEST);
    for backend in backends() {
        let points = Points::decode_with(backend, &encodings).expect("encodings");
        for count in 1..=LONGEST {
            let bins: Vec<u32> = (0..LONGEST).map(|i| (i % count) as u32).collect();
            let sums = points.vartime_accumulate(&bins, count).encode();
            for (bin, sum) in sums.iter().enumerate() {
                let members: Vec<_> = encodings.iter().skip(bin).step_by(count).copied().collect();
                let expected: RistrettoPoint = portable::decode(&members).expect("encodings").iter().sum();
                assert_eq!(*sum, expected.compress().to_bytes());
            }
        }
    }
}

#[test]
fn sums_of_multiples_of_every_length_and_number_of_bins_are_right() {
    let mut rng = rng();
    let encodings = encodings(&mut rng, LONGEST);
    let mut scalars = scalars(&mut rng, LONGEST);
    let edges = edge_scalars();
    scalars.iter_mut().zip(&edges).for_each(|(scalar, edge)| *scalar = *edge);
    let dalek = portable::decode(&encodings).expect("encodings");
    for backend in backends() {
        let points = Points::decode_with(backend, &encodings).expect("encodings");
        for length in 0..=LONGEST {
            // Bins of very different sizes, and one without points.
            let count = length / 3 + 2;
            let bins: Vec<u32> = (0..length).map(|i| (i * i % (count - 1)) as u32).collect();
            let mut expected = vec![RistrettoPoint::default(); count];
            for i in 0..length {
                expected[bins[i] as usize] += dalek[i] * scalars[i];
            }
            let expected: Vec<_> = expected.iter().map(|sum| sum.compress().to_bytes()).collect();
            let sums = points.slice(0..length).mul_accumulate(&scalars[..length], &bins, count);
            assert_eq!(sums.encode(), expected, "{length} points");
        }
    }
}

#[test]
fn runs_of_every_length_add_up() {
    let encodings = encodings(&mut rng(), LONGEST);
    let dalek = portable::decode(&encodings).expect("encodings");
    for backend in backends() {
        let points = Points::decode_with(backend, &encodings).expect("encodings");
        for length in 0..=LONGEST {
            let addends = Addends::new(&points.slice(0..length), &points.slice(LONGEST - length..LONGEST));
            assert_eq!((addends.len(), addends.is_empty()), (length, length == 0));
            let order: Vec<u32> = (0..length as u32).rev().collect();
            for first in 0..=length {
                let ends = [first as u32, length as u32];
                let sum = |dalek: &[RistrettoPoint], range: std::ops::Range<usize>| {
                    dalek[range].iter().sum::<RistrettoPoint>().compress().to_bytes()
                };
                let expected = [&dalek[..length], &dalek[LONGEST - length..]]
                    .map(|dalek| vec![sum(dalek, length - first..length), sum(dalek, 0..length - first)]);
                assert_eq!(addends.vartime_sum_runs(&order, &ends).map(|sums| sums.encode()), expected);
            }
        }
    }
}

#[test]
fn small_multiples_and_fixed_points_of_every_length_are_right() {
    let mut rng = rng();
    let (encodings, scalars) = (encodings(&mut rng, LONGEST), scalars(&mut rng, LONGEST));
    let dalek = portable::decode(&encodings).expect("encodings");
    for backend in backends() {
        let points = Points::decode_with(backend, &encodings).expect("encodings");
        let fixed = FixedBase::new(&points.slice(0..1));
        for length in 0..=LONGEST {
            let factors: Vec<i32> = (0..length as i32).map(|i| i * 37 - 600).collect();
            let mut expected = dalek[..length].to_vec();
            portable::multiply_small(&mut expected, &factors);
            let product = points.slice(0..length).mul_each_small(&factors);
            assert_eq!(product.encode(), portable::encode(&expected));
            let expected: Vec<_> = scalars[..length].iter().map(|scalar| dalek[0] * scalar).collect();
            assert_eq!(fixed.mul(&scalars[..length]).encode(), portable::encode(&expected));
        }
    }
}

#[test]
fn points_of_two_backends_are_added_and_joined() {
    let encodings = encodings(&mut rng(), LONGEST);
    let points = backends().map(|backend| Points::decode_with(backend, &encodings).expect("encodings"));
    let points: Vec<_> = points.collect();
    for (a, b) in points.iter().flat_map(|a| points.iter().map(move |b| (a, b))) {
        assert_eq!(a.add(b).encode(), a.double().encode());
        assert_eq!(a.sub(b).encode(), vec![[0; 32]; LONGEST]);
        assert_eq!(Points::concat(&[a, b]).encode(), encodings.repeat(2));
        let [first, second] = Addends::new(a, b).vartime_sum_runs(&[0, 1], &[2]);
        assert_eq!(first.encode(), second.encode());
    }
}

#[test]
#[should_panic(expected = "one scalar for each point")]
fn scalars_of_another_number_panic() {
    let _ = Points::decode(&[[0; 32]; 3]).expect("the identity").mul_each(&[Scalar::ONE; 2]);
}

#[test]
#[should_panic(expected = "a bin is not below 2")]
fn bins_out_of_range_panic() {
    let _ = Points::decode(&[[0; 32]; 3]).expect("the identity").vartime_accumulate(&[0, 1, 2], 2);
}

#[test]
fn runs_out_of_bounds_or_order_panic() {
    for backend in backends() {
        let points = Points::decode_with(backend, &[[0; 32]; 3]).expect("the identity");
        let addends = Addends::new(&points, &points);
        let wrong: [(&[u32], &[u32]); 5] =
            [(&[3], &[1]), (&[0], &[2]), (&[0, 1], &[1]), (&[0, 1], &[2, 1, 2]), (&[0], &[])];
        for (order, ends) in wrong {
            assert!(std::panic::catch_unwind(|| addends.vartime_sum_runs(order, ends)).is_err());
        }
        assert!(std::panic::catch_unwind(|| FixedBase::new(&points)).is_err());
        assert!(std::panic::catch_unwind(|| points.mul_each_small(&[1, 2])).is_err());
    }
}

#[test]
fn indices_out_of_range_panic() {
    for backend in backends() {
        let points = Points::decode_with(backend, &[[0; 32]; 3]).expect("the identity");
        assert!(std::panic::catch_unwind(|| points.gather(&[3])).is_err());
    }
}
