//! The named stages of a verification, at each of which the crash tests end the bank's process.

use crate::stages::stages;

stages! {
    silent
    /// Where a verification can be when its bank is killed.
    pub enum Stage {
        /// Its requests are durable; none has left.
        Requested => "verification-requested",
        /// Answers and decision are durable; the state has neither the record nor the receipts to countersign.
        Logged => "verification-logged",
        /// The state has them; the caller has no answer.
        Stored => "verification-stored",
    }
}
