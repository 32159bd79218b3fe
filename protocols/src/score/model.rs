//! The public card of a model: what all parties of a group know of the model whose parts the tables carry.
//!
//! The parts themselves are each provider's secret. The card's digest stands in the group's terms, so that a
//! changed calibration or other bands need a new epoch, as changed parts do.

use super::calibration::{Bands, Calibration, ONE};
use crate::limits::{MAX_PURPOSE_BYTES, MAX_SCORE_BANDS};
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// What everybody knows of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCard {
    name: String,
    calibration: Calibration,
    bands: Bands,
    reference: Vec<u32>,
}

/// Why a card is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// No name, or a long one.
    #[error("a model's name has 1 to {MAX_PURPOSE_BYTES} bytes")]
    Name,
    /// Not one share for each band, or they do not add up to one.
    #[error(
        "the reference has {found} shares that add up to {sum} millionths; it takes one for each of {bands} bands, a million in all"
    )]
    Reference {
        /// Shares.
        found: usize,
        /// Their sum.
        sum: u64,
        /// Bands of the model.
        bands: usize,
    },
}

impl ModelCard {
    /// A card. `reference` is the share of scores that is expected in each band, in millionths; it is what drift is
    /// measured against.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn new(
        name: String,
        calibration: Calibration,
        bands: Bands,
        reference: Vec<u32>,
    ) -> Result<Self, CardError> {
        if !(1..=MAX_PURPOSE_BYTES).contains(&name.len()) {
            return Err(CardError::Name);
        }
        let (found, sum) = (reference.len(), reference.iter().map(|share| u64::from(*share)).sum());
        let bands_there = bands.as_slice().len();
        if found != bands_there || sum != u64::from(ONE) {
            return Err(CardError::Reference { found, sum, bands: bands_there });
        }
        Ok(Self { name, calibration, bands, reference })
    }

    /// The model's name and version, for example `fraud-2026-11`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From sums to probabilities.
    pub const fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// From sums to bands.
    pub const fn bands(&self) -> &Bands {
        &self.bands
    }

    /// The expected share of scores in each band, in millionths.
    pub fn reference(&self) -> &[u32] {
        &self.reference
    }

    /// What a group's terms name.
    pub fn digest(&self) -> Hash {
        self.encode().digest()
    }
}

impl Record for ModelCard {
    const DOMAIN: &'static str = "windvane/score-model/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("name", &self.name)
            .bytes("calibration", self.calibration.encode().as_bytes())
            .bytes("bands", self.bands.encode().as_bytes())
            .list("reference", self.reference.iter().map(|share| share.to_be_bytes()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form =
            TranscriptError::Form { label: "reference", expected: "a share for each band, one in all" };
        let name = r.text("name")?.to_owned();
        let calibration = Calibration::decode(r.bytes("calibration")?)?;
        let bands = Bands::decode(r.bytes("bands")?)?;
        let share = |item: &[u8]| Some(u32::from_be_bytes(item.try_into().ok()?));
        let reference: Option<_> = r.list("reference", MAX_SCORE_BANDS)?.into_iter().map(share).collect();
        reference.and_then(|reference| Self::new(name, calibration, bands, reference).ok()).ok_or(form)
    }
}

#[cfg(test)]
mod tests {
    use super::super::calibration::{Band, Knot};
    use super::*;

    fn card(name: &str, reference: &[u32]) -> Result<ModelCard, CardError> {
        let calibration = Calibration::new(vec![Knot { sum: 0, probability: 10 }]).unwrap();
        let band = |(name, from): (&str, u16)| Band { name: name.to_owned(), from };
        let bands = Bands::new([("low", 0), ("high", 90)].map(band).to_vec()).unwrap();
        ModelCard::new(name.to_owned(), calibration, bands, reference.to_vec())
    }

    #[test]
    fn a_card_survives_its_encoding_and_another_has_another_digest() {
        let one = card("fraud-1", &[900_000, 100_000]).unwrap();
        assert_eq!(ModelCard::decode(one.encode().as_bytes()), Ok(one.clone()));
        assert_ne!(one.digest(), card("fraud-2", &[900_000, 100_000]).unwrap().digest());
    }

    #[test]
    fn a_reference_has_a_share_for_each_band_and_is_one_in_all() {
        assert_eq!(card("", &[900_000, 100_000]), Err(CardError::Name));
        for wrong in [&[1_000_000][..], &[900_000, 100_001], &[500_000, 250_000, 250_000]] {
            assert!(matches!(card("m", wrong), Err(CardError::Reference { bands: 2, .. })));
        }
    }
}
