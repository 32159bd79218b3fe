//! A model's card as a TOML file.
//!
//! **Promised**: a decimal of the file becomes millionths exactly, because it is read as text and never as a
//! floating-point number; an error names the field, by its index from 0, and the rule. **Not here**: the parts,
//! which are no part of the card.

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use toml::{Spanned, Value};
use windvane_keys::files::{FileError, read_public};
use windvane_protocols::limits::MAX_PURPOSE_BYTES;
use windvane_protocols::score::calibration::{Band, Bands, Calibration, CalibrationError, Knot, ONE};
use windvane_protocols::score::model::{CardError, ModelCard};

use crate::toml_text;

/// The shipped sample, which a test parses.
pub const SAMPLE: &str = include_str!("../../samples/score-model.toml");

/// A card with the most knots that there may be has less.
const MAX_CARD_BYTES: usize = 256 << 10;

/// Digits after the point: probabilities and shares are in millionths.
const DIGITS: usize = 6;

/// Why a card's file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not UTF-8, not TOML, or a field is missing or unknown.
    #[error("the model's card does not parse: {message}")]
    Syntax {
        /// Line, column and reason.
        message: String,
    },
    /// A field breaks a rule.
    #[error("field {field} of the model's card: {rule}")]
    Field {
        /// The field, such as `knot[2].probability`.
        field: String,
        /// The rule that it breaks.
        rule: String,
    },
}

impl CardFileError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Syntax { .. } => "CARD_SYNTAX",
            Self::Field { .. } => "CARD_INVALID",
        }
    }

    fn field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Field { field: field.into(), rule: rule.into() }
    }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    knot: Vec<KnotText>,
    #[serde(default)]
    band: Vec<BandText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KnotText {
    sum: i64,
    probability: Spanned<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BandText {
    name: String,
    from: i64,
    share: Spanned<Value>,
}

/// Reads a card's file.
///
/// # Errors
/// [`CardFileError`].
pub fn load(path: &Path) -> Result<ModelCard, CardFileError> {
    let text = String::from_utf8(read_public(path, MAX_CARD_BYTES)?);
    let not_text = |_| CardFileError::Syntax { message: format!("{} is not UTF-8 text", path.display()) };
    parse(&text.map_err(not_text)?).map_err(|error| match error {
        CardFileError::Syntax { message } => {
            CardFileError::Syntax { message: format!("{}: {message}", path.display()) }
        }
        other => other,
    })
}

/// Reads a card from a text.
///
/// # Errors
/// [`CardFileError::Syntax`], [`CardFileError::Field`].
pub fn parse(text: &str) -> Result<ModelCard, CardFileError> {
    let file: File = toml_text::parse(text).map_err(|message| CardFileError::Syntax { message })?;
    if !is_model_name(&file.name) {
        return Err(CardFileError::field("name", NAME_RULE));
    }
    let knot = |(i, knot): (usize, &KnotText)| {
        let sum = whole(knot.sum, || format!("knot[{i}].sum"))?;
        let probability = millionths(text, &knot.probability, || format!("knot[{i}].probability"))?;
        Ok(Knot { sum, probability })
    };
    let band = |(i, band): (usize, &BandText)| {
        let from = whole(band.from, || format!("band[{i}].from"))?;
        Ok(Band { name: band.name.clone(), from })
    };
    let share = |(i, band): (usize, &BandText)| millionths(text, &band.share, || format!("band[{i}].share"));
    let knots = file.knot.iter().enumerate().map(knot).collect::<Result<_, CardFileError>>()?;
    let bands = file.band.iter().enumerate().map(band).collect::<Result<_, CardFileError>>()?;
    let reference = file.band.iter().enumerate().map(share).collect::<Result<_, _>>()?;
    let (calibration, bands) = (Calibration::new(knots).map_err(broken)?, Bands::new(bands).map_err(broken)?);
    ModelCard::new(file.name, calibration, bands, reference).map_err(unfit)
}

/// A card's text, which [`parse`] reads as the same card: for a group file to name.
pub fn to_toml(card: &ModelCard) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut text = format!("name = {}\n", quoted(card.name()));
    // Writing to a string cannot fail.
    for Knot { sum, probability } in card.calibration().knots() {
        let _ = write!(text, "\n[[knot]]\nsum = {sum}\nprobability = {}\n", written(*probability));
    }
    for (Band { name, from }, share) in card.bands().as_slice().iter().zip(card.reference()) {
        let (name, share) = (quoted(name), written(*share));
        let _ = write!(text, "\n[[band]]\nname = {name}\nfrom = {from}\nshare = {share}\n");
    }
    text
}

/// Millionths as a decimal.
fn written(millionths: u32) -> String {
    format!("{}.{:0DIGITS$}", millionths / ONE, millionths % ONE)
}

/// What a model may be called: the name is a folder's too.
pub const NAME_RULE: &str = "1 to 64 letters, digits and -_., beginning with a letter or digit";

/// Whether a model may be called so.
pub fn is_model_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    plain && name.len() <= MAX_PURPOSE_BYTES && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn whole(value: i64, field: impl Fn() -> String) -> Result<u16, CardFileError> {
    value
        .try_into()
        .map_err(|_| CardFileError::field(field(), format!("is a sum of parts, 0 to {}", u16::MAX)))
}

/// The number's own digits: `0.1` has no exact floating-point number.
fn millionths(text: &str, number: &Spanned<Value>, field: impl Fn() -> String) -> Result<u32, CardFileError> {
    let written = text.get(number.span()).unwrap_or_default();
    let is_number = matches!(number.get_ref(), Value::Integer(_) | Value::Float(_));
    let read = is_number.then(|| decimal(written)).flatten();
    read.ok_or_else(|| {
        CardFileError::field(
            field(),
            format!(
                "{written} is not a decimal between 0 and 1 with at most {DIGITS} digits after the point"
            ),
        )
    })
}

fn decimal(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !matches!(whole, "0" | "1") || !(1..=DIGITS).contains(&fraction.len()) || !digits(fraction) {
        return None;
    }
    let number: u32 = format!("{whole}{fraction:0<DIGITS$}").parse().ok()?;
    (number <= ONE).then_some(number)
}

fn broken(error: CalibrationError) -> CardFileError {
    let field = match error {
        CalibrationError::Knots { .. } => "knot".to_owned(),
        CalibrationError::Order { index } => format!("knot[{index}]"),
        CalibrationError::Band { index } => format!("band[{index}]"),
        _ => "band".to_owned(),
    };
    CardFileError::field(field, error.to_string())
}

fn unfit(error: CardError) -> CardFileError {
    let field = if error == CardError::Name { "name" } else { "band.share" };
    CardFileError::field(field, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both numbers of the sample that a test changes, with what must be named.
    fn refused(from: &str, to: &str) -> String {
        assert!(SAMPLE.contains(from), "{from}");
        parse(&SAMPLE.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_sample_is_valid_and_its_decimals_are_exact() {
        let card = parse(SAMPLE).unwrap();
        assert_eq!(card.name(), "fraud-2026-11");
        let probabilities: Vec<_> = card.calibration().knots().iter().map(|knot| knot.probability).collect();
        assert_eq!(probabilities, [1_000, 4_000, 20_000, 110_000, 460_000, 875_000]);
        assert_eq!(card.reference(), [900_000, 80_000, 20_000]);
        assert_eq!(card.bands().of(449).name, "medium");
    }

    #[test]
    fn every_number_of_millionths_survives_its_decimal() {
        for number in (0..=ONE).step_by(7).chain([ONE]) {
            let text = written(number);
            assert_eq!(decimal(&text), Some(number), "{text}");
            assert_eq!(decimal(text.trim_end_matches('0')).or(Some(number)), Some(number), "{text}");
        }
        assert_eq!((decimal("0"), decimal("1"), decimal("0.3")), (Some(0), Some(ONE), Some(300_000)));
    }

    #[test]
    fn other_decimals_are_refused_and_named() {
        for wrong in
            ["0.0010001", "1.000001", "2", "-0.1", "1e-3", "+0.5", "0.00_1", "nan", "\"0.5\"", "true"]
        {
            let error = refused("probability = 0.02", &format!("probability = {wrong}"));
            assert!(error.contains("knot[2].probability") && error.contains(wrong), "{error}");
        }
        assert!(refused("share = 0.08", "share = 0.0000008").contains("band[1].share"));
    }

    #[test]
    fn what_breaks_a_rule_is_named_by_field_and_index() {
        for (from, to, expected) in [
            ("sum = 450", "sum = 320", "knot[3]"),
            ("probability = 0.11", "probability = 0.01", "knot[3]"),
            ("sum = 450", "sum = 65536", "knot[3].sum"),
            ("from = 450", "from = -1", "band[2].from"),
            ("from = 450", "from = 320", "band[2]"),
            ("name = \"high\"", "name = \"low\"", "band[2]"),
            ("share = 0.02", "share = 0.03", "band.share"),
            ("fraud-2026-11", "../fraud", "name"),
            ("share = 0.02", "share = 0.02\ncolour = 1", "colour"),
            ("probability = 0.11", "", "probability"),
        ] {
            let error = refused(from, to);
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert_eq!(parse("name = \"m\"").unwrap_err().code(), "CARD_INVALID");
        assert_eq!(parse("name = 3").unwrap_err().code(), "CARD_SYNTAX");
    }

    #[test]
    fn a_card_is_read_back_from_its_text() {
        let card = parse(SAMPLE).unwrap();
        assert_eq!(parse(&to_toml(&card)).unwrap(), card);
        let named = |name: &str| Band { name: name.to_owned(), from: if name == "高" { 7 } else { 0 } };
        let bands = Bands::new(["a \"low\"\n\\band", "高"].map(named).to_vec()).unwrap();
        let knots = vec![Knot { sum: 0, probability: 0 }, Knot { sum: 9, probability: ONE }];
        let calibration = Calibration::new(knots).unwrap();
        let card = ModelCard::new("m-1".to_owned(), calibration, bands, vec![1, ONE - 1]).unwrap();
        assert_eq!(parse(&to_toml(&card)).unwrap(), card);
    }

    #[test]
    fn a_file_is_read_as_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card.toml");
        assert_eq!(load(&path).unwrap_err().code(), "FILE_IO");
        std::fs::write(&path, SAMPLE).unwrap();
        assert_eq!(load(&path).unwrap(), parse(SAMPLE).unwrap());
    }
}
