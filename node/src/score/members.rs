//! What a running provider has of the joint score: the groups that it joined, and its part in their epochs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::epoch::Member;
use windvane_protocols::transcript::Hash;

use super::folder::{GroupFolder, ScoreFolder};
use super::member::load_member;
use super::plan::GroupPlan;
use crate::error::NodeError;
use crate::provider::Shared;

/// Groups and epochs, as of the last [`Members::reload`].
#[derive(Debug, Default)]
pub struct Members {
    loaded: RwLock<Arc<Loaded>>,
    /// Held over a whole reload: what an earlier one read must not replace what a later one did.
    reloading: Mutex<()>,
}

#[derive(Debug, Default)]
struct Loaded {
    groups: HashMap<DataSet, Arc<GroupPlan>>,
    epochs: HashMap<(DataSet, u64), Arc<Member>>,
    contexts: HashMap<Hash, Arc<Member>>,
}

impl Members {
    /// Reads plans, evidence and secrets again; what is there and unchanged stays as it is. A group or an epoch that
    /// cannot be read is left out and logged: the others go on.
    ///
    /// # Errors
    /// [`NodeError`] when the folder itself cannot be read.
    pub fn reload(&self, shared: &Shared) -> Result<(), NodeError> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, score) = (self.loaded(), ScoreFolder::new(&shared.layout));
        let mut now = Loaded::default();
        for group in score.groups()? {
            let folder = score.group(&group);
            // Whatever became of the group's plan: a finished epoch has its own.
            before.epochs(shared, &folder, &mut now)?;
            match before.plan(&folder) {
                Ok(Some(plan)) if plan.pinned(&shared.keys.party).is_some() => {
                    now.groups.insert(group, plan);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(code = error.code(), %group, %error, "a scoring group cannot be set up again");
                }
            }
        }
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        Ok(())
    }

    /// This node's part in the epoch of a context.
    pub fn by_context(&self, context: &Hash) -> Option<Arc<Member>> {
        self.loaded().contexts.get(context).cloned()
    }

    /// What this node joined under a group's name.
    pub fn group(&self, group: &DataSet) -> Option<Arc<GroupPlan>> {
        self.loaded().groups.get(group).cloned()
    }

    /// All groups that this node joined.
    pub fn groups(&self) -> Vec<Arc<GroupPlan>> {
        self.loaded().groups.values().cloned().collect()
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Loaded {
    /// The group's plan, read again only where it changed.
    fn plan(&self, folder: &GroupFolder) -> Result<Option<Arc<GroupPlan>>, super::plan::PlanError> {
        let Some(digest) = GroupPlan::kept_digest(folder)? else { return Ok(None) };
        match self.groups.get(folder.group()).filter(|plan| plan.digest() == digest) {
            Some(plan) => Ok(Some(plan.clone())),
            None => GroupPlan::open(folder).map(Arc::new).map(Some),
        }
    }

    /// Adds a group's finished epochs that are not retired to `now`.
    fn epochs(&self, shared: &Shared, folder: &GroupFolder, now: &mut Self) -> Result<(), NodeError> {
        for epoch in folder.standing_epochs()? {
            let key = (folder.group().clone(), epoch);
            let member = match self.epochs.get(&key) {
                Some(member) => Ok(member.clone()),
                None => open(shared, folder, epoch).map(Arc::new),
            };
            match member {
                Ok(member) => {
                    now.contexts.insert(*member.epoch().context(), member.clone());
                    now.epochs.insert(key, member);
                }
                Err(error) => {
                    let group = folder.group();
                    tracing::error!(code = error.code(), %group, epoch, %error, "an epoch is left out");
                }
            }
        }
        Ok(())
    }
}

/// Under the pins that the epoch was set up under: the group's may have changed since.
fn open(shared: &Shared, folder: &GroupFolder, epoch: u64) -> Result<Member, NodeError> {
    let plan = GroupPlan::open_for(folder, epoch)?;
    Ok(load_member(&shared.keys, folder, &plan, epoch)?)
}
