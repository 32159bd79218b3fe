use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use signed_note::{Note, Signer as _, StandardSigner, StandardVerifier, Verifier, VerifierList};

use super::*;
use crate::audit::merkle::leaf_hash;

/// All randomness of these tests.
const SEED: u64 = 0x0401;

const ORIGIN: &str = "windvane.example/log/bank";

fn signer(seed: u8) -> LogSigner {
    LogSigner::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

fn note() -> String {
    signer(1).sign(42, leaf_hash(b"root")).to_string()
}

/// The example of the C2SP specification (tlog-checkpoint, introduction).
const PUBLISHED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa \
    Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

#[test]
fn the_specifications_example_is_read_and_written_back() {
    let signed = SignedCheckpoint::parse(PUBLISHED.as_bytes()).unwrap();
    assert_eq!((signed.unverified().size, signed.signatures().len()), (20_852_163, 1));
    assert_eq!(signed.to_string(), PUBLISHED);
}

#[test]
fn a_signed_checkpoint_verifies_under_its_own_key_only() {
    let checkpoint = signer(1).verifier().verify(note().as_bytes()).unwrap();
    assert_eq!(checkpoint, Checkpoint { origin: ORIGIN.into(), size: 42, root: leaf_hash(b"root") });
    let other = signer(2).verifier().verify(note().as_bytes());
    assert_eq!(other, Err(CheckpointError::Unsigned { expected: ORIGIN.into() }));
    let other = LogSigner::new("other.example", SigningKey::from_bytes(&[1; 32])).unwrap();
    let refused = other.verifier().verify(note().as_bytes());
    assert_eq!(refused, Err(CheckpointError::OtherLog { expected: "other.example".into() }));
}

#[test]
fn every_changed_missing_or_added_byte_of_a_checkpoint_is_refused() {
    let (note, signer) = (note().into_bytes(), signer(1));
    for i in 0..note.len() {
        for change in 1..=255 {
            let mut altered = note.clone();
            altered[i] ^= change;
            assert!(signer.verifier().verify(&altered).is_err(), "byte {i} xor {change}");
        }
        assert!(signer.verifier().verify(&note[..i]).is_err(), "truncated to {i}");
        for byte in [b'\n', b' ', b'0', b'=', b'A', 0] {
            let added = [&note[..i], &[byte], &note[i..]].concat();
            assert!(signer.verifier().verify(&added).is_err(), "{byte} added at {i}");
        }
    }
    assert!(signer.verifier().verify(&[note.as_slice(), b"\n"].concat()).is_err());
}

#[test]
fn malformed_bodies_are_refused() {
    let root = STANDARD.encode([1; 32]);
    let refused = |body: String| Checkpoint::parse_body(&body).unwrap_err();
    for size in ["", "042", "+42", "-1", "4 2", "0x2", "9223372036854775808", "99999999999999999999"] {
        assert_eq!(refused(format!("log\n{size}\n{root}\n")), CheckpointError::Size, "{size}");
    }
    for root in ["", "AAAA", root.trim_end_matches('='), &root.replace("AQE=", "AQF="), &format!("{root} ")] {
        assert_eq!(refused(format!("log\n42\n{root}\n")), CheckpointError::Root, "{root}");
    }
    for origin in ["", "a b", "a+b", "a\tb", "a\u{2003}b", "a\u{85}b", "a\rb", &"x".repeat(257)] {
        assert_eq!(refused(format!("{origin}\n42\n{root}\n")), CheckpointError::Origin, "{origin:?}");
        assert!(LogSigner::new(origin, SigningKey::from_bytes(&[1; 32])).is_err());
    }
    for body in [format!("log\n42\n{root}"), format!("log\n42\n{root}\nextension\n"), "log\n42\n".into()] {
        assert_eq!(refused(body), CheckpointError::Lines);
    }
    let smallest = format!("log\n0\n{root}\n");
    assert_eq!(Checkpoint::parse_body(&smallest).unwrap().body(), smallest);
    let largest = format!("log\n{}\n{root}\n", i64::MAX);
    assert_eq!(Checkpoint::parse_body(&largest).unwrap().size, MAX_TREE_SIZE);
}

#[test]
fn witness_lines_are_ignored_and_a_second_own_line_is_refused() {
    let note = note();
    let own = note.lines().last().unwrap();
    let witness = format!("— witness.example {}", STANDARD.encode([9; 80]));
    let verify = |text: String| signer(1).verifier().verify(text.as_bytes());
    assert!(verify(format!("{note}{witness}\n")).is_ok());
    assert!(verify(note.replace(own, &format!("{witness}\n{own}"))).is_ok());
    assert!(verify(format!("{note}{own}\n")).is_err());
    assert!(verify(format!("{note}{}", format!("{witness}\n").repeat(15))).is_ok());
    assert!(verify(format!("{note}{}", format!("{witness}\n").repeat(16))).is_err());
    assert!(verify(note.replace(own, "")).is_err());
    assert!(verify(format!("{note}— witness.example AAAA\n")).is_err());
    assert!(verify(format!("{note}- witness.example {}\n", STANDARD.encode([9; 80]))).is_err());
}

#[test]
fn a_note_over_the_limit_is_refused() {
    let line = format!("— witness.example {}\n", STANDARD.encode(vec![9; MAX_CHECKPOINT_BYTES]));
    let refused = SignedCheckpoint::parse(format!("{}{line}", note()).as_bytes());
    assert_eq!(refused, Err(CheckpointError::Note { expected: MAX_CHECKPOINT_BYTES }));
}

#[test]
fn verifier_keys_have_one_spelling() {
    let verifier = signer(1).verifier().clone();
    let text = verifier.to_string();
    assert_eq!(text.parse(), Ok(verifier));
    for i in 0..text.len() {
        for change in 1..128 {
            let mut altered = text.clone().into_bytes();
            altered[i] ^= change;
            let altered = String::from_utf8(altered).unwrap();
            assert!(altered.parse::<LogVerifier>().is_err(), "{altered}");
        }
        assert!(text[..i].parse::<LogVerifier>().is_err());
    }
    let trailing = format!("{text}\n");
    assert_eq!(trailing.parse::<LogVerifier>(), Err(CheckpointError::Key));
    let small_order = VerifyingKey::from_bytes(&[0; 32]).unwrap();
    assert_eq!(LogVerifier::new(ORIGIN, small_order), Err(CheckpointError::Key));
}

#[test]
fn notes_and_keys_agree_with_the_signed_note_crate() {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for _ in 0..20 {
        let secret: [u8; 32] = rng.random();
        let ours = LogSigner::new(ORIGIN, SigningKey::from_bytes(&secret)).unwrap();
        let theirs = StandardVerifier::new(&ours.verifier().to_string()).unwrap();
        assert_eq!(theirs.key_id().to_be_bytes(), ours.verifier().key_hash);
        let encoded = STANDARD.encode([[ED25519].as_slice(), &secret].concat());
        let their_signer =
            StandardSigner::new(&format!("PRIVATE+KEY+{ORIGIN}+{:08x}+{encoded}", theirs.key_id())).unwrap();
        let signed = ours.sign(rng.random_range(0..MAX_TREE_SIZE), rng.random());
        agree_on_note(&signed, &theirs, &their_signer);
        assert!(ours.verifier().verify(signed.to_string().as_bytes()).is_ok());
    }
}

fn agree_on_note(signed: &SignedCheckpoint, verifier: &StandardVerifier, signer: &StandardSigner) {
    let text = signed.to_string();
    let note = Note::from_bytes(text.as_bytes()).unwrap();
    let known = VerifierList::new(vec![Box::new(verifier.clone()) as Box<dyn Verifier>]);
    assert_eq!(note.verify(&known).unwrap().0.len(), 1);
    let parsed = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((parsed.size(), parsed.hash().0), (signed.unverified().size, signed.unverified().root));
    assert_eq!(parsed.to_bytes(), signed.unverified().body().into_bytes());
    // Ed25519 is deterministic: the other implementation's note is the same, byte for byte.
    let mut theirs = Note::new(&parsed.to_bytes(), &[]).unwrap();
    theirs.add_sigs(&[signer]).unwrap();
    assert_eq!(String::from_utf8(theirs.to_bytes()).unwrap(), text);
    assert!(signer.sign(b"").is_ok());
}
