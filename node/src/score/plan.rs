//! What a party joins: the group's members and their pinned keys, the threshold, the universe, the model.
//!
//! Every party has its own copy of the group file and its own pins, made out of band. What the bank proposes is held
//! against it, and nothing of it is taken from the network.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use windvane_keys::files::{FileError, read_public, write_private};
use windvane_protocols::identity::IDENTITY_VERSION;
use windvane_protocols::limits::MAX_SCORE_PROVIDERS;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, GroupTerms, Identity, Pins, Sharing};
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::score::universe::Universe;
use windvane_protocols::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

use super::card::CardFileError;
use super::folder::{FolderError, GroupFolder, read_record};
use super::universe::SignedUniverse;
use crate::document::{DocumentError, Published as _};
use crate::toml_text;

/// The shipped sample, which a test parses.
pub const SAMPLE: &str = include_str!("../../samples/score-group.toml");

/// A group file is a page of text.
const MAX_FILE_BYTES: usize = 64 << 10;

/// A kept plan: members and a model's card with a thousand knots, 256 KB, and the universe.
const MAX_PLAN_BYTES: usize = (256 << 10) + Universe::MAX_BYTES;

pub(super) const PLAN: &str = "plan";

/// Names in `score/` that are no group's.
const RESERVED: [&str; 1] = ["ledger"];

/// A party and the key that is pinned for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The party.
    pub party: PartyId,
    /// Fingerprint of its receipt key.
    pub fingerprint: Fingerprint,
}

/// What a party joined, or set up. Share it: the universe of a whole country has 2 MB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group.
    pub group: DataSet,
    /// The bank.
    pub requester: Pinned,
    /// The providers, ascending by name.
    pub providers: Vec<Pinned>,
    /// How many answer a call.
    pub sharing: Sharing,
    /// The numbers that tables have rows for; its signature holds under its publisher's pinned key.
    pub universe: Universe,
    /// The model's public card.
    pub model: ModelCard,
    document: SignedUniverse,
}

/// Why a plan is refused, or does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Not TOML, a field is missing, or one is unknown.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A field breaks a rule.
    #[error("{field}: {rule}")]
    Field {
        /// The field.
        field: &'static str,
        /// The rule, and the way out.
        rule: String,
    },
    /// The list of segments.
    #[error(transparent)]
    Universe(#[from] DocumentError),
    /// The model's card.
    #[error(transparent)]
    Card(#[from] CardFileError),
}

impl PlanError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Folder(error) => error.code(),
            Self::Syntax { .. } | Self::Field { .. } => "SCORE_GROUP_INVALID",
            Self::Universe(error) => error.code(),
            Self::Card(error) => error.code(),
        }
    }
}

/// The group file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupFile {
    group: String,
    universe: PathBuf,
    model: PathBuf,
    threshold: Option<usize>,
    #[serde(default)]
    single_provider: bool,
    bank: Member,
    #[serde(rename = "provider")]
    providers: Vec<Member>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    party: String,
    fingerprint: String,
}

/// Members and threshold, checked.
struct Members {
    group: DataSet,
    requester: Pinned,
    providers: Vec<Pinned>,
    sharing: Sharing,
}

fn refuse<T>(field: &'static str, rule: &dyn Display) -> Result<T, PlanError> {
    Err(PlanError::Field { field, rule: rule.to_string() })
}

impl GroupFile {
    fn parse(path: &Path, text: &str) -> Result<Self, PlanError> {
        toml_text::parse(text).map_err(|message| PlanError::Syntax { path: path.to_owned(), message })
    }

    fn members(&self) -> Result<Members, PlanError> {
        let group = match self.group.parse::<DataSet>() {
            Ok(_) if RESERVED.contains(&self.group.as_str()) => {
                return refuse("group", &format!("{} is no group's name", self.group));
            }
            Ok(group) => group,
            Err(error) => return refuse("group", &error),
        };
        let requester = self.bank.pinned("bank")?;
        let pin = |member: &Member| member.pinned("provider");
        let mut providers = self.providers.iter().map(pin).collect::<Result<Vec<_>, _>>()?;
        providers.sort_by(|a, b| a.party.cmp(&b.party));
        check_members(&requester, &providers)?;
        Ok(Members { sharing: self.sharing(providers.len())?, group, requester, providers })
    }

    fn sharing(&self, providers: usize) -> Result<Sharing, PlanError> {
        match (self.single_provider, self.threshold) {
            (true, None) if providers == 1 => Ok(Sharing::SingleProvider),
            (true, _) => refuse("single_provider", &"is for a group of one provider, which has no threshold"),
            (false, _) if providers == 1 => {
                refuse("single_provider", &"a group of one provider must say so: its part is the sum")
            }
            (false, threshold) => {
                let threshold = threshold.unwrap_or(providers);
                if (2..=providers).contains(&threshold) {
                    Ok(Sharing::Threshold(threshold))
                } else {
                    refuse("threshold", &format!("is 2 to the number of providers, {providers}"))
                }
            }
        }
    }
}

impl Member {
    fn pinned(&self, field: &'static str) -> Result<Pinned, PlanError> {
        let party = self.party.parse::<PartyId>().or_else(|error| refuse(field, &error))?;
        let fingerprint = self.fingerprint.parse::<Fingerprint>();
        Ok(Pinned { party, fingerprint: fingerprint.or_else(|error| refuse(field, &error))? })
    }
}

fn check_members(requester: &Pinned, providers: &[Pinned]) -> Result<(), PlanError> {
    if !(1..=MAX_SCORE_PROVIDERS).contains(&providers.len()) {
        return refuse("provider", &format!("a group has 1 to {MAX_SCORE_PROVIDERS} providers"));
    }
    let members: Vec<_> = std::iter::once(requester).chain(providers).collect();
    for (i, member) in members.iter().enumerate() {
        for earlier in &members[..i] {
            if earlier.party == member.party {
                return refuse("provider", &format!("{} is named twice", member.party));
            }
            if earlier.fingerprint == member.fingerprint {
                return refuse(
                    "provider",
                    &format!("{} has the fingerprint of {}", member.party, earlier.party),
                );
            }
        }
    }
    Ok(())
}

impl GroupPlan {
    /// Reads a group file and what it names; relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        let text = read_public(path, MAX_FILE_BYTES)?;
        let file = GroupFile::parse(path, &String::from_utf8_lossy(&text))?;
        let members = file.members()?;
        let base = path.parent().unwrap_or(Path::new("."));
        let model = super::card::load(&base.join(&file.model))?;
        Self::new(members, SignedUniverse::load(&base.join(&file.universe))?, model)
    }

    fn new(members: Members, document: SignedUniverse, model: ModelCard) -> Result<Self, PlanError> {
        let Members { group, requester, providers, sharing } = members;
        let universe = document.check(&pins(&requester, &providers))?.body().clone();
        Ok(Self { group, requester, providers, sharing, universe, model, document })
    }

    /// A plan as its file would give it, of a group where everybody answers.
    #[cfg(test)]
    pub(crate) fn of(
        group: &DataSet,
        requester: Pinned,
        providers: Vec<Pinned>,
        document: SignedUniverse,
        model: ModelCard,
    ) -> Self {
        let sharing = Sharing::Threshold(providers.len());
        let members = Members { group: group.clone(), requester, providers, sharing };
        Self::new(members, document, model).expect("the world's universe is signed by its publisher")
    }

    /// Keeps the plan as the group's.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn store(&self, folder: &GroupFolder) -> Result<(), PlanError> {
        self.keep(folder.path())
    }

    /// Keeps the plan as that of one epoch, because the group's may change later.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn store_for(&self, folder: &GroupFolder, epoch: u64) -> Result<(), PlanError> {
        self.keep(folder.epoch(epoch).path())
    }

    fn keep(&self, dir: &Path) -> Result<(), PlanError> {
        crate::snapshot::disk::create_directory(dir)?;
        // One file: a kill between two would leave a plan and another plan's universe.
        let file = PlanFile { kept: self.kept(), document: self.document.to_pem().into_bytes() };
        Ok(write_private(&dir.join(PLAN), file.encode().as_bytes())?)
    }

    /// The group's plan.
    ///
    /// # Errors
    /// [`PlanError`]; `SCORE_GROUP_UNKNOWN` when there is none.
    pub fn open(folder: &GroupFolder) -> Result<Self, PlanError> {
        Self::read(folder.path()).and_then(|plan| {
            plan.ok_or_else(|| FolderError::NoGroup { group: folder.group().clone() }.into())
        })
    }

    /// The plan that an epoch was set up under.
    ///
    /// # Errors
    /// [`PlanError`]; `SCORE_EPOCH_UNKNOWN` when there is none, and `SCORE_GROUP_UNKNOWN` when there is no group.
    pub fn open_for(folder: &GroupFolder, epoch: u64) -> Result<Self, PlanError> {
        if let Some(plan) = Self::read(folder.epoch(epoch).path())? {
            return Ok(plan);
        }
        let group = folder.group().clone();
        Err(match Self::kept_digest(folder)? {
            Some(_) => FolderError::NoEpoch { group, epoch },
            None => FolderError::NoGroup { group },
        }
        .into())
    }

    /// Digest of the group's plan as it is kept; `None` when there is none. Costs less than opening it.
    pub(crate) fn kept_digest(folder: &GroupFolder) -> Result<Option<Hash>, PlanError> {
        let file: Option<PlanFile> = read_record(&folder.join(PLAN), MAX_PLAN_BYTES)?;
        Ok(file.map(|file| file.kept.encode().digest()))
    }

    fn read(dir: &Path) -> Result<Option<Self>, PlanError> {
        let path = dir.join(PLAN);
        let Some(file): Option<PlanFile> = read_record(&path, MAX_PLAN_BYTES)? else { return Ok(None) };
        let document = SignedUniverse::from_pem(&file.document)?;
        let Kept { members, universe, model } = file.kept;
        check_members(&members.requester, &members.providers)?;
        let plan = Self::new(members, document, model)?;
        if *plan.universe.digest() == universe {
            Ok(Some(plan))
        } else {
            let form =
                TranscriptError::Form { label: "universe", expected: "that of the document beside it" };
            Err(FolderError::Damaged { path, source: form }.into())
        }
    }

    fn kept(&self) -> Kept {
        let members = Members {
            group: self.group.clone(),
            requester: self.requester.clone(),
            providers: self.providers.clone(),
            sharing: self.sharing,
        };
        Kept { members, universe: *self.universe.digest(), model: self.model.clone() }
    }

    /// Digest of all that members must agree on: what people may compare before a setup.
    pub fn digest(&self) -> Hash {
        self.kept().encode().digest()
    }

    /// The bank and then the providers.
    pub fn members(&self) -> impl Iterator<Item = &Pinned> {
        std::iter::once(&self.requester).chain(&self.providers)
    }

    /// What a setup is checked against.
    pub fn pins(&self) -> Pins {
        pins(&self.requester, &self.providers)
    }

    /// A party's pinned fingerprint.
    pub fn pinned(&self, party: &PartyId) -> Option<&Fingerprint> {
        self.members().find(|member| member.party == *party).map(|member| &member.fingerprint)
    }

    /// The terms of an epoch, with the keys of the bank and of the providers in the plan's order.
    pub(super) fn terms(&self, requester: Identity, providers: Vec<Identity>, epoch: u64) -> GroupTerms {
        GroupTerms {
            group: self.group.clone(),
            requester,
            providers,
            sharing: self.sharing,
            universe: *self.universe.digest(),
            identity_version: IDENTITY_VERSION.to_owned(),
            model: self.model.digest(),
            epoch,
        }
    }

    /// Whether terms are those of this plan, whatever the epoch.
    ///
    /// # Errors
    /// What differs.
    pub fn matches(&self, terms: &GroupTerms) -> Result<(), &'static str> {
        let is = |pinned: &Pinned, found: &Identity| {
            pinned.party == found.party && pinned.fingerprint == found.fingerprint()
        };
        let providers = self.providers.len() == terms.providers.len()
            && self.providers.iter().zip(&terms.providers).all(|(pinned, found)| is(pinned, found));
        let field = match () {
            () if self.group != terms.group => "the name",
            () if !is(&self.requester, &terms.requester) => "the bank's name or key",
            () if !providers => "the name or key of a provider",
            () if self.sharing != terms.sharing => "the threshold",
            () if self.universe.digest() != &terms.universe => "the universe",
            () if terms.identity_version != IDENTITY_VERSION => "the version of the identity rules",
            () if self.model.digest() != terms.model => "the model",
            () => return Ok(()),
        };
        Err(field)
    }
}

fn pins(requester: &Pinned, providers: &[Pinned]) -> Pins {
    let members = std::iter::once(requester).chain(providers);
    members.map(|member| (member.party.clone(), member.fingerprint)).collect()
}

/// A plan on the disk: what members must agree on, and the universe's document as it came.
struct PlanFile {
    kept: Kept,
    /// PEM.
    document: Vec<u8>,
}

impl Record for PlanFile {
    const DOMAIN: &'static str = "windvane/score-plan-file/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("plan", self.kept.encode().as_bytes()).bytes("document", &self.document)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self { kept: Kept::decode(r.bytes("plan")?)?, document: r.bytes("document")?.to_vec() })
    }
}

/// What members must agree on.
struct Kept {
    members: Members,
    universe: Hash,
    model: ModelCard,
}

impl Record for Kept {
    const DOMAIN: &'static str = "windvane/score-plan/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let threshold = match self.members.sharing {
            Sharing::Threshold(threshold) => threshold as u64,
            Sharing::SingleProvider => 0,
        };
        let pinned = |member: &Pinned| format!("{} {}", member.party, member.fingerprint);
        t.text("group", self.members.group.as_str())
            .text("requester", &pinned(&self.members.requester))
            .list("provider", self.members.providers.iter().map(pinned))
            .u64("threshold", threshold)
            .bytes("universe", &self.universe)
            .bytes("model", self.model.encode().as_bytes())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let group = r.parse("group")?;
        let requester = read_pinned(r.bytes("requester")?)?;
        let providers = r.list("provider", MAX_SCORE_PROVIDERS)?.into_iter().map(read_pinned);
        let providers = providers.collect::<Result<_, _>>()?;
        let sharing = match r.number("threshold")? {
            0 => Sharing::SingleProvider,
            threshold => Sharing::Threshold(threshold),
        };
        let members = Members { group, requester, providers, sharing };
        Ok(Self { members, universe: r.array("universe")?, model: ModelCard::decode(r.bytes("model")?)? })
    }
}

fn read_pinned(item: &[u8]) -> Result<Pinned, TranscriptError> {
    let read = || {
        let (party, fingerprint) = std::str::from_utf8(item).ok()?.split_once(' ')?;
        Some(Pinned { party: party.parse().ok()?, fingerprint: fingerprint.parse().ok()? })
    };
    read().ok_or(TranscriptError::Form { label: "provider", expected: "a party and its fingerprint" })
}

#[cfg(test)]
mod tests;
