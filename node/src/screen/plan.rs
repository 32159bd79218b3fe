//! What a bank's operator orders: whom to screen, against which lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windvane_keys::files::{parent_of, read_public};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;

use super::{ScreenError, TagWords};
use crate::error::NodeError;
use crate::psi::JobPlan;
use crate::psi::key::KeyKind;
use crate::toml_text;

/// The shipped sample, which a test parses.
pub const SAMPLE: &str = include_str!("../../samples/screen.toml");

/// A plan is a page of text.
const MAX_PLAN_BYTES: usize = 64 << 10;

/// What a screening is to do, full or daily. As a file: TOML with these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenPlan {
    /// For which purpose of the grants.
    pub purpose: String,
    /// The bank's customers, CSV or Parquet: a row an account.
    pub customers: PathBuf,
    /// The column of the customer's own number, which is in the file once.
    pub customer_column: String,
    /// The column of the outlet that keeps the account.
    pub outlet_column: String,
    /// What the items are.
    #[serde(default = "phone")]
    pub key: KeyKind,
    /// The columns of the key, in the order of its fields.
    pub key_columns: Vec<String>,
    /// The folder for the lists; it is made when it is missing.
    pub output: PathBuf,
    /// A provider that is silent for so long is given up; as for jobs when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
    /// Memory for a table's records, MiB; as for jobs when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<usize>,
    /// The words of the lists' tags and the codes that the rules use; without it those of the carrier sample.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Who asks for the joint score of those who stand on a list; without it nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<ScorePlan>,
    /// What the daily form needs besides.
    pub daily: Option<DailyPlan>,
    /// Whom to ask.
    #[serde(rename = "provider")]
    pub providers: Vec<ScreenProvider>,
}

/// Who asks for scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorePlan {
    /// Who asks, by the bank's own code.
    pub operator: String,
    /// The record of what permits to score customers.
    pub consent: String,
}

/// What the daily form needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DailyPlan {
    /// Yesterday's hits; those in the folder for the lists when not given.
    pub hits: Option<PathBuf>,
    /// The customers who came since, and those whose number or outlet changed since, as they are now, with the columns of
    /// the customer file.
    pub new_customers: Option<PathBuf>,
    /// Who asks in lookups, by the bank's own code.
    pub operator: String,
    /// The record of what permits to look customers up.
    pub consent: String,
}

/// A provider's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenProvider {
    /// Its party id; the configuration has its address.
    pub party: String,
    /// Its list.
    pub list: String,
    /// The columns of the list with tags, several in a cell separated by `|`. Without any, all who stand on the
    /// list are hits without a word, and there is no daily form.
    #[serde(default)]
    pub tag_columns: Vec<String>,
    /// Its list of a day's changes, with the same columns: a number once, with the tags that it has now.
    pub changes: Option<String>,
    /// How new customers meet its list.
    #[serde(default)]
    pub new_customers: Route,
}

/// How new customers meet a provider's list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// By what is cheaper, of what the provider permits.
    #[default]
    Auto,
    /// By its lookup rows.
    Rows,
    /// By set intersection.
    Psi,
}

const fn phone() -> KeyKind {
    KeyKind::Phone
}

impl ScreenPlan {
    /// Reads a plan from TOML; relative paths in it are within its folder, and become absolute.
    ///
    /// # Errors
    /// [`ScreenError::Plan`], or what reading the file gives.
    pub fn load(path: &Path) -> Result<Self, ScreenError> {
        let bytes = read_public(path, MAX_PLAN_BYTES).map_err(NodeError::from)?;
        let refuse = |what: String| ScreenError::Plan { what: format!("{}: {what}", path.display()) };
        let mut plan = Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| match error {
            ScreenError::Plan { what } => refuse(what),
            other => other,
        })?;
        // The plans of jobs keep these paths, and may be gone on with from elsewhere.
        let folder = parent_of(path);
        let base = folder.canonicalize().map_err(ScreenError::io(folder))?;
        let join = |path: &mut PathBuf| *path = base.join(&*path);
        join(&mut plan.customers);
        join(&mut plan.output);
        if let Some(daily) = &mut plan.daily {
            daily.hits.iter_mut().for_each(join);
            daily.new_customers.iter_mut().for_each(join);
        }
        Ok(plan)
    }

    /// Reads a text; relative paths stay as they are.
    ///
    /// # Errors
    /// [`ScreenError::Plan`].
    pub fn parse(text: &str) -> Result<Self, ScreenError> {
        let refuse = |what| ScreenError::Plan { what };
        let plan: Self = toml_text::parse(text).map_err(refuse)?;
        plan.check().map_err(refuse)?;
        Ok(plan)
    }

    /// Holds the plan against its rules; gives the one that is broken.
    fn check(&self) -> Result<(), String> {
        if self.key_columns.len() != self.key.fields().len() {
            let fields = self.key.fields().join(", ");
            return Err(format!("key_columns: such a key has the columns of {fields}, in this order"));
        }
        if self.score.is_some() && self.key != KeyKind::Phone {
            return Err("score: only telephone numbers are scored, so key must be phone".to_owned());
        }
        if self.providers.is_empty() {
            return Err("name at least one [[provider]]".to_owned());
        }
        let mut seen = BTreeSet::new();
        for provider in &self.providers {
            provider.check()?;
            if !seen.insert(&provider.party) {
                return Err(format!("provider.party: {} is named twice", provider.party));
            }
        }
        Ok(())
    }

    /// What the daily form needs, all of it.
    ///
    /// # Errors
    /// [`ScreenError::Plan`].
    pub(super) fn need_daily(&self) -> Result<&DailyPlan, ScreenError> {
        let refuse = |what| Err(ScreenError::Plan { what });
        let Some(daily) = &self.daily else {
            return refuse("the daily form needs the section [daily]".to_owned());
        };
        match self.providers.iter().find(|p| p.changes.is_none() || p.tag_columns.is_empty()) {
            Some(provider) => refuse(format!(
                "the daily form needs changes and tag_columns of the provider {}",
                provider.party
            )),
            None => Ok(daily),
        }
    }

    /// Where yesterday's hits are.
    pub(super) fn hits(&self) -> PathBuf {
        let named = self.daily.as_ref().and_then(|daily| daily.hits.clone());
        named.unwrap_or_else(|| self.output.join(super::list::HITS))
    }

    /// The new customers, where there are any.
    pub(super) fn new_customers(&self) -> Option<&Path> {
        self.daily.as_ref()?.new_customers.as_deref()
    }

    /// The plan without what no job depends on: the words of tags, and who asks for scores.
    pub(super) fn jobs_alone(&self) -> Self {
        Self { tags: BTreeMap::new(), score: None, ..self.clone() }
    }

    /// The words of tags.
    pub(super) fn words(&self) -> TagWords {
        if self.tags.is_empty() { TagWords::default() } else { TagWords::new(self.tags.clone()) }
    }

    /// The intersection of a file of customers with one of a provider's lists.
    pub(super) fn job(
        &self,
        provider: &ScreenProvider,
        list: &str,
        input: &Path,
        output: PathBuf,
    ) -> JobPlan {
        let usual = JobPlan::new(&provider.party, list, input.to_owned(), output);
        JobPlan {
            purpose: self.purpose.clone(),
            key: self.key,
            key_columns: self.key_columns.clone(),
            columns: vec![self.customer_column.clone(), self.outlet_column.clone()],
            payload_columns: provider.tag_columns.clone(),
            idle_s: self.idle_s.unwrap_or(usual.idle_s),
            memory_mb: self.memory_mb.unwrap_or(usual.memory_mb),
            ..usual
        }
    }
}

impl ScreenProvider {
    fn check(&self) -> Result<(), String> {
        self.party.parse::<PartyId>().map_err(|error| format!("provider.party: {error}"))?;
        for (field, list) in [("list", Some(&self.list)), ("changes", self.changes.as_ref())] {
            if let Some(Err(error)) = list.map(|list| list.parse::<DataSet>()) {
                return Err(format!("provider.{field}: {error}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_plan_holds_in_both_forms_and_its_paths_are_beside_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/screen.toml");
        let plan = ScreenPlan::load(&path).unwrap();
        assert_eq!(plan.customers, path.with_file_name("customers.csv"));
        // Tests run in the package's folder.
        let relative = ScreenPlan::load(Path::new("samples/screen.toml")).unwrap();
        assert_eq!((relative.customers, relative.output), (plan.customers.clone(), plan.output.clone()));
        assert_eq!(plan.hits(), path.with_file_name("screening").join("hits.csv"));
        plan.need_daily().unwrap();
        assert_eq!(plan.providers[0].new_customers, Route::Auto);
        assert_eq!(plan.words(), TagWords::default());
        let job = plan.job(&plan.providers[0], "risk-list", &plan.customers, "out.csv".into());
        assert_eq!(job.payload_columns, ["风险标签"]);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        for (from, to, expected) in [
            ("party = \"carrier-a\"", "party = \"A\"", "provider.party"),
            ("list = \"risk-list\"", "list = \"Risk\"", "provider.list"),
            ("changes = \"risk-changes\"", "changes = \"X\"", "provider.changes"),
            ("key_columns = [\"手机号\"]", "key_columns = []", "key_columns"),
            ("customer_column", "customers_column", "customers_column"),
        ] {
            assert!(SAMPLE.contains(from), "{from}");
            let error = ScreenPlan::parse(&SAMPLE.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.code(), "SCREEN_PLAN");
            assert!(error.to_string().contains(expected), "{error}");
        }
        let untagged = SAMPLE.replacen("tag_columns = [\"风险标签\"]", "", 1);
        let error = ScreenPlan::parse(&untagged).unwrap().need_daily().unwrap_err();
        assert!(error.to_string().contains("carrier-a"), "{error}");
    }
}
