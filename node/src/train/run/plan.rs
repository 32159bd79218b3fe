//! What a bank's operator orders: a training's plan, kept in the training's folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windvane_keys::files::{FileError, parent_of, read_public};
use windvane_protocols::limits::{MAX_HELD_OUT, MAX_PURPOSE_BYTES, MAX_SCORE_BANDS};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, Pins};
use windvane_protocols::train::parameters::{Hyperparameters, Numbers, ParametersError};

use crate::score::card::{NAME_RULE, is_model_name};
use crate::toml_text;

/// The shipped sample, which a test parses.
pub const SAMPLE: &str = include_str!("../../../samples/train.toml");

/// A plan is a page of text.
const MAX_PLAN_BYTES: usize = 64 << 10;

/// Why a plan is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not TOML, or a field is missing or unknown.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A field breaks a rule.
    #[error("field {field} of the training's plan: {rule}")]
    Field {
        /// The field.
        field: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The numbers of the model.
    #[error("section [model] of the training's plan: {0}")]
    Model(#[from] ParametersError),
}

impl PlanError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Syntax { .. } => "TRAIN_PLAN_SYNTAX",
            Self::Field { .. } | Self::Model(_) => "TRAIN_PLAN",
        }
    }

    fn field(field: impl Into<String>, rule: impl std::fmt::Display) -> Self {
        Self::Field { field: field.into(), rule: rule.to_string() }
    }
}

/// What a training is to do. As a file: TOML with these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainPlan {
    /// What the model is to be called.
    pub name: String,
    /// Into which scoring group's registry it goes.
    pub group: String,
    /// Who trains; stands in the registry, and cannot approve the model.
    pub by: String,
    /// For which purpose of the grants.
    pub purpose: String,
    /// The configuration of the bank's node; the command line may name another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<PathBuf>,
    /// The signed list of number segments, published by the bank itself or by one of the providers below.
    pub universe: PathBuf,
    /// Numbers and labels: CSV with a header, or Parquet.
    pub sample: PathBuf,
    /// The column of numbers, in both files.
    #[serde(default = "defaults::number")]
    pub number: String,
    /// The column of labels, 0 or 1.
    #[serde(default = "defaults::label")]
    pub label: String,
    /// The bank's own features by number; without it they are the sample's other columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// Which of its columns; all others when none is named.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Decoys for every row of the sample.
    #[serde(default = "defaults::decoy_factor")]
    pub decoy_factor: u64,
    /// Listed rows whose sum a provider shows, at least.
    #[serde(default = "defaults::minimum_count")]
    pub minimum_count: u32,
    /// Hundredths of the sample that are held out, to calibrate and judge the model by.
    #[serde(default = "defaults::held_out")]
    pub held_out: u64,
    /// Processors that the bank's own work takes.
    #[serde(default = "defaults::threads")]
    pub threads: usize,
    /// A provider that is silent for so long is given up.
    #[serde(default = "defaults::idle_s")]
    pub idle_s: u64,
    /// What is trained.
    pub model: ModelPlan,
    /// The bands of scores, ascending; each with the share of rows that are to be in it.
    #[serde(default = "defaults::bands", rename = "band")]
    pub bands: Vec<BandPlan>,
    /// With whom; carriers of one schema in one unit.
    #[serde(rename = "unit")]
    pub units: Vec<UnitPlan>,
}

/// Which family of models, and what differs from its usual numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPlan {
    /// `scorecard`, with points by feature and bin, or `boosted`, with trees of depth 3.
    pub kind: ModelKind,
    /// Blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u16>,
    /// Trees that each unit grows in a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trees: Option<u16>,
    /// Depth of the trees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u8>,
    /// The learning rate, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_micros: Option<u32>,
    /// What is added to counts that divide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda: Option<u32>,
    /// Real rows on either side of a split, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_rows: Option<u32>,
}

/// A family of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Trees of one split.
    Scorecard,
    /// Trees of three levels.
    Boosted,
}

/// A band and the share of rows that are to be in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandPlan {
    /// Its name.
    pub name: String,
    /// Hundredths of the rows; the last band has what is left.
    pub share: u32,
}

/// Providers that grow trees as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitPlan {
    /// One provider, or several carriers of one schema.
    pub members: Vec<MemberPlan>,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberPlan {
    /// Its name; the configuration has its address.
    pub party: String,
    /// Which of its tables.
    pub data_set: String,
    /// The pinned fingerprint of its identity key, as `windvane score identity` prints it there.
    pub identity: String,
}

mod defaults {
    use super::BandPlan;

    pub(super) fn number() -> String {
        "number".to_owned()
    }

    pub(super) fn label() -> String {
        "label".to_owned()
    }

    pub(super) const fn decoy_factor() -> u64 {
        2
    }

    pub(super) const fn minimum_count() -> u32 {
        50
    }

    pub(super) const fn held_out() -> u64 {
        20
    }

    pub(super) const fn threads() -> usize {
        2
    }

    pub(super) const fn idle_s() -> u64 {
        120
    }

    pub(super) fn bands() -> Vec<BandPlan> {
        let band = |(name, share): (&str, u32)| BandPlan { name: name.to_owned(), share };
        [("low", 50), ("guarded", 30), ("elevated", 15), ("high", 5)].map(band).to_vec()
    }
}

/// A plan whose words were understood.
#[derive(Debug, Clone)]
pub(in crate::train) struct Checked {
    pub(in crate::train) plan: TrainPlan,
    pub(super) group: DataSet,
    pub(in crate::train) hyperparameters: Hyperparameters,
    /// By unit, ascending by name within.
    pub(super) units: Vec<Vec<Member>>,
}

/// A provider whose name and pin were understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) party: PartyId,
    pub(super) data_set: DataSet,
    pub(super) pinned: Fingerprint,
}

impl ModelKind {
    /// The name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scorecard => "scorecard",
            Self::Boosted => "boosted",
        }
    }

    /// The family's usual numbers.
    pub const fn numbers(self, minimum_count: u32) -> Numbers {
        let (trees, depth, rate_micros) = match self {
            Self::Scorecard => (20, 1, 150_000),
            Self::Boosted => (5, 3, 100_000),
        };
        Numbers { blocks: 10, trees, depth, rate_micros, lambda: 0, minimum_rows: 20, minimum_count }
    }
}

impl ModelPlan {
    /// A family's usual model.
    pub const fn usual(kind: ModelKind) -> Self {
        Self {
            kind,
            blocks: None,
            trees: None,
            depth: None,
            rate_micros: None,
            lambda: None,
            minimum_rows: None,
        }
    }

    fn hyperparameters(&self, minimum_count: u32) -> Result<Hyperparameters, ParametersError> {
        let usual = self.kind.numbers(minimum_count);
        Hyperparameters::new(Numbers {
            blocks: self.blocks.unwrap_or(usual.blocks),
            trees: self.trees.unwrap_or(usual.trees),
            depth: self.depth.unwrap_or(usual.depth),
            rate_micros: self.rate_micros.unwrap_or(usual.rate_micros),
            lambda: self.lambda.unwrap_or(usual.lambda),
            minimum_rows: self.minimum_rows.unwrap_or(usual.minimum_rows),
            minimum_count,
        })
    }
}

impl TrainPlan {
    /// Reads a plan from TOML; relative paths in it are those from its folder, and become absolute, so that it means the
    /// same from wherever it is named.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        let bytes = read_public(path, MAX_PLAN_BYTES)?;
        let mut plan: Self = toml_text::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|message| PlanError::Syntax { path: path.to_owned(), message })?;
        let folder = parent_of(path);
        let base = folder.canonicalize();
        let base = base.map_err(|source| FileError::Io { path: folder.to_owned(), source })?;
        plan.node = plan.node.map(|node| base.join(node));
        plan.universe = base.join(&plan.universe);
        plan.sample = base.join(&plan.sample);
        plan.features = plan.features.map(|features| base.join(features));
        Ok(plan)
    }

    /// Whether both order the same training: where the node is configured and how the bank works does not count.
    pub(super) fn orders_as(&self, other: &Self) -> bool {
        let order = |plan: &Self| Self { node: None, threads: 0, idle_s: 0, ..plan.clone() };
        order(self) == order(other)
    }

    /// The same order, worked on as `other` says.
    pub(super) fn working_as(self, other: &Self) -> Self {
        Self { node: other.node.clone(), threads: other.threads, idle_s: other.idle_s, ..self }
    }

    /// Where the bank's own features are.
    pub fn features_path(&self) -> &Path {
        self.features.as_deref().unwrap_or(&self.sample)
    }

    /// Understands the plan's words.
    pub(in crate::train) fn check(&self) -> Result<Checked, PlanError> {
        if !is_model_name(&self.name) {
            return Err(PlanError::field("name", NAME_RULE));
        }
        crate::score::registry::check_person(&self.by).map_err(|rule| PlanError::field("by", rule))?;
        if !(1..=MAX_PURPOSE_BYTES).contains(&self.purpose.len()) {
            return Err(PlanError::field("purpose", format!("has 1 to {MAX_PURPOSE_BYTES} bytes")));
        }
        if self.held_out > MAX_HELD_OUT {
            return Err(PlanError::field("held_out", format!("is 0 to {MAX_HELD_OUT} hundredths")));
        }
        if self.decoy_factor == 0 {
            return Err(PlanError::field("decoy_factor", "is at least 1"));
        }
        self.check_bands()?;
        Ok(Checked {
            group: self.group.parse().map_err(|rule| PlanError::field("group", rule))?,
            hyperparameters: self.model.hyperparameters(self.minimum_count)?,
            units: self.members()?,
            plan: self.clone(),
        })
    }

    fn check_bands(&self) -> Result<(), PlanError> {
        let names: std::collections::BTreeSet<_> = self.bands.iter().map(|band| &band.name).collect();
        let unnamed = self.bands.iter().any(|band| !(1..=MAX_PURPOSE_BYTES).contains(&band.name.len()));
        if !(1..=MAX_SCORE_BANDS).contains(&self.bands.len()) || names.len() != self.bands.len() || unnamed {
            return Err(PlanError::field(
                "band",
                format!("1 to {MAX_SCORE_BANDS} bands, each with a name of its own"),
            ));
        }
        match self.bands.iter().map(|band| u64::from(band.share)).sum() {
            100 => Ok(()),
            found => Err(PlanError::field("band", format!("shares are 100 in all, found {found}"))),
        }
    }

    fn members(&self) -> Result<Vec<Vec<Member>>, PlanError> {
        let mut units = Vec::with_capacity(self.units.len());
        for (u, unit) in self.units.iter().enumerate() {
            let member = |(m, member): (usize, &MemberPlan)| {
                let field = |name| format!("unit[{u}].members[{m}].{name}");
                Ok(Member {
                    party: member.party.parse().map_err(|rule| PlanError::field(field("party"), rule))?,
                    data_set: member
                        .data_set
                        .parse()
                        .map_err(|rule| PlanError::field(field("data_set"), rule))?,
                    pinned: member
                        .identity
                        .parse()
                        .map_err(|_| PlanError::field(field("identity"), "is a fingerprint"))?,
                })
            };
            let members = unit.members.iter().enumerate().map(member);
            let mut members: Vec<_> = members.collect::<Result<_, PlanError>>()?;
            members.sort_unstable_by(|a, b| a.party.cmp(&b.party));
            units.push(members);
        }
        Ok(units)
    }
}

impl Checked {
    /// All providers, in the order of units and names.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.units.iter().flatten()
    }

    /// What keys are held against: those of the providers and the bank's own.
    pub(in crate::train) fn pins(&self, own: (PartyId, Fingerprint)) -> Pins {
        self.members().map(|member| (member.party.clone(), member.pinned)).chain([own]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TrainPlan {
        toml::from_str(SAMPLE).unwrap()
    }

    #[test]
    fn the_shipped_plan_holds_and_its_paths_are_beside_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/train.toml");
        let plan = TrainPlan::load(&path).unwrap();
        assert_eq!(plan.sample, path.canonicalize().unwrap().with_file_name("sample.csv"));
        let checked = plan.check().unwrap();
        assert_eq!((checked.hyperparameters.depth, checked.hyperparameters.trees), (3, 5));
        assert_eq!(checked.members().count(), 3);
        assert_eq!((plan.decoy_factor, plan.minimum_count), (2, 50));
    }

    #[test]
    fn a_plan_is_the_same_by_whichever_path_it_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let plan = TrainPlan::load(&folder.join("train.toml")).unwrap();
        assert!(plan.universe.is_absolute());
        assert_eq!(TrainPlan::load(&folder.join("../samples/./train.toml")).unwrap(), plan);
        // Tests of a package run in its folder.
        assert_eq!(TrainPlan::load(Path::new("samples/train.toml")).unwrap(), plan);
    }

    #[test]
    fn words_that_are_not_understood_are_named_by_their_field() {
        let unit = |change: fn(&mut MemberPlan)| {
            let mut plan = sample();
            change(&mut plan.units[0].members[0]);
            plan
        };
        let band = |share| BandPlan { name: "all".into(), share };
        for (plan, field) in [
            (TrainPlan { name: "a b".into(), ..sample() }, "name"),
            (TrainPlan { by: String::new(), ..sample() }, "by"),
            (TrainPlan { purpose: String::new(), ..sample() }, "purpose"),
            (TrainPlan { held_out: 51, ..sample() }, "held_out"),
            (TrainPlan { decoy_factor: 0, ..sample() }, "decoy_factor"),
            (TrainPlan { bands: vec![band(99)], ..sample() }, "band"),
            (TrainPlan { bands: vec![band(50), band(50)], ..sample() }, "band"),
            (TrainPlan { minimum_count: 0, ..sample() }, "minimum_count"),
            (unit(|member| member.party = "A".into()), "unit[0].members[0].party"),
            (unit(|member| member.identity = "x".into()), "unit[0].members[0].identity"),
        ] {
            let error = plan.check().unwrap_err();
            assert_eq!(error.code(), "TRAIN_PLAN");
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}
