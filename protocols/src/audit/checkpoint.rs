//! Checkpoints: a log's size and root, signed (<https://c2sp.org/tlog-checkpoint>), as a C2SP signed note
//! with Ed25519 (<https://c2sp.org/signed-note>).
//!
//! Promised: one spelling only. Numbers and base64 are canonical, nothing stands before, between or after the
//! lines, a log's key signs only under its own origin, and no extension lines are taken (nothing in them
//! could be audited). Signatures of unknown keys must be well-formed and are otherwise ignored, as the
//! specification asks, so that witnesses can cosign; a bit that changes inside one is not found here.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::merkle::TreeHash;
use super::tiles::MAX_TREE_SIZE;

/// A checkpoint with 16 signatures of the largest (post-quantum) kind is below this.
pub const MAX_CHECKPOINT_BYTES: usize = 128 << 10;

/// The specification asks verifiers to accept at least this many.
pub const MAX_SIGNATURES: usize = 16;

/// An origin is a short URL without its scheme.
pub const MAX_ORIGIN_BYTES: usize = 256;

/// signed-note's signature type for Ed25519.
const ED25519: u8 = 1;

/// Why a checkpoint or a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// An origin is empty, too long, or has spaces, control characters or a plus.
    #[error("an origin has 1 to 256 bytes without spaces, control characters or plus")]
    Origin,
    /// A size is not a canonical decimal number below 2^63.
    #[error("a checkpoint's size is a decimal number below 2^63 without leading zeroes")]
    Size,
    /// A root is not the canonical base64 of 32 bytes.
    #[error("a checkpoint's root is the base64 of 32 bytes")]
    Root,
    /// The note is too long, or not UTF-8 text of lines ending in a newline.
    #[error(
        "a checkpoint is at most {expected} bytes of UTF-8 text, in lines, a blank line before signatures"
    )]
    Note {
        /// The limit in bytes.
        expected: usize,
    },
    /// The body has not three lines.
    #[error("a checkpoint's body has three lines: origin, size and root")]
    Lines,
    /// A signature line is malformed, or there are too many or none.
    #[error("a checkpoint has 1 to {expected} signature lines: dash, name and base64")]
    SignatureLine {
        /// The limit.
        expected: usize,
    },
    /// A verifier key is not `name+hash+base64` of an Ed25519 key.
    #[error("a verifier key is name+hash+base64 of an Ed25519 key")]
    Key,
    /// The checkpoint is another log's.
    #[error("the checkpoint is of another log than {expected}")]
    OtherLog {
        /// The log whose key was given.
        expected: String,
    },
    /// The log's key did not sign, or signed twice.
    #[error("the checkpoint has not exactly one signature of {expected}")]
    Unsigned {
        /// The log whose key was given.
        expected: String,
    },
    /// The log's signature is wrong.
    #[error("the checkpoint's signature does not verify")]
    Signature,
}

/// The state of a log: its first `size` entries, whose Merkle root is `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Its number of entries.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: TreeHash,
}

impl Checkpoint {
    /// The note's text, over which signatures are made: three lines.
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything but the one spelling.
    pub fn parse_body(body: &str) -> Result<Self, CheckpointError> {
        let lines = body.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let lines: Vec<&str> = lines.splitn(4, '\n').collect();
        let [origin, size, root] = lines[..] else { return Err(CheckpointError::Lines) };
        if !is_origin(origin) {
            return Err(CheckpointError::Origin);
        }
        Ok(Self { origin: origin.to_owned(), size: parse_size(size)?, root: parse_root(root)? })
    }
}

fn is_origin(text: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !text.is_empty() && text.len() <= MAX_ORIGIN_BYTES && !text.contains(forbidden)
}

fn parse_size(text: &str) -> Result<u64, CheckpointError> {
    let size: u64 = text.parse().map_err(|_| CheckpointError::Size)?;
    if size <= MAX_TREE_SIZE && size.to_string() == text { Ok(size) } else { Err(CheckpointError::Size) }
}

fn parse_root(text: &str) -> Result<TreeHash, CheckpointError> {
    let bytes = STANDARD.decode(text).map_err(|_| CheckpointError::Root)?;
    bytes.try_into().map_err(|_| CheckpointError::Root)
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// First four bytes of the key's hash.
    pub key_hash: [u8; 4],
    /// The signature, whose form depends on the key.
    pub signature: Vec<u8>,
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_hash, signature) = bytes.split_first_chunk::<4>()?;
        let well_formed = is_origin(name) && !signature.is_empty();
        well_formed.then(|| Self {
            name: name.to_owned(),
            key_hash: *key_hash,
            signature: signature.to_vec(),
        })
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_hash.as_slice(), &self.signature].concat();
        write!(f, "— {} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A checkpoint with signatures that may or may not be right. Its `Display` is the note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

impl SignedCheckpoint {
    /// Reads a note; whether a signature is right shows only [`SignedCheckpoint::verify`].
    ///
    /// # Errors
    /// [`CheckpointError`] for anything but the one spelling.
    pub fn parse(note: &[u8]) -> Result<Self, CheckpointError> {
        let malformed = || CheckpointError::Note { expected: MAX_CHECKPOINT_BYTES };
        if note.len() > MAX_CHECKPOINT_BYTES {
            return Err(malformed());
        }
        let text = std::str::from_utf8(note).map_err(|_| malformed())?;
        let blank = text.find("\n\n").ok_or_else(malformed)?;
        let (body, rest) = text.split_at(blank + 1);
        let lines = rest[1..].strip_suffix('\n').ok_or_else(malformed)?;
        let signatures =
            parse_signatures(lines).ok_or(CheckpointError::SignatureLine { expected: MAX_SIGNATURES })?;
        Ok(Self { checkpoint: Checkpoint::parse_body(body)?, signatures })
    }

    /// The checkpoint, which nobody may have signed.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signatures, as they stand.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The checkpoint, once the log's own signature is found right.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is another log's, or not signed by its key exactly once.
    pub fn verify(&self, log: &LogVerifier) -> Result<&Checkpoint, CheckpointError> {
        if self.checkpoint.origin != log.name {
            return Err(CheckpointError::OtherLog { expected: log.name.clone() });
        }
        let known = |s: &&NoteSignature| s.name == log.name && s.key_hash == log.key_hash;
        let mut signatures = self.signatures.iter().filter(known);
        let (Some(signature), None) = (signatures.next(), signatures.next()) else {
            return Err(CheckpointError::Unsigned { expected: log.name.clone() });
        };
        let signature =
            Signature::from_slice(&signature.signature).map_err(|_| CheckpointError::Signature)?;
        log.key
            .verify_strict(self.checkpoint.body().as_bytes(), &signature)
            .map_err(|_| CheckpointError::Signature)?;
        Ok(&self.checkpoint)
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint.body())?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

fn parse_signatures(lines: &str) -> Option<Vec<NoteSignature>> {
    let signatures: Vec<_> =
        lines.split('\n').take(MAX_SIGNATURES + 1).map(NoteSignature::parse).collect::<Option<_>>()?;
    (signatures.len() <= MAX_SIGNATURES).then_some(signatures)
}

/// A log's public key under its name. Its text form, `name+hash+base64`, is what auditors are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVerifier {
    name: String,
    key_hash: [u8; 4],
    key: VerifyingKey,
}

impl LogVerifier {
    /// The key of the log with this origin.
    ///
    /// # Errors
    /// [`CheckpointError`] when the origin is malformed or the key is of small order.
    pub fn new(origin: &str, key: VerifyingKey) -> Result<Self, CheckpointError> {
        if !is_origin(origin) {
            return Err(CheckpointError::Origin);
        }
        if key.is_weak() {
            return Err(CheckpointError::Key);
        }
        Ok(Self { name: origin.to_owned(), key_hash: key_hash(origin, &key), key })
    }

    /// The log's origin, which is the key's name.
    pub fn origin(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Reads a note and checks the log's signature.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is malformed, another log's, or not signed by this key.
    pub fn verify(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        SignedCheckpoint::parse(note)?.verify(self).cloned()
    }
}

/// signed-note: SHA-256(name ‖ newline ‖ type ‖ key), first four bytes.
fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    [hash[0], hash[1], hash[2], hash[3]]
}

impl fmt::Display for LogVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([&[ED25519], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{:08x}+{encoded}", self.name, u32::from_be_bytes(self.key_hash))
    }
}

impl FromStr for LogVerifier {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let (name, rest) = text.split_once('+').ok_or(CheckpointError::Key)?;
        let (_, encoded) = rest.split_once('+').ok_or(CheckpointError::Key)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| CheckpointError::Key)?;
        let [ED25519, key @ ..] = bytes.as_slice() else { return Err(CheckpointError::Key) };
        let key = VerifyingKey::try_from(key).map_err(|_| CheckpointError::Key)?;
        let verifier = Self::new(name, key)?;
        // One spelling only; this compares the key's hash as well.
        if verifier.to_string() == text { Ok(verifier) } else { Err(CheckpointError::Key) }
    }
}

/// A log's private key under its name.
#[derive(Clone)]
pub struct LogSigner {
    verifier: LogVerifier,
    key: SigningKey,
}

impl LogSigner {
    /// The key of the log with this origin.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`] when the origin is malformed.
    pub fn new(origin: &str, key: SigningKey) -> Result<Self, CheckpointError> {
        Ok(Self { verifier: LogVerifier::new(origin, key.verifying_key())?, key })
    }

    /// The public half.
    pub fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// Signs the log's state. A log must never sign two states that are not one another's past; that is the
    /// caller's promise.
    pub fn sign(&self, size: u64, root: TreeHash) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: self.verifier.name.clone(), size, root };
        let signature = NoteSignature {
            name: self.verifier.name.clone(),
            key_hash: self.verifier.key_hash,
            signature: self.key.sign(checkpoint.body().as_bytes()).to_bytes().to_vec(),
        };
        SignedCheckpoint { checkpoint, signatures: vec![signature] }
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSigner").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
