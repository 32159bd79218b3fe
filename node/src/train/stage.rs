//! The named stages of a training at a provider, at each of which the crash tests end the process.

/// Where a session can be when its provider is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// A request has come and is signed by who should.
    Opened,
    /// The acceptance is logged and kept.
    Accepted,
    /// All announcements are checked and kept.
    Begun,
    /// An upload is kept.
    Uploaded,
    /// A step is kept, and nothing of its answer.
    Asked,
    /// A step's answer is kept by its digest, and nothing of it has left.
    Answered,
    /// The receipt is kept, and the registry does not have the model yet.
    Signed,
    /// The registry has the model, and the log not the receipt.
    Kept,
    /// The receipt is logged.
    Completed,
}

impl Stage {
    /// All stages, in the order of a session.
    pub const ALL: [Self; 9] = [
        Self::Opened,
        Self::Accepted,
        Self::Begun,
        Self::Uploaded,
        Self::Asked,
        Self::Answered,
        Self::Signed,
        Self::Kept,
        Self::Completed,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "train-opened",
            Self::Accepted => "train-accepted",
            Self::Begun => "train-begun",
            Self::Uploaded => "train-uploaded",
            Self::Asked => "train-asked",
            Self::Answered => "train-answered",
            Self::Signed => "train-signed",
            Self::Kept => "train-kept",
            Self::Completed => "train-completed",
        }
    }

    /// Tells that a session has reached this stage.
    pub(super) fn reached(self) {
        tracing::debug!(stage = self.name(), "a training reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}
