//! RFC 9497's eight ristretto255 vectors in all three modes, and the `voprf` crate as oracle.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sha2::{Digest as _, Sha512};

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

fn encodings(elements: &Elements) -> Vec<Vec<u8>> {
    elements.bytes.iter().map(|e| e.to_vec()).collect()
}

/// The elements times half the scalar, doubled.
fn times(elements: &Elements, half: &Scalar) -> Elements {
    Elements::doubles(&elements.points.mul(half))
}

fn unblind(blinded: &Blinded, evaluated: &Elements) -> Vec<[u8; ELEMENT_BYTES]> {
    evaluated.points.mul_each(&blinded.unblinds).encode_doubled()
}

fn one(context: &Context, inputs: &[Option<&[u8]>], rng: &mut ChaCha20Rng) -> Blinded {
    Blinded::blind(context, &[inputs.to_vec()], rng).unwrap().pop().unwrap()
}

fn answer(
    context: &Context,
    key: &PrivateKey,
    blinded: &Blinded,
    rng: &mut ChaCha20Rng,
) -> (Elements, Proof) {
    blind_evaluate(&[Batch { context, key, blinded: blinded.elements() }], rng).unwrap().pop().unwrap()
}

fn lookup<'a>(key: &'a PrivateKey, blinded: &'a Elements) -> Batch<'a> {
    Batch { context: &Context::LOOKUP, key, blinded }
}

fn prove(statement: Statement<'_>, nonce: Scalar) -> Proof {
    let commitments = Points::mul_base(&[nonce.div_by_2()]);
    proof::prove(&[statement], &[nonce], &commitments)[0]
}

fn finalize(
    context: &Context,
    blinded: Blinded,
    public: &PublicKey,
    (evaluated, proof): (&Elements, &Proof),
) -> Result<Vec<Option<Output>>, OprfError> {
    let answered = Answered { public, evaluated, proof };
    Ok(Blinded::finalize(context, vec![(blinded, answered)])?.pop().unwrap())
}

fn blind(context: &Context, vector: &Value) -> (Vec<Vec<u8>>, Blinded) {
    let inputs = all(&vector["Input"]);
    let present: Vec<_> = inputs.iter().map(|i| Some(i.as_slice())).collect();
    let blinded = Blinded::blind_with(context, &[present], scalars(&vector["Blind"]).into(), &mut rng());
    let blinded = blinded.unwrap().pop().unwrap();
    assert_eq!(encodings(blinded.elements()), all(&vector["BlindedElement"]));
    (inputs, blinded)
}

#[test]
fn verifiable_mode_gives_the_published_bytes() {
    let mode = vectors("voprf");
    let key = key(&Context::LOOKUP, &mode);
    for vector in mode["vectors"].as_array().unwrap() {
        let (inputs, blinded) = blind(&Context::LOOKUP, vector);
        let (evaluated, _) = answer(&Context::LOOKUP, &key, &blinded, &mut rng());
        assert_eq!(encodings(&evaluated), all(&vector["EvaluationElement"]));
        let pairs = Pairs { blinded: blinded.elements(), evaluated: &evaluated };
        let nonce = scalar(&vector["ProofRandomScalar"]);
        let statement = Statement { context: &Context::LOOKUP, key: &key, pairs };
        let proof = prove(statement, nonce);
        assert_eq!(proof.to_bytes(), array(&vector["Proof"]));
        let outputs = finalize(&Context::LOOKUP, blinded, key.public(), (&evaluated, &proof)).unwrap();
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
        let (inputs, blinded) = blind(&Context::SUBJECT, vector);
        let evaluated = times(blinded.elements(), &key.half);
        assert_eq!(encodings(&evaluated), all(&vector["EvaluationElement"]));
        assert_eq!(unblind(&blinded, &evaluated), key.tags(&Context::SUBJECT, &inputs));
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
        let tweak = context.scalar([b"Info", &len, &info]);
        let tweaked = PrivateKey::from_bytes(&(key.scalar + tweak).to_bytes()).unwrap();
        let sum = Points::mul_base(&[tweak]).add(&key.public().element.points);
        assert_eq!(sum.encode(), [*tweaked.public().as_bytes()]);

        let (inputs, blinded) = blind(context, vector);
        let evaluated = times(blinded.elements(), &tweaked.scalar.invert().div_by_2());
        assert_eq!(encodings(&evaluated), all(&vector["EvaluationElement"]));

        let pairs = Pairs { blinded: &evaluated, evaluated: blinded.elements() };
        let nonce = scalar(&vector["ProofRandomScalar"]);
        let statement = Statement { context, key: &tweaked, pairs };
        let proof = prove(statement, nonce);
        assert_eq!(proof.to_bytes(), array(&vector["Proof"]));
        let claim = Claim { public: tweaked.public(), pairs, proof: &proof };
        assert!(proof::verify_beside(context, &[claim], &evaluated.points.slice(0..0), &[]).0);

        let expected = all(&vector["Output"]);
        let unblinded = unblind(&blinded, &evaluated);
        for ((input, element), expected) in inputs.iter().zip(unblinded.iter()).zip(expected) {
            let hash = Sha512::new()
                .chain_update((input.len() as u16).to_be_bytes())
                .chain_update(input)
                .chain_update(len)
                .chain_update(&info)
                .chain_update(32_u16.to_be_bytes())
                .chain_update(element)
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
            let element = Elements::from_bytes(&theirs.message.serialize()).unwrap();
            let answered = blind_evaluate(&[lookup(&key, &element)], &mut rng).unwrap();
            let [(evaluated, proof)] = &answered[..] else { panic!() };
            let evaluated = EvaluationElement::deserialize(evaluated.as_bytes()).unwrap();
            let proof = TheirProof::deserialize(&proof.to_bytes()).unwrap();
            let output = theirs.state.finalize(&input, &evaluated, &proof, server.get_public_key()).unwrap();
            assert_eq!(output[..], key.evaluate(&Context::LOOKUP, &[&input])[0].expose()[..]);

            let ours = one(&Context::LOOKUP, &[Some(&input)], &mut rng);
            let message = BlindedElement::deserialize(ours.elements().as_bytes()).unwrap();
            let answer = server.blind_evaluate(&mut Older(rng.clone()), &message);
            let evaluated = Elements::from_bytes(&answer.message.serialize()).unwrap();
            let proof = Proof::from_bytes(&answer.proof.serialize().into()).unwrap();
            let ours = finalize(&Context::LOOKUP, ours, key.public(), (&evaluated, &proof)).unwrap();
            assert_eq!(ours[0].as_ref().unwrap().expose()[..], output[..]);
        }
    }
}

#[test]
fn batches_of_one_call_with_absent_fields_answer_the_present_ones_each_under_its_key() {
    let mut rng = rng();
    let keys = [PrivateKey::random(&mut rng), PrivateKey::random(&mut rng)];
    let batches = [vec![Some(b"a".as_slice()), None, Some(b"c")], vec![Some(b"d".as_slice()); 20]];
    let blinded = Blinded::blind(&Context::LOOKUP, &batches, &mut rng).unwrap();
    let asked: Vec<_> = keys.iter().zip(&blinded).map(|(key, b)| lookup(key, b.elements())).collect();
    let answered = blind_evaluate(&asked, &mut rng).unwrap();
    let answered = keys.iter().zip(&answered).map(|(key, (evaluated, proof))| Answered {
        public: key.public(),
        evaluated,
        proof,
    });
    let outputs = Blinded::finalize(&Context::LOOKUP, blinded.into_iter().zip(answered).collect()).unwrap();
    let direct = keys[0].evaluate(&Context::LOOKUP, &[b"a", b"c"]);
    assert_eq!(outputs[0], [Some(direct[0].clone()), None, Some(direct[1].clone())]);
    let direct = keys[1].evaluate(&Context::LOOKUP, &[b"d"; 20]);
    assert!(outputs[1].iter().flatten().eq(&direct));
}

#[test]
fn another_key_a_swapped_answer_and_a_short_answer_are_found() {
    let mut rng = rng();
    let (key, other) = (PrivateKey::random(&mut rng), PrivateKey::random(&mut rng));
    let run = |answering: &PrivateKey, change: fn(Elements) -> Elements| {
        let mut rng = rng_with(1);
        let blinded = one(&Context::LOOKUP, &[Some(b"a"), Some(b"b")], &mut rng);
        let (evaluated, proof) = answer(&Context::LOOKUP, answering, &blinded, &mut rng);
        finalize(&Context::LOOKUP, blinded, key.public(), (&change(evaluated), &proof)).err()
    };
    assert_eq!(run(&key, |e| e), None);
    assert_eq!(run(&other, |e| e), Some(OprfError::InvalidProof));
    assert_eq!(run(&key, |e| e.gather(&[1, 0])), Some(OprfError::InvalidProof));
    assert_eq!(run(&key, |e| e.slice(0..1)), Some(OprfError::Count { expected: 2, found: 1 }));
}

#[test]
fn one_false_proof_among_the_batches_of_a_call_is_found() {
    let mut rng = rng();
    let keys = [PrivateKey::random(&mut rng), PrivateKey::random(&mut rng)];
    let batches = [vec![Some(b"a".as_slice())], vec![Some(b"b".as_slice())]];
    let blinded = Blinded::blind(&Context::LOOKUP, &batches, &mut rng).unwrap();
    let asked = [0, 1].map(|i| lookup(&keys[0], blinded[i].elements()));
    let answers = blind_evaluate(&asked, &mut rng).unwrap();
    let answered =
        |i: usize| Answered { public: keys[i].public(), evaluated: &answers[i].0, proof: &answers[i].1 };
    let batches = blinded.into_iter().zip([answered(0), answered(1)]).collect();
    assert_eq!(Blinded::finalize(&Context::LOOKUP, batches).err(), Some(OprfError::InvalidProof));
}

#[test]
fn a_proof_of_zeros_gives_identities_which_are_encoded_and_refused() {
    let mut rng = rng();
    let key = PrivateKey::random(&mut rng);
    let blinded = one(&Context::LOOKUP, &[Some(b"a")], &mut rng);
    let (evaluated, _) = answer(&Context::LOOKUP, &key, &blinded, &mut rng);
    let zeros = Proof::from_bytes(&[0; 64]).unwrap();
    let refused = finalize(&Context::LOOKUP, blinded, key.public(), (&evaluated, &zeros));
    assert_eq!(refused.err(), Some(OprfError::InvalidProof));
    let identity = Elements::doubles(&Points::mul_base(&[Scalar::ZERO]));
    assert_eq!(identity.as_bytes(), [0; 32]);
    assert_eq!(Elements::from_bytes(&[0; 32]).err(), Some(OprfError::InvalidElement));
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
    assert_eq!(Elements::from_bytes(&[0; 32]), Err(OprfError::InvalidElement));
    assert_eq!(Elements::from_bytes(&[0xff; 32]), Err(OprfError::InvalidElement));
    assert_eq!(Elements::from_bytes(&[1; 33]), Err(OprfError::InvalidElement));
    assert!(PrivateKey::from_bytes(&[0; 32]).is_err());
    assert!(PrivateKey::from_bytes(&[0xff; 32]).is_err());
    assert!(Proof::from_bytes(&[0xff; 64]).is_none());
    let mut rng = rng();
    assert_eq!(
        Blinded::blind(&Context::LOOKUP, &[vec![]], &mut rng).err(),
        Some(OprfError::BatchSize { found: 0 })
    );
}
