//! From the cells of a row to the values of a label, by the configuration.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use windvane_protocols::identity::DocumentKind;
use windvane_protocols::lookup::schema::{Field, Kind, Schema};

use super::config::{Columns, ConfigError};

/// Where a field of the schema comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Source {
    /// A word that stands for a code.
    Code {
        /// The column's name in the header.
        column: String,
        /// The code of every word.
        words: BTreeMap<String, String>,
        /// The code of an empty cell; without it an empty cell is not known, and missing.
        empty: Option<String>,
    },
    /// Words for the codes `yes` and `no`.
    Flag {
        /// The column's name in the header.
        column: String,
        /// Words for `yes`.
        yes: Vec<String>,
        /// Words for `no`.
        no: Vec<String>,
        /// The code of an empty cell; without it an empty cell is not known, and missing.
        empty: Option<String>,
    },
    /// A date, by the whole days from it to the row's data date.
    AgeBand {
        /// The column's name in the header.
        column: String,
        /// Whether a band holds fewer days than its limit, or at most as many.
        limit: Limit,
        /// Limits in days, ascending, each with its code.
        bands: Vec<(u64, String)>,
        /// The code beyond the last limit.
        beyond: String,
        /// The code of an empty cell; without it an empty cell is not known, and missing.
        empty: Option<String>,
    },
    /// A count.
    CountBand {
        /// The column's name in the header.
        column: String,
        /// The least count that makes sense; a smaller one is refused.
        #[serde(default)]
        least: u64,
        /// Whether a band holds counts below its limit, or up to it.
        limit: Limit,
        /// Limits, ascending, each with its code.
        bands: Vec<(u64, String)>,
        /// The code beyond the last limit.
        beyond: String,
        /// The code of an empty cell; without it an empty cell is not known, and missing.
        empty: Option<String>,
    },
    /// Any number of words; an empty cell has none.
    Set {
        /// The column's name in the header.
        column: String,
        /// What stands between words.
        separator: String,
        /// The code of every word.
        words: BTreeMap<String, String>,
    },
    /// A date.
    Date {
        /// The column's name in the header.
        column: String,
    },
}

/// Whether a band's limit belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    /// It does not: `value < limit`.
    Below,
    /// It does: `value <= limit`.
    UpTo,
}

/// Bands of a number.
#[derive(Debug, Clone)]
pub(super) struct Bands {
    limit: Limit,
    bands: Vec<(u64, u64)>,
    beyond: u64,
}

impl Bands {
    fn code(&self, value: u64) -> u64 {
        let inside = |limit: u64| match self.limit {
            Limit::Below => value < limit,
            Limit::UpTo => value <= limit,
        };
        self.bands.iter().find(|(limit, _)| inside(*limit)).map_or(self.beyond, |(_, code)| *code)
    }
}

/// A source with its codes as the schema's numbers.
#[derive(Debug, Clone)]
enum Rule {
    Words(HashMap<String, u64>),
    Age(Bands),
    Count { least: u64, bands: Bands },
    Set { separator: String, bits: HashMap<String, u64> },
    Date { max: u64 },
}

/// One field of the schema: its column and how a cell becomes a value.
#[derive(Debug, Clone)]
pub(super) struct FieldRecipe {
    pub(super) name: String,
    pub(super) column: String,
    rule: Rule,
    /// What an empty cell means; `None` where it counts as missing.
    empty: Option<u64>,
}

/// Columns, document types and fields, checked against the schema.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) columns: Columns,
    pub(super) document_types: BTreeMap<String, DocumentKind>,
    /// In the schema's order.
    pub(super) fields: Vec<FieldRecipe>,
}

/// A cell's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// As the label packs it.
    Known(u64),
    /// The cell is empty and that has no meaning.
    Missing,
}

impl Recipe {
    pub(super) fn new(
        columns: Columns,
        document_types: BTreeMap<String, DocumentKind>,
        mut sources: BTreeMap<String, Source>,
        schema: &Schema,
    ) -> Result<Self, ConfigError> {
        if columns.document.is_some() && document_types.is_empty() {
            return Err(ConfigError::field("document_types", "is needed with columns.document"));
        }
        let mut fields = Vec::new();
        for field in schema.fields() {
            let source = sources.remove(&field.name).ok_or_else(|| refuse(field, "is missing"))?;
            if matches!(source, Source::AgeBand { .. }) && columns.data_date.is_none() {
                return Err(refuse(field, "needs columns.data_date"));
            }
            fields.push(FieldRecipe::new(field, source)?);
        }
        match sources.into_keys().next() {
            Some(name) => Err(ConfigError::field(format!("fields.{name}"), "is no field of the schema")),
            None => Ok(Self { columns, document_types, fields }),
        }
    }

    /// Every column that is read, once: a file's cells stand in this order.
    pub(super) fn column_names(&self) -> Vec<&str> {
        let Columns { phone, name, document, document_type, data_date } = &self.columns;
        let identity = [phone, name, document, document_type, data_date].into_iter().flatten();
        let mut names = Vec::new();
        for name in identity.chain(self.fields.iter().map(|field| &field.column)) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }
}

impl FieldRecipe {
    fn new(field: &Field, source: Source) -> Result<Self, ConfigError> {
        let code = |name: &str| code(field, name);
        let (column, rule, empty) = match source {
            Source::Code { column, words, empty } => (column, Rule::Words(codes(field, words)?), empty),
            Source::Flag { column, yes, no, empty } => {
                let of = |words: Vec<String>, code: &'static str| {
                    words.into_iter().map(move |word| (word, code.to_owned()))
                };
                let words = of(yes, "yes").chain(of(no, "no")).collect();
                (column, Rule::Words(codes(field, words)?), empty)
            }
            Source::AgeBand { column, limit, bands, beyond, empty } => {
                (column, Rule::Age(self::bands(field, limit, bands, &beyond)?), empty)
            }
            Source::CountBand { column, least, limit, bands, beyond, empty } => {
                (column, Rule::Count { least, bands: self::bands(field, limit, bands, &beyond)? }, empty)
            }
            Source::Set { column, separator, words } => return Self::set(field, column, separator, words),
            Source::Date { column } => return Self::date(field, column),
        };
        let empty = empty.map(|name| code(&name)).transpose()?;
        Ok(Self { name: field.name.clone(), column, rule, empty })
    }

    fn set(
        field: &Field,
        column: String,
        separator: String,
        words: BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        if field.kind != Kind::Set || separator.is_empty() {
            return Err(refuse(field, "kind = \"set\" needs a set in the schema and a separator"));
        }
        let bit = |name: &str| position(field, name).map(|i| 1 << i);
        let bits = words.into_iter().map(|(word, name)| Ok((word, bit(&name)?)));
        let rule = Rule::Set { separator, bits: bits.collect::<Result<_, ConfigError>>()? };
        Ok(Self { name: field.name.clone(), column, rule, empty: Some(0) })
    }

    fn date(field: &Field, column: String) -> Result<Self, ConfigError> {
        if field.kind != Kind::Date {
            return Err(refuse(field, "kind = \"date\" needs a date in the schema"));
        }
        let rule = Rule::Date { max: (1 << field.bits) - 1 };
        Ok(Self { name: field.name.clone(), column, rule, empty: None })
    }

    /// The value of a cell, trimmed; `data_date` in days since 2000-01-01.
    ///
    /// The error is the rule that the cell breaks.
    pub(super) fn value(&self, cell: &str, data_date: Option<i32>) -> Result<Value, &'static str> {
        if cell.is_empty() {
            return Ok(self.empty.map_or(Value::Missing, Value::Known));
        }
        match &self.rule {
            Rule::Words(words) => words.get(cell).copied().ok_or("CODE_UNKNOWN"),
            Rule::Age(bands) => Ok(bands.code(age(cell, data_date)?)),
            Rule::Count { least, bands } => {
                let count = cell.parse().map_err(|_| "COUNT_INVALID")?;
                if count < *least { Err("COUNT_TOO_SMALL") } else { Ok(bands.code(count)) }
            }
            Rule::Set { separator, bits } => cell
                .split(separator.as_str())
                .try_fold(0, |set, word| bits.get(word.trim()).map(|bit| set | bit).ok_or("CODE_UNKNOWN")),
            Rule::Date { max } => {
                let days = u64::try_from(day(cell).ok_or("DATE_INVALID")?).map_err(|_| "DATE_RANGE")?;
                if (1..=*max).contains(&days) { Ok(days) } else { Err("DATE_RANGE") }
            }
        }
        .map(Value::Known)
    }
}

fn age(cell: &str, data_date: Option<i32>) -> Result<u64, &'static str> {
    let date = day(cell).ok_or("DATE_INVALID")?;
    let data_date = data_date.ok_or("DATE_WITHOUT_DATA_DATE")?;
    u64::try_from(i64::from(data_date) - i64::from(date)).map_err(|_| "DATE_IN_FUTURE")
}

/// Days since 2000-01-01 of `YYYY-MM-DD`, `YYYY/MM/DD` or `YYYYMMDD`; `None` when it is no day of the
/// Gregorian calendar.
pub(super) fn day(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let (year, month, date) = match (bytes.len(), bytes.get(4), bytes.get(7)) {
        (10, Some(b'-'), Some(b'-')) | (10, Some(b'/'), Some(b'/')) => {
            (number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..])?)
        }
        (8, ..) => (number(&bytes[..4])?, number(&bytes[4..6])?, number(&bytes[6..])?),
        _ => return None,
    };
    let (month, date) = (i8::try_from(month).ok()?, i8::try_from(date).ok()?);
    let date = jiff::civil::Date::new(year, month, date).ok()?;
    let days = date.duration_since(EPOCH).as_hours() / 24;
    i32::try_from(days).ok()
}

/// ISO 8601 of days since 2000-01-01.
pub(super) fn iso(day: i32) -> String {
    EPOCH.saturating_add(jiff::Span::new().days(day)).to_string()
}

/// The day of a time in milliseconds of Unix time, in days since 2000-01-01.
pub(super) fn day_of_ms(ms: u64) -> i32 {
    const UNIX_DAYS: i64 = 10_957;
    i32::try_from((ms / 86_400_000) as i64 - UNIX_DAYS).unwrap_or(i32::MAX)
}

const EPOCH: jiff::civil::Date = jiff::civil::date(2000, 1, 1);

fn number(digits: &[u8]) -> Option<i16> {
    let digit = |b: &u8| b.is_ascii_digit().then(|| i16::from(b - b'0'));
    digits.iter().try_fold(0, |sum, b| Some(sum * 10 + digit(b)?))
}

fn refuse(field: &Field, rule: impl Into<String>) -> ConfigError {
    ConfigError::field(format!("fields.{}", field.name), rule)
}

fn position(field: &Field, name: &str) -> Result<u64, ConfigError> {
    let found = field.codes.iter().position(|code| code == name);
    found.map(|i| i as u64).ok_or_else(|| {
        refuse(field, format!("found {name}, expected one of the schema's codes: {}", field.codes.join(", ")))
    })
}

fn code(field: &Field, name: &str) -> Result<u64, ConfigError> {
    if field.kind != Kind::Code {
        return Err(refuse(field, "the schema has no code there; use the schema's kind"));
    }
    position(field, name).map(|i| i + 1)
}

fn codes(field: &Field, words: BTreeMap<String, String>) -> Result<HashMap<String, u64>, ConfigError> {
    words.into_iter().map(|(word, name)| Ok((word, code(field, &name)?))).collect()
}

fn bands(field: &Field, limit: Limit, bands: Vec<(u64, String)>, beyond: &str) -> Result<Bands, ConfigError> {
    if !bands.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(refuse(field, "limits of bands ascend"));
    }
    let bands = bands.into_iter().map(|(limit, name)| Ok((limit, code(field, &name)?)));
    let bands = bands.collect::<Result<_, ConfigError>>()?;
    Ok(Bands { limit, bands, beyond: code(field, beyond)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_the_first_of_january_2000() {
        for (text, expected) in [
            ("2000-01-01", Some(0)),
            ("20000102", Some(1)),
            ("1999/12/31", Some(-1)),
            ("2026-11-01", Some(9_801)),
            ("2000-02-29", Some(59)),
            ("1900-02-29", None),
            ("2025-02-29", None),
            ("2023-13-01", None),
            ("2022-00-10", None),
            ("2021-6-31", None),
            ("2021-06/30", None),
            ("+021-06-30", None),
            ("", None),
            ("２０２１０６３０", None),
        ] {
            assert_eq!(day(text), expected, "{text}");
        }
        assert_eq!(iso(9_801), "2026-11-01");
        assert_eq!(day_of_ms(1_793_491_200_000), 9_801);
    }

    #[test]
    fn a_limit_belongs_to_its_band_only_where_the_configuration_says_so() {
        let of = |limit| Bands { limit, bands: vec![(7, 1), (30, 2)], beyond: 3 };
        let codes = |limit| [0, 6, 7, 8, 29, 30, 31].map(|value| of(limit).code(value));
        assert_eq!(codes(Limit::Below), [1, 1, 2, 2, 2, 3, 3]);
        assert_eq!(codes(Limit::UpTo), [1, 1, 1, 2, 2, 2, 3]);
    }
}
