//! The signed manifest of one provider's table.

use super::super::epoch::Epoch;
use super::super::group::Identity;
use super::super::ledger::TableRoot;
use super::super::universe::NUMBERS_PER_SEGMENT;
use super::parts::PartTerms;
use crate::limits::MAX_SEGMENTS;
use crate::lookup::DataSet;
use crate::party::PartyId;
use crate::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

/// What a score gives away by design; it stands in every manifest.
pub const DISCLOSURE: &str = "the bank learns the sum of all providers' parts for a number that it asks about; \
     where only one provider holds a part other than its default, the sum is that part";

/// Everything that the bank must know of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableManifest {
    /// Whose table it is.
    pub provider: PartyId,
    /// The scoring group.
    pub group: DataSet,
    /// The epoch.
    pub epoch: u64,
    /// ctx, which names setup and universe.
    pub context: Hash,
    /// Segments of the universe.
    pub segments: u64,
    /// RFC 6962 root over the segments' rows.
    pub root: TableRoot,
    /// What the parts are like.
    pub parts: PartTerms,
    /// When the table was made, milliseconds of Unix time.
    pub built_at_ms: u64,
}

/// Why a group's manifests do not make one table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The manifest of a provider is missing, or is there twice: without every table no row opens.
    #[error("there are {found} table manifests of {party} where one is needed")]
    Count {
        /// The provider.
        party: PartyId,
        /// How many manifests it has.
        found: usize,
    },
    /// The signature is not by the pinned identity.
    #[error("the table manifest of {party} is not signed by its pinned identity")]
    Signature {
        /// The provider.
        party: PartyId,
    },
    /// The manifest is of another setup, or of another length.
    #[error("the table manifest of {party} is of another epoch or universe")]
    Context {
        /// The provider.
        party: PartyId,
    },
}

impl TableManifest {
    /// Rows of the table.
    pub const fn rows(&self) -> u64 {
        self.segments * NUMBERS_PER_SEGMENT as u64
    }
}

/// Checks the manifests of all providers of an epoch and puts them in the providers' order.
///
/// # Errors
/// [`ManifestError`].
pub fn check(
    epoch: &Epoch,
    segments: u64,
    manifests: &[Signed<TableManifest>],
) -> Result<Vec<Signed<TableManifest>>, ManifestError> {
    let pick = |identity: &Identity| {
        let party = identity.party.clone();
        let own: Vec<_> = manifests.iter().filter(|manifest| manifest.body().provider == party).collect();
        let [manifest] = own[..] else { return Err(ManifestError::Count { party, found: own.len() }) };
        let body = manifest.body();
        if !manifest.verify(&identity.key) {
            return Err(ManifestError::Signature { party });
        }
        let terms = epoch.charter().terms();
        let named = (&body.context, body.segments, &body.group, body.epoch);
        if named != (epoch.context(), segments, &terms.group, terms.epoch) {
            return Err(ManifestError::Context { party });
        }
        Ok(manifest.clone())
    };
    epoch.charter().providers().iter().map(pick).collect()
}

impl Record for TableManifest {
    const DOMAIN: &'static str = "windvane/score-table/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("provider", self.provider.as_str())
            .text("group", self.group.as_str())
            .u64("epoch", self.epoch)
            .bytes("context", &self.context)
            .u64("segments", self.segments)
            .bytes("root", &self.root)
            .bytes("parts", self.parts.encode().as_bytes())
            .u64("built at", self.built_at_ms)
            .text("disclosure", DISCLOSURE)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let manifest = Self {
            provider: r.parse("provider")?,
            group: r.parse("group")?,
            epoch: r.u64("epoch")?,
            context: r.array("context")?,
            segments: r.u64("segments")?,
            root: r.array("root")?,
            parts: PartTerms::decode(r.bytes("parts")?)?,
            built_at_ms: r.u64("built at")?,
        };
        if r.text("disclosure")? != DISCLOSURE {
            return Err(TranscriptError::Form { label: "disclosure", expected: "this version's text" });
        }
        if (1..=MAX_SEGMENTS as u64).contains(&manifest.segments) {
            Ok(manifest)
        } else {
            Err(TranscriptError::Form { label: "segments", expected: "within the limit of segments" })
        }
    }
}
