//! The signed schema by which several carriers bin their features alike and grow trees as one.

use std::collections::BTreeSet;

use super::binning::Edges;
use crate::limits::{MAX_TRAIN_FEATURES, MAX_TRAIN_NAME_BYTES};
use crate::party::PartyId;
use crate::transcript::{Reader, Record, Transcript, TranscriptError};

/// One feature: the name of its column, and where its bins end.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaFeature {
    /// The column's name, the same in every carrier's table.
    pub name: String,
    /// The edges between bins.
    pub edges: Edges,
}

/// Features and their edges, in the order of features' numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSchema {
    publisher: PartyId,
    features: Vec<SchemaFeature>,
}

/// Why features are no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// No feature, or too many.
    #[error("a schema has 1 to {MAX_TRAIN_FEATURES} features, found {found}")]
    Features {
        /// How many there are.
        found: usize,
    },
    /// A name that is empty, long, has control characters, or stands twice.
    #[error("feature {index} has no name of 1 to {MAX_TRAIN_NAME_BYTES} bytes that stands once")]
    Name {
        /// The feature.
        index: usize,
    },
}

impl TrainSchema {
    /// A schema in its publisher's name.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn new(publisher: PartyId, features: Vec<SchemaFeature>) -> Result<Self, SchemaError> {
        if !(1..=MAX_TRAIN_FEATURES).contains(&features.len()) {
            return Err(SchemaError::Features { found: features.len() });
        }
        let mut seen = BTreeSet::new();
        let good = |feature: &SchemaFeature| {
            let name = &feature.name;
            (1..=MAX_TRAIN_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        match features.iter().position(|feature| !good(feature) || !seen.insert(&feature.name)) {
            Some(index) => Err(SchemaError::Name { index }),
            None => Ok(Self { publisher, features }),
        }
    }

    /// Who publishes and signs it.
    pub const fn publisher(&self) -> &PartyId {
        &self.publisher
    }

    /// The features, by their numbers.
    pub fn features(&self) -> &[SchemaFeature] {
        &self.features
    }
}

impl Record for TrainSchema {
    const DOMAIN: &'static str = "windvane/train-schema/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("publisher", self.publisher.as_str())
            .list("feature", self.features.iter().map(|feature| feature.name.as_bytes()))
            .list("edges", self.features.iter().map(|feature| feature.edges.encode().into_bytes()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form =
            TranscriptError::Form { label: "feature", expected: "different short names, with edges each" };
        let publisher = r.parse("publisher")?;
        let names = r.list("feature", MAX_TRAIN_FEATURES)?;
        let edges = r.list("edges", MAX_TRAIN_FEATURES)?;
        if names.len() != edges.len() {
            return Err(form);
        }
        let feature = |(name, edges)| {
            let name = std::str::from_utf8(name).map_err(|_| form.clone())?.to_owned();
            Ok(SchemaFeature { name, edges: Edges::decode(edges)? })
        };
        let features = names.into_iter().zip(edges).map(feature).collect::<Result<_, TranscriptError>>()?;
        Self::new(publisher, features).map_err(|_| form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str, edges: &[f64]) -> SchemaFeature {
        SchemaFeature { name: name.into(), edges: Edges::new(edges.to_vec()).unwrap() }
    }

    fn schema() -> TrainSchema {
        let features = vec![feature("calls", &[1.0, 2.5]), feature("活跃", &[])];
        TrainSchema::new("carrier-a".parse().unwrap(), features).unwrap()
    }

    #[test]
    fn a_schema_survives_its_encoding_and_refuses_every_truncation() {
        let bytes = schema().encode().into_bytes();
        assert_eq!(TrainSchema::decode(&bytes), Ok(schema()));
        assert!((0..bytes.len()).all(|end| TrainSchema::decode(&bytes[..end]).is_err()));
    }

    #[test]
    fn features_have_names_of_their_own() {
        let with = |features| TrainSchema::new("carrier-a".parse().unwrap(), features);
        assert_eq!(with(vec![]), Err(SchemaError::Features { found: 0 }));
        let many = (0..=MAX_TRAIN_FEATURES).map(|i| feature(&i.to_string(), &[])).collect();
        assert_eq!(with(many), Err(SchemaError::Features { found: MAX_TRAIN_FEATURES + 1 }));
        let long = "x".repeat(MAX_TRAIN_NAME_BYTES + 1);
        for wrong in ["", "a", "b\n", &long] {
            let features = vec![feature("a", &[]), feature(wrong, &[])];
            assert_eq!(with(features), Err(SchemaError::Name { index: 1 }));
        }
    }
}
