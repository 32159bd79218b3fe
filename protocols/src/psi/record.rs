//! What the parties of a job sign, and the hash of everything that its buckets exchanged.
//!
//! The requester signs its request before anything is sent; the provider's acceptance carries it and the
//! agreed parameters, before any bucket moves; the receipt carries the acceptance and the hash of all
//! buckets. So the receipt alone binds grant, purpose, columns, both padded sizes, protocol, parameters with
//! their failure budget, both input commitments and the transcript. The result's size is in none of them.

use sha2::{Digest as _, Sha256};

use super::{Mode, Parameters, Protocol, Sizes};
use crate::audit::grant::{GrantId, texts};
use crate::audit::receipt::read_unwitnessed;
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_PURPOSE_BYTES};
use crate::lookup::DataSet;
use crate::party::{PartyId, SessionId};
use crate::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

/// What the bank signs before it asks: one job, however many connections it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsiRequest {
    /// The job.
    pub session: SessionId,
    /// Who asks and receives.
    pub requester: PartyId,
    /// Who is asked.
    pub provider: PartyId,
    /// Under which grant.
    pub grant: GrantId,
    /// For which of the grant's purposes.
    pub purpose: String,
    /// Which of the provider's lists.
    pub data_set: DataSet,
    /// How the intersection is computed.
    pub protocol: Protocol,
    /// What the requester learns.
    pub mode: Mode,
    /// The smallest result that may be released; 0 without a minimum.
    pub minimum: u64,
    /// What the items are, in the words of both configurations, for example `phone`.
    pub key: String,
    /// Payload columns that are to travel with matches.
    pub payload_columns: Vec<String>,
    /// The requester's rows, before duplicates are removed.
    pub rows: u64,
    /// Rows that a bucket is meant to hold.
    pub bucket_rows: u64,
    /// The requester's half of the salt.
    pub nonce: [u8; 32],
    /// Commitment to the input file and its key columns, the same for the same input under the same grant.
    pub input: [u8; 32],
    /// Digest of the requester's software.
    pub software: Hash,
    /// Digest of the requester's configuration.
    pub configuration: Hash,
    /// Milliseconds of Unix time.
    pub requested_at_ms: u64,
}

impl Record for PsiRequest {
    const DOMAIN: &'static str = "windvane/psi-request/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("session", self.session.as_bytes())
            .text("requester", self.requester.as_str())
            .text("provider", self.provider.as_str())
            .bytes("grant", self.grant.as_bytes())
            .text("purpose", &self.purpose)
            .text("data set", self.data_set.as_str())
            .text("protocol", self.protocol.name())
            .text("mode", self.mode.name())
            .u64("minimum", self.minimum)
            .text("key", &self.key)
            .list("payload column", self.payload_columns.iter())
            .u64("rows", self.rows)
            .u64("bucket rows", self.bucket_rows)
            .bytes("nonce", &self.nonce)
            .bytes("input", &self.input)
            .bytes("software", &self.software)
            .bytes("configuration", &self.configuration)
            .u64("requested at", self.requested_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            session: SessionId::from_bytes(r.array("session")?),
            requester: r.parse("requester")?,
            provider: r.parse("provider")?,
            grant: GrantId::from_bytes(r.array("grant")?),
            purpose: short(r, "purpose")?,
            data_set: r.parse("data set")?,
            protocol: r.parse("protocol")?,
            mode: r.parse("mode")?,
            minimum: r.u64("minimum")?,
            key: short(r, "key")?,
            payload_columns: texts(r, "payload column")?,
            rows: r.u64("rows")?,
            bucket_rows: r.u64("bucket rows")?,
            nonce: r.array("nonce")?,
            input: r.array("input")?,
            software: r.array("software")?,
            configuration: r.array("configuration")?,
            requested_at_ms: r.u64("requested at")?,
        })
    }
}

/// What the provider signs before any bucket moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsiAcceptance {
    /// The request with the requester's signature.
    pub request: Signed<PsiRequest>,
    /// What both compute alike; it holds the provider's rows.
    pub parameters: Parameters,
    /// The provider's half of the salt.
    pub nonce: [u8; 32],
    /// Salted commitment to the provider's list and its key columns.
    pub input: [u8; 32],
    /// Milliseconds of Unix time.
    pub accepted_at_ms: u64,
}

impl PsiAcceptance {
    /// The parameters as the request and the provider's sizes give them.
    ///
    /// # Errors
    /// [`super::ParametersError`].
    pub fn parameters(
        request: &PsiRequest,
        sender_rows: u64,
        payload_bytes: usize,
    ) -> Result<Parameters, super::ParametersError> {
        Parameters::new(Sizes {
            protocol: request.protocol,
            mode: request.mode,
            receiver_rows: request.rows,
            sender_rows,
            payload_bytes,
            bucket_rows: request.bucket_rows,
        })
    }

    /// Whether they are those that the request and the provider's own sizes give.
    pub fn follows_its_request(&self) -> bool {
        let sizes = self.parameters.sizes();
        let follows = Self::parameters(self.request.body(), sizes.sender_rows, sizes.payload_bytes);
        follows.ok() == Some(self.parameters)
    }

    /// The salt under which both parties hash their items.
    pub fn salt(&self) -> [u8; PSI_SALT_BYTES] {
        psi_salt(&self.request.body().nonce, &self.nonce)
    }
}

impl Record for PsiAcceptance {
    const DOMAIN: &'static str = "windvane/psi-acceptance/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let t = t.bytes("request", self.request.as_bytes());
        self.parameters
            .write(t)
            .bytes("nonce", &self.nonce)
            .bytes("input", &self.input)
            .u64("accepted at", self.accepted_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            request: read_signed(r, "request")?,
            parameters: Parameters::read(r)?,
            nonce: r.array("nonce")?,
            input: r.array("input")?,
            accepted_at_ms: r.u64("accepted at")?,
        })
    }
}

/// One job, as the provider signs it at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsiReceipt {
    /// The acceptance with the provider's signature, and in it the request with the requester's.
    pub acceptance: Signed<PsiAcceptance>,
    /// Protocol and version: [`super::PROTOCOL`].
    pub protocol: String,
    /// Digest of the provider's software.
    pub software: Hash,
    /// Digest of the provider's configuration.
    pub configuration: Hash,
    /// Connections that the job took.
    pub attempts: u64,
    /// [`PsiTranscript::digest`] over all buckets.
    pub transcript: Hash,
    /// In the mode with a minimum, the digest of the signed [`PsiRelease`]; empty when nothing was released,
    /// and in other modes.
    pub release: Vec<u8>,
    /// Milliseconds of Unix time.
    pub finished_at_ms: u64,
    /// Size of the provider's log that witnesses cosigned last; 0 until witnessing exists.
    pub witnessed_size: u64,
    /// Root of that log; empty until witnessing exists.
    pub witnessed_root: Vec<u8>,
}

impl PsiReceipt {
    /// The request.
    pub fn request(&self) -> &PsiRequest {
        self.acceptance.body().request.body()
    }
}

impl Record for PsiReceipt {
    const DOMAIN: &'static str = "windvane/psi-receipt/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("acceptance", self.acceptance.as_bytes())
            .text("protocol", &self.protocol)
            .bytes("software", &self.software)
            .bytes("configuration", &self.configuration)
            .u64("attempts", self.attempts)
            .bytes("transcript", &self.transcript)
            .bytes("release", &self.release)
            .u64("finished at", self.finished_at_ms)
            .u64("witnessed size", self.witnessed_size)
            .bytes("witnessed root", &self.witnessed_root)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let receipt = Self {
            acceptance: read_signed(r, "acceptance")?,
            protocol: short(r, "protocol")?,
            software: r.array("software")?,
            configuration: r.array("configuration")?,
            attempts: r.u64("attempts")?,
            transcript: r.array("transcript")?,
            release: r.bytes("release")?.to_vec(),
            finished_at_ms: r.u64("finished at")?,
            witnessed_size: 0,
            witnessed_root: Vec::new(),
        };
        read_unwitnessed(r)?;
        Ok(receipt)
    }
}

/// In the mode with a minimum: the requester says that it counted enough, without saying how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsiRelease {
    /// The job.
    pub session: SessionId,
    /// Salted commitment to the count, which an auditor opens with the requester.
    pub count: [u8; 32],
    /// Milliseconds of Unix time.
    pub signed_at_ms: u64,
}

impl Record for PsiRelease {
    const DOMAIN: &'static str = "windvane/psi-release/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("session", self.session.as_bytes())
            .bytes("count", &self.count)
            .u64("signed at", self.signed_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            session: SessionId::from_bytes(r.array("session")?),
            count: r.array("count")?,
            signed_at_ms: r.u64("signed at")?,
        })
    }
}

/// Bytes of [`psi_salt`]: one block of SHA-256.
pub const PSI_SALT_BYTES: usize = 64;

/// The salt of a job's item hashes, which neither party chooses alone: the receiver's nonce, then the sender's.
pub fn psi_salt(receiver_nonce: &[u8; 32], sender_nonce: &[u8; 32]) -> [u8; PSI_SALT_BYTES] {
    let mut salt = [0; PSI_SALT_BYTES];
    salt[..32].copy_from_slice(receiver_nonce);
    salt[32..].copy_from_slice(sender_nonce);
    salt
}

/// The running hash of one bucket, and the combined hash of a job.
///
/// Bodies are hashed with SHA-256, which current processors have instructions for; the job's hash is an
/// ordinary transcript over the buckets in the order of their numbers, so that it does not depend on the order
/// in which they finished, nor on attempts that did not finish.
#[derive(Debug, Clone)]
pub struct PsiTranscript {
    hash: Sha256,
}

impl PsiTranscript {
    /// Begins a bucket under a connection's attempt number.
    pub fn bucket(session: SessionId, bucket: u32, attempt: u64) -> Self {
        let hash = Sha256::new()
            .chain_update(b"windvane/psi-bucket/v1")
            .chain_update(session.as_bytes())
            .chain_update(bucket.to_be_bytes())
            .chain_update(attempt.to_be_bytes());
        Self { hash }
    }

    /// Adds a whole message, in the order in which the bucket's messages travel.
    pub fn message(&mut self, message: &[u8]) {
        self.hash.update((message.len() as u64).to_be_bytes());
        self.hash.update(message);
    }

    /// Ends a bucket.
    pub fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }

    /// The job's hash over all its buckets, in the order of their numbers.
    pub fn digest<'a>(acceptance: &Hash, buckets: impl ExactSizeIterator<Item = &'a [u8; 32]>) -> Hash {
        Transcript::new("windvane/psi-transcript/v1")
            .bytes("acceptance", acceptance)
            .list("bucket", buckets)
            .digest()
    }
}

fn short(r: &mut Reader<'_>, label: &'static str) -> Result<String, TranscriptError> {
    let text = r.text(label)?;
    if text.len() > MAX_PURPOSE_BYTES {
        return Err(TranscriptError::Form { label, expected: "a short text" });
    }
    Ok(text.to_owned())
}

fn read_signed<T: Record>(r: &mut Reader<'_>, label: &'static str) -> Result<Signed<T>, TranscriptError> {
    let form = TranscriptError::Form { label, expected: "a signed record" };
    let bytes = r.bytes(label)?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(form);
    }
    Signed::from_bytes_unverified(bytes.to_vec()).map_err(|_| form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn request() -> PsiRequest {
        PsiRequest {
            session: SessionId::from_bytes([1; 16]),
            requester: "bank".parse().unwrap(),
            provider: "carrier-a".parse().unwrap(),
            grant: GrantId::from_bytes([2; 16]),
            purpose: "screening".into(),
            data_set: "risk-list".parse().unwrap(),
            protocol: Protocol::Ecdh,
            mode: Mode::Intersection,
            minimum: 0,
            key: "phone".into(),
            payload_columns: vec!["tag".into()],
            rows: 1_000,
            bucket_rows: 64,
            nonce: [3; 32],
            input: [4; 32],
            software: [5; 64],
            configuration: [6; 64],
            requested_at_ms: 7,
        }
    }

    fn receipt() -> PsiReceipt {
        let key = SigningKey::from_bytes(&[9; 32]);
        let acceptance = PsiAcceptance {
            parameters: PsiAcceptance::parameters(&request(), 500, 20).unwrap(),
            request: Signed::sign(request(), &key),
            nonce: [1; 32],
            input: [2; 32],
            accepted_at_ms: 8,
        };
        PsiReceipt {
            acceptance: Signed::sign(acceptance, &key),
            protocol: super::super::PROTOCOL.into(),
            software: [1; 64],
            configuration: [2; 64],
            attempts: 2,
            transcript: [3; 64],
            release: vec![],
            finished_at_ms: 9,
            witnessed_size: 0,
            witnessed_root: vec![],
        }
    }

    #[test]
    fn a_receipt_survives_its_encoding_and_refuses_every_truncation() {
        let bytes = receipt().encode().into_bytes();
        assert_eq!(PsiReceipt::decode(&bytes), Ok(receipt()));
        assert!((0..bytes.len()).all(|end| PsiReceipt::decode(&bytes[..end]).is_err()));
        let size = PsiReceipt { witnessed_size: 1, ..receipt() };
        assert!(PsiReceipt::decode(size.encode().as_bytes()).is_err(), "nobody witnesses yet");
        let root = PsiReceipt { witnessed_root: vec![0; 64], ..receipt() };
        assert!(PsiReceipt::decode(root.encode().as_bytes()).is_err());
    }

    #[test]
    fn an_acceptance_with_parameters_that_do_not_follow_from_its_sizes_is_refused() {
        let bytes = receipt().acceptance.body().encode().into_bytes();
        let item =
            |value: u64| [b"\x00\x07buckets\x00\x00\x00\x08".as_slice(), &value.to_be_bytes()].concat();
        let buckets = u64::from(receipt().acceptance.body().parameters.buckets());
        let at = bytes.windows(item(0).len()).position(|window| window == item(buckets)).unwrap();
        let mut forged = bytes.clone();
        forged[at..at + item(0).len()].copy_from_slice(&item(2 * buckets));
        assert!(PsiAcceptance::decode(&bytes).is_ok());
        assert!(PsiAcceptance::decode(&forged).is_err());
    }

    #[test]
    fn a_buckets_hash_depends_on_job_number_attempt_and_the_borders_of_messages() {
        let hash = |session, bucket, attempt, messages: &[&[u8]]| {
            let mut t = PsiTranscript::bucket(SessionId::from_bytes([session; 16]), bucket, attempt);
            messages.iter().for_each(|message| t.message(message));
            t.finish()
        };
        let base = hash(1, 2, 3, &[b"ab", b"c"]);
        assert_eq!(base, hash(1, 2, 3, &[b"ab", b"c"]));
        for other in [
            hash(2, 2, 3, &[b"ab", b"c"]),
            hash(1, 3, 3, &[b"ab", b"c"]),
            hash(1, 2, 4, &[b"ab", b"c"]),
            hash(1, 2, 3, &[b"a", b"bc"]),
            hash(1, 2, 3, &[b"ab"]),
        ] {
            assert_ne!(base, other);
        }
    }
}
