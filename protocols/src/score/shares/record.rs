//! What the parties of a setup sign.

use super::super::group::Charter;
use super::seal::{Binding, SEALED_BYTES, Sealed};
use crate::limits::MAX_SCORE_PROVIDERS;
use crate::oprf::ELEMENT_BYTES;
use crate::party::PartyId;
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// A message that is made in one party's name.
pub trait FromParty {
    /// In whose name it is.
    fn party(&self) -> &PartyId;

    /// [`Charter::digest`] of the setup that it belongs to.
    fn charter(&self) -> &Hash;
}

/// A provider's sealing key for one setup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Of which setup.
    pub charter: Hash,
    /// Whose key it is.
    pub party: PartyId,
    /// The element to which shares are sealed.
    pub sealing: [u8; ELEMENT_BYTES],
}

/// A provider's commitments and shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dealing {
    /// Of which setup.
    pub charter: Hash,
    /// Digest of the announcements that the dealer saw.
    pub announcements: Hash,
    /// Who deals.
    pub dealer: PartyId,
    /// Commitments to the coefficients, the constant first: as many as the threshold.
    pub commitments: Vec<[u8; ELEMENT_BYTES]>,
    /// Proof of possession of the constant coefficient: challenge and response.
    pub possession: [u8; 64],
    /// A sealed share for every provider, ascending by name; the dealer has one too.
    pub shares: Vec<Sealed>,
}

/// A party's word that it saw the same setup as all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// Of which setup.
    pub charter: Hash,
    /// Who confirms.
    pub party: PartyId,
    /// [`super::PublicSharing::transcript`].
    pub transcript: Hash,
}

impl Dealing {
    /// What a share of this dealing is bound to.
    pub(super) fn binding<'a>(&'a self, charter: &'a Charter, recipient: &'a PartyId) -> Binding<'a> {
        Binding { charter, dealer: &self.dealer, recipient, commitments: &self.commitments }
    }
}

impl Record for Announcement {
    const DOMAIN: &'static str = "windvane/score-announcement/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("group", &self.charter).text("party", self.party.as_str()).bytes("sealing", &self.sealing)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self { charter: r.array("group")?, party: r.parse("party")?, sealing: r.array("sealing")? })
    }
}

impl Record for Dealing {
    const DOMAIN: &'static str = "windvane/score-dealing/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("group", &self.charter)
            .bytes("announcements", &self.announcements)
            .text("dealer", self.dealer.as_str())
            .list("commitment", self.commitments.iter())
            .bytes("possession", &self.possession)
            .list("share", self.shares.iter())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            charter: r.array("group")?,
            announcements: r.array("announcements")?,
            dealer: r.parse("dealer")?,
            commitments: arrays::<ELEMENT_BYTES>(r, "commitment", "32 bytes")?,
            possession: r.array("possession")?,
            shares: arrays::<SEALED_BYTES>(r, "share", "80 bytes")?,
        })
    }
}

fn arrays<const N: usize>(
    r: &mut Reader<'_>,
    label: &'static str,
    expected: &'static str,
) -> Result<Vec<[u8; N]>, TranscriptError> {
    let array = |item: &[u8]| item.try_into().map_err(|_| TranscriptError::Form { label, expected });
    r.list(label, MAX_SCORE_PROVIDERS)?.into_iter().map(array).collect()
}

impl Record for Confirmation {
    const DOMAIN: &'static str = "windvane/score-confirmation/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("group", &self.charter)
            .text("party", self.party.as_str())
            .bytes("transcript", &self.transcript)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self { charter: r.array("group")?, party: r.parse("party")?, transcript: r.array("transcript")? })
    }
}

impl FromParty for Announcement {
    fn party(&self) -> &PartyId {
        &self.party
    }

    fn charter(&self) -> &Hash {
        &self.charter
    }
}

impl FromParty for Dealing {
    fn party(&self) -> &PartyId {
        &self.dealer
    }

    fn charter(&self) -> &Hash {
        &self.charter
    }
}

impl FromParty for Confirmation {
    fn party(&self) -> &PartyId {
        &self.party
    }

    fn charter(&self) -> &Hash {
        &self.charter
    }
}
