//! Whether everything of an epoch is here, and whole: what an activation demands.

use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::group::Pins;

use super::ActivationError;
use crate::score::folder::EpochFolder;
use crate::score::table::SummedTable;

/// The epoch, when the bank has its evidence, every provider's manifest and the whole table of their sum, and it is not
/// retired. Reads the whole table.
///
/// # Errors
/// [`ActivationError`], naming what is missing or changed.
pub fn check(
    folder: &EpochFolder,
    group: &DataSet,
    party: &PartyId,
    pins: &Pins,
) -> Result<Epoch, ActivationError> {
    if folder.is_retired() {
        return Err(ActivationError::Retired { epoch: folder.epoch() });
    }
    let epoch = evidence(folder, group, pins)?;
    if epoch.charter().terms().requester.party != *party {
        return Err(ActivationError::NotBank { group: group.clone() });
    }
    SummedTable::open(folder, &epoch)?.verify()?;
    Ok(epoch)
}

/// The epoch of a group's folder, every message of its setup checked again.
///
/// # Errors
/// [`ActivationError::Evidence`], [`ActivationError::Foreign`].
pub fn evidence(folder: &EpochFolder, group: &DataSet, pins: &Pins) -> Result<Epoch, ActivationError> {
    let number = folder.epoch();
    let epoch = folder.evidence(pins)?;
    let terms = epoch.charter().terms();
    if terms.group == *group && terms.epoch == number {
        Ok(epoch)
    } else {
        Err(ActivationError::Foreign { epoch: number })
    }
}
