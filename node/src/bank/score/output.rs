//! What the grants let the bank keep of a score.

use std::collections::BTreeMap;

use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::calibration::Bands;
use windvane_protocols::transcript::Signed;

use crate::error::NodeError;
use crate::provider::Shared;

/// What the grants permit the bank to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    Everything,
    Bands(Bands),
    /// Two grants name different bands: together they permit nothing that could be said.
    Nothing,
}

impl Output {
    /// Takes one more grant's bands into account.
    pub(super) fn restrict(&mut self, bands: Option<&Bands>) {
        let Some(bands) = bands else { return };
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Everything => Self::Bands(bands.clone()),
            Self::Bands(known) if known == *bands => Self::Bands(known),
            _ => Self::Nothing,
        };
    }
}

/// The bands that every provider's newest grant of a group's scores names, for every purpose, whatever became of it since:
/// ended, expired, or of a provider that is no partner any more, or has no section. Who takes a permission back does not
/// give more with that.
#[derive(Debug, Default)]
pub(in crate::bank) struct Restrictions(BTreeMap<(PartyId, DataSet), Newest>);

/// What a provider's newest grants say of a group's scores.
#[derive(Debug, Default)]
struct Newest {
    by_purpose: BTreeMap<String, Option<Bands>>,
    /// Of the newest of all.
    of_any: Option<Bands>,
}

impl Restrictions {
    /// Reads the grants that this node ever accepted. Their signatures held then; a key may have been replaced since.
    ///
    /// # Errors
    /// [`NodeError`] when they cannot be read.
    pub(in crate::bank) fn read(shared: &Shared) -> Result<Self, NodeError> {
        let mut newest = Self::default();
        for stored in shared.store.grants()?.into_iter().filter(|stored| !stored.issued) {
            newest.take(Signed::<Grant>::from_bytes_unverified(stored.signed)?.body());
        }
        Ok(newest)
    }

    /// The provider's bands for the scores of a group, where it named any for the purpose. Where it granted them for
    /// other purposes alone, those of its newest grant.
    pub(super) fn of(&self, provider: &PartyId, group: &DataSet, purpose: &str) -> Option<&Bands> {
        let newest = self.0.get(&(provider.clone(), group.clone()))?;
        newest.by_purpose.get(purpose).unwrap_or(&newest.of_any).as_ref()
    }

    /// Grants come in the order in which they were accepted.
    fn take(&mut self, grant: &Grant) {
        if !grant.operations.contains(&Operation::Score) {
            return;
        }
        for group in &grant.data_sets {
            let newest = self.0.entry((grant.provider.clone(), group.clone())).or_default();
            for purpose in &grant.purposes {
                newest.by_purpose.insert(purpose.clone(), grant.score_bands.clone());
            }
            newest.of_any.clone_from(&grant.score_bands);
        }
    }
}
