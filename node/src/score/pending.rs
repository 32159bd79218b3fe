//! A stand-in for the group's plan and the members' keys, to be replaced by what sets groups up.

use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::epoch::{Epoch, Member};
use windvane_protocols::score::group::Pins;
use windvane_protocols::score::universe::Universe;

use super::folder::{EpochFolder, FolderError, GroupFolder};
use crate::error::NodeError;
use crate::identity::NodeKeys;

/// What a group agreed on.
#[derive(Debug)]
pub struct GroupPlan {
    /// The group.
    pub group: DataSet,
    /// Its numbers.
    pub universe: Universe,
}

impl GroupPlan {
    /// The plan that an epoch was set up under.
    ///
    /// # Errors
    /// Always: groups cannot be set up yet.
    pub fn open_for(folder: &GroupFolder, _epoch: u64) -> Result<Self, NodeError> {
        Err(FolderError::NoGroup { group: folder.group().clone() }.into())
    }

    /// What a setup is checked against.
    pub fn pins(&self) -> Pins {
        Pins::new()
    }
}

impl EpochFolder {
    /// The epoch, from its evidence.
    ///
    /// # Errors
    /// Always: groups cannot be set up yet.
    pub fn evidence(&self, _pins: &Pins) -> Result<Epoch, NodeError> {
        Err(unfinished(self.epoch()))
    }

    /// Whether the setup is finished here.
    pub fn is_finished(&self) -> bool {
        self.join("evidence").exists()
    }

    /// Whether the epoch is retired: its keys are destroyed.
    pub fn is_retired(&self) -> bool {
        self.join("retired").exists()
    }
}

/// This node as a provider in an epoch.
///
/// # Errors
/// Always: groups cannot be set up yet.
pub fn load_member(
    _keys: &NodeKeys,
    _folder: &GroupFolder,
    _plan: &GroupPlan,
    epoch: u64,
) -> Result<Member, NodeError> {
    Err(unfinished(epoch))
}

fn unfinished(epoch: u64) -> NodeError {
    let message = format!("the setup of epoch {epoch} is not finished here");
    NodeError::Given { code: "SCORE_EPOCH_UNFINISHED", message }
}
