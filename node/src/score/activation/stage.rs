//! The named stages of a change of what is scored with, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where an activation, a rollback or a fallback can be when it is killed.
    pub enum ChoiceStage {
        /// The choice is made, and what the log is to have of it stands beside it; nothing is queued.
        Chosen => "choice-made",
        /// The log's entries are queued, and still stand beside the choice.
        Told => "choice-told",
    }
}
