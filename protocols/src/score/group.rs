//! Scoring groups: who scores together, under which pinned identities, about which numbers, in which epoch.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};

use crate::identity::IDENTITY_VERSION;
use crate::limits::MAX_SCORE_PROVIDERS;
use crate::lookup::DataSet;
use crate::party::PartyId;
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// SHA-256 of a party's Ed25519 identity key: what people compare, and configurations pin.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The identities that one party pins, whatever certificates say.
pub type Pins = BTreeMap<PartyId, Fingerprint>;

/// A party and the key that speaks for it in a setup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The party.
    pub party: PartyId,
    /// Its Ed25519 key.
    pub key: VerifyingKey,
}

/// How the group's key is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// So many providers must answer; fewer learn nothing of the key.
    Threshold(usize),
    /// The group has one provider, and says so: its part **is** the sum.
    SingleProvider,
}

/// What the parties of a group agree on before its setup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTerms {
    /// The group's name; a grant names it among its data sets.
    pub group: DataSet,
    /// The bank that scores.
    pub requester: Identity,
    /// The providers, ascending by name.
    pub providers: Vec<Identity>,
    /// How many of them answer a call.
    pub sharing: Sharing,
    /// [`super::universe::Universe::digest`].
    pub universe: Hash,
    /// Version of the identity rules.
    pub identity_version: String,
    /// Digest of the model whose parts the tables carry.
    pub model: Hash,
    /// The epoch; it only grows.
    pub epoch: u64,
}

/// Why terms are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// No provider, or too many.
    #[error("a scoring group has 1 to {MAX_SCORE_PROVIDERS} providers, found {found}")]
    Providers {
        /// How many there are.
        found: usize,
    },
    /// Providers are not in ascending order, or one stands twice.
    #[error("the providers of a scoring group ascend by name")]
    Order,
    /// Two parties have one key: one of them would hold two shares.
    #[error("{party} has the identity key of another party of the group")]
    RepeatedKey {
        /// The later of the two.
        party: PartyId,
    },
    /// The threshold is below 2 or above the number of providers.
    #[error("a threshold of {found} does not suit {providers} providers: it is 2 to their number")]
    Threshold {
        /// The threshold.
        found: usize,
        /// How many providers there are.
        providers: usize,
    },
    /// A group of one that is not declared as such, or the reverse.
    #[error("a group of one provider, and no other, is declared as a group of one provider")]
    SingleProvider,
    /// No fingerprint is pinned for the party, or another one.
    #[error("the identity key of {party} is not the pinned one")]
    Unpinned {
        /// The party.
        party: PartyId,
    },
    /// Other identity rules than ours.
    #[error("the group follows other identity rules than {IDENTITY_VERSION}")]
    IdentityVersion,
}

/// Terms whose form and identities one party has checked against its own pins. Clones share it.
#[derive(Clone, PartialEq, Eq)]
pub struct Charter(Arc<Checked>);

#[derive(PartialEq, Eq)]
struct Checked {
    terms: GroupTerms,
    digest: Hash,
}

impl Charter {
    /// Checks terms against pins.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn accept(terms: GroupTerms, pins: &Pins) -> Result<Self, GroupError> {
        check_providers(&terms)?;
        check_sharing(&terms)?;
        let unpinned = |identity: &&Identity| pins.get(&identity.party) != Some(&identity.fingerprint());
        if let Some(identity) = terms.identities().find(unpinned) {
            return Err(GroupError::Unpinned { party: identity.party.clone() });
        }
        if terms.identity_version != IDENTITY_VERSION {
            return Err(GroupError::IdentityVersion);
        }
        let digest = terms.encode().digest();
        Ok(Self(Arc::new(Checked { terms, digest })))
    }

    /// The terms.
    pub fn terms(&self) -> &GroupTerms {
        &self.0.terms
    }

    /// Digest of the terms, to which every message of a setup is bound.
    pub fn digest(&self) -> &Hash {
        &self.0.digest
    }

    /// Answers that a call needs.
    pub fn threshold(&self) -> usize {
        match self.0.terms.sharing {
            Sharing::Threshold(threshold) => threshold,
            Sharing::SingleProvider => 1,
        }
    }

    /// The providers, ascending by name.
    pub fn providers(&self) -> &[Identity] {
        &self.0.terms.providers
    }

    /// A provider's index in that order.
    pub fn index(&self, party: &PartyId) -> Option<usize> {
        self.providers().binary_search_by(|provider| provider.party.cmp(party)).ok()
    }
}

impl fmt::Debug for Charter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Charter").field(self.terms()).finish()
    }
}

fn check_providers(terms: &GroupTerms) -> Result<(), GroupError> {
    let found = terms.providers.len();
    if !(1..=MAX_SCORE_PROVIDERS).contains(&found) {
        return Err(GroupError::Providers { found });
    }
    let ascending = terms.providers.is_sorted_by(|a, b| a.party < b.party);
    if !ascending || terms.providers.iter().any(|provider| provider.party == terms.requester.party) {
        return Err(GroupError::Order);
    }
    let identities: Vec<_> = terms.identities().collect();
    let repeated = |i: &usize| identities[..*i].iter().any(|earlier| earlier.key == identities[*i].key);
    match (0..identities.len()).find(repeated) {
        Some(i) => Err(GroupError::RepeatedKey { party: identities[i].party.clone() }),
        None => Ok(()),
    }
}

fn check_sharing(terms: &GroupTerms) -> Result<(), GroupError> {
    let providers = terms.providers.len();
    match terms.sharing {
        Sharing::SingleProvider if providers == 1 => Ok(()),
        Sharing::Threshold(_) if providers == 1 => Err(GroupError::SingleProvider),
        Sharing::SingleProvider => Err(GroupError::SingleProvider),
        Sharing::Threshold(found) if (2..=providers).contains(&found) => Ok(()),
        Sharing::Threshold(found) => Err(GroupError::Threshold { found, providers }),
    }
}

impl GroupTerms {
    /// The requester and then the providers.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        std::iter::once(&self.requester).chain(&self.providers)
    }
}

impl Record for GroupTerms {
    const DOMAIN: &'static str = "windvane/score-group/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let threshold = match self.sharing {
            Sharing::Threshold(threshold) => threshold as u64,
            Sharing::SingleProvider => 0,
        };
        t.text("group", self.group.as_str())
            .bytes("requester", self.requester.encode().as_bytes())
            .list("provider", self.providers.iter().map(|provider| provider.encode().into_bytes()))
            .u64("threshold", threshold)
            .bytes("universe", &self.universe)
            .text("identity version", &self.identity_version)
            .bytes("model", &self.model)
            .u64("epoch", self.epoch)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            group: r.parse("group")?,
            requester: Identity::decode(r.bytes("requester")?)?,
            providers: r
                .list("provider", MAX_SCORE_PROVIDERS)?
                .into_iter()
                .map(Identity::decode)
                .collect::<Result<_, _>>()?,
            sharing: match r.number("threshold")? {
                0 => Sharing::SingleProvider,
                threshold => Sharing::Threshold(threshold),
            },
            universe: r.array("universe")?,
            identity_version: r.text("identity version")?.to_owned(),
            model: r.array("model")?,
            epoch: r.u64("epoch")?,
        })
    }
}

impl Identity {
    /// What others pin.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.key)
    }
}

impl Record for Identity {
    const DOMAIN: &'static str = "windvane/score-identity/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("party", self.party.as_str()).bytes("key", self.key.as_bytes())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "key", expected: "an Ed25519 key" };
        let party = r.parse("party")?;
        let key = VerifyingKey::from_bytes(&r.array("key")?).map_err(|_| form)?;
        Ok(Self { party, key })
    }
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 digits of 0-9 and a-f")]
pub struct FingerprintError;

impl Fingerprint {
    /// The fingerprint of a key.
    pub fn of(key: &VerifyingKey) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The digest itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(FingerprintError) };
        let digit = |c: u8| char::from(c).to_digit(16).filter(|_| !c.is_ascii_uppercase());
        let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
        let bytes: Option<Vec<_>> = pairs.iter().map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(FingerprintError)
    }
}
