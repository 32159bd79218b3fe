//! RFC 9496, appendices A.1 to A.3.

use serde_json::Value;

use super::*;

pub(super) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../vectors/rfc9496.json")).expect("the file is JSON")
}

pub(super) fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    let bytes = hex::decode(value.as_str().expect("a string")).expect("hexadecimal digits");
    bytes.try_into().expect("a length as expected")
}

fn all<const N: usize>(values: &Value) -> Vec<[u8; N]> {
    values.as_array().expect("an array").iter().map(bytes).collect()
}

#[test]
fn multiples_of_the_generator_are_appendix_a1() {
    let multiples = all::<32>(&vectors()["multiples"]);
    let scalars: Vec<Scalar> = (0..multiples.len() as u64).map(Scalar::from).collect();
    for backend in backends() {
        assert_eq!(Points::mul_base_with(backend, &scalars).encode(), multiples);
        let generators = Points::decode_with(backend, &vec![multiples[1]; multiples.len()]).expect("B");
        assert_eq!(generators.mul_each(&scalars).encode(), multiples);
        assert_eq!(Points::decode_with(backend, &multiples).expect("multiples").encode(), multiples);
    }
}

#[test]
fn invalid_encodings_of_appendix_a2_are_refused_wherever_they_stand() {
    let invalid = all::<32>(&vectors()["invalid"]);
    let good = encodings(&mut rng(), 40);
    for backend in backends() {
        // Fewer where every operation is interpreted.
        for (i, encoding) in invalid.iter().enumerate().step_by(if cfg!(miri) { 7 } else { 1 }) {
            let mut strings = good.clone();
            strings[i] = *encoding;
            let error = Points::decode_with(backend, &strings).err();
            assert_eq!(error, Some(InvalidEncoding { index: i }), "{encoding:02x?}");
            strings[39] = *encoding;
            let error = decode_mul_encode_with(backend, &strings, &Scalar::ONE).err();
            assert_eq!(error, Some(InvalidEncoding { index: i }));
        }
    }
}

/// Fused calls work block by block: the index counts from the start of all.
#[test]
fn invalid_encodings_are_found_in_any_block() {
    let length = if cfg!(miri) { 9 } else { 2 * BLOCK + 9 };
    for backend in backends() {
        for place in [0, length / 2, length - 1] {
            let mut strings = vec![[0; 32]; length];
            strings[place] = [0xff; 32];
            let error = decode_mul_encode_with(backend, &strings, &Scalar::ONE).err();
            assert_eq!(error, Some(InvalidEncoding { index: place }));
        }
    }
}

#[test]
fn identities_are_refused_on_demand() {
    let mut strings = encodings(&mut rng(), 40);
    assert!(Points::decode_nonidentity(&strings).is_ok());
    strings[17] = [0; 32];
    assert!(Points::decode(&strings).is_ok());
    assert_eq!(Points::decode_nonidentity(&strings).err(), Some(InvalidEncoding { index: 17 }));
    strings[20] = [0xff; 32];
    assert_eq!(Points::decode_nonidentity(&strings).err(), Some(InvalidEncoding { index: 17 }));
    strings[11] = [0xff; 32];
    assert_eq!(Points::decode_nonidentity(&strings).err(), Some(InvalidEncoding { index: 11 }));
}

#[test]
fn the_one_way_map_is_appendix_a3() {
    let vectors = vectors();
    let cases = vectors["one_way_map"].as_array().expect("an array");
    let inputs: Vec<[u8; 64]> = cases.iter().map(|case| bytes(&case["input"])).collect();
    let outputs: Vec<[u8; 32]> = cases.iter().map(|case| bytes(&case["output"])).collect();
    for backend in backends() {
        assert_eq!(Points::from_uniform_with(backend, &inputs).encode(), outputs);
    }
}
