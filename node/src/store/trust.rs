//! Authorities that are bound to parties, revocation lists, and what of a partner's enrolment is renewed.

use rusqlite::{Connection, params};
use windvane_keys::enrolment::Enrolment;

use super::{Store, StoreError, int};

/// Came after the first files were made.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS partner_before (party TEXT PRIMARY KEY, enrolment TEXT NOT NULL,
        at_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS authority (sha256 BLOB PRIMARY KEY, certificate BLOB NOT NULL,
        parties TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS revocation_list (issuer BLOB PRIMARY KEY, list BLOB NOT NULL,
        at_ms INTEGER NOT NULL) STRICT;
";

/// Binds the authority of this SHA-256 to parties; parameters in the table's order.
pub(super) const PUT_AUTHORITY: &str =
    "INSERT INTO authority VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET parties = ?3";

/// Releases the authority of this SHA-256.
pub(super) const REMOVE_AUTHORITY: &str = "DELETE FROM authority WHERE sha256 = ?1";

/// An authority's certificate, DER, and the parties that it may speak for, divided by spaces.
pub type StoredAuthority = (Vec<u8>, String);

/// The SHA-256 of an issuer's `SubjectPublicKeyInfo`.
pub type Issuer = [u8; 32];

/// Authorities, and when each issuer's newest list was imported.
pub type TrustVersion = (Vec<StoredAuthority>, Vec<(Issuer, i64)>);

/// How an enrolment follows the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enrolled {
    /// With the same keys: the one before still counts beside it, until its certificate ends.
    Renewed,
    /// As the first, or with other keys: nothing of one before counts.
    Anew,
}

impl Enrolled {
    /// Keeps the enrolment of a partner.
    pub(super) fn keep(
        self,
        connection: &Connection,
        party: &str,
        enrolment: &str,
        at_ms: u64,
    ) -> rusqlite::Result<usize> {
        match self {
            Self::Renewed => connection.execute(
                "INSERT OR REPLACE INTO partner_before
                 SELECT party, enrolment, at_ms FROM partner WHERE party = ?1 AND enrolment <> ?2",
                params![party, enrolment],
            )?,
            Self::Anew => connection.execute("DELETE FROM partner_before WHERE party = ?1", [party])?,
        };
        connection.execute(
            "INSERT INTO partner VALUES (?1, ?2, ?3)
             ON CONFLICT (party) DO UPDATE SET enrolment = ?2, at_ms = ?3",
            params![party, enrolment, int(at_ms)],
        )
    }
}

impl Store {
    /// How an enrolment follows its party's one so far: only with the same keys for receipts and log does it renew it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn how_enrolled(&self, enrolment: &Enrolment) -> Result<Enrolled, StoreError> {
        let new = enrolment.request();
        let renews = |pem: String| {
            Enrolment::from_pem(&pem).is_ok_and(|known| {
                let known = known.request();
                let same_keys = known.receipt_key() == new.receipt_key() && known.log_key() == new.log_key();
                known.party() == new.party() && same_keys
            })
        };
        let renewed = self.partners()?.into_iter().any(renews);
        Ok(if renewed { Enrolled::Renewed } else { Enrolled::Anew })
    }

    /// Keeps a partner's enrolment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn put_partner(
        &self,
        party: &str,
        enrolment: &str,
        enrolled: Enrolled,
        at_ms: u64,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        self.change(entry, |t| enrolled.keep(t, party, enrolment, at_ms))
    }

    /// The enrolments before those of [`Store::partners`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn partners_before(&self) -> Result<Vec<String>, StoreError> {
        self.rows("SELECT enrolment FROM partner_before ORDER BY party", |row| row.get(0))
    }

    /// Binds an authority to parties, or to other parties than before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_authority(
        &self,
        sha256: &[u8; 32],
        (certificate, parties): &StoredAuthority,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        self.change(entry, |t| t.execute(PUT_AUTHORITY, params![sha256, certificate, parties]))
    }

    /// Releases an authority.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when none is bound under this digest.
    pub fn remove_authority(&self, sha256: &[u8; 32], entry: &[u8]) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { what: "bound authority of this SHA-256".into() };
        self.change_one(entry, missing, |t| t.execute(REMOVE_AUTHORITY, [sha256]))
    }

    /// All authorities that are bound to parties.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.rows("SELECT certificate, parties FROM authority ORDER BY sha256", read)
    }

    /// Keeps an issuer's newest revocation list.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_revocation_list(
        &self,
        issuer: &[u8; 32],
        list: &[u8],
        at_ms: u64,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        self.change(entry, |t| {
            t.execute(
                "INSERT INTO revocation_list VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET list = ?2, at_ms = ?3",
                params![issuer, list, int(at_ms)],
            )
        })
    }

    /// The newest list of each issuer, DER, under the SHA-256 of the issuer's `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revocation_lists(&self) -> Result<Vec<(Issuer, Vec<u8>)>, StoreError> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.rows("SELECT issuer, list FROM revocation_list ORDER BY issuer", read)
    }

    /// What the trust was read from, to see whether it changed: a digest is not needed, times and counts are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn trust_version(&self) -> Result<TrustVersion, StoreError> {
        let lists = self.rows("SELECT issuer, at_ms FROM revocation_list ORDER BY issuer", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok((self.authorities()?, lists))
    }
}
