//! The named stages of a job, and the crash tests' way to end the process at one.
//!
//! A debug build that is started with `WINDVANE_CRASH_AT=STAGE` kills its own process with SIGKILL when it
//! reaches that stage; `STAGE:N` does at the N-th time. A release build does not look at the variable.

use std::fmt;

/// Where a job can be when it is killed. Both parties pass the same stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The request is signed, logged and kept; nothing was sent. At the provider: it has come.
    Open,
    /// The acceptance is logged and kept.
    Accepted,
    /// The input is partitioned under the job's salt.
    Partitioned,
    /// A bucket's first step begins.
    BucketStarted,
    /// A bucket's first message was given to the connection.
    BucketSent,
    /// A bucket's result is kept. At the provider: the requester said that it keeps it.
    BucketFinished,
    /// The receipt is logged and kept.
    Receipt,
    /// The result file is in its place; the provider does not pass it.
    Output,
}

impl Stage {
    /// All stages, in the order of a job.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Accepted,
        Self::Partitioned,
        Self::BucketStarted,
        Self::BucketSent,
        Self::BucketFinished,
        Self::Receipt,
        Self::Output,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Partitioned => "partitioned",
            Self::BucketStarted => "bucket-started",
            Self::BucketSent => "bucket-sent",
            Self::BucketFinished => "bucket-finished",
            Self::Receipt => "receipt",
            Self::Output => "output",
        }
    }

    /// Tells that a job has reached this stage.
    pub(super) fn reached(self) {
        tracing::debug!(stage = self.name(), "a job reached a stage");
        #[cfg(debug_assertions)]
        crash::at(self);
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(debug_assertions)]
mod crash {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Stage;

    const VARIABLE: &str = "WINDVANE_CRASH_AT";

    struct Plan {
        stage: Stage,
        left: AtomicU64,
    }

    fn plan(text: &str) -> Option<Plan> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let stage = Stage::ALL.into_iter().find(|stage| stage.name() == name)?;
        Some(Plan { stage, left: AtomicU64::new(count.parse().ok()?) })
    }

    pub(super) fn at(stage: Stage) {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        let plan = PLAN.get_or_init(|| std::env::var(VARIABLE).ok().as_deref().and_then(plan));
        let Some(plan) = plan.as_ref().filter(|plan| plan.stage == stage) else { return };
        if plan.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // SIGKILL cannot be caught: nothing is flushed, no destructor runs.
            let killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            unreachable!("SIGKILL to the own process returned {killed:?}");
        }
    }
}
