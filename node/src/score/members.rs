//! The scoring epochs that a provider answers for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use windvane_protocols::score::epoch::Member;
use windvane_protocols::transcript::Hash;

use crate::error::NodeError;
use crate::provider::Shared;

/// Members of all epochs that are finished and not retired.
#[derive(Debug, Default)]
pub struct Members(RwLock<HashMap<Hash, Arc<Member>>>);

impl Members {
    pub fn reload(&self, _shared: &Shared) -> Result<(), NodeError> {
        Ok(())
    }
    /// The member of an epoch by its context.
    pub fn by_context(&self, context: &Hash) -> Option<Arc<Member>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(context).cloned()
    }
}
