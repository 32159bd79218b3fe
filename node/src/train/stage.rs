//! The named stages of a training at a provider, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a session can be when its provider is killed.
    pub enum Stage {
        /// A request has come and is signed by who should.
        Opened => "train-opened",
        /// The acceptance is logged and kept.
        Accepted => "train-accepted",
        /// All announcements are checked and kept.
        Begun => "train-begun",
        /// An upload is kept.
        Uploaded => "train-uploaded",
        /// A step is kept, and nothing of its answer.
        Asked => "train-asked",
        /// A step's answer is kept by its digest, and nothing of it has left.
        Answered => "train-answered",
        /// The receipt is kept, and the registry does not have the model yet.
        Signed => "train-signed",
        /// The registry has the model, and the log not the receipt.
        Kept => "train-kept",
        /// The receipt is logged.
        Completed => "train-completed",
    }
}
