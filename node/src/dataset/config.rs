//! The configuration of one data set: which column means what, and how good the file must be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use windvane_keys::files::{FileError, read_public};
use windvane_protocols::identity::{DocumentKind, Family};
use windvane_protocols::limits::MAX_SCHEMA_BYTES;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::schema::{Schema, SchemaError};

use super::fields::{Recipe, Source};
use super::quality::Quality;
use crate::table::Encoding;
use crate::toml_text;

/// The shipped configuration of a carrier's subscribers.
pub const CARRIER_DATASET: &str = include_str!("../../samples/carrier-dataset.toml");

/// The shipped label schema of a carrier's subscribers.
pub const CARRIER_SCHEMA: &str = include_str!("../../samples/carrier-schema.toml");

const MAX_CONFIG_BYTES: usize = 256 << 10;

/// Ten years: an epoch is hours or days long.
const MAX_EPOCH_HOURS: u32 = 10 * 365 * 24;

/// A week: whoever has not fetched the next snapshot by then is not going to.
const MAX_OVERLAP_MINUTES: u32 = 7 * 24 * 60;

/// Why a data set's configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not UTF-8, not TOML, or has an unknown or missing field.
    #[error("the data set's configuration does not parse: {0}")]
    Syntax(String),
    /// The label schema is refused.
    #[error("the label schema is refused: {0}")]
    Schema(#[from] SchemaError),
    /// A field breaks a rule.
    #[error("field {field}: {rule}")]
    Field {
        /// The field.
        field: String,
        /// The rule it breaks.
        rule: String,
    },
}

impl ConfigError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Syntax(_) => "CONFIG_SYNTAX",
            Self::Schema(_) => "SCHEMA_INVALID",
            Self::Field { .. } => "CONFIG_FIELD",
        }
    }

    pub(super) fn field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Field { field: field.into(), rule: rule.into() }
    }
}

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The data set's name.
    name: String,
    /// Families that it answers, by number.
    families: Vec<u8>,
    /// The label schema's file, relative to this one.
    schema: PathBuf,
    /// The input's encoding.
    #[serde(default)]
    encoding: Encoding,
    /// Hours from publication to the end of an epoch.
    #[serde(default = "one_day")]
    epoch_hours: u32,
    /// Minutes for which an epoch still answers after the next one was published.
    #[serde(default = "one_hour")]
    overlap_minutes: u32,
    /// Where identities stand.
    columns: Columns,
    /// Words of the document type's column.
    #[serde(default)]
    document_types: BTreeMap<String, DocumentWord>,
    /// How change files tell what is to be done with a row.
    changes: Option<Changes>,
    /// Limits beyond which an import is refused.
    #[serde(default)]
    quality: Quality,
    /// Where every field of the schema comes from.
    fields: BTreeMap<String, Source>,
}

/// Columns by their names in the header. A column that is named must parse in every row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Columns {
    /// The telephone number.
    pub(super) phone: Option<String>,
    /// The name.
    pub(super) name: Option<String>,
    /// The document's number.
    pub(super) document: Option<String>,
    /// The document's type; without it every document has the type of the word "".
    pub(super) document_type: Option<String>,
    /// The day that the row describes; ages count up to it.
    pub(super) data_date: Option<String>,
}

/// What a row of a change file does to its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChangeKind {
    /// The subject came.
    Insert,
    /// Something about the subject changed; the row says everything anew.
    Change,
    /// The subject went; nothing but who it is is read.
    Delete,
}

/// Where a change file says what is to be done.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changes {
    /// The column's name in the header.
    pub(super) operation: String,
    /// Its words.
    pub(super) words: BTreeMap<String, ChangeKind>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DocumentWord {
    ResidentId,
    Passport,
    SocialCredit,
}

impl From<DocumentWord> for DocumentKind {
    fn from(word: DocumentWord) -> Self {
        match word {
            DocumentWord::ResidentId => Self::ResidentId,
            DocumentWord::Passport => Self::Passport,
            DocumentWord::SocialCredit => Self::SocialCredit,
        }
    }
}

const fn one_hour() -> u32 {
    60
}

const fn one_day() -> u32 {
    24
}

/// A checked configuration together with its schema.
#[derive(Debug, Clone)]
pub struct DataSetConfig {
    name: DataSet,
    families: Vec<Family>,
    encoding: Encoding,
    epoch_hours: u32,
    changes: Option<Changes>,
    overlap_minutes: u32,
    quality: Quality,
    schema: Schema,
    recipe: Recipe,
}

impl DataSetConfig {
    /// Reads a configuration and the schema that it names.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = parse_file(&text(read_public(path, MAX_CONFIG_BYTES)?)?)?;
        let schema = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).with_file_name(&file.schema);
        Self::check(file, &text(read_public(&schema, MAX_SCHEMA_BYTES)?)?)
    }

    /// Reads a configuration from texts; the schema's path in it is not followed.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(config: &str, schema: &str) -> Result<Self, ConfigError> {
        Self::check(parse_file(config)?, schema)
    }

    /// The shipped configuration of a carrier's subscribers.
    pub fn carrier() -> Self {
        Self::parse(CARRIER_DATASET, CARRIER_SCHEMA).expect("a test parses the shipped samples")
    }

    fn check(file: File, schema: &str) -> Result<Self, ConfigError> {
        let name: DataSet = file.name.parse().map_err(|e| ConfigError::field("name", format!("{e}")))?;
        let families = families(&file)?;
        if !(1..=MAX_EPOCH_HOURS).contains(&file.epoch_hours) {
            return Err(ConfigError::field("epoch_hours", format!("is 1 to {MAX_EPOCH_HOURS}")));
        }
        if file.overlap_minutes > MAX_OVERLAP_MINUTES {
            return Err(ConfigError::field("overlap_minutes", format!("is 0 to {MAX_OVERLAP_MINUTES}")));
        }
        file.quality.check()?;
        let schema = Schema::parse(schema)?;
        let kinds = file.document_types.into_iter().map(|(word, kind)| (word, kind.into())).collect();
        let recipe = Recipe::new(file.columns, kinds, file.fields, &schema)?;
        let (encoding, epoch_hours, quality) = (file.encoding, file.epoch_hours, file.quality);
        let changes = file.changes.map(|changes| check_changes(changes, &recipe)).transpose()?;
        let overlap_minutes = file.overlap_minutes;
        Ok(Self { name, families, encoding, epoch_hours, changes, overlap_minutes, quality, schema, recipe })
    }

    /// The data set's name.
    pub const fn name(&self) -> &DataSet {
        &self.name
    }

    /// Families that it answers, ascending.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The input's encoding.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The same configuration for a file in another encoding.
    #[must_use]
    pub fn with_encoding(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    /// Hours from publication to the end of an epoch.
    pub const fn epoch_hours(&self) -> u32 {
        self.epoch_hours
    }

    /// Minutes for which an epoch still answers after the next one was published.
    pub const fn overlap_minutes(&self) -> u32 {
        self.overlap_minutes
    }

    /// The same with another overlap.
    #[must_use]
    pub fn with_overlap_minutes(self, overlap_minutes: u32) -> Self {
        Self { overlap_minutes, ..self }
    }

    /// Limits beyond which an import is refused.
    pub const fn quality(&self) -> &Quality {
        &self.quality
    }

    /// The same configuration under other limits.
    #[must_use]
    pub fn with_quality(self, quality: Quality) -> Self {
        Self { quality, ..self }
    }

    /// The label schema.
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether change files are described.
    pub const fn takes_changes(&self) -> bool {
        self.changes.is_some()
    }

    pub(super) const fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    pub(super) const fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

fn text(bytes: Vec<u8>) -> Result<String, ConfigError> {
    String::from_utf8(bytes).map_err(|_| ConfigError::Syntax("the file is not UTF-8".to_owned()))
}

fn parse_file(text: &str) -> Result<File, ConfigError> {
    toml_text::parse(text).map_err(ConfigError::Syntax)
}

fn check_changes(changes: Changes, recipe: &Recipe) -> Result<Changes, ConfigError> {
    if changes.words.is_empty() {
        return Err(ConfigError::field(
            "changes.words",
            "names one word or more for insert, change or delete",
        ));
    }
    if recipe.column_names().contains(&changes.operation.as_str()) {
        return Err(ConfigError::field("changes.operation", "is a column of its own"));
    }
    Ok(changes)
}

fn families(file: &File) -> Result<Vec<Family>, ConfigError> {
    let refuse = |rule: String| ConfigError::field("families", rule);
    let mut families = Vec::new();
    for &code in &file.families {
        let family = Family::try_from(code).map_err(|e| refuse(format!("{e}")))?;
        require_columns(family, &file.columns).map_err(|rule| refuse(format!("family {code} {rule}")))?;
        families.push(family);
    }
    families.sort_unstable();
    families.dedup();
    if families.is_empty() || families.len() != file.families.len() {
        return Err(refuse("are one or more different numbers".to_owned()));
    }
    Ok(families)
}

fn require_columns(family: Family, columns: &Columns) -> Result<(), &'static str> {
    use Family::{Id, IdName, Phone, PhoneId, PhoneIdName, PhoneName, SocialCredit};
    let phone = matches!(family, Phone | PhoneId | PhoneName | PhoneIdName);
    let document = matches!(family, PhoneId | PhoneIdName | Id | IdName | SocialCredit);
    let name = matches!(family, PhoneName | PhoneIdName | IdName);
    if !(phone || document || name) {
        Err("cannot be imported from a file yet; leave it out")
    } else if phone && columns.phone.is_none() {
        Err("needs columns.phone")
    } else if document && columns.document.is_none() {
        Err("needs columns.document")
    } else if name && columns.name.is_none() {
        Err("needs columns.name")
    } else {
        Ok(())
    }
}
