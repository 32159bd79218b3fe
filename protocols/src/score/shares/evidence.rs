//! A finished setup as one record: what a party stores, and what an auditor checks again.

use super::super::epoch::Epoch;
use super::super::group::{Charter, GroupError, GroupTerms, Pins};
use super::record::{Announcement, Confirmation, Dealing};
use super::{PublicSharing, SetupError};
use crate::limits::MAX_SCORE_PROVIDERS;
use crate::transcript::{Reader, Record, Signed, Transcript, TranscriptError};

/// All signed messages of a setup. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The group's terms.
    pub terms: GroupTerms,
    /// Every provider's sealing key.
    pub announcements: Vec<Signed<Announcement>>,
    /// Every provider's commitments and sealed shares.
    pub dealings: Vec<Signed<Dealing>>,
    /// The bank's and every provider's confirmation.
    pub confirmations: Vec<Signed<Confirmation>>,
}

/// Why a stored or foreign setup is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Its terms.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Its messages.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl Evidence {
    /// Checks everything again, from the pins on.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn check(self, pins: &Pins) -> Result<Epoch, EvidenceError> {
        let charter = Charter::accept(self.terms, pins)?;
        let sharing = PublicSharing::check(charter, &self.announcements, &self.dealings)?;
        Ok(sharing.agree(&self.confirmations)?)
    }
}

impl Record for Evidence {
    const DOMAIN: &'static str = "windvane/score-evidence/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("terms", self.terms.encode().as_bytes())
            .list("announcement", self.announcements.iter().map(Signed::as_bytes))
            .list("dealing", self.dealings.iter().map(Signed::as_bytes))
            .list("confirmation", self.confirmations.iter().map(Signed::as_bytes))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            terms: GroupTerms::decode(r.bytes("terms")?)?,
            announcements: read_signed(r, "announcement")?,
            dealings: read_signed(r, "dealing")?,
            confirmations: read_signed(r, "confirmation")?,
        })
    }
}

fn read_signed<T: Record>(
    r: &mut Reader<'_>,
    label: &'static str,
) -> Result<Vec<Signed<T>>, TranscriptError> {
    let form = TranscriptError::Form { label, expected: "a signed message" };
    let read = |item: &[u8]| Signed::from_bytes_unverified(item.to_vec()).map_err(|_| form.clone());
    r.list(label, MAX_SCORE_PROVIDERS + 1)?.into_iter().map(read).collect()
}
