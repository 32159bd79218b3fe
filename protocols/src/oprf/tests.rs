//! RFC 9497's eight ristretto255 vectors in all three modes, and the `voprf` crate as oracle.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::traits::Identity as _;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::Value;

use super::*;

const SEED: u64 = 20_260_101;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(SEED)
}

fn vectors(mode: &str) -> Value {
    let file: Value =
        serde_json::from_str(include_str!("../../vectors/rfc9497-ristretto255-sha512.json")).unwrap();
    let modes = file["modes"].as_array().unwrap();
    modes.iter().find(|m| m["mode"] == mode).unwrap().clone()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn all(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(bytes).collect()
}

fn scalar(value: &Value) -> Scalar {
    Scalar::from_canonical_bytes(array(value)).unwrap()
}

fn scalars(value: &Value) -> Vec<Scalar> {
    value.as_array().unwrap().iter().map(scalar).collect()
}

fn key(context: &Context, mode: &Value) -> PrivateKey {
    let key = PrivateKey::derive(context, &array(&mode["Seed"]), &bytes(&mode["KeyInfo"])).unwrap();
    assert_eq!(key.scalar.to_bytes(), array(&mode["skSm"]));
    if let Some(public) = mode.get("pkSm") {
        assert_eq!(*key.public().as_bytes(), array(public));
    }
    key
}

fn encodings(elements: &[Element]) -> Vec<Vec<u8>> {
    elements.iter().map(|e| e.as_bytes().to_vec()).collect()
}

fn blind(context: &Context, vector: &Value) -> (Vec<Vec<u8>>, Blinded) {
    let inputs = all(&vector["Input"]);
    let present: Vec<_> = inputs.iter().map(|i| Some(i.as_slice())).collect();
    let blinded = Blinded::blind_with(context, &present, scalars(&vector["Blind"]), &mut rng()).unwrap();
    assert_eq!(encodings(blinded.elements()), all(&vector["BlindedElement"]));
    (inputs, blinded)
}

#[test]
fn verifiable_mode_gives_the_published_bytes() {
    let mode = vectors("voprf");
    let key = key(&Context::LOOKUP, &mode);
    for vector in mode["vectors"].as_array().unwrap() {
        let (inputs, blinded) = blind(&Context::LOOKUP, vector);
        let (evaluated, _) = key.blind_evaluate(&Context::LOOKUP, blinded.elements(), &mut rng()).unwrap();
        assert_eq!(encodings(&evaluated), all(&vector["EvaluationElement"]));
        let pairs = Pairs { blinded: blinded.elements(), evaluated: &evaluated };
        let nonce = scalar(&vector["ProofRandomScalar"]);
        let proof = proof::prove_with_nonce(&Context::LOOKUP, &key.scalar, key.public(), pairs, &nonce);
        assert_eq!(proof.to_bytes(), array(&vector["Proof"]));
        let outputs = blinded.finalize(&Context::LOOKUP, key.public(), &evaluated, &proof).unwrap();
        let outputs: Vec<_> = outputs.into_iter().map(|o| o.unwrap().expose().to_vec()).collect();
        assert_eq!(outputs, all(&vector["Output"]));
        let direct = key.evaluate(&Context::LOOKUP, &inputs);
        assert!(direct.iter().zip(&outputs).all(|(a, b)| a.expose().as_slice() == b.as_slice()));
    }
}

#[test]
fn base_mode_gives_the_published_bytes() {
    let mode = vectors("oprf");
    let key = key(&Context::SUBJECT, &mode);
    for vector in mode["vectors"].as_array().unwrap() {
        let (inputs, mut blinded) = blind(&Context::SUBJECT, vector);
        let halves: Vec<_> = blinded.elements().iter().map(|e| e.point * key.half).collect();
        let evaluated = Element::all_doubles(&halves);
        assert_eq!(encodings(&evaluated), all(&vector["EvaluationElement"]));
        let unblinded = blinded.unblind(&evaluated);
        assert_eq!(unblinded[0].bytes, key.tag(&Context::SUBJECT, &inputs[0]));
        let outputs = key.evaluate(&Context::SUBJECT, &inputs);
        assert_eq!(outputs[0].expose().to_vec(), all(&vector["Output"])[0]);
    }
}

/// Mode POPRF is not used; its vectors hold the shared parts (hashing, blinding, proofs) to account.
#[test]
fn partial_mode_built_from_the_same_parts_gives_the_published_bytes() {
    let context = &Context::PARTIAL;
    let mode = vectors("poprf");
    let key = key(context, &mode);
    for vector in mode["vectors"].as_array().unwrap() {
        let info = bytes(&vector["Info"]);
        let len = (info.len() as u16).to_be_bytes();
        let tweak = context.scalar(&[b"Info", &len, &info]);
        let tweaked = PrivateKey::from_bytes(&(key.scalar + tweak).to_bytes()).unwrap();
        assert_eq!(
            tweaked.public().element.point,
            RISTRETTO_BASEPOINT_TABLE * &tweak + key.public().element.point
        );

        let (inputs, mut blinded) = blind(context, vector);
        let inverse = tweaked.scalar.invert().div_by_2();
        let halves: Vec<_> = blinded.elements().iter().map(|e| e.point * inverse).collect();
        let evaluated = Element::all_doubles(&halves);
        assert_eq!(encodings(&evaluated), all(&vector["EvaluationElement"]));

        let pairs = Pairs { blinded: &evaluated, evaluated: blinded.elements() };
        let nonce = scalar(&vector["ProofRandomScalar"]);
        let proof = proof::prove_with_nonce(context, &tweaked.scalar, tweaked.public(), pairs, &nonce);
        assert_eq!(proof.to_bytes(), array(&vector["Proof"]));
        assert!(proof::verify(context, tweaked.public(), pairs, &proof));

        let expected = all(&vector["Output"]);
        for ((input, element), expected) in inputs.iter().zip(blinded.unblind(&evaluated)).zip(expected) {
            let hash = Sha512::new()
                .chain_update((input.len() as u16).to_be_bytes())
                .chain_update(input)
                .chain_update(len)
                .chain_update(&info)
                .chain_update(32_u16.to_be_bytes())
                .chain_update(element.bytes)
                .chain_update(b"Finalize")
                .finalize();
            assert_eq!(hash.to_vec(), expected);
        }
    }
}

/// The `voprf` crate, an independent implementation on an older dalek, as the other party.
mod oracle {
    use super::*;
    use voprf::{
        BlindedElement, EvaluationElement, Proof as TheirProof, Ristretto255, VoprfClient, VoprfServer,
    };

    /// `voprf` takes the generation of random number generators before ours.
    struct Older(ChaCha20Rng);

    impl voprf_rng::RngCore for Older {
        fn next_u32(&mut self) -> u32 {
            self.0.next_u32()
        }
        fn next_u64(&mut self) -> u64 {
            self.0.next_u64()
        }
        fn fill_bytes(&mut self, dest: &mut [u8]) {
            self.0.fill_bytes(dest);
        }
        fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), voprf_rng::Error> {
            self.0.fill_bytes(dest);
            Ok(())
        }
    }

    impl voprf_rng::CryptoRng for Older {}

    #[test]
    fn the_oracle_accepts_our_answers_and_we_accept_its() {
        let mut rng = rng();
        for round in 0..20_u8 {
            let key = PrivateKey::random(&mut rng);
            let input = vec![round; usize::from(round) * 7 + 1];
            let server = VoprfServer::<Ristretto255>::new_with_key(&key.scalar.to_bytes()).unwrap();
            assert_eq!(server.get_public_key().compress().as_bytes(), key.public().as_bytes());

            let theirs = VoprfClient::<Ristretto255>::blind(&input, &mut Older(rng.clone())).unwrap();
            let element = Element::from_bytes(theirs.message.serialize().into()).unwrap();
            let (evaluated, proof) = key.blind_evaluate(&Context::LOOKUP, &[element], &mut rng).unwrap();
            let evaluated = EvaluationElement::deserialize(evaluated[0].as_bytes()).unwrap();
            let proof = TheirProof::deserialize(&proof.to_bytes()).unwrap();
            let output = theirs.state.finalize(&input, &evaluated, &proof, server.get_public_key()).unwrap();
            assert_eq!(output[..], key.evaluate(&Context::LOOKUP, &[&input])[0].expose()[..]);

            let ours = Blinded::blind(&Context::LOOKUP, &[Some(&input)], &mut rng).unwrap();
            let message = BlindedElement::deserialize(ours.elements()[0].as_bytes()).unwrap();
            let answer = server.blind_evaluate(&mut Older(rng.clone()), &message);
            let evaluated = Element::from_bytes(answer.message.serialize().into()).unwrap();
            let proof = Proof::from_bytes(&answer.proof.serialize().into()).unwrap();
            let ours = ours.finalize(&Context::LOOKUP, key.public(), &[evaluated], &proof).unwrap();
            assert_eq!(ours[0].as_ref().unwrap().expose()[..], output[..]);
        }
    }
}

#[test]
fn a_batch_with_absent_fields_answers_the_present_ones() {
    let mut rng = rng();
    let key = PrivateKey::random(&mut rng);
    let inputs = [Some(b"a".as_slice()), None, Some(b"c")];
    let blinded = Blinded::blind(&Context::LOOKUP, &inputs, &mut rng).unwrap();
    let (evaluated, proof) = key.blind_evaluate(&Context::LOOKUP, blinded.elements(), &mut rng).unwrap();
    let outputs = blinded.finalize(&Context::LOOKUP, key.public(), &evaluated, &proof).unwrap();
    let direct = key.evaluate(&Context::LOOKUP, &[b"a", b"c"]);
    assert_eq!(outputs, [Some(direct[0].clone()), None, Some(direct[1].clone())]);
}

#[test]
fn another_key_a_swapped_answer_and_a_short_answer_are_found() {
    let mut rng = rng();
    let (key, other) = (PrivateKey::random(&mut rng), PrivateKey::random(&mut rng));
    let run = |answering: &PrivateKey, change: fn(&mut Vec<Element>)| {
        let mut rng = rng_with(1);
        let blinded =
            Blinded::blind(&Context::LOOKUP, &[Some(b"a".as_slice()), Some(b"b")], &mut rng).unwrap();
        let (mut evaluated, proof) =
            answering.blind_evaluate(&Context::LOOKUP, blinded.elements(), &mut rng).unwrap();
        change(&mut evaluated);
        blinded.finalize(&Context::LOOKUP, key.public(), &evaluated, &proof).err()
    };
    assert_eq!(run(&key, |_| ()), None);
    assert_eq!(run(&other, |_| ()), Some(OprfError::InvalidProof));
    assert_eq!(run(&key, |e| e.swap(0, 1)), Some(OprfError::InvalidProof));
    assert_eq!(run(&key, |e| e.truncate(1)), Some(OprfError::Count { expected: 2, found: 1 }));
}

#[test]
fn a_proof_of_zeros_gives_identities_which_are_encoded_and_refused() {
    let mut rng = rng();
    let key = PrivateKey::random(&mut rng);
    let blinded = Blinded::blind(&Context::LOOKUP, &[Some(b"a".as_slice())], &mut rng).unwrap();
    let (evaluated, _) = key.blind_evaluate(&Context::LOOKUP, blinded.elements(), &mut rng).unwrap();
    let zeros = Proof::from_bytes(&[0; 64]).unwrap();
    let refused = blinded.finalize(&Context::LOOKUP, key.public(), &evaluated, &zeros);
    assert_eq!(refused.err(), Some(OprfError::InvalidProof));
    let [identity] = Element::doubles([RistrettoPoint::identity()]);
    assert_eq!(identity.bytes, RistrettoPoint::identity().compress().to_bytes());
}

fn rng_with(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(SEED + seed)
}

#[test]
fn a_key_is_read_back_from_its_bytes() {
    let key = PrivateKey::random(&mut rng());
    let bytes = key.to_bytes();
    let again = PrivateKey::from_bytes(bytes.expose()).unwrap();
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.public(), key.public());
}

#[test]
fn the_identity_and_non_canonical_encodings_are_refused() {
    assert_eq!(Element::from_bytes([0; 32]), Err(OprfError::InvalidElement));
    assert_eq!(Element::from_bytes([0xff; 32]), Err(OprfError::InvalidElement));
    assert_eq!(Element::all_from_bytes(&[1; 33]), Err(OprfError::InvalidElement));
    assert!(PrivateKey::from_bytes(&[0; 32]).is_err());
    assert!(PrivateKey::from_bytes(&[0xff; 32]).is_err());
    assert!(Proof::from_bytes(&[0xff; 64]).is_none());
    let mut rng = rng();
    assert_eq!(
        Blinded::blind(&Context::LOOKUP, &[], &mut rng).err(),
        Some(OprfError::BatchSize { found: 0 })
    );
}
