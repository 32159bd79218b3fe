//! How the state file stands, for checks and metrics.

use super::{Store, StoreError};

/// What waits in the state file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreCondition {
    /// Entries of commands that wait for the log.
    pub outbox: u64,
    /// Receipts that wait for their countersignature, by provider.
    pub uncountersigned: Vec<(String, u64)>,
}

impl Store {
    /// Reads what waits; that it can be read is a check in itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn condition(&self) -> Result<StoreCondition, StoreError> {
        let outbox = self.rows("SELECT count(*) FROM outbox", |row| row.get::<_, i64>(0))?;
        let uncountersigned = self
            .rows("SELECT provider, count(*) FROM uncountersigned GROUP BY provider", |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
            })?;
        Ok(StoreCondition { outbox: outbox.first().map_or(0, |count| *count as u64), uncountersigned })
    }
}
