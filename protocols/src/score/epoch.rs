//! A finished setup: what everybody knows of it, and what one provider keeps.

use std::fmt;
use std::sync::Arc;

use curve25519_dalek::{RistrettoPoint, Scalar};
use zeroize::{Zeroize as _, Zeroizing};

use super::group::Charter;
use super::shares::{Evidence, SetupError};
use super::table::Sealer;
use crate::oprf::{ELEMENT_BYTES, PrivateKey, PublicKey};
use crate::party::PartyId;
use crate::secret::Secret;
use crate::transcript::Hash;

/// A scoring group's epoch, set up and confirmed by all. Clones share it.
#[derive(Clone)]
pub struct Epoch(Arc<Inner>);

struct Inner {
    charter: Charter,
    keys: PublicKeys,
    evidence: Evidence,
}

/// What follows from the commitments of a setup.
pub(super) struct PublicKeys {
    /// ctx.
    pub(super) context: Hash,
    /// `K_i·G` of every provider.
    pub(super) shares: Vec<PublicKey>,
    /// `K·G`.
    pub(super) joint: PublicKey,
    /// `k_j·G` of every provider.
    pub(super) tables: Vec<[u8; ELEMENT_BYTES]>,
}

/// One provider's secrets of an epoch.
#[derive(Clone)]
pub struct MemberKeys {
    /// k_j, until the table is out.
    table: Option<Zeroizing<Scalar>>,
    /// K_i.
    share: PrivateKey,
}

/// A provider in an epoch.
#[derive(Debug, Clone)]
pub struct Member {
    epoch: Epoch,
    index: usize,
    keys: MemberKeys,
}

impl Epoch {
    pub(super) fn new(charter: Charter, keys: PublicKeys, evidence: Evidence) -> Self {
        Self(Arc::new(Inner { charter, keys, evidence }))
    }

    /// The group.
    pub fn charter(&self) -> &Charter {
        &self.0.charter
    }

    /// The epoch's number.
    pub fn number(&self) -> u64 {
        self.charter().terms().epoch
    }

    /// ctx: digest of the group, the pinned identities, all commitments, the universe, the identity rules, the
    /// model and the epoch. Every row and every answer belongs to one.
    pub fn context(&self) -> &Hash {
        &self.0.keys.context
    }

    /// `K_i·G`: under what the provider with this index answers.
    pub fn share_key(&self, index: usize) -> Option<&PublicKey> {
        self.0.keys.shares.get(index)
    }

    /// `K·G`.
    pub fn joint_key(&self) -> &PublicKey {
        &self.0.keys.joint
    }

    /// All messages of the setup, to store.
    pub fn evidence(&self) -> &Evidence {
        &self.0.evidence
    }

    /// The largest sum of parts that a row can hold.
    pub fn max_sum(&self) -> u16 {
        self.charter().providers().len() as u16 * u16::from(u8::MAX)
    }
}

impl PartialEq for Epoch {
    fn eq(&self, other: &Self) -> bool {
        self.context() == other.context()
    }
}

impl Eq for Epoch {}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({} {})", self.charter().terms().group, self.number())
    }
}

impl PublicKeys {
    /// Whether keys are those of the provider with this index.
    pub(super) fn check(&self, index: usize, keys: &MemberKeys) -> Result<(), SetupError> {
        let table = keys.table.as_ref().map(|key| RistrettoPoint::mul_base(key).compress().to_bytes());
        let fits = self.shares.get(index) == Some(keys.share.public())
            && table.is_none_or(|public| self.tables.get(index) == Some(&public));
        if fits { Ok(()) } else { Err(SetupError::ForeignKeys) }
    }
}

impl MemberKeys {
    /// `None` when the share is zero.
    pub(super) fn new(table: Option<Zeroizing<Scalar>>, share: &Scalar) -> Option<Self> {
        let bytes = Zeroizing::new(share.to_bytes());
        Some(Self { table, share: PrivateKey::from_bytes(&bytes).ok()? })
    }

    /// For a sealed store: K_i, and k_j if it is still there. [`Self::from_bytes`] reads it back.
    pub fn to_bytes(&self) -> Secret<Vec<u8>> {
        let mut bytes = Vec::with_capacity(2 * ELEMENT_BYTES);
        bytes.extend_from_slice(self.share.to_bytes().expose());
        bytes.extend(self.table.iter().flat_map(|key| *key.as_bytes()));
        Secret::new(bytes)
    }

    /// Reads [`Self::to_bytes`]; `None` when it is not that.
    pub fn from_bytes(bytes: &Secret<Vec<u8>>) -> Option<Self> {
        let (share, rest) = bytes.expose().split_first_chunk::<ELEMENT_BYTES>()?;
        let table = match rest {
            [] => None,
            rest => {
                let mut bytes: [u8; ELEMENT_BYTES] = rest.try_into().ok()?;
                let scalar = Scalar::from_canonical_bytes(bytes).into_option().map(Zeroizing::new);
                bytes.zeroize();
                Some(scalar?)
            }
        };
        Some(Self { table, share: PrivateKey::from_bytes(share).ok()? })
    }

    /// Destroys k_j once the table is out: nothing else needs it, and with it the rows open one by one.
    pub fn forget_table_key(&mut self) {
        self.table = None;
    }
}

impl fmt::Debug for MemberKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKeys(…)")
    }
}

impl Member {
    pub(super) const fn new(epoch: Epoch, index: usize, keys: MemberKeys) -> Self {
        Self { epoch, index, keys }
    }

    /// A provider after a restart, from what it stored.
    ///
    /// # Errors
    /// [`SetupError::NotMember`]; [`SetupError::ForeignKeys`] when the keys are of another epoch or party.
    pub fn restore(epoch: Epoch, party: &PartyId, keys: MemberKeys) -> Result<Self, SetupError> {
        let index = epoch.charter().index(party);
        let index = index.ok_or_else(|| SetupError::NotMember { party: party.clone() })?;
        epoch.0.keys.check(index, &keys)?;
        Ok(Self { epoch, index, keys })
    }

    /// The epoch.
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Who it is.
    pub fn party(&self) -> &PartyId {
        &self.epoch.charter().providers()[self.index].party
    }

    /// Its secrets.
    pub const fn keys(&self) -> &MemberKeys {
        &self.keys
    }

    /// What makes the rows of its table; `None` once the table's key is forgotten.
    pub fn sealer(&self) -> Option<Sealer> {
        self.keys.table.as_ref().map(|key| Sealer::new(self.epoch.context(), key))
    }

    /// K_i.
    pub(super) const fn share(&self) -> &PrivateKey {
        &self.keys.share
    }
}
