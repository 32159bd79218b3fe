//! Whether everything of an epoch is here, and whole: what an activation demands.

use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;

use super::ActivationError;
use crate::score::evidence::EvidenceFileError;
use crate::score::folder::GroupFolder;
use crate::score::plan::GroupPlan;
use crate::score::table::SummedTable;

/// The epoch, when the bank has its evidence, every provider's manifest and the whole table of their sum, and it is not
/// retired. Reads the whole table.
///
/// # Errors
/// [`ActivationError`], naming what is missing or changed.
pub fn check(folder: &GroupFolder, number: u64, party: &PartyId) -> Result<Epoch, ActivationError> {
    let dir = folder.epoch(number);
    if dir.is_retired() {
        return Err(ActivationError::Retired { epoch: number });
    }
    let epoch = evidence(folder, number)?;
    if epoch.charter().terms().requester.party != *party {
        return Err(ActivationError::NotBank { group: folder.group().clone() });
    }
    SummedTable::open(&dir, &epoch)?.verify()?;
    Ok(epoch)
}

/// An epoch of a group, every message of its setup checked again, under the pins that it was set up under: the group's
/// may have changed since.
///
/// # Errors
/// [`ActivationError::Evidence`], [`ActivationError::Plan`], [`ActivationError::Foreign`].
pub fn evidence(folder: &GroupFolder, number: u64) -> Result<Epoch, ActivationError> {
    let dir = folder.epoch(number);
    if !dir.is_finished() {
        return Err(EvidenceFileError::Unfinished { epoch: number }.into());
    }
    let epoch = dir.evidence(&GroupPlan::open_for(folder, number)?.pins())?;
    let terms = epoch.charter().terms();
    if terms.group == *folder.group() && terms.epoch == number {
        Ok(epoch)
    } else {
        Err(ActivationError::Foreign { epoch: number })
    }
}
