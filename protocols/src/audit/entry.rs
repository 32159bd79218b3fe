//! Entries of a node's log: hashes, signatures and metadata, never an identity.
//!
//! An entry is the transcript `windvane/entry/v1` with its kind and time first. Signed records stand in it
//! whole, so that the log alone is enough to verify them years later.

use super::destruction::Destruction;
use super::grant::{Grant, GrantId};
use super::receipt::{Countersignature, Receipt};
use crate::limits::MAX_CUSTOMERS_PER_SESSION;
use crate::lookup::DataSet;
use crate::lookup::delta::Delta;
use crate::lookup::manifest::Manifest;
use crate::lookup::request::Request;
use crate::party::{PartyId, SessionId};
use crate::psi::{PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest};
use crate::score::table::manifest::TableManifest;
use crate::train::lapse::TrainLapse;
use crate::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use crate::transcript::{Hash, Reader, Record, Signed, SignedError, Transcript, TranscriptError};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds of Unix time.
    pub at_ms: u64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The log begins: whose it is, and the keys that sign in it.
    Opened(Keys),
    /// The node started with this software and configuration.
    Started {
        /// Digest of the software.
        software: Hash,
        /// Digest of the configuration.
        configuration: Hash,
    },
    /// A key came to be or ceased.
    Key {
        /// Its purpose in words, for example `oprf/subscribers/3/match`.
        purpose: String,
        /// The public half; empty for symmetric keys.
        public: Vec<u8>,
        /// `pending`, `active`, `retiring` or `destroyed`.
        state: String,
    },
    /// A partner, or the node itself, was enrolled: its keys, and the enrolment with its certificates.
    Enrolled {
        /// The keys that the enrolment binds to the certificate.
        keys: Keys,
        /// The enrolment document.
        enrolment: Vec<u8>,
    },
    /// The node believes other authorities or partners than before.
    Trust {
        /// `authority bound`, `authority released`, `revocation list` or `partner ended`.
        action: String,
        /// The parties that the authority may speak for, the list's number, or the partner.
        subject: String,
        /// The authority's certificate, SHA-256 of the list's DER, or nothing.
        document: Vec<u8>,
    },
    /// A caller of the bank's own interface was admitted or dismissed.
    User {
        /// The caller's name, for example `teller-system`.
        name: String,
        /// `admitted` or `dismissed`.
        action: String,
    },
    /// A function of the node was switched, or a partner was suspended or resumed.
    Switched {
        /// `function/` or `partner/`, and the name.
        subject: String,
        /// `on`, `off`, `suspended` or `resumed`.
        action: String,
    },
    /// A grant was issued, or accepted by the requester.
    Granted(Signed<Grant>),
    /// A grant was ended before its time.
    GrantEnded(GrantId),
    /// A provider published an epoch of a data set, or the bank installed one.
    Published(Signed<Manifest>),
    /// A provider published a delta of an epoch, or the bank applied one.
    DeltaPublished(Signed<Delta>),
    /// The bank is about to send a request.
    Requested(Signed<Request>),
    /// A provider answered.
    Answered(Box<Signed<Receipt>>),
    /// The requester acknowledged receipts.
    Countersigned(Signed<Countersignature>),
    /// A call was refused, or failed.
    Failed {
        /// The session, where one is known.
        session: Option<SessionId>,
        /// The other party.
        peer: PartyId,
        /// The stable error code.
        code: String,
    },
    /// The bank's own result for one customer.
    Decided(Decided),
    /// The bank is about to ask for a set intersection.
    PsiRequested(Box<Signed<PsiRequest>>),
    /// A connection of a set intersection job began.
    PsiAttempted {
        /// The job.
        session: SessionId,
        /// The other party.
        peer: PartyId,
        /// Which connection of the job, from 1.
        number: u64,
        /// Buckets that were finished by then.
        finished: u64,
    },
    /// A provider accepted a job, before any bucket moved.
    PsiAccepted(Box<Signed<PsiAcceptance>>),
    /// The requester asked for the release of a result with a minimum.
    PsiReleased(Signed<PsiRelease>),
    /// A job is through: the provider's receipt.
    PsiCompleted(Box<Signed<PsiReceipt>>),
    /// The requester's own result of a job.
    PsiResult {
        /// The job.
        session: SessionId,
        /// Salted commitment to the result.
        result: [u8; 32],
    },
    /// A party's part in the life of a scoring group's epoch.
    ScoreEpoch {
        /// The scoring group.
        group: DataSet,
        /// The epoch.
        epoch: u64,
        /// `joined` (a plan, under epoch 0), `begun`, `confirmed`, `finished`, `failed`, `active`, `standby` or
        /// `retired`.
        state: String,
        /// Digest of the plan when it is joined; of the terms when the epoch is begun or failed; of all messages of
        /// the setup, which every party signs alike, when it is confirmed; its context from then on.
        digest: Hash,
    },
    /// A provider published its table of an epoch, or the bank installed it.
    ScorePublished(Signed<TableManifest>),
    /// A person's, or the monitor's, part in the life of a model.
    ScoreModel {
        /// The scoring group.
        group: DataSet,
        /// [`crate::score::model::ModelCard::digest`].
        model: Hash,
        /// `added`, `approved`, `activated`, `rolled back`, `retired`, `alert` or `fallback`.
        action: String,
        /// Who did it; `monitor` where nobody did.
        by: String,
    },
    /// The bank is about to ask for a training.
    TrainRequested(Box<Signed<TrainRequest>>),
    /// A provider accepted a training, before anything moved.
    TrainAccepted(Box<Signed<TrainAcceptance>>),
    /// A training's session was opened, for the first time or after a break.
    TrainAttempted {
        /// The session.
        session: SessionId,
        /// The other party.
        peer: PartyId,
        /// How often it was opened by now, from 1.
        number: u64,
    },
    /// A training is through at a provider: its receipt.
    TrainCompleted(Box<Signed<TrainReceipt>>),
    /// A provider gave up a training that its bank did not end: what it had answered.
    TrainLapsed(Box<Signed<TrainLapse>>),
    /// The bank's own result of a training.
    TrainResult {
        /// The session.
        session: SessionId,
        /// Salted commitment to the model and its figures.
        result: [u8; 32],
    },
    /// The node goes on from a backup.
    Restored {
        /// Digest of the backup's seal.
        backup: Hash,
        /// Entries of the log that the backup had.
        size: u64,
        /// `complete`: the log up to this entry is all that there was. `lost`: what the log had after the backup may
        /// be missing, and everything that counts was ended.
        log: String,
    },
    /// Data were destroyed for good.
    Destroyed(Signed<Destruction>),
}

/// A party's signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Whose.
    pub party: PartyId,
    /// Ed25519 key of requests, receipts, grants and manifests.
    pub receipt: [u8; 32],
    /// Ed25519 key of log checkpoints.
    pub log: [u8; 32],
    /// Ristretto255 key of subject tags; empty where the party has none.
    pub subject_tag: Vec<u8>,
}

/// The bank's own result for one customer: commitments, and a tag that only the bank can compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The verification's name at the bank.
    pub verification: [u8; 16],
    /// `k·H(identity)` under the subject tag key.
    pub subject_tag: [u8; 32],
    /// Salted commitment to the report.
    pub result: [u8; 32],
    /// The sessions that asked about this customer.
    pub asked: Vec<Asked>,
}

/// A customer's place in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The session.
    pub session: SessionId,
    /// The customer's index in it.
    pub index: u64,
    /// Commitments to ticket and consent, the leaf under the request's commitment root.
    pub leaf: [u8; 64],
}

impl Entry {
    /// An entry.
    pub const fn new(at_ms: u64, event: Event) -> Self {
        Self { at_ms, event }
    }
}

impl Record for Entry {
    const DOMAIN: &'static str = "windvane/entry/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let t = t.text("kind", self.event.kind()).u64("at", self.at_ms);
        match &self.event {
            Event::Opened(keys) => keys.write(t),
            Event::Started { software, configuration } => {
                t.bytes("software", software).bytes("configuration", configuration)
            }
            Event::Key { purpose, public, state } => {
                t.text("purpose", purpose).bytes("public", public).text("state", state)
            }
            Event::Enrolled { keys, enrolment } => keys.write(t).bytes("enrolment", enrolment),
            Event::Trust { action, subject, document } => {
                t.text("action", action).text("subject", subject).bytes("document", document)
            }
            Event::User { name, action } => t.text("name", name).text("action", action),
            Event::Switched { subject, action } => t.text("subject", subject).text("action", action),
            Event::Granted(signed) => t.bytes("signed", signed.as_bytes()),
            Event::GrantEnded(id) => t.bytes("grant", id.as_bytes()),
            Event::Published(signed) => t.bytes("signed", signed.as_bytes()),
            Event::DeltaPublished(signed) => t.bytes("signed", signed.as_bytes()),
            Event::Requested(signed) => t.bytes("signed", signed.as_bytes()),
            Event::Answered(signed) => t.bytes("signed", signed.as_bytes()),
            Event::Countersigned(signed) => t.bytes("signed", signed.as_bytes()),
            Event::Failed { session, peer, code } => t
                .bytes("session", session.as_ref().map_or(&[], |s| s.as_bytes().as_slice()))
                .text("peer", peer.as_str())
                .text("code", code),
            Event::Decided(decided) => decided.write(t),
            Event::PsiRequested(signed) => t.bytes("signed", signed.as_bytes()),
            Event::PsiAttempted { session, peer, number, finished } => t
                .bytes("session", session.as_bytes())
                .text("peer", peer.as_str())
                .u64("number", *number)
                .u64("finished", *finished),
            Event::PsiAccepted(signed) => t.bytes("signed", signed.as_bytes()),
            Event::PsiReleased(signed) => t.bytes("signed", signed.as_bytes()),
            Event::PsiCompleted(signed) => t.bytes("signed", signed.as_bytes()),
            Event::PsiResult { session, result } => {
                t.bytes("session", session.as_bytes()).bytes("result", result)
            }
            Event::ScoreEpoch { group, epoch, state, digest } => t
                .text("group", group.as_str())
                .u64("epoch", *epoch)
                .text("state", state)
                .bytes("digest", digest),
            Event::ScorePublished(signed) => t.bytes("signed", signed.as_bytes()),
            Event::ScoreModel { group, model, action, by } => {
                t.text("group", group.as_str()).bytes("model", model).text("action", action).text("by", by)
            }
            Event::TrainRequested(signed) => t.bytes("signed", signed.as_bytes()),
            Event::TrainAccepted(signed) => t.bytes("signed", signed.as_bytes()),
            Event::TrainAttempted { session, peer, number } => {
                t.bytes("session", session.as_bytes()).text("peer", peer.as_str()).u64("number", *number)
            }
            Event::TrainCompleted(signed) => t.bytes("signed", signed.as_bytes()),
            Event::TrainLapsed(signed) => t.bytes("signed", signed.as_bytes()),
            Event::TrainResult { session, result } => {
                t.bytes("session", session.as_bytes()).bytes("result", result)
            }
            Event::Restored { backup, size, log } => {
                t.bytes("backup", backup).u64("size", *size).text("log", log)
            }
            Event::Destroyed(signed) => t.bytes("signed", signed.as_bytes()),
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let kind = r.text("kind")?;
        let at_ms = r.u64("at")?;
        let event = match kind {
            "opened" => Event::Opened(Keys::read(r)?),
            "started" => {
                Event::Started { software: r.array("software")?, configuration: r.array("configuration")? }
            }
            "key" => Event::Key {
                purpose: r.parse("purpose")?,
                public: r.bytes("public")?.to_vec(),
                state: r.parse("state")?,
            },
            "enrolled" => Event::Enrolled { keys: Keys::read(r)?, enrolment: r.bytes("enrolment")?.to_vec() },
            "trust" => Event::Trust {
                action: r.parse("action")?,
                subject: r.parse("subject")?,
                document: r.bytes("document")?.to_vec(),
            },
            "user" => Event::User { name: r.parse("name")?, action: r.parse("action")? },
            "switched" => Event::Switched { subject: r.parse("subject")?, action: r.parse("action")? },
            "granted" => Event::Granted(signed(r)?),
            "grant ended" => Event::GrantEnded(GrantId::from_bytes(r.array("grant")?)),
            "published" => Event::Published(signed(r)?),
            "delta published" => Event::DeltaPublished(signed(r)?),
            "requested" => Event::Requested(signed(r)?),
            "answered" => Event::Answered(Box::new(signed(r)?)),
            "countersigned" => Event::Countersigned(signed(r)?),
            "failed" => {
                Event::Failed { session: read_session(r)?, peer: r.parse("peer")?, code: r.parse("code")? }
            }
            "decided" => Event::Decided(Decided::read(r)?),
            "psi requested" => Event::PsiRequested(Box::new(signed(r)?)),
            "psi attempted" => Event::PsiAttempted {
                session: SessionId::from_bytes(r.array("session")?),
                peer: r.parse("peer")?,
                number: r.u64("number")?,
                finished: r.u64("finished")?,
            },
            "psi accepted" => Event::PsiAccepted(Box::new(signed(r)?)),
            "psi released" => Event::PsiReleased(signed(r)?),
            "psi completed" => Event::PsiCompleted(Box::new(signed(r)?)),
            "psi result" => Event::PsiResult {
                session: SessionId::from_bytes(r.array("session")?),
                result: r.array("result")?,
            },
            "score epoch" => Event::ScoreEpoch {
                group: r.parse("group")?,
                epoch: r.u64("epoch")?,
                state: r.parse("state")?,
                digest: r.array("digest")?,
            },
            "score published" => Event::ScorePublished(signed(r)?),
            "score model" => Event::ScoreModel {
                group: r.parse("group")?,
                model: r.array("model")?,
                action: r.parse("action")?,
                by: r.parse("by")?,
            },
            "train requested" => Event::TrainRequested(Box::new(signed(r)?)),
            "train accepted" => Event::TrainAccepted(Box::new(signed(r)?)),
            "train attempted" => Event::TrainAttempted {
                session: SessionId::from_bytes(r.array("session")?),
                peer: r.parse("peer")?,
                number: r.u64("number")?,
            },
            "train completed" => Event::TrainCompleted(Box::new(signed(r)?)),
            "train lapsed" => Event::TrainLapsed(Box::new(signed(r)?)),
            "train result" => Event::TrainResult {
                session: SessionId::from_bytes(r.array("session")?),
                result: r.array("result")?,
            },
            "restored" => {
                Event::Restored { backup: r.array("backup")?, size: r.u64("size")?, log: r.parse("log")? }
            }
            "destroyed" => Event::Destroyed(signed(r)?),
            _ => return Err(TranscriptError::Form { label: "kind", expected: "a known kind of entry" }),
        };
        Ok(Self { at_ms, event })
    }
}

/// A receipt that an entry brings, which its requester is to countersign.
#[derive(Debug, Clone, Copy)]
pub struct Brought<'a> {
    /// Its digest, by which it is countersigned.
    pub digest: Hash,
    /// Who asked.
    pub requester: &'a PartyId,
    /// Who signed it.
    pub provider: &'a PartyId,
}

impl Event {
    /// The receipt that the entry brings: of a lookup, a set intersection or a training.
    pub fn receipt(&self) -> Option<Brought<'_>> {
        let (digest, requester, provider) = match self {
            Self::Answered(receipt) => {
                let request = receipt.body().request.body();
                (receipt.digest(), &request.requester, &request.provider)
            }
            Self::PsiCompleted(receipt) => {
                let request = receipt.body().request();
                (receipt.digest(), &request.requester, &request.provider)
            }
            Self::TrainCompleted(receipt) => {
                let request = receipt.body().request();
                (receipt.digest(), &request.charter.requester, &request.provider)
            }
            _ => return None,
        };
        Some(Brought { digest, requester, provider })
    }

    /// The name of the kind, as it stands in the log.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Started { .. } => "started",
            Self::Key { .. } => "key",
            Self::Enrolled { .. } => "enrolled",
            Self::Trust { .. } => "trust",
            Self::User { .. } => "user",
            Self::Switched { .. } => "switched",
            Self::Granted(_) => "granted",
            Self::GrantEnded(_) => "grant ended",
            Self::Published(_) => "published",
            Self::DeltaPublished(_) => "delta published",
            Self::Requested(_) => "requested",
            Self::Answered(_) => "answered",
            Self::Countersigned(_) => "countersigned",
            Self::Failed { .. } => "failed",
            Self::Decided(_) => "decided",
            Self::PsiRequested(_) => "psi requested",
            Self::PsiAttempted { .. } => "psi attempted",
            Self::PsiAccepted(_) => "psi accepted",
            Self::PsiReleased(_) => "psi released",
            Self::PsiCompleted(_) => "psi completed",
            Self::PsiResult { .. } => "psi result",
            Self::ScoreEpoch { .. } => "score epoch",
            Self::ScorePublished(_) => "score published",
            Self::ScoreModel { .. } => "score model",
            Self::TrainRequested(_) => "train requested",
            Self::TrainAccepted(_) => "train accepted",
            Self::TrainAttempted { .. } => "train attempted",
            Self::TrainCompleted(_) => "train completed",
            Self::TrainLapsed(_) => "train lapsed",
            Self::TrainResult { .. } => "train result",
            Self::Restored { .. } => "restored",
            Self::Destroyed(_) => "destroyed",
        }
    }
}

impl Keys {
    fn write(&self, t: Transcript) -> Transcript {
        t.text("party", self.party.as_str())
            .bytes("receipt key", &self.receipt)
            .bytes("log key", &self.log)
            .bytes("subject tag key", &self.subject_tag)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            party: r.parse("party")?,
            receipt: r.array("receipt key")?,
            log: r.array("log key")?,
            subject_tag: r.bytes("subject tag key")?.to_vec(),
        })
    }
}

impl Decided {
    fn write(&self, t: Transcript) -> Transcript {
        let asked = self.asked.iter().map(|asked| {
            let mut item = asked.session.as_bytes().to_vec();
            item.extend_from_slice(&asked.index.to_be_bytes());
            item.extend_from_slice(&asked.leaf);
            item
        });
        t.bytes("verification", &self.verification)
            .bytes("subject tag", &self.subject_tag)
            .bytes("result", &self.result)
            .list("asked", asked)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let asked = |item: &[u8]| {
            let (session, rest) = item.split_first_chunk()?;
            let (index, leaf) = rest.split_first_chunk()?;
            Some(Asked {
                session: SessionId::from_bytes(*session),
                index: u64::from_be_bytes(*index),
                leaf: leaf.try_into().ok()?,
            })
        };
        let form = TranscriptError::Form { label: "asked", expected: "session, index and leaf" };
        Ok(Self {
            verification: r.array("verification")?,
            subject_tag: r.array("subject tag")?,
            result: r.array("result")?,
            asked: r
                .list("asked", MAX_CUSTOMERS_PER_SESSION)?
                .into_iter()
                .map(|item| asked(item).ok_or_else(|| form.clone()))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The signatures are checked by whoever audits, against the keys that the log itself names.
fn signed<T: Record>(r: &mut Reader<'_>) -> Result<Signed<T>, TranscriptError> {
    Signed::from_bytes_unverified(r.bytes("signed")?.to_vec()).map_err(|error| match error {
        SignedError::Record(error) => error,
        _ => TranscriptError::Form { label: "signed", expected: "a signed record" },
    })
}

fn read_session(r: &mut Reader<'_>) -> Result<Option<SessionId>, TranscriptError> {
    match r.bytes("session")? {
        [] => Ok(None),
        bytes => bytes
            .try_into()
            .map(|bytes| Some(SessionId::from_bytes(bytes)))
            .map_err(|_| TranscriptError::Form { label: "session", expected: "16 bytes or none" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn entries() -> Vec<Entry> {
        let keys =
            Keys { party: "bank".parse().unwrap(), receipt: [1; 32], log: [2; 32], subject_tag: vec![3; 32] };
        let peer: PartyId = "carrier-a".parse().unwrap();
        let session = SessionId::from_bytes([9; 16]);
        let countersignature = Countersignature {
            requester: "bank".parse().unwrap(),
            provider: peer.clone(),
            receipts: vec![[5; 64], [6; 64], [7; 64]],
            signed_at_ms: 4,
        };
        let asked = Asked { session, index: 1, leaf: [6; 64] };
        let events = [
            Event::Opened(keys.clone()),
            Event::Started { software: [1; 64], configuration: [2; 64] },
            Event::Key { purpose: "log".into(), public: vec![1], state: "active".into() },
            Event::Enrolled { keys, enrolment: vec![1, 2, 3] },
            Event::Trust {
                action: "authority bound".into(),
                subject: "carrier-a carrier-b".into(),
                document: vec![4; 9],
            },
            Event::User { name: "teller".into(), action: "admitted".into() },
            Event::Switched { subject: "function/scoring".into(), action: "off".into() },
            Event::GrantEnded(GrantId::from_bytes([1; 16])),
            Event::Countersigned(Signed::sign(countersignature, &SigningKey::from_bytes(&[1; 32]))),
            Event::Failed { session: Some(session), peer: peer.clone(), code: "X".into() },
            Event::PsiAttempted { session, peer: peer.clone(), number: 2, finished: 5 },
            Event::PsiReleased(Signed::sign(
                PsiRelease { session, count: [8; 32], signed_at_ms: 9 },
                &SigningKey::from_bytes(&[1; 32]),
            )),
            Event::PsiResult { session, result: [7; 32] },
            Event::ScoreEpoch {
                group: "joint-risk".parse().unwrap(),
                epoch: 3,
                state: "finished".into(),
                digest: [4; 64],
            },
            Event::ScoreModel {
                group: "joint-risk".parse().unwrap(),
                model: [5; 64],
                action: "approved".into(),
                by: "second".into(),
            },
            Event::TrainAttempted { session, peer: peer.clone(), number: 2 },
            Event::TrainResult { session, result: [6; 32] },
            Event::Restored { backup: [7; 64], size: 8, log: "complete".into() },
            Event::Failed { session: None, peer, code: "Y".into() },
            Event::Decided(Decided {
                verification: [1; 16],
                subject_tag: [2; 32],
                result: [3; 32],
                asked: vec![asked, asked],
            }),
        ];
        events.into_iter().map(|event| Entry::new(1_700_000_000_000, event)).collect()
    }

    #[test]
    fn entries_survive_their_encoding_and_refuse_every_truncation() {
        for entry in entries() {
            let bytes = entry.encode().into_bytes();
            assert!((0..bytes.len()).all(|end| Entry::decode(&bytes[..end]).is_err()));
            assert_eq!(Entry::decode(&bytes), Ok(entry));
        }
    }
}
