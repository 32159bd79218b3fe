//! The signed manifest of an epoch: keys, schema, publications and their validity.
//!
//! A provider cannot answer one bank under a key of its own, because the bank knows the keys beforehand.

use super::row::{PublicationId, Table};
use super::schema::Schema;
use super::{DataSet, KeyGroup};
use crate::identity::Family;
use crate::limits::{MAX_FAMILIES, MAX_PAGES, MAX_PUBLICATIONS};
use crate::oprf::PublicKey;
use crate::party::PartyId;
use crate::transcript::{Reader, Record, Transcript, TranscriptError};

const HOUR_MS: u64 = 3_600_000;

/// What one call gives away by design; it stands in every manifest.
pub const DISCLOSURE: &str = "snapshot mode: the provider learns nothing but that a call happened; one call \
     opens that person's rows until the epoch ends, deltas included; a leaked OPRF key opens the snapshot";

/// Everything the bank must know to ask and to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Whose table it is.
    pub provider: PartyId,
    /// The data set.
    pub data_set: DataSet,
    /// The epoch; it only grows.
    pub epoch: u64,
    /// Version of the identity rules.
    pub identity_version: String,
    /// The label schema, as text.
    pub schema: Schema,
    /// Families that the table answers, ascending.
    pub families: Vec<Family>,
    /// The public key of every key group, ascending.
    pub keys: Vec<(KeyGroup, PublicKey)>,
    /// The snapshot and its deltas, in order.
    pub publications: Vec<Publication>,
    /// Rows rejected by the build, all reasons together.
    pub rejected: u64,
    /// When the table was built, milliseconds of Unix time.
    pub built_at_ms: u64,
    /// When the provider published it, milliseconds of Unix time; the bank takes none that lies ahead of its clock.
    pub published_at_ms: u64,
    /// When the epoch ends and its keys may be destroyed, milliseconds of Unix time; not before it was published.
    pub not_after_ms: u64,
}

/// One sealed snapshot or delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// Fresh for every publication ever sealed.
    pub id: PublicationId,
    /// Rows in it.
    pub rows: u64,
    /// Pages of 4,096 bytes.
    pub pages: u64,
    /// RFC 6962 root over the pages.
    pub root: [u8; 32],
}

impl Manifest {
    /// The table that rows of this epoch are bound to.
    pub fn table(&self) -> Table {
        Table {
            data_set: self.data_set.clone(),
            epoch: self.epoch,
            schema_version: self.schema.version(),
            label_bytes: self.schema.label_bytes(),
        }
    }

    /// The public key of a group.
    pub fn key(&self, group: KeyGroup) -> Option<&PublicKey> {
        self.keys.iter().find(|(g, _)| *g == group).map(|(_, key)| key)
    }

    /// How long the epoch goes on from its publication to its end, in hours; one that was begun counts.
    pub const fn hours(&self) -> u64 {
        self.not_after_ms.saturating_sub(self.published_at_ms).div_ceil(HOUR_MS)
    }

    /// The id of a publication by its index.
    pub fn publication(&self, index: u16) -> Option<PublicationId> {
        self.publications.get(usize::from(index)).map(|p| p.id)
    }
}

impl Record for Manifest {
    const DOMAIN: &'static str = "windvane/lookup-manifest/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let families: Vec<u8> = self.families.iter().map(|f| *f as u8).collect();
        let keys = self.keys.iter().map(|(group, key)| {
            let mut item = vec![group.code()];
            item.extend_from_slice(key.as_bytes());
            item
        });
        t.text("provider", self.provider.as_str())
            .text("data set", self.data_set.as_str())
            .u64("epoch", self.epoch)
            .text("identity version", &self.identity_version)
            .text("schema", self.schema.text())
            .bytes("families", &families)
            .list("key", keys)
            .list("publication", self.publications.iter().map(|p| p.encode().into_bytes()))
            .u64("rejected", self.rejected)
            .u64("built at", self.built_at_ms)
            .u64("published at", self.published_at_ms)
            .u64("not after", self.not_after_ms)
            .text("disclosure", DISCLOSURE)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let manifest = Self {
            provider: r.parse("provider")?,
            data_set: r.parse("data set")?,
            epoch: r.u64("epoch")?,
            identity_version: r.text("identity version")?.to_owned(),
            schema: Schema::parse(r.text("schema")?)
                .map_err(|_| TranscriptError::Form { label: "schema", expected: "a label schema" })?,
            families: read_families(r)?,
            keys: r.list("key", MAX_FAMILIES)?.into_iter().map(read_key).collect::<Result<_, _>>()?,
            publications: r
                .list("publication", MAX_PUBLICATIONS)?
                .into_iter()
                .map(Publication::decode)
                .collect::<Result<_, _>>()?,
            rejected: r.u64("rejected")?,
            built_at_ms: r.u64("built at")?,
            published_at_ms: r.u64("published at")?,
            not_after_ms: r.u64("not after")?,
        };
        if r.text("disclosure")? != DISCLOSURE {
            return Err(TranscriptError::Form { label: "disclosure", expected: "this version's text" });
        }
        if manifest.not_after_ms < manifest.published_at_ms {
            let expected = "not before the time at which it was published";
            return Err(TranscriptError::Form { label: "not after", expected });
        }
        let groups: Vec<_> = KeyGroup::partition(&manifest.families).into_iter().map(|(g, _)| g).collect();
        if manifest.keys.iter().map(|(g, _)| *g).eq(groups) {
            Ok(manifest)
        } else {
            Err(TranscriptError::Form { label: "key", expected: "one key for every group of the families" })
        }
    }
}

impl Record for Publication {
    const DOMAIN: &'static str = "windvane/lookup-publication/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("id", &self.id).u64("rows", self.rows).u64("pages", self.pages).bytes("root", &self.root)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let publication =
            Self { id: r.array("id")?, rows: r.u64("rows")?, pages: r.u64("pages")?, root: r.array("root")? };
        if publication.pages > MAX_PAGES {
            return Err(TranscriptError::Form { label: "pages", expected: "within the limit of pages" });
        }
        Ok(publication)
    }
}

/// Families as ascending bytes without repetition.
pub(crate) fn read_families(r: &mut Reader<'_>) -> Result<Vec<Family>, TranscriptError> {
    let form = TranscriptError::Form { label: "families", expected: "at least one family" };
    let families = read_any_families(r)?;
    if families.is_empty() { Err(form) } else { Ok(families) }
}

/// As [`read_families`], or none.
pub(crate) fn read_any_families(r: &mut Reader<'_>) -> Result<Vec<Family>, TranscriptError> {
    let form = TranscriptError::Form { label: "families", expected: "ascending, known families" };
    let bytes = r.bytes("families")?;
    if bytes.len() > MAX_FAMILIES || !bytes.is_sorted_by(|a, b| a < b) {
        return Err(form);
    }
    bytes.iter().map(|&b| Family::try_from(b).map_err(|_| form.clone())).collect()
}

fn read_key(item: &[u8]) -> Result<(KeyGroup, PublicKey), TranscriptError> {
    let parse = || {
        let (&code, key) = item.split_first()?;
        let key = PublicKey::from_bytes(key.try_into().ok()?).ok()?;
        Some((KeyGroup::from_code(code)?, key))
    };
    parse().ok_or(TranscriptError::Form { label: "key", expected: "a group's code and a public key" })
}
