//! One row of the operator's file: from its cells to a canonical record, and a record as staged bytes.
//!
//! Staged bytes: `line32 ‖ label ‖ phone ‖ document kind(1) ‖ document ‖ name`, each text behind its length
//! in 16 bits, absent ones empty and without a kind. Reading parses every field anew by the identity rules,
//! under which a canonical value parses to itself.

use csv::StringRecord;
use windvane_protocols::identity::{Document, DocumentKind, IdentityError, Name, Person, Phone};
use windvane_protocols::lookup::schema::{Label, Schema};
use zeroize::Zeroize;

use super::fields::{FieldRecipe, Recipe, Value, day};

/// A record of the staging file. Identity and label are wiped on drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedRecord {
    /// Canonical identity.
    pub person: Person,
    /// The label as packed by the schema; empty never.
    pub label: PackedLabel,
    /// First line of the row in the operator's file; the header is line 1.
    pub line: u32,
}

/// Packed label bytes, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedLabel(Vec<u8>);

impl PackedLabel {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PackedLabel {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for PackedLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackedLabel(…)")
    }
}

/// The field and the rule by which a row is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal<'a> {
    pub(super) field: &'a str,
    pub(super) rule: &'static str,
}

impl Refusal<'_> {
    /// Whether a cell was empty that should not be.
    pub(super) fn is_missing(&self) -> bool {
        self.rule.ends_with("_EMPTY")
    }
}

impl From<IdentityError> for Refusal<'_> {
    fn from(error: IdentityError) -> Self {
        Self { field: error.field(), rule: error.rule() }
    }
}

/// What a row gave besides its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Findings {
    /// An attribute's cell is empty that should not be.
    pub(super) missing: bool,
    /// Data date in days since 2000-01-01.
    pub(super) data_date: Option<i32>,
}

/// A recipe with the places of its columns in a row.
#[derive(Debug)]
pub(super) struct RowParser<'a> {
    recipe: &'a Recipe,
    schema: &'a Schema,
    width: usize,
    phone: Option<usize>,
    name: Option<usize>,
    document: Option<usize>,
    document_type: Option<usize>,
    data_date: Option<usize>,
    fields: Vec<usize>,
}

impl<'a> RowParser<'a> {
    /// A parser of rows whose cells stand in the order of [`Recipe::column_names`].
    pub(super) fn new(recipe: &'a Recipe, schema: &'a Schema) -> Self {
        let names = recipe.column_names();
        let find = |column: &String| {
            let place = names.iter().position(|name| name == column);
            place.expect("the recipe's names are those of its columns")
        };
        let optional = |column: &Option<String>| column.as_ref().map(find);
        let columns = &recipe.columns;
        Self {
            width: names.len(),
            phone: optional(&columns.phone),
            name: optional(&columns.name),
            document: optional(&columns.document),
            document_type: optional(&columns.document_type),
            data_date: optional(&columns.data_date),
            fields: recipe.fields.iter().map(|field| find(&field.column)).collect(),
            recipe,
            schema,
        }
    }

    /// Reads one row; the first rule that it breaks refuses it.
    pub(super) fn parse(
        &self,
        row: &StringRecord,
        line: u32,
    ) -> Result<(StagedRecord, Findings), Refusal<'a>> {
        if row.len() != self.width {
            return Err(Refusal { field: "row", rule: "ROW_LENGTH" });
        }
        let person = self.person(row)?;
        let data_date = self.data_date(row)?;
        let (label, missing) = self.label(row, data_date)?;
        Ok((StagedRecord { person, label, line }, Findings { missing, data_date }))
    }

    /// Reads nothing of a row but whom it is about: the phone, where the data set has phones, or the document.
    pub(super) fn subject(&self, row: &StringRecord) -> Result<Person, Refusal<'a>> {
        if row.len() != self.width {
            return Err(Refusal { field: "row", rule: "ROW_LENGTH" });
        }
        let phone = self.phone.map(|i| Phone::parse(&row[i])).transpose()?;
        let document = self.document.filter(|_| phone.is_none());
        let document = document.map(|i| self.document(row, &row[i])).transpose()?;
        Ok(Person { phone, document, name: None, other: None })
    }

    fn person(&self, row: &StringRecord) -> Result<Person, Refusal<'a>> {
        let phone = self.phone.map(|i| Phone::parse(&row[i])).transpose()?;
        let document = self.document.map(|i| self.document(row, &row[i])).transpose()?;
        let name = self.name.map(|i| Name::parse(&row[i])).transpose()?;
        Ok(Person { phone, document, name, other: None })
    }

    fn document(&self, row: &StringRecord, number: &str) -> Result<Document, Refusal<'a>> {
        let word = self.document_type.map_or("", |i| row[i].trim());
        match self.recipe.document_types.get(word) {
            Some(kind) => Ok(Document::parse(*kind, number)?),
            None if word.is_empty() => Err(Refusal { field: "document_type", rule: "DOCUMENT_TYPE_EMPTY" }),
            None => Err(Refusal { field: "document_type", rule: "DOCUMENT_TYPE_UNKNOWN" }),
        }
    }

    fn data_date(&self, row: &StringRecord) -> Result<Option<i32>, Refusal<'a>> {
        let refuse = |rule| Err(Refusal { field: "data_date", rule });
        match self.data_date.map(|i| row[i].trim()) {
            None => Ok(None),
            Some("") => refuse("DATA_DATE_EMPTY"),
            Some(text) => day(text).map_or_else(|| refuse("DATE_INVALID"), |day| Ok(Some(day))),
        }
    }

    fn label(&self, row: &StringRecord, date: Option<i32>) -> Result<(PackedLabel, bool), Refusal<'a>> {
        let mut missing = false;
        let mut value = |(field, index): (&'a FieldRecipe, &usize)| {
            let value = field.value(row[*index].trim(), date);
            value.map_err(|rule| Refusal { field: &field.name, rule }).map(|value| match value {
                Value::Known(value) => value,
                Value::Missing => {
                    missing = true;
                    0
                }
            })
        };
        let values = self.recipe.fields.iter().zip(&self.fields).map(&mut value);
        let label = Label(values.collect::<Result<_, _>>()?);
        let packed = self.schema.pack(&label).expect("values were made to fit the schema's fields");
        Ok((PackedLabel(packed), missing))
    }
}

/// Appends a record's bytes.
pub(super) fn write_record(record: &StagedRecord, into: &mut Vec<u8>) {
    let Person { phone, document, name, .. } = &record.person;
    into.extend_from_slice(&record.line.to_be_bytes());
    into.extend_from_slice(record.label.as_bytes());
    write_text(phone.as_ref().map_or("", Phone::as_str), into);
    into.push(document.as_ref().map_or(0, |document| document.kind().code()));
    write_text(document.as_ref().map_or("", Document::number), into);
    write_text(name.as_ref().map_or("", Name::as_str), into);
}

fn write_text(text: &str, into: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("identity fields are bounded by limits.rs");
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}

/// Records out of their bytes; `None` in place of one that does not parse, and the end after it.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    label_bytes: usize,
}

impl<'a> Records<'a> {
    pub(super) const fn new(bytes: &'a [u8], label_bytes: usize) -> Self {
        Self { rest: bytes, label_bytes }
    }

    /// Whether nothing is left.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    /// The next record.
    pub(super) fn record(&mut self) -> Option<StagedRecord> {
        let line = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let label = PackedLabel(self.take(self.label_bytes)?.to_vec());
        let phone = some(self.text()?).map(Phone::parse).transpose().ok()?;
        let kind = document_kind(self.take(1)?[0])?;
        let number = self.text()?;
        let document = kind.map(|kind| Document::parse(kind, number)).transpose().ok()?;
        let name = some(self.text()?).map(Name::parse).transpose().ok()?;
        Some(StagedRecord { person: Person { phone, document, name, other: None }, label, line })
    }
}

impl Iterator for Records<'_> {
    type Item = Option<StagedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_none() {
            self.rest = &[];
        }
        Some(record)
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// `Some(None)` where there is no document.
fn document_kind(code: u8) -> Option<Option<DocumentKind>> {
    let kinds = [DocumentKind::ResidentId, DocumentKind::Passport, DocumentKind::SocialCredit];
    match code {
        0 => Some(None),
        code => kinds.into_iter().find(|kind| kind.code() == code).map(Some),
    }
}
