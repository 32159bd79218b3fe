//! What the parties of a training sign, and the hash of everything that its steps exchanged.
//!
//! The bank signs a request for every provider before anything is sent; in it stands the [`Charter`], the same for
//! all. A provider's acceptance carries the request and its [`TrainAnnouncement`], the one part that other providers
//! see. The receipt carries the acceptance, the digests of everything that was uploaded, the hash over all steps and
//! what came of them. No number, position, label or feature's value is in any of them.

use sha2::{Digest as _, Sha512};

use super::charter::Charter;
use crate::audit::grant::GrantId;
use crate::audit::receipt::read_unwitnessed;
use crate::limits::{
    MAX_BINS, MAX_DOCUMENT_BYTES, MAX_PURPOSE_BYTES, MAX_TRAIN_BLOCKS, MAX_TRAIN_FEATURES,
    MAX_TRAIN_NAME_BYTES, MAX_TRAIN_NAMES_BYTES,
};
use crate::lookup::DataSet;
use crate::oprf::ELEMENT_BYTES;
use crate::party::{PartyId, SessionId};
use crate::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

/// What the bank signs before it asks a provider to train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainRequest {
    /// The session with this provider.
    pub session: SessionId,
    /// What all parties of the training agree on.
    pub charter: Charter,
    /// Who is asked: one of the charter's providers.
    pub provider: PartyId,
    /// Under which grant.
    pub grant: GrantId,
    /// For which of the grant's purposes.
    pub purpose: String,
    /// Which of the provider's tables.
    pub data_set: DataSet,
    /// Commitment to the seed of the bank's key and of all its encryptions, under a salt for this provider.
    pub seed: [u8; 32],
    /// Digest of the requester's software.
    pub software: Hash,
    /// Digest of the requester's configuration.
    pub configuration: Hash,
    /// Milliseconds of Unix time.
    pub requested_at_ms: u64,
}

impl Record for TrainRequest {
    const DOMAIN: &'static str = "windvane/train-request/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("session", self.session.as_bytes())
            .bytes("charter", self.charter.encode().as_bytes())
            .text("provider", self.provider.as_str())
            .bytes("grant", self.grant.as_bytes())
            .text("purpose", &self.purpose)
            .text("data set", self.data_set.as_str())
            .bytes("seed", &self.seed)
            .bytes("software", &self.software)
            .bytes("configuration", &self.configuration)
            .u64("requested at", self.requested_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let request = Self {
            session: SessionId::from_bytes(r.array("session")?),
            charter: Charter::decode(r.bytes("charter")?)?,
            provider: r.parse("provider")?,
            grant: GrantId::from_bytes(r.array("grant")?),
            purpose: short(r, "purpose")?,
            data_set: r.parse("data set")?,
            seed: r.array("seed")?,
            software: r.array("software")?,
            configuration: r.array("configuration")?,
            requested_at_ms: r.u64("requested at")?,
        };
        match request.charter.unit_of(&request.provider) {
            Some(_) => Ok(request),
            None => {
                Err(TranscriptError::Form { label: "provider", expected: "one of the charter's providers" })
            }
        }
    }
}

/// What a provider tells all others of a training, under the key that they pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainAnnouncement {
    /// [`Charter::digest`].
    pub charter: Hash,
    /// Who announces.
    pub party: PartyId,
    /// Digest of the signed schema by which carriers grow trees as one; zero in a unit of one.
    pub schema: Hash,
    /// A fresh ristretto255 element, from which pairwise masks are agreed.
    pub mask_key: [u8; ELEMENT_BYTES],
}

impl Record for TrainAnnouncement {
    const DOMAIN: &'static str = "windvane/train-announcement/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("charter", &self.charter)
            .text("party", self.party.as_str())
            .bytes("schema", &self.schema)
            .bytes("mask key", &self.mask_key)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            charter: r.array("charter")?,
            party: r.parse("party")?,
            schema: r.array("schema")?,
            mask_key: r.array("mask key")?,
        })
    }
}

/// One digest of what all providers announced, in the charter's order.
pub fn announcements_digest(announcements: &[Signed<TrainAnnouncement>]) -> Hash {
    let all = announcements.iter().map(|announced| announced.digest());
    Transcript::new("windvane/train-announcements/v1").list("announcement", all).digest()
}

/// Why announcements are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnouncementError {
    /// Not one for every provider of the charter, in its order.
    #[error("the announcements are not one of every provider of the training, in the charter's order")]
    Parties,
    /// One is signed with another key than the charter names, or is of another training.
    #[error("the announcement of {party} does not hold under its identity key, or is of another training")]
    Signature {
        /// Whose.
        party: PartyId,
    },
    /// The members of a unit have different schemas, a unit of several has none, or a unit of one has one.
    #[error("{party} has another schema than its unit; carriers of one unit sign and load the same")]
    Schema {
        /// The first that differs.
        party: PartyId,
    },
}

impl Charter {
    /// Holds announcements against the charter: one of every provider in the order of [`Self::providers`], under its
    /// identity key, and one schema in each unit of several.
    ///
    /// # Errors
    /// [`AnnouncementError`].
    pub fn check_announcements(
        &self,
        announcements: &[Signed<TrainAnnouncement>],
    ) -> Result<(), AnnouncementError> {
        let parties = self.providers().map(|identity| &identity.party);
        if !announcements.iter().map(|announced| &announced.body().party).eq(parties) {
            return Err(AnnouncementError::Parties);
        }
        let charter = self.digest();
        for (identity, announced) in self.providers().zip(announcements) {
            if announced.body().charter != charter || !announced.verify(&identity.key) {
                return Err(AnnouncementError::Signature { party: identity.party.clone() });
            }
        }
        let mut rest = announcements;
        for unit in &self.units {
            let (own, others) = rest.split_at(unit.members.len());
            let (first, alone) = (own[0].body().schema, own.len() == 1);
            let wrong = |a: &&Signed<TrainAnnouncement>| {
                a.body().schema != first || (a.body().schema == [0; 64]) != alone
            };
            if let Some(other) = own.iter().find(wrong) {
                return Err(AnnouncementError::Schema { party: other.body().party.clone() });
            }
            rest = others;
        }
        Ok(())
    }
}

/// What a provider signs before anything of a training moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainAcceptance {
    /// The request with the bank's signature.
    pub request: Signed<TrainRequest>,
    /// What the bank hands to all other providers.
    pub announcement: Signed<TrainAnnouncement>,
    /// How many bins each of the provider's features has, by its number; at most [`MAX_BINS`].
    pub bins: Vec<u8>,
    /// The features' names where the grant permits to tell them, else none.
    pub names: Vec<String>,
    /// Salted commitment to the provider's table, the same for the same table under the same grant.
    pub input: [u8; 32],
    /// Milliseconds of Unix time.
    pub accepted_at_ms: u64,
}

impl Record for TrainAcceptance {
    const DOMAIN: &'static str = "windvane/train-acceptance/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("request", self.request.as_bytes())
            .bytes("announcement", self.announcement.as_bytes())
            .bytes("bins", &self.bins)
            .list("name", self.names.iter())
            .bytes("input", &self.input)
            .u64("accepted at", self.accepted_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let acceptance = Self {
            request: read_signed(r, "request")?,
            announcement: read_signed(r, "announcement")?,
            bins: r.bytes("bins")?.to_vec(),
            names: names(r)?,
            input: r.array("input")?,
            accepted_at_ms: r.u64("accepted at")?,
        };
        let (features, form) =
            (acceptance.bins.len(), |label, expected| TranscriptError::Form { label, expected });
        let good = |bins: &u8| (1..=MAX_BINS).contains(&usize::from(*bins));
        if !(1..=MAX_TRAIN_FEATURES).contains(&features) || !acceptance.bins.iter().all(good) {
            return Err(form("bins", "of features within their limit, 1 to 33 each"));
        }
        if !acceptance.names.is_empty() && acceptance.names.len() != features {
            return Err(form("name", "one for each feature, or none"));
        }
        let (request, announced) = (acceptance.request.body(), acceptance.announcement.body());
        if announced.party != request.provider || announced.charter != request.charter.digest() {
            return Err(form("announcement", "the provider's, of the request's charter"));
        }
        Ok(acceptance)
    }
}

fn names(r: &mut Reader<'_>) -> Result<Vec<String>, TranscriptError> {
    let form = TranscriptError::Form { label: "name", expected: "short texts within their limit" };
    let items = r.list("name", MAX_TRAIN_FEATURES)?;
    if items.iter().map(|item| item.len()).sum::<usize>() > MAX_TRAIN_NAMES_BYTES {
        return Err(form);
    }
    let name = |item: &[u8]| {
        let text = std::str::from_utf8(item).ok()?;
        let plain = (1..=MAX_TRAIN_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        plain.then(|| text.to_owned())
    };
    items.into_iter().map(name).collect::<Option<_>>().ok_or(form)
}

/// One training, as a provider signs it at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainReceipt {
    /// The acceptance with the provider's signature, and in it the request with the bank's.
    pub acceptance: Signed<TrainAcceptance>,
    /// Protocol and version: [`super::PROTOCOL`].
    pub protocol: String,
    /// Digest of the provider's software.
    pub software: Hash,
    /// Digest of the provider's configuration.
    pub configuration: Hash,
    /// How often the session was opened.
    pub attempts: u64,
    /// Digest of the encrypted indicator, as it was uploaded.
    pub indicator: Hash,
    /// Digest of the encrypted held-out rows, as they were uploaded; zero where there are none.
    pub held_out: Hash,
    /// By block, the digest of the encrypted residuals as they were uploaded.
    pub residuals: Vec<Hash>,
    /// [`StepHash`] over all steps in their order: what was asked, with decisions, and what was returned.
    pub steps: Hash,
    /// By block, the digest of the encrypted contributions that were returned.
    pub contributions: Vec<Hash>,
    /// Digest of the model's card.
    pub card: Hash,
    /// Salted commitment to the trees and the scale that the provider keeps.
    pub trees: [u8; 32],
    /// Milliseconds of Unix time.
    pub completed_at_ms: u64,
    /// Size of the provider's log that witnesses cosigned last; 0 until witnessing exists.
    pub witnessed_size: u64,
    /// Root of that log; empty until witnessing exists.
    pub witnessed_root: Vec<u8>,
}

impl TrainReceipt {
    /// The request.
    pub fn request(&self) -> &TrainRequest {
        self.acceptance.body().request.body()
    }
}

impl Record for TrainReceipt {
    const DOMAIN: &'static str = "windvane/train-receipt/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("acceptance", self.acceptance.as_bytes())
            .text("protocol", &self.protocol)
            .bytes("software", &self.software)
            .bytes("configuration", &self.configuration)
            .u64("attempts", self.attempts)
            .bytes("indicator", &self.indicator)
            .bytes("held out", &self.held_out)
            .list("residuals", self.residuals.iter())
            .bytes("steps", &self.steps)
            .list("contributions", self.contributions.iter())
            .bytes("card", &self.card)
            .bytes("trees", &self.trees)
            .u64("completed at", self.completed_at_ms)
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
            indicator: r.array("indicator")?,
            held_out: r.array("held out")?,
            residuals: hashes(r, "residuals")?,
            steps: r.array("steps")?,
            contributions: hashes(r, "contributions")?,
            card: r.array("card")?,
            trees: r.array("trees")?,
            completed_at_ms: r.u64("completed at")?,
            witnessed_size: 0,
            witnessed_root: Vec::new(),
        };
        read_unwitnessed(r)?;
        let blocks = usize::from(receipt.request().charter.hyperparameters.blocks);
        if receipt.residuals.len() != blocks || receipt.contributions.len() != blocks {
            return Err(TranscriptError::Form { label: "residuals", expected: "one for each block" });
        }
        Ok(receipt)
    }
}

pub(super) fn hashes(r: &mut Reader<'_>, label: &'static str) -> Result<Vec<Hash>, TranscriptError> {
    let hash = |item: &[u8]| {
        item.try_into().map_err(|_| TranscriptError::Form { label, expected: "64 bytes for each block" })
    };
    r.list(label, MAX_TRAIN_BLOCKS.into())?.into_iter().map(hash).collect()
}

/// The running hash over a session's steps, which both sides compute: of every step its place, a digest of what was
/// asked, and a digest of what was returned **last**, since a step that is asked again is answered again.
#[derive(Debug, Clone)]
pub struct StepHash(Sha512);

impl StepHash {
    /// Of no step yet, only of what was signed before: the own acceptance, and what all providers announced.
    pub fn new(acceptance: &Hash, announcements: &[Signed<TrainAnnouncement>]) -> Self {
        let head = Transcript::new("windvane/train-steps/v1").bytes("acceptance", acceptance);
        let head = head.bytes("announcements", &announcements_digest(announcements));
        Self(Sha512::new_with_prefix(head.as_bytes()))
    }

    /// The next step: digests of what was asked and of what was returned.
    pub fn step(&mut self, asked: &Hash, returned: &Hash) {
        self.0.update(asked);
        self.0.update(returned);
    }

    /// The hash over all steps.
    pub fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

pub(super) fn short(r: &mut Reader<'_>, label: &'static str) -> Result<String, TranscriptError> {
    let text = r.text(label)?;
    if text.len() > MAX_PURPOSE_BYTES {
        return Err(TranscriptError::Form { label, expected: "a short text" });
    }
    Ok(text.to_owned())
}

pub(super) fn read_signed<T: Record>(
    r: &mut Reader<'_>,
    label: &'static str,
) -> Result<Signed<T>, TranscriptError> {
    let form = TranscriptError::Form { label, expected: "a signed record" };
    let bytes = r.bytes(label)?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(form);
    }
    Signed::from_bytes_unverified(bytes.to_vec()).map_err(|_| form)
}

#[cfg(test)]
pub(super) mod tests;
