//! The versions of a group's models on one node: `models/<name>/{card, parts, record.json}`.
//!
//! **Promised**: a version never changes once it is added, and its hash over card, parts and description is
//! computed again whenever it is approved or used, so that an altered file is found; what is used has been
//! approved by somebody else than who added it; a version appears whole or not at all. **Not here**: which version
//! is active, which is [`activation`](super::activation). Whoever can write this folder **and** holds the node's
//! storage key can replace a version with its record; against that stand the log's entries, not this file.

use std::path::PathBuf;

use windvane_keys::files::{FileError, read_private, write_private};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::score::universe::Universe;
use windvane_protocols::transcript::{Hash, Record as _};

use super::card::{NAME_RULE, is_model_name};
use super::folder::{FolderError, GroupFolder, read_record};
use super::parts::{DenseParts, PartsError};
use crate::snapshot::disk::{at, create_directory, put_in_place, remove_directory, write_file};

mod record;
mod summary;

pub(crate) use record::check_person;
pub(super) use record::person;
pub use record::{Activation, Approval, Description, Metrics, PartsRecord, VersionRecord};
pub use summary::{Drift, PartsSummary};

/// A card's record: a thousand knots and sixteen bands.
const MAX_CARD_BYTES: usize = 64 << 10;

/// A version's description with its features, as JSON.
const MAX_RECORD_BYTES: usize = 4 << 20;

/// Where a version is made before it gets its name, which begins with no point.
const ADDING: &str = ".adding";

/// Why a model is not added, approved or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The group's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file of the version.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its parts.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// The version's parts are of another list of numbers.
    #[error(
        "the parts of model {name} were imported for another list of numbers; add a version for this one"
    )]
    Universe {
        /// The version.
        name: String,
    },
    /// Not a model's name.
    #[error("a model's name has {NAME_RULE}")]
    Name,
    /// A person's name, a metric or a feature breaks a rule.
    #[error("{field}: {rule}")]
    Field {
        /// What was given.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A provider's model carries parts.
    #[error(
        "a provider's model has parts; name their file with --parts and the part of all other numbers with --default"
    )]
    PartsMissing,
    /// The version is there with other content.
    #[error(
        "model {name} is there already with other content; a version never changes: add this one under another name"
    )]
    Exists {
        /// The version.
        name: String,
    },
    /// There is no such version.
    #[error("there is no model {name} in the group; `score model list` shows those that are there")]
    Unknown {
        /// The version.
        name: String,
    },
    /// A file of the version is not what was added, or what was approved.
    #[error(
        "the {what} of model {name} changed after it was added or approved; it is not used: add it again under another name, and find out who changed it"
    )]
    Changed {
        /// The version.
        name: String,
        /// Which of its files.
        what: &'static str,
    },
    /// Nobody approved it yet.
    #[error("model {name} is not approved; somebody else than {added_by} runs `score model approve {name}`")]
    NotApproved {
        /// The version.
        name: String,
        /// Who added it.
        added_by: String,
    },
    /// Who added it cannot approve it.
    #[error("{by} added model {name}, so somebody else must approve it")]
    SamePerson {
        /// The version.
        name: String,
        /// Who tried.
        by: String,
    },
    /// It was approved before.
    #[error("model {name} was approved by {by} already")]
    Approved {
        /// The version.
        name: String,
        /// Who approved it.
        by: String,
    },
    /// The version has no parts.
    #[error("model {name} has no parts")]
    NoParts {
        /// The version.
        name: String,
    },
    /// A record does not parse.
    #[error("{path} is damaged: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

impl RegistryError {
    /// Whether the version is at fault, and not how it was read.
    pub(crate) const fn is_of_version(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Changed { .. } | Self::Damaged { .. })
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Parts(error) => error.code(),
            Self::Universe { .. } => "PARTS_UNIVERSE",
            Self::Name => "MODEL_NAME",
            Self::Field { .. } => "MODEL_INVALID",
            Self::PartsMissing => "MODEL_PARTS_MISSING",
            Self::Exists { .. } => "MODEL_EXISTS",
            Self::Unknown { .. } => "MODEL_UNKNOWN",
            Self::Changed { .. } => "MODEL_CHANGED",
            Self::NotApproved { .. } => "MODEL_NOT_APPROVED",
            Self::SamePerson { .. } => "MODEL_SAME_PERSON",
            Self::Approved { .. } => "MODEL_APPROVED",
            Self::NoParts { .. } => "MODEL_WITHOUT_PARTS",
            Self::Damaged { .. } => "MODEL_DAMAGED",
        }
    }
}

/// The versions of one group.
#[derive(Debug, Clone)]
pub struct Registry(GroupFolder);

/// One version, read and checked against its hash.
#[derive(Debug, Clone)]
pub struct ModelVersion {
    path: PathBuf,
    card: ModelCard,
    record: VersionRecord,
}

impl Registry {
    /// The registry in a group's folder.
    pub const fn new(folder: GroupFolder) -> Self {
        Self(folder)
    }

    /// Adds a version; the same content again is no change, so that an interrupted command can be repeated. The caller
    /// holds the group's folder, and logs the change afterwards.
    ///
    /// # Errors
    /// [`RegistryError`]; [`RegistryError::Exists`] for other content under the same name.
    pub fn add(
        &self,
        card: &ModelCard,
        parts: Option<&DenseParts>,
        description: &Description,
        key: &StorageKey,
        now_ms: u64,
    ) -> Result<ModelVersion, RegistryError> {
        let name = card.name();
        let path = self.path(name)?;
        description.check()?;
        if path.exists() {
            let there = self.open(name)?;
            return if there.same(card, parts, description, key) {
                Ok(there)
            } else {
                Err(RegistryError::Exists { name: name.to_owned() })
            };
        }
        let new = self.0.join("models").join(ADDING);
        remove_directory(&new)?;
        create_directory(&new)?;
        write_file(&new.join("card"), card.encode().as_bytes())?;
        let mut sealed = None;
        if let Some(parts) = parts {
            parts.store(&new.join("parts"), key)?;
            sealed = Some((record::file_digest(&new.join("parts"))?, PartsSummary::of(parts)));
        }
        let record = VersionRecord::new(card, sealed, description, now_ms);
        write_file(&new.join("record.json"), &record.to_json())?;
        put_in_place(&new, &path)?;
        self.open(name)
    }

    /// Approves a version in a second person's name. The caller holds the group's folder, and logs the change
    /// afterwards.
    ///
    /// # Errors
    /// [`RegistryError::SamePerson`], [`RegistryError::Changed`], [`RegistryError::Approved`] and others.
    pub fn approve(&self, name: &str, by: &str, now_ms: u64) -> Result<ModelVersion, RegistryError> {
        let mut version = self.open(name)?;
        let by = person(by)?;
        if record::same_person(&by, &version.record.added_by) {
            return Err(RegistryError::SamePerson { name: name.to_owned(), by });
        }
        match &version.record.approval {
            Some(approval) if approval.by == by => return Ok(version),
            Some(approval) => {
                let by = approval.by.clone();
                return Err(RegistryError::Approved { name: name.to_owned(), by });
            }
            None => {}
        }
        let hash = version.record.hash.clone();
        version.record.approval = Some(Approval { by, at_ms: now_ms, hash });
        version.write()?;
        Ok(version)
    }

    /// All versions that hold, by the time they were added; each is checked, and a warning names one that does not
    /// hold, which does not hide the others.
    ///
    /// # Errors
    /// [`RegistryError::File`].
    pub fn list(&self) -> Result<Vec<ModelVersion>, RegistryError> {
        let mut versions: Vec<_> = self.names()?.iter().filter_map(|name| self.sound(name)).collect();
        versions.sort_by(|a, b| (a.record.added_at_ms, a.name()).cmp(&(b.record.added_at_ms, b.name())));
        Ok(versions)
    }

    /// The names of all versions, ascending, whether they hold or not.
    ///
    /// # Errors
    /// [`RegistryError::File`].
    pub fn names(&self) -> Result<Vec<String>, RegistryError> {
        let models = self.0.join("models");
        if !models.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&models).map_err(at(&models))? {
            let name = entry.map_err(at(&models))?.file_name();
            names.extend(name.to_str().filter(|name| is_model_name(name)).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a version and checks it against its hash.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`], [`RegistryError::Changed`] and others.
    pub fn open(&self, name: &str) -> Result<ModelVersion, RegistryError> {
        let path = self.path(name)?;
        let record_path = path.join("record.json");
        if !record_path.exists() {
            return Err(RegistryError::Unknown { name: name.to_owned() });
        }
        let record = VersionRecord::from_json(&read_private(&record_path, MAX_RECORD_BYTES)?)
            .map_err(|message| RegistryError::Damaged { path: record_path, message })?;
        let changed = |what| RegistryError::Changed { name: name.to_owned(), what };
        let card = match read_record(&path.join("card"), MAX_CARD_BYTES) {
            Ok(card) => card.ok_or_else(|| changed("card"))?,
            Err(FolderError::Damaged { .. }) => return Err(changed("card")),
            Err(error) => return Err(error.into()),
        };
        let version = ModelVersion { path, card, record };
        version.check(name)?;
        Ok(version)
    }

    /// A version, where it holds, for what goes on without it.
    fn sound(&self, name: &str) -> Option<ModelVersion> {
        let warn = |error: &RegistryError| {
            let (code, group) = (error.code(), self.0.group());
            tracing::warn!(code, %group, model = name, %error, "a version of the model is left out");
        };
        self.open(name).inspect_err(warn).ok()
    }

    /// A version that may be published or activated.
    ///
    /// # Errors
    /// [`RegistryError::NotApproved`], [`RegistryError::Changed`] and others.
    pub fn approved(&self, name: &str) -> Result<ModelVersion, RegistryError> {
        let version = self.open(name)?;
        if version.record.approval.is_none() {
            let added_by = version.record.added_by.clone();
            return Err(RegistryError::NotApproved { name: name.to_owned(), added_by });
        }
        Ok(version)
    }

    /// How far a version's parts are from those of the version that was in use before it: of `active`, where that is
    /// another one, else of the last one that was added before it, approved ones first; one that does not hold is
    /// passed over with a warning. `None` where there is none.
    ///
    /// # Errors
    /// [`RegistryError`], of the version itself.
    pub fn drift(&self, name: &str, active: Option<&str>) -> Result<Option<Drift>, RegistryError> {
        let version = self.open(name)?;
        let Some(summary) = version.record.parts.as_ref().map(|parts| &parts.summary) else {
            return Ok(None);
        };
        let before = |other: &ModelVersion| {
            let at = |version: &ModelVersion| (version.record.added_at_ms, version.name().to_owned());
            other.record.parts.is_some() && at(other) < at(&version)
        };
        let earlier: Vec<_> = self.list()?.into_iter().filter(before).collect();
        let named = active.filter(|active| *active != name).and_then(|active| self.sound(active));
        let approved = earlier.iter().rev().find(|version| version.record.approval.is_some());
        let baseline = named.as_ref().or(approved).or(earlier.last());
        Ok(baseline.and_then(|baseline| {
            let parts = baseline.record.parts.as_ref()?;
            Some(Drift::between(baseline.name(), &parts.summary, summary))
        }))
    }

    fn path(&self, name: &str) -> Result<PathBuf, RegistryError> {
        if is_model_name(name) { Ok(self.0.join("models").join(name)) } else { Err(RegistryError::Name) }
    }
}

impl ModelVersion {
    /// Its name.
    pub fn name(&self) -> &str {
        self.card.name()
    }

    /// What everybody knows of it.
    pub const fn card(&self) -> &ModelCard {
        &self.card
    }

    /// What is recorded of it.
    pub const fn record(&self) -> &VersionRecord {
        &self.record
    }

    /// Digest of the card, as the terms of an epoch and the log name it.
    pub fn digest(&self) -> Hash {
        self.card.digest()
    }

    /// Its parts, unsealed.
    ///
    /// # Errors
    /// [`RegistryError::NoParts`], [`RegistryError::Parts`], [`RegistryError::Universe`].
    pub fn parts(&self, key: &StorageKey, universe: &Universe) -> Result<DenseParts, RegistryError> {
        if self.record.parts.is_none() {
            return Err(RegistryError::NoParts { name: self.name().to_owned() });
        }
        let parts = DenseParts::open(&self.path.join("parts"), key, universe.rows())?;
        if parts.universe() == universe.digest() {
            Ok(parts)
        } else {
            Err(RegistryError::Universe { name: self.name().to_owned() })
        }
    }

    /// Notes in which epoch it became active for the first time.
    pub(super) fn note_activation(&mut self, epoch: u64, by: &str, at_ms: u64) -> Result<(), RegistryError> {
        if self.record.activations.iter().any(|activation| activation.epoch == epoch) {
            return Ok(());
        }
        self.record.activations.push(Activation { epoch, by: by.to_owned(), at_ms });
        self.write()
    }

    fn write(&self) -> Result<(), RegistryError> {
        Ok(write_private(&self.path.join("record.json"), &self.record.to_json())?)
    }

    fn check(&self, name: &str) -> Result<(), RegistryError> {
        let changed = |what| RegistryError::Changed { name: name.to_owned(), what };
        let record = &self.record;
        if self.name() != name || record.name != name || record.card != hex::encode(self.digest()) {
            return Err(changed("card"));
        }
        let path = self.path.join("parts");
        let found = path.exists().then(|| record::file_digest(&path)).transpose()?;
        if found.as_ref() != record.parts.as_ref().map(|parts| &parts.digest) {
            return Err(changed("parts"));
        }
        let approved_other = record.approval.as_ref().is_some_and(|approval| approval.hash != record.hash);
        let by_adder = |approval: &Approval| record::same_person(&approval.by, &record.added_by);
        if record.hash != record.compute_hash()
            || approved_other
            || record.approval.as_ref().is_some_and(by_adder)
        {
            return Err(changed("record"));
        }
        Ok(())
    }

    fn same(
        &self,
        card: &ModelCard,
        parts: Option<&DenseParts>,
        description: &Description,
        key: &StorageKey,
    ) -> bool {
        let same_parts = match (parts, &self.record.parts) {
            (None, None) => true,
            (Some(parts), Some(_)) => {
                let stored = DenseParts::open(&self.path.join("parts"), key, parts.rows());
                stored.is_ok_and(|stored| stored == *parts)
            }
            _ => false,
        };
        same_parts && *card == self.card && self.record.describes(description)
    }
}

#[cfg(test)]
mod tests;
