//! Label schemas: the published meaning of a row's plain bytes.
//!
//! A label is a bit-packed record, most significant bit first, in the order of the schema's fields, zero
//! padded to `label_bytes`. Code 0 of a field means "not known". Schemas are versioned TOML and travel, as
//! text, in the signed manifest, so that the bank decodes by what the provider published.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::limits::{MAX_LABEL_BYTES, MAX_SCHEMA_BYTES, MAX_SCHEMA_FIELDS};

/// Days of a date count from 2000-01-01; 0 means "not known".
pub const DATE_EPOCH: &str = "2000-01-01";

/// A checked schema together with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    text: String,
    name: String,
    version: u64,
    label_bytes: usize,
    fields: Vec<Field>,
}

/// One field of a label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The field's name, as grants name columns and rules name attributes.
    pub name: String,
    /// What the bits mean.
    pub kind: Kind,
    /// Width in bits, 1 to 63.
    pub bits: u32,
    /// Names of the codes: of code `i + 1` for [`Kind::Code`], of bit `i` for [`Kind::Set`].
    #[serde(default)]
    pub codes: Vec<String>,
}

/// What a field's bits mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One of the named codes.
    Code,
    /// Any of the named codes, a bit each.
    Set,
    /// Days since [`DATE_EPOCH`].
    Date,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: u64,
    label_bytes: usize,
    field: Vec<Field>,
}

/// Why a schema or a label is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The text is larger than we read.
    #[error("a schema has at most {MAX_SCHEMA_BYTES} bytes, found {found}")]
    Size {
        /// Bytes found.
        found: usize,
    },
    /// Not TOML, or not of the schema's form.
    #[error("the schema cannot be read: {0}")]
    Syntax(String),
    /// A field breaks a rule.
    #[error("field {field}: {rule}")]
    Field {
        /// The field's name.
        field: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The schema as a whole breaks a rule.
    #[error("the schema {0}")]
    Whole(&'static str),
    /// A label has values of another number or width than the schema's fields.
    #[error("the label does not fit the schema")]
    Label,
}

/// A label's values, one per field of its schema, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label(pub Vec<u64>);

/// A label in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Names of codes, by field.
    pub attributes: BTreeMap<String, String>,
    /// Names of the codes in all sets.
    pub tags: Vec<String>,
    /// Days since [`DATE_EPOCH`], by field.
    pub dates: BTreeMap<String, u64>,
}

impl Schema {
    /// Reads and checks a schema.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(SchemaError::Size { found: text.len() });
        }
        let file: File = toml::from_str(text).map_err(|e| SchemaError::Syntax(e.message().to_owned()))?;
        file.field.iter().try_for_each(check_field)?;
        check_whole(&file)?;
        Ok(Self {
            text: text.to_owned(),
            name: file.name,
            version: file.version,
            label_bytes: file.label_bytes,
            fields: file.field,
        })
    }

    /// The text as published.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The schema's version, bound into every row.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Plain bytes of every label.
    pub const fn label_bytes(&self) -> usize {
        self.label_bytes
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Packs values into `label_bytes` bytes.
    ///
    /// # Errors
    /// [`SchemaError::Label`] when a value is missing or too wide.
    pub fn pack(&self, label: &Label) -> Result<Vec<u8>, SchemaError> {
        if label.0.len() != self.fields.len() {
            return Err(SchemaError::Label);
        }
        let mut bytes = vec![0; self.label_bytes];
        let mut at = 0;
        for (field, value) in self.fields.iter().zip(&label.0) {
            if value >> field.bits != 0 {
                return Err(SchemaError::Label);
            }
            for bit in (0..field.bits).rev() {
                bytes[at / 8] |= ((value >> bit & 1) as u8) << (7 - at % 8);
                at += 1;
            }
        }
        Ok(bytes)
    }

    /// Takes values out of `label_bytes` bytes.
    ///
    /// # Errors
    /// [`SchemaError::Label`] when the length differs or the padding is not zero.
    pub fn unpack(&self, bytes: &[u8]) -> Result<Label, SchemaError> {
        if bytes.len() != self.label_bytes {
            return Err(SchemaError::Label);
        }
        let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |i| u64::from(byte >> i & 1)));
        let mut take = |n: u32| bits.by_ref().take(n as usize).fold(0, |value, bit| value << 1 | bit);
        let label = Label(self.fields.iter().map(|field| take(field.bits)).collect());
        if bits.all(|bit| bit == 0) { Ok(label) } else { Err(SchemaError::Label) }
    }

    /// Puts a label into words. Codes that the schema does not name are left out.
    pub fn decode(&self, label: &Label) -> Decoded {
        let mut decoded = Decoded::default();
        for (field, &value) in self.fields.iter().zip(&label.0) {
            match field.kind {
                Kind::Code => {
                    let name = value.checked_sub(1).and_then(|i| field.codes.get(i as usize));
                    decoded.attributes.extend(name.map(|n| (field.name.clone(), n.clone())));
                }
                Kind::Set => {
                    let set = field.codes.iter().enumerate().filter(|(i, _)| value >> i & 1 == 1);
                    decoded.tags.extend(set.map(|(_, name)| name.clone()));
                }
                Kind::Date if value > 0 => drop(decoded.dates.insert(field.name.clone(), value)),
                Kind::Date => {}
            }
        }
        decoded
    }
}

fn check_field(field: &Field) -> Result<(), SchemaError> {
    let refuse = |rule| Err(SchemaError::Field { field: field.name.clone(), rule });
    if field.name.is_empty() || field.name.len() > 64 {
        return refuse("a name has 1 to 64 bytes");
    }
    if !(1..=63).contains(&field.bits) {
        return refuse("bits are 1 to 63");
    }
    let room = match field.kind {
        Kind::Code => (1_usize << field.bits.min(32)) - 1,
        Kind::Set => field.bits as usize,
        Kind::Date => 0,
    };
    if field.codes.len() > room {
        return refuse("more codes than the bits can hold");
    }
    Ok(())
}

fn check_whole(file: &File) -> Result<(), SchemaError> {
    let bits: u64 = file.field.iter().map(|f| u64::from(f.bits)).sum();
    let mut names: Vec<_> = file.field.iter().map(|f| &f.name).collect();
    names.sort_unstable();
    names.dedup();
    if file.field.is_empty() || file.field.len() > MAX_SCHEMA_FIELDS {
        Err(SchemaError::Whole("has 1 to 64 fields"))
    } else if names.len() != file.field.len() {
        Err(SchemaError::Whole("names a field twice"))
    } else if file.label_bytes == 0 || file.label_bytes > MAX_LABEL_BYTES {
        Err(SchemaError::Whole("has a label of 1 to 512 bytes"))
    } else if bits > 8 * file.label_bytes as u64 {
        Err(SchemaError::Whole("has more bits than its label's bytes hold"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        name = "test"
        version = 3
        label_bytes = 4
        [[field]]
        name = "status"
        kind = "code"
        bits = 3
        codes = ["active", "closed"]
        [[field]]
        name = "tags"
        kind = "set"
        bits = 6
        codes = ["mule", "bulk"]
        [[field]]
        name = "valid_on"
        kind = "date"
        bits = 16
    "#;

    #[test]
    fn labels_pack_most_significant_bit_first() {
        let schema = Schema::parse(TEXT).unwrap();
        let label = Label(vec![0b010, 0b000_011, 0x2801]);
        let bytes = schema.pack(&label).unwrap();
        assert_eq!(bytes, [0b0100_0001, 0b1001_0100, 0b0000_0000, 0b1000_0000]);
        assert_eq!(schema.unpack(&bytes), Ok(label.clone()));
        let words = schema.decode(&label);
        assert_eq!(words.attributes["status"], "closed");
        assert_eq!(words.tags, ["mule", "bulk"]);
        assert_eq!(words.dates["valid_on"], 0x2801);
    }

    #[test]
    fn values_too_wide_and_padding_not_zero_are_refused() {
        let schema = Schema::parse(TEXT).unwrap();
        assert_eq!(schema.pack(&Label(vec![8, 0, 0])), Err(SchemaError::Label));
        assert_eq!(schema.pack(&Label(vec![1, 0])), Err(SchemaError::Label));
        assert_eq!(schema.unpack(&[0, 0, 0, 1]), Err(SchemaError::Label));
        assert_eq!(schema.unpack(&[0; 3]), Err(SchemaError::Label));
    }

    #[test]
    fn schemas_that_break_a_rule_are_refused() {
        for (from, to) in [
            ("bits = 3", "bits = 0"),
            ("bits = 3", "bits = 64"),
            ("bits = 3", "bits = 1"),
            ("label_bytes = 4", "label_bytes = 3"),
            ("label_bytes = 4", "label_bytes = 4096"),
            ("\"status\"", "\"tags\""),
            ("version = 3", "version = 3\nunknown = 1"),
        ] {
            assert!(Schema::parse(&TEXT.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
