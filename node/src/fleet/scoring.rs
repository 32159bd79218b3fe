//! The joint score of a fleet, done as its operators would: a group file that everybody pins, setup over mutual TLS,
//! a model that two people let through at every party, tables, and activation.
//!
//! ```text
//! <dir>/score/universe.pem   the signed list of number segments
//! <dir>/score/model.toml     the model's card
//! <dir>/score/group.toml     the group file, the same for all
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use windvane_keys::files::write_public;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::table::parts::Coverage;

use super::party::{Party, load};
use super::{BANK, FleetError};
use crate::admin::{Admin, ModelFiles, ScorePublication};
use crate::clock::SystemClock;
use crate::error::NodeError;
use crate::score::plan::GroupPlan;
use crate::score::registry::Description;
use crate::score::universe::read_segments;

/// The group's name; grants name it among their data sets.
pub const GROUP: &str = "joint-risk";

/// The column of segments in their file.
const SEGMENT: &str = "segment";

/// Who adds a model, and who approves it: two people.
const MODELLER: &str = "modeller";
const APPROVER: &str = "risk-officer";

/// Every part has another party's beside it.
const ALL: u16 = 1_000;

/// A joint score that a fleet is to give.
#[derive(Debug, Clone)]
pub struct Scoring {
    /// The number segments, CSV with the column `segment`, ascending.
    pub segments: PathBuf,
    /// The model's card.
    pub model: PathBuf,
    /// The providers: a carrier of the fleet, or one that takes part in scores alone.
    pub members: Vec<Contributor>,
    /// Threads that build a table; all cores when not given.
    pub threads: Option<usize>,
}

/// A provider of a joint score.
#[derive(Debug, Clone)]
pub struct Contributor {
    /// Its party id.
    pub party: String,
    /// Numbers and parts.
    pub parts: PathBuf,
    /// The part of all other numbers.
    pub default: u8,
}

/// A joint score that is active.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The group.
    pub group: DataSet,
    /// The epoch.
    pub epoch: u64,
    /// The model's name.
    pub model: String,
    /// What each provider published.
    pub tables: Vec<Published>,
}

/// A table that a provider published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its rows, one for every number of the universe.
    pub rows: u64,
    /// From the sealed parts to the table in its place.
    pub took: Duration,
}

impl Scoring {
    /// A score in which every part has another party's beside it, from parts by party id, file and default.
    pub fn overlapped(segments: PathBuf, model: PathBuf, parts: Vec<(String, PathBuf, u8)>) -> Self {
        let member = |(party, parts, default)| Contributor { party, parts, default };
        Self { segments, model, members: parts.into_iter().map(member).collect(), threads: None }
    }
}

/// The group, before any node runs.
#[derive(Debug)]
pub(super) struct Group<'a> {
    scoring: &'a Scoring,
    plan: GroupPlan,
}

impl<'a> Group<'a> {
    /// Writes the group file and what it names, and lets every provider join.
    pub(super) fn found(
        dir: &Path,
        scoring: &'a Scoring,
        bank: &Party,
        providers: &[Party],
    ) -> Result<Self, FleetError> {
        let dir = dir.join("score");
        std::fs::create_dir_all(&dir).map_err(FleetError::io(dir.display().to_string()))?;
        let write = || {
            let universe = bank.admin().score_universe(read_segments(&scoring.segments, SEGMENT)?, 1)?;
            let card =
                std::fs::read(&scoring.model).map_err(NodeError::io(scoring.model.display().to_string()))?;
            let members = providers.iter().filter(|provider| scoring.member(provider.name()).is_some());
            write_public(&dir.join("universe.pem"), universe.as_bytes())?;
            write_public(&dir.join("model.toml"), &card)?;
            let path = dir.join("group.toml");
            write_public(&path, group_file(bank, members).as_bytes())?;
            Ok::<_, NodeError>(GroupPlan::load(&path)?)
        };
        let plan = write().map_err(FleetError::party(BANK))?;
        for provider in providers.iter().filter(|provider| scoring.member(provider.name()).is_some()) {
            provider.admin().score_join(&plan).map_err(FleetError::party(provider.name()))?;
        }
        Ok(Self { scoring, plan })
    }

    /// Sets up an epoch, publishes, fetches and activates. The providers run, in the folders that `dir_of` gives; the
    /// bank's node does not yet.
    pub(super) async fn activate(
        self,
        bank: &Party,
        dir_of: impl Fn(&str) -> PathBuf,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<Scored, FleetError> {
        note("setting up the scoring group");
        let report = bank.admin().score_setup(&self.plan, None, &()).await;
        let epoch = report.map_err(FleetError::party(BANK))?.epoch;
        let mut tables = Vec::with_capacity(self.scoring.members.len());
        for member in &self.scoring.members {
            note(&format!("{}: publishing its table of {} numbers", member.party, self.plan.universe.rows()));
            let dir = dir_of(&member.party);
            let published = tokio::task::block_in_place(|| self.publish(&dir, member, epoch));
            tables.push(published.map_err(FleetError::party(&member.party))?);
        }
        note("fetching and adding the tables");
        let fetch = bank.admin().score_fetch(&self.plan.group, Some(epoch), &()).await;
        fetch.map_err(FleetError::party(BANK))?;
        tokio::task::block_in_place(|| self.choose(bank.admin(), epoch)).map_err(FleetError::party(BANK))?;
        let model = self.plan.model.name().to_owned();
        Ok(Scored { group: self.plan.group, epoch, model, tables })
    }

    /// A provider's model, approved, and its table.
    fn publish(&self, dir: &Path, member: &Contributor, epoch: u64) -> Result<Published, NodeError> {
        let (admin, group) = (beside(dir)?, &self.plan.group);
        let parts = Some((member.parts.as_path(), member.default));
        self.let_through(&admin, ModelFiles { card: &self.scoring.model, parts, training_receipt: None })?;
        let publication = ScorePublication {
            group: group.clone(),
            epoch: Some(epoch),
            coverage: Coverage::Overlapped,
            overlap_permille: ALL,
        };
        let threads = rayon::ThreadPoolBuilder::new().num_threads(self.scoring.threads.unwrap_or_default());
        let threads = threads
            .build()
            .map_err(|error| NodeError::io("starting threads")(std::io::Error::other(error)))?;
        let begun = Instant::now();
        let manifest = threads.install(|| {
            let parts = |plan: &_| admin.approved_parts(plan, self.plan.model.name());
            admin.score_publish(&publication, parts, &())
        })?;
        Ok(Published { rows: manifest.body().rows(), took: begun.elapsed() })
    }

    /// The bank has no parts of its own.
    fn choose(&self, bank: &Admin, epoch: u64) -> Result<(), NodeError> {
        let card = &self.scoring.model;
        self.let_through(bank, ModelFiles { card, parts: None, training_receipt: None })?;
        bank.activate_score(&self.plan.group, epoch, self.plan.model.name(), APPROVER)?;
        Ok(())
    }

    fn let_through(&self, admin: &Admin, files: ModelFiles<'_>) -> Result<(), NodeError> {
        let description = Description { by: MODELLER.to_owned(), ..Description::default() };
        admin.add_model(&self.plan.group, &files, &description, &())?;
        admin.approve_model(&self.plan.group, self.plan.model.name(), APPROVER)?;
        Ok(())
    }
}

impl Scoring {
    fn member(&self, party: &str) -> Option<&Contributor> {
        self.members.iter().find(|member| member.party == party)
    }

    /// Providers that are no carriers: they take part in scores alone.
    pub(super) fn others<'a>(
        &'a self,
        carriers: &'a [(String, PathBuf)],
    ) -> impl Iterator<Item = &'a str> + 'a {
        let members = self.members.iter().map(|member| member.party.as_str());
        members.filter(|party| carriers.iter().all(|(carrier, _)| carrier != party))
    }

    pub(super) fn has(&self, party: &str) -> bool {
        self.member(party).is_some()
    }
}

impl Scored {
    /// Lets the bank in `dir`, whose node runs, use the score, or its rules alone. The node follows within a fraction
    /// of a second.
    ///
    /// # Errors
    /// [`FleetError`].
    pub(super) fn switch(&self, dir: &Path, on: bool) -> Result<(), FleetError> {
        let switch = || {
            let admin = beside(dir)?;
            if on {
                admin.activate_score(&self.group, self.epoch, &self.model, APPROVER)
            } else {
                admin.score_by_rules_only(&self.group, APPROVER)
            }
        };
        switch().map(drop).map_err(FleetError::party(BANK))
    }
}

/// An operator's commands beside a node that runs.
fn beside(dir: &Path) -> Result<Admin, NodeError> {
    Admin::open(&load(dir)?, Arc::new(SystemClock))
}

fn group_file<'a>(bank: &Party, providers: impl Iterator<Item = &'a Party>) -> String {
    let mut text = format!("group = \"{GROUP}\"\nuniverse = \"universe.pem\"\nmodel = \"model.toml\"\n");
    let pin = |party: &Party| {
        let identity = party.admin().score_identity();
        format!("party = \"{}\"\nfingerprint = \"{}\"\n", identity.party, identity.fingerprint())
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "\n[bank]\n{}", pin(bank));
    for provider in providers {
        let _ = write!(text, "\n[[provider]]\n{}", pin(provider));
    }
    text
}
