//! The joint score in an operator's hands.

use windvane_protocols::audit::entry::Event;

use super::Admin;
use crate::error::NodeError;

mod model;
mod setup;
mod tables;

pub use model::{AddedModel, ModelFiles, ModelStatus};
pub use tables::{FetchedScore, ScorePublication};

impl Admin {
    /// Puts entries into the log, or into what waits for it.
    fn tell(&self, events: impl IntoIterator<Item = Event>) -> Result<(), NodeError> {
        for event in events {
            self.store.queue_entry(&self.entry(event))?;
        }
        self.flush()
    }
}
