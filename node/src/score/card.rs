//! A model's card as a file that people write: TOML.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use windvane_keys::files::{FileError, read_public};
use windvane_protocols::score::calibration::{Band, Bands, Calibration, CalibrationError, Knot, ONE};
use windvane_protocols::score::model::{CardError, ModelCard};

/// A thousand knots and sixteen bands.
const MAX_CARD_BYTES: usize = 256 << 10;

/// Why a card is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardFileError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not TOML, a field is missing, or one is unknown.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A number is no share of one with at most six digits.
    #[error("{field}: {found} is not between 0 and 1 with at most six digits")]
    Share {
        /// The field.
        field: &'static str,
        /// What it is.
        found: f64,
    },
    /// The calibration or the bands.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The card.
    #[error(transparent)]
    Card(#[from] CardError),
}

impl CardFileError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            _ => "SCORE_MODEL_INVALID",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardFile {
    name: String,
    #[serde(rename = "knot")]
    knots: Vec<KnotLine>,
    #[serde(rename = "band")]
    bands: Vec<BandLine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnotLine {
    sum: u16,
    probability: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BandLine {
    name: String,
    from: u16,
    share: f64,
}

/// Reads a card.
///
/// # Errors
/// [`CardFileError`].
pub fn load(path: &Path) -> Result<ModelCard, CardFileError> {
    let bytes = read_public(path, MAX_CARD_BYTES)?;
    let file: CardFile = toml::from_str(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        let message = error.to_string().trim_end().to_owned();
        CardFileError::Syntax { path: path.to_owned(), message }
    })?;
    let knot = |line: &KnotLine| {
        let probability = millionths("knot.probability", line.probability)?;
        Ok::<_, CardFileError>(Knot { sum: line.sum, probability })
    };
    let knots = file.knots.iter().map(knot).collect::<Result<_, _>>()?;
    let shares = file.bands.iter().map(|line| millionths("band.share", line.share));
    let reference = shares.collect::<Result<_, _>>()?;
    let bands = file.bands.into_iter().map(|line| Band { name: line.name, from: line.from }).collect();
    Ok(ModelCard::new(file.name, Calibration::new(knots)?, Bands::new(bands)?, reference)?)
}

fn millionths(field: &'static str, found: f64) -> Result<u32, CardFileError> {
    let scaled = found * f64::from(ONE);
    let whole = scaled.round();
    if (0.0..=f64::from(ONE)).contains(&whole) && (scaled - whole).abs() < 1e-6 {
        Ok(whole as u32)
    } else {
        Err(CardFileError::Share { field, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "name = \"fraud-1\"\n[[knot]]\nsum = 0\nprobability = 0.000001\n[[knot]]\nsum = 90\n\
        probability = 0.999999\n[[band]]\nname = \"low\"\nfrom = 0\nshare = 0.9\n[[band]]\nname = \"high\"\n\
        from = 60\nshare = 0.1\n";

    fn read(text: &str) -> Result<ModelCard, CardFileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card.toml");
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    #[test]
    fn a_card_is_read_and_wrong_numbers_are_refused() {
        let card = read(CARD).unwrap();
        assert_eq!((card.name(), card.reference()), ("fraud-1", &[900_000, 100_000][..]));
        assert_eq!(card.calibration().knots()[1].probability, 999_999);
        assert_eq!(card.bands().of(60).name, "high");
        for (from, to) in
            [("0.9\n", "0.8\n"), ("0.999999", "1.5"), ("0.000001", "0.0000001"), ("share", "part")]
        {
            assert_eq!(read(&CARD.replacen(from, to, 1)).unwrap_err().code(), "SCORE_MODEL_INVALID", "{to}");
        }
    }
}
