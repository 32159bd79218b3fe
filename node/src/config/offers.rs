//! `[[psi]]` and `[[train]]`: what a provider offers beside lookups.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::Fingerprint;

use super::ConfigError;

/// A list that a provider offers for set intersection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// The list's name, as in grants.
    pub list: String,
    /// The file: CSV with a header, or Parquet.
    pub file: PathBuf,
    /// What its items are, for example `phone`; both parties name the same.
    pub key: String,
    /// The columns of the key, in the order of its fields.
    pub key_columns: Vec<String>,
    /// Columns that may travel with matches, where a grant permits them.
    #[serde(default)]
    pub payload_columns: Vec<String>,
}

/// A table that a provider offers for joint trainings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The table's name, as in grants.
    pub name: String,
    /// The file: CSV with a header, or Parquet whose features are whole numbers or text.
    pub file: PathBuf,
    /// The column of telephone numbers.
    #[serde(default = "number")]
    pub number: String,
    /// The columns of features, numbers or empty; without them every other column.
    #[serde(default)]
    pub features: Vec<String>,
    /// The signed schema by which several carriers grow trees as one; its features count then.
    pub schema: Option<PathBuf>,
    /// The signed list of number segments of the scoring group.
    pub universe: PathBuf,
    /// The scoring group whose registry gets the trained parts; without it, the group with the table's name.
    pub group: Option<String>,
    /// Whom this provider trains with, and who signs the list of segments and the schema.
    #[serde(default)]
    pub peers: Vec<TrainPeer>,
}

/// Another party of trainings, by the key that is pinned for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainPeer {
    /// The party's name.
    pub party: String,
    /// The fingerprint of its identity key, as in a scoring group.
    pub identity: String,
}

fn number() -> String {
    "number".to_owned()
}

pub(super) fn check_lists(lists: &[ListConfig]) -> Result<(), ConfigError> {
    let refuse = |field, rule: String| Err(ConfigError::Field { field, rule });
    let mut seen = BTreeSet::new();
    for list in lists {
        if let Err(error) = list.list.parse::<DataSet>() {
            return refuse("psi.list", error.to_string());
        }
        if !seen.insert(&list.list) {
            return refuse("psi", format!("{} is named twice", list.list));
        }
        if let Err(rule) = crate::psi::check_key(&list.key, &list.key_columns) {
            return refuse("psi.key_columns", rule);
        }
    }
    Ok(())
}

pub(super) fn check_tables(tables: &[TrainConfig]) -> Result<(), ConfigError> {
    let refuse = |field, rule: String| Err(ConfigError::Field { field, rule });
    let mut seen = BTreeSet::new();
    for table in tables {
        if let Err(error) = table.name.parse::<DataSet>() {
            return refuse("train.name", error.to_string());
        }
        if let Some(Err(error)) = table.group.as_ref().map(|group| group.parse::<DataSet>()) {
            return refuse("train.group", error.to_string());
        }
        if !seen.insert(&table.name) {
            return refuse("train", format!("{} is named twice", table.name));
        }
        for peer in &table.peers {
            if let Err(error) = peer.party.parse::<PartyId>() {
                return refuse("train.peers.party", error.to_string());
            }
            if let Err(error) = peer.identity.parse::<Fingerprint>() {
                return refuse("train.peers.identity", error.to_string());
            }
        }
    }
    Ok(())
}
