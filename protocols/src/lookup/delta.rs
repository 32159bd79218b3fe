//! Deltas: signed changes of a published data set within its epoch.
//!
//! A delta is a publication of its own: pages of rows as a snapshot has them, and a signed record that names the
//! place in the epoch's chain, the record before by its digest, and counts. Its rows are sealed under the epoch's
//! PRF keys and **its own publication id**, so that a subscriber whose label changes, or who is deleted and comes
//! back, never has two labels under one (key, nonce). What the design leaves open is decided here:
//!
//! - **The chain.** Publication 0 is the snapshot, named by the epoch's manifest, which never changes; delta `i`
//!   is publication `i` and names the digest of delta `i - 1`, or of the signed manifest. The list of an epoch's
//!   publication ids is the manifest's one and those of the chain. A bank takes deltas in this order only.
//! - **What a delta's rows mean.** For every locator that a delta has, its rows are *all* rows of this locator from
//!   then on; locators that it lacks stay. So the newest publication that has a locator decides, a lookup reads a
//!   page of each publication at most, and a subscriber may change every hour without its rows becoming more than
//!   a lookup tries. Where another key shares the locator, the provider copies that key's row, unchanged and with
//!   its old index (`carried`); a bank refuses a carried row that it does not have already.
//! - **Operations.** An insertion is a new row; a change is a row under a higher index; a deletion is a row that
//!   says "deleted" ([`row`](super::row)). A bank cannot tell them apart, nor whose they are, until it may open
//!   them; it learns how many there are, which the record says anyway. A row whose key and label stay is not sent,
//!   so a change of a label moves one row, and a change of a name those of the families with a name.
//! - **The publication-id rule** ([`check_id`]). An id names one signed record for ever: in the chain, in other
//!   epochs, and in the party's memory of all ids it ever saw. The same id with the same record is a repetition
//!   and harmless; with another one it is refused, before a row of it is kept. A provider draws ids with
//!   [`fresh_id`] against the same memory.
//! - **Bounds.** At most [`MAX_DELTAS`] deltas an epoch, and in all of them at most half as many rows as the
//!   snapshot has (or [`MIN_DELTA_ROWS`]); beyond them the next publication is a full one. A delta has at least
//!   one row, and its counts of subjects and rows must be possible together.
//! - **Time.** A delta is sealed not before its predecessor and not after the epoch's end; it does not prolong it.
//!
//! Promised: a chain that [`Chain::admit`] took holds no forged, stale, reordered or foreign delta, and no id twice.
//! **Not promised**: that a provider tells the truth about its subscribers, or sends a delta at all.

use ed25519_dalek::VerifyingKey;
use rand_core::CryptoRng;

use super::DataSet;
use super::manifest::{Manifest, Publication};
use super::row::{PublicationId, Table, index_of};
use crate::limits::{MAX_DELTAS, MAX_ROWS_PER_LOCATOR, MIN_DELTA_ROWS, PAGE_BYTES};
use crate::party::PartyId;
use crate::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

/// One delta, as its provider signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Whose data set it is.
    pub provider: PartyId,
    /// The data set.
    pub data_set: DataSet,
    /// The epoch that it belongs to.
    pub epoch: u64,
    /// Its place in the epoch's chain, from 1: the index in its own rows.
    pub index: u16,
    /// Digest of the signed delta before it, or of the epoch's signed manifest.
    pub base: Hash,
    /// Its rows.
    pub publication: Publication,
    /// Rows among them that were copied from earlier publications.
    pub carried: u64,
    /// Subjects that came.
    pub inserted: u64,
    /// Subjects of which something changed.
    pub changed: u64,
    /// Subjects that went.
    pub deleted: u64,
    /// When it was sealed, milliseconds of Unix time.
    pub sealed_at_ms: u64,
}

impl Delta {
    /// Subjects that it is about.
    pub const fn subjects(&self) -> u64 {
        self.inserted.saturating_add(self.changed).saturating_add(self.deleted)
    }
}

impl Record for Delta {
    const DOMAIN: &'static str = "windvane/lookup-delta/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("provider", self.provider.as_str())
            .text("data set", self.data_set.as_str())
            .u64("epoch", self.epoch)
            .u64("index", self.index.into())
            .bytes("base", &self.base)
            .bytes("publication", self.publication.encode().as_bytes())
            .u64("carried", self.carried)
            .u64("inserted", self.inserted)
            .u64("changed", self.changed)
            .u64("deleted", self.deleted)
            .u64("sealed at", self.sealed_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "index", expected: "the index of a delta" };
        Ok(Self {
            provider: r.parse("provider")?,
            data_set: r.parse("data set")?,
            epoch: r.u64("epoch")?,
            index: u16::try_from(r.u64("index")?).ok().filter(|index| *index > 0).ok_or(form)?,
            base: r.array("base")?,
            publication: Publication::decode(r.bytes("publication")?)?,
            carried: r.u64("carried")?,
            inserted: r.u64("inserted")?,
            changed: r.u64("changed")?,
            deleted: r.u64("deleted")?,
            sealed_at_ms: r.u64("sealed at")?,
        })
    }
}

/// Why a delta is refused. What was there before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// It is not signed by the provider.
    #[error("the delta is not signed by its provider; nothing of it was used")]
    Signature,
    /// It is about another provider, data set or epoch.
    #[error("the delta is about another {what} than the table that is installed; fetch again")]
    Foreign {
        /// What differs.
        what: &'static str,
    },
    /// It is not the next one.
    #[error("the delta has index {found}, expected {expected}; fetch all deltas of the epoch, in order")]
    Order {
        /// Its index.
        found: u16,
        /// The next index.
        expected: u16,
    },
    /// It was made for another table than the one before it.
    #[error(
        "delta {index} was made for another publication than the one before it; fall back to the snapshot"
    )]
    Base {
        /// Its index.
        index: u16,
    },
    /// Its publication id names something else already. Rows of two publications would share their keys.
    #[error(
        "the publication id of this publication was used before; tell the provider, it must publish anew"
    )]
    IdReused,
    /// The epoch has as many deltas as it may.
    #[error("the epoch has {MAX_DELTAS} deltas, the most it may; a full publication is due")]
    TooMany,
    /// The epoch's deltas have more rows than they may.
    #[error(
        "the epoch's deltas would have {found} rows, at most {limit} are allowed; a full publication is due"
    )]
    TooLarge {
        /// Rows of all deltas.
        found: u64,
        /// What they may have.
        limit: u64,
    },
    /// Its counts cannot be true together.
    #[error("the delta's {what} are impossible beside its other counts; the provider must publish anew")]
    Counts {
        /// Which count.
        what: &'static str,
    },
    /// Its time is not between that of the delta before it and the end of the epoch.
    #[error("the delta was sealed before the publication it follows, or after the end of the epoch")]
    Time,
    /// A row has the index of another publication, and is not there already.
    #[error("a row of the delta belongs to no publication of the epoch; the provider must publish anew")]
    Row,
    /// The manifest lists another number of publications than the one snapshot.
    #[error("the manifest lists {found} publications, expected one snapshot; update this node")]
    Publications {
        /// Publications listed.
        found: usize,
    },
}

impl DeltaError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signature => "DELTA_SIGNATURE",
            Self::Foreign { .. } => "DELTA_FOREIGN",
            Self::Order { .. } => "DELTA_ORDER",
            Self::Base { .. } => "DELTA_BASE",
            Self::IdReused => "PUBLICATION_ID_REUSED",
            Self::TooMany => "DELTA_COUNT_LIMIT",
            Self::TooLarge { .. } => "DELTA_SIZE_LIMIT",
            Self::Counts { .. } => "DELTA_COUNTS",
            Self::Time => "DELTA_TIME",
            Self::Row => "DELTA_ROW",
            Self::Publications { .. } => "SNAPSHOT_PUBLICATIONS",
        }
    }
}

/// The publication-id rule: an id names one signed record, for ever. `known` is the digest of the record that this
/// party has seen the id in before.
///
/// # Errors
/// [`DeltaError::IdReused`].
pub fn check_id(digest: &Hash, known: Option<Hash>) -> Result<(), DeltaError> {
    match known {
        Some(known) if known != *digest => Err(DeltaError::IdReused),
        _ => Ok(()),
    }
}

/// Draws the id of a new publication.
///
/// # Errors
/// [`DeltaError::IdReused`] when the party has used it before, which only a generator that repeats itself does.
pub fn fresh_id(
    rng: &mut impl CryptoRng,
    is_known: impl FnOnce(&PublicationId) -> bool,
) -> Result<PublicationId, DeltaError> {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    if is_known(&id) { Err(DeltaError::IdReused) } else { Ok(id) }
}

/// Rows that all deltas of an epoch may have together.
pub const fn max_rows(snapshot_rows: u64) -> u64 {
    if snapshot_rows / 2 > MIN_DELTA_ROWS { snapshot_rows / 2 } else { MIN_DELTA_ROWS }
}

/// An epoch's publications: the snapshot and the deltas after it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    manifest: Signed<Manifest>,
    snapshot: Publication,
    deltas: Vec<Signed<Delta>>,
}

impl Chain {
    /// A snapshot without deltas. Its signature is the caller's to verify.
    ///
    /// # Errors
    /// [`DeltaError::Publications`].
    pub fn new(manifest: Signed<Manifest>) -> Result<Self, DeltaError> {
        match manifest.body().publications.as_slice() {
            &[snapshot] => Ok(Self { manifest, snapshot, deltas: Vec::new() }),
            other => Err(DeltaError::Publications { found: other.len() }),
        }
    }

    /// The epoch's manifest.
    pub const fn manifest(&self) -> &Signed<Manifest> {
        &self.manifest
    }

    /// The deltas, in order.
    pub fn deltas(&self) -> &[Signed<Delta>] {
        &self.deltas
    }

    /// Digest of the newest record: what the next delta names as its base.
    pub fn head(&self) -> Hash {
        self.deltas.last().map_or_else(|| self.manifest.digest(), Signed::digest)
    }

    /// The index of the next delta.
    ///
    /// # Errors
    /// [`DeltaError::TooMany`].
    pub fn next_index(&self) -> Result<u16, DeltaError> {
        let next = self.deltas.len() + 1;
        u16::try_from(next).ok().filter(|_| next <= MAX_DELTAS).ok_or(DeltaError::TooMany)
    }

    /// Rows that deltas may still have.
    pub fn room(&self) -> u64 {
        max_rows(self.snapshot.rows).saturating_sub(self.delta_rows())
    }

    /// The id of a publication by the index in its rows.
    pub fn publication(&self, index: u16) -> Option<PublicationId> {
        match usize::from(index).checked_sub(1) {
            None => Some(self.snapshot.id),
            Some(delta) => self.deltas.get(delta).map(|delta| delta.body().publication.id),
        }
    }

    /// Whether everything in it is signed by the provider.
    pub fn verify(&self, provider: &VerifyingKey) -> bool {
        self.manifest.verify(provider) && self.deltas.iter().all(|delta| delta.verify(provider))
    }

    /// Takes the next delta. `known` tells in which record the party has seen a publication id before, by its
    /// digest.
    ///
    /// # Errors
    /// [`DeltaError`]; the chain is as before.
    pub fn admit(
        &mut self,
        delta: Signed<Delta>,
        provider: &VerifyingKey,
        known: impl FnOnce(&PublicationId) -> Option<Hash>,
    ) -> Result<(), DeltaError> {
        if !delta.verify(provider) {
            return Err(DeltaError::Signature);
        }
        check_id(&delta.digest(), known(&delta.body().publication.id))?;
        self.restore(delta)
    }

    /// Takes a delta that was admitted before: every rule but its signature and the party's memory of ids.
    ///
    /// # Errors
    /// [`DeltaError`]; the chain is as before.
    pub fn restore(&mut self, delta: Signed<Delta>) -> Result<(), DeltaError> {
        self.check(&delta)?;
        self.deltas.push(delta);
        Ok(())
    }

    fn check(&self, signed: &Signed<Delta>) -> Result<(), DeltaError> {
        let (delta, manifest) = (signed.body(), self.manifest.body());
        let same = [
            ("provider", delta.provider == manifest.provider),
            ("data set", delta.data_set == manifest.data_set),
            ("epoch", delta.epoch == manifest.epoch),
        ];
        if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(DeltaError::Foreign { what });
        }
        let expected = self.next_index()?;
        if delta.index != expected {
            return Err(DeltaError::Order { found: delta.index, expected });
        }
        if delta.base != self.head() {
            return Err(DeltaError::Base { index: delta.index });
        }
        check_id(&signed.digest(), self.named(&delta.publication.id))?;
        self.check_size(delta)?;
        check_counts(delta, manifest)?;
        let before = self.deltas.last().map_or(manifest.built_at_ms, |last| last.body().sealed_at_ms);
        if (before..=manifest.not_after_ms).contains(&delta.sealed_at_ms) {
            Ok(())
        } else {
            Err(DeltaError::Time)
        }
    }

    /// The record of the chain in which an id stands.
    fn named(&self, id: &PublicationId) -> Option<Hash> {
        if self.snapshot.id == *id {
            return Some(self.manifest.digest());
        }
        self.deltas.iter().find(|delta| delta.body().publication.id == *id).map(Signed::digest)
    }

    fn check_size(&self, delta: &Delta) -> Result<(), DeltaError> {
        let found = self.delta_rows().saturating_add(delta.publication.rows);
        let limit = max_rows(self.snapshot.rows);
        if found > limit { Err(DeltaError::TooLarge { found, limit }) } else { Ok(()) }
    }

    fn delta_rows(&self) -> u64 {
        self.deltas.iter().map(|delta| delta.body().publication.rows).sum()
    }
}

/// Every subject moves at least one row of its own. How many at most is open: a number may have stood under many
/// names.
fn check_counts(delta: &Delta, manifest: &Manifest) -> Result<(), DeltaError> {
    let Publication { rows, pages, .. } = delta.publication;
    let per_page = (PAGE_BYTES / manifest.table().row_bytes()) as u64;
    if rows == 0 || pages == 0 || pages > rows || rows > pages.saturating_mul(per_page) {
        return Err(DeltaError::Counts { what: "rows and pages" });
    }
    let own = rows.checked_sub(delta.carried).ok_or(DeltaError::Counts { what: "carried rows" })?;
    if delta.carried > own.saturating_mul(MAX_ROWS_PER_LOCATOR as u64 - 1) {
        return Err(DeltaError::Counts { what: "carried rows" });
    }
    let subjects = delta.subjects();
    if subjects == 0 || own < subjects {
        return Err(DeltaError::Counts { what: "subjects" });
    }
    Ok(())
}

/// Checks a delta's rows of one locator against those that the locator has now; gives how many are carried.
///
/// # Errors
/// [`DeltaError::Row`] unless every row is the delta's own or stands there already, and one at least is its own.
pub fn check_rows(index: u16, table: &Table, rows: &[u8], present: &[u8]) -> Result<u64, DeltaError> {
    let size = table.row_bytes();
    let (mut own, mut carried) = (0, 0);
    for row in rows.chunks_exact(size) {
        match index_of(row) {
            found if found == index => own += 1,
            found if found < index && present.chunks_exact(size).any(|other| other == row) => carried += 1,
            _ => return Err(DeltaError::Row),
        }
    }
    if own == 0 { Err(DeltaError::Row) } else { Ok(carried) }
}

#[cfg(test)]
mod tests;
