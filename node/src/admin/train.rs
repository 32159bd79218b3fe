//! Schemas of trainings.

use std::path::Path;

use windvane_protocols::train::schema::TrainSchema;

use super::Admin;
use crate::error::NodeError;
use crate::train::features::{FeatureFile, fit_schema};
use crate::train::schema::SignedSchema;

impl Admin {
    /// Fits the edges of a table's features and signs them with the identity that others pin; gives the document, to be
    /// handed to all carriers that train as one.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn sign_train_schema(
        &self,
        table: &Path,
        number: &str,
        features: &[String],
    ) -> Result<String, NodeError> {
        let fitted = fit_schema(&FeatureFile::new(table, number, features), &())?;
        let schema = TrainSchema::new(self.keys.party.clone(), fitted)
            .map_err(|error| NodeError::Given { code: "TRAIN_SCHEMA_INVALID", message: error.to_string() })?;
        Ok(SignedSchema::sign(schema, self.keys.signing_key()).to_pem())
    }
}
