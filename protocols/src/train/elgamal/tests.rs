use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::CompressedRistretto;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::*;
use crate::limits::MAX_CIPHERTEXTS_PER_CHUNK;
use crate::transcript::Hash;

const SEED: u64 = 20_261_128;
const RESIDUAL: Statistic = Statistic::Residual { block: 0 };

fn key(byte: u8) -> TrainingKey {
    TrainingKey::derive(&TrainingSeed::from_bytes([byte; 32]))
}

fn residuals(count: usize) -> Vec<i64> {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    (0..count).map(|_| i64::from(rng.next_u32() % 4_097) - 2_048).collect()
}

fn encrypt(key: &TrainingKey, statistic: Statistic, values: &[i64]) -> Vec<EncodedCiphertext> {
    Encryptor::new(key, statistic, values.len()).unwrap().chunk(values, 1).unwrap()
}

fn decode(encoded: &[EncodedCiphertext]) -> Ciphertexts {
    Ciphertexts::decode(encoded.as_flattened(), 1).unwrap()
}

fn decrypt(key: &TrainingKey, ciphertexts: &Ciphertexts, bound: u64) -> Vec<i64> {
    let answers = ciphertexts.answers();
    let answers = Answers::decode(answers.as_flattened(), ciphertexts.len(), 2).unwrap();
    key.decrypt(&answers, &Decoder::new(bound).unwrap(), 2).unwrap()
}

fn point(bytes: &[u8]) -> RistrettoPoint {
    CompressedRistretto::from_slice(bytes).unwrap().decompress().unwrap()
}

#[test]
fn a_statistic_decrypts_to_its_integers() {
    let mut values = residuals(600);
    values[..5].copy_from_slice(&[0, 1, -1, 1 << 20, -(1 << 20)]);
    let encoded = encrypt(&key(1), RESIDUAL, &values);
    let ciphertexts = decode(&encoded);
    assert_eq!(ciphertexts.encode(), encoded);
    assert_eq!(decrypt(&key(1), &ciphertexts, 1 << 20), values);
}

/// Each step done once more with dalek: what the page says about ρ, A and B.
#[test]
fn ciphertexts_are_what_the_page_says() {
    use hkdf::Hkdf;
    use sha2::{Digest as _, Sha512};
    let expand = |label: &str| {
        let mut bytes = [0; 64];
        Hkdf::<Sha512>::new(None, &[1; 32]).expand(&kdf::info(label, "", 0), &mut bytes).unwrap();
        bytes
    };
    let y = Scalar::from_bytes_mod_order_wide(&expand("train-key"));
    assert_eq!(point(key(1).public().as_bytes()), RistrettoPoint::mul_base(&y));
    let values = residuals(20);
    for block in [0_u16, 9] {
        let encoded = encrypt(&key(1), Statistic::Residual { block }, &values);
        for (row, (ciphertext, value)) in (0_u64..).zip(encoded.iter().zip(&values)) {
            let mut hash = Sha512::new_with_prefix(expand("train-randomness")).chain_update([0; 64]);
            hash.update((1 + u64::from(block)).to_be_bytes());
            hash.update(row.to_be_bytes());
            let rho = Scalar::from_bytes_mod_order_wide(&hash.finalize().into()) * Scalar::from(2_u64);
            let magnitude = Scalar::from(value.unsigned_abs());
            let message = if *value < 0 { -magnitude } else { magnitude };
            assert_eq!(point(&ciphertext[..32]), RistrettoPoint::mul_base(&rho));
            assert_eq!(point(&ciphertext[32..]), RistrettoPoint::mul_base(&(message.div_by_2() + rho * y)));
        }
    }
}

#[test]
fn sums_of_ciphertexts_are_ciphertexts_of_sums() {
    let values = residuals(200);
    let key = key(2);
    let mut sums = decode(&encrypt(&key, RESIDUAL, &values[..100]));
    let others = Encryptor::new(&key, Statistic::Indicator, 100).unwrap().chunk(&values[100..], 2).unwrap();
    sums.add_assign(&decode(&others));
    let expected: Vec<_> = values[..100].iter().zip(&values[100..]).map(|(a, b)| a + b).collect();
    assert_eq!(decrypt(&key, &sums, 1 << 13), expected);
    let factors: Vec<i32> = (0..100).map(|i| i * 3 - 151).collect();
    let expected: Vec<_> = expected.iter().zip(&factors).map(|(sum, f)| sum * i64::from(*f)).collect();
    assert_eq!(decrypt(&key, &sums.times(&factors), 1 << 21), expected);
}

#[test]
fn equal_integers_differ_by_row_statistic_and_seed() {
    let values = [7; 40];
    let mut all: Vec<EncodedCiphertext> = Vec::new();
    for statistic in [Statistic::Indicator, RESIDUAL, Statistic::Residual { block: 1 }] {
        all.extend(encrypt(&key(1), statistic, &values));
        all.extend(encrypt(&key(2), statistic, &values));
    }
    let mut halves: Vec<_> = all.iter().flat_map(|c| [&c[..32], &c[32..]]).collect();
    halves.sort_unstable();
    assert!(halves.windows(2).all(|pair| pair[0] != pair[1]));
}

fn digest(key: &TrainingKey, values: &[i64], chunk: usize, threads: usize) -> Hash {
    let mut encryptor = Encryptor::new(key, RESIDUAL, values.len()).unwrap();
    let mut receiver = Receiver::new(RESIDUAL, values.len()).unwrap();
    for values in values.chunks(chunk) {
        let bytes = encryptor.chunk(values, threads).unwrap();
        receiver.on_chunk(bytes.as_flattened(), threads).unwrap();
    }
    let (ciphertexts, received) = receiver.finish().unwrap();
    let sent = encryptor.finish().unwrap();
    assert_eq!((ciphertexts.len(), received), (values.len(), sent));
    sent
}

#[test]
fn encrypting_again_from_the_seed_gives_the_digest_whatever_the_chunks() {
    let mut values = residuals(700);
    let sent = digest(&key(1), &values, 700, 1);
    for (chunk, threads) in [(1, 1), (64, 1), (333, 2), (699, 3)] {
        assert_eq!(digest(&key(1), &values, chunk, threads), sent);
    }
    values[699] += 1;
    assert_ne!(digest(&key(1), &values, 700, 1), sent);
    assert_ne!(digest(&key(2), &residuals(700), 700, 1), sent);
}

#[test]
fn missing_and_surplus_rows_are_refused() {
    let bytes = encrypt(&key(1), RESIDUAL, &[1, 2, 3]);
    let mut receiver = Receiver::new(RESIDUAL, 4).unwrap();
    assert_eq!(receiver.on_chunk(bytes.as_flattened(), 1), Ok(1));
    assert_eq!(
        receiver.on_chunk(bytes.as_flattened(), 1),
        Err(ElGamalError::Count { expected: 4, found: 6 })
    );
    assert_eq!(receiver.finish().err(), Some(ElGamalError::Count { expected: 4, found: 3 }));
    let mut encryptor = Encryptor::new(&TEST_KEY, RESIDUAL, 2).unwrap();
    assert!(encryptor.chunk(&[1, 2, 3], 1).is_err());
    encryptor.chunk(&[1], 1).unwrap();
    assert_eq!(encryptor.finish(), Err(ElGamalError::Count { expected: 2, found: 1 }));
    let found = MAX_TRAINING_ROWS + 1;
    assert_eq!(Receiver::new(RESIDUAL, found).err(), Some(ElGamalError::Rows { found }));
}

static TEST_KEY: std::sync::LazyLock<TrainingKey> = std::sync::LazyLock::new(|| key(1));

#[test]
fn malformed_ciphertexts_are_refused_by_row() {
    let good = encrypt(&key(1), RESIDUAL, &residuals(300));
    for (half, wrong) in [(0, [0; 32]), (32, [0; 32]), (0, [0xff; 32]), (32, [1; 32])] {
        for threads in [1, 3] {
            let mut bad = good.clone();
            bad[270][half..half + 32].copy_from_slice(&wrong);
            bad[290][..32].copy_from_slice(&[0; 32]);
            let mut receiver = Receiver::new(RESIDUAL, 400).unwrap();
            receiver.on_chunk(good[..100].as_flattened(), threads).unwrap();
            let expected = ElGamalError::InvalidCiphertext { index: 370 };
            assert_eq!(receiver.on_chunk(bad.as_flattened(), threads), Err(expected));
            let expected = ElGamalError::InvalidCiphertext { index: 270 };
            assert_eq!(Answers::decode(bad.as_flattened(), 300, threads).err(), Some(expected));
        }
    }
}

#[test]
fn messages_of_a_wrong_length_are_refused() {
    let good = encrypt(&key(1), RESIDUAL, &residuals(3));
    let bytes = good.as_flattened();
    let mut receiver = Receiver::new(RESIDUAL, MAX_TRAINING_ROWS).unwrap();
    for length in [0, 1, 63, 65, 191] {
        assert_eq!(receiver.on_chunk(&bytes[..length], 1), Err(ElGamalError::Length { found: length }));
    }
    let long = bytes[..64].repeat(MAX_CIPHERTEXTS_PER_CHUNK + 1);
    assert_eq!(receiver.on_chunk(&long, 1), Err(ElGamalError::Length { found: long.len() }));
    let answers = Answers::decode(bytes, 4, 1).err();
    assert_eq!(answers, Some(ElGamalError::Count { expected: 4, found: 3 }));
    assert!(Answers::decode(&bytes[..191], 3, 1).is_err());
}

#[test]
fn integers_that_are_too_large_are_not_encrypted() {
    let beyond = MAX_TRAINING_SUM.cast_signed() + 1;
    for value in [beyond, -beyond, i64::MIN, i64::MAX] {
        let mut encryptor = Encryptor::new(&TEST_KEY, RESIDUAL, 2).unwrap();
        assert_eq!(encryptor.chunk(&[0, value], 1), Err(ElGamalError::Value { row: 1 }));
    }
}

#[test]
fn an_answer_beyond_the_bound_is_named_whatever_the_threads() {
    let mut values = vec![3; 500];
    values[444] = 1_001;
    let ciphertexts = decode(&encrypt(&TEST_KEY, RESIDUAL, &values));
    let answers = Answers::decode(ciphertexts.answers().as_flattened(), 500, 1).unwrap();
    let decoder = Decoder::new(1_000).unwrap();
    for threads in [1, 2, 5] {
        let found = TEST_KEY.decrypt(&answers, &decoder, threads);
        assert_eq!(found, Err(DecodeError::Beyond { index: 444, bound: 1_000 }.into()));
    }
}

#[test]
fn another_key_decrypts_nothing() {
    let ciphertexts = decode(&encrypt(&key(1), RESIDUAL, &[5]));
    let answers = Answers::decode(ciphertexts.answers().as_flattened(), 1, 1).unwrap();
    assert!(key(2).decrypt(&answers, &Decoder::new(1_000).unwrap(), 1).is_err());
}

#[test]
fn keys_are_read_as_they_are_written_and_nothing_secret_is_printed() {
    let public = key(1).public().clone();
    assert_eq!(PublicKey::from_bytes(*public.as_bytes()), Ok(public));
    for wrong in [[0; 32], [0xff; 32]] {
        assert_eq!(PublicKey::from_bytes(wrong), Err(ElGamalError::InvalidKey));
    }
    let seed = TrainingSeed::from_bytes([0x41; 32]);
    assert_eq!(format!("{seed:?}"), "TrainingSeed(Secret(…))");
    assert!(!format!("{:?}", TrainingKey::derive(&seed)).contains("4141"));
    assert_ne!(seed.commitment(&[0; 32]), seed.commitment(&[1; 32]));
    assert_eq!(seed.commitment(&[0; 32]), transcript::commit(&[0; 32], &[0x41; 32]));
}

/// Made by another implementation, in plain integers.
#[test]
fn the_published_vectors_hold() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/train-v1.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let array = |name: &str| <[u8; 32]>::try_from(hex::decode(text(&vectors[name])).unwrap()).unwrap();
    let seed = TrainingSeed::from_bytes(array("seed"));
    let key = TrainingKey::derive(&seed);
    assert_eq!(seed.commitment(&array("salt")), array("commitment"));
    assert_eq!(key.public().as_bytes(), &array("public_key"));
    for case in vectors["statistics"].as_array().unwrap() {
        let statistic = match case["statistic"].as_u64().unwrap() {
            0 => Statistic::Indicator,
            number => Statistic::Residual { block: number as u16 - 1 },
        };
        let list = |name: &str| case[name].as_array().unwrap();
        let values: Vec<_> = list("integers").iter().map(|value| value.as_i64().unwrap()).collect();
        let mut encryptor = Encryptor::new(&key, statistic, values.len()).unwrap();
        let ciphertexts = encryptor.chunk(&values, 1).unwrap().into_iter().map(hex::encode);
        assert!(ciphertexts.eq(list("ciphertexts").iter().map(text)));
        assert_eq!(hex::encode(encryptor.finish().unwrap()), text(&case["digest"]));
    }
}
