//! What a party pins of a scoring group, as it was joined or set up.

use windvane_keys::files::{FileError, write_private};
use windvane_protocols::limits::MAX_SCORE_PROVIDERS;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, Pins};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::transcript::{Reader, Record, Transcript, TranscriptError};

use super::folder::{FolderError, GroupFolder, read_record};
use crate::snapshot::disk::create_directory;

/// A plan with the segments of the whole country.
const MAX_PLAN_BYTES: usize = 8 << 20;

/// A party and the fingerprint of its identity key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The party.
    pub party: PartyId,
    /// Of its key.
    pub fingerprint: Fingerprint,
}

/// The plan of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group.
    pub group: DataSet,
    /// The bank.
    pub requester: Pinned,
    /// The providers.
    pub providers: Vec<Pinned>,
    /// The numbers.
    pub universe: Universe,
}

impl GroupPlan {
    /// Writes the plan into its group's folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn store(&self, folder: &GroupFolder) -> Result<(), FileError> {
        let path = folder.join("plan");
        create_directory(path.parent().expect("a plan is in its group's folder"))?;
        write_private(&path, self.encode().as_bytes())
    }

    /// Reads a group's plan.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(folder: &GroupFolder) -> Result<Self, FolderError> {
        let none = || FolderError::NoGroup { group: folder.group().clone() };
        read_record(&folder.join("plan"), MAX_PLAN_BYTES)?.ok_or_else(none)
    }

    /// The identities that the plan pins.
    pub fn pins(&self) -> Pins {
        let all = std::iter::once(&self.requester).chain(&self.providers);
        all.map(|pinned| (pinned.party.clone(), pinned.fingerprint)).collect()
    }
}

impl Record for GroupPlan {
    const DOMAIN: &'static str = "windvane/score-plan/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("group", self.group.as_str())
            .text("requester", &self.requester.text())
            .list("provider", self.providers.iter().map(Pinned::text))
            .bytes("universe", self.universe.encode().as_bytes())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "provider", expected: "a fingerprint and a party" };
        let pinned = |text: &[u8]| Pinned::read(std::str::from_utf8(text).ok()?);
        Ok(Self {
            group: r.parse("group")?,
            requester: Pinned::read(r.text("requester")?).ok_or(form.clone())?,
            providers: r
                .list("provider", MAX_SCORE_PROVIDERS)?
                .into_iter()
                .map(|item| pinned(item).ok_or(form.clone()))
                .collect::<Result<_, _>>()?,
            universe: Universe::decode(r.bytes("universe")?)?,
        })
    }
}

impl Pinned {
    fn text(&self) -> String {
        format!("{} {}", self.fingerprint, self.party)
    }

    fn read(text: &str) -> Option<Self> {
        let (fingerprint, party) = text.split_once(' ')?;
        Some(Self { party: party.parse().ok()?, fingerprint: fingerprint.parse().ok()? })
    }
}
