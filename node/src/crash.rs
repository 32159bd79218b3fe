//! The crash tests' way to end the process at a named stage.
//!
//! A debug build that is started with `WINDVANE_CRASH_AT=STAGE` kills its own process with SIGKILL when it
//! reaches that stage; `STAGE:N` does at the N-th time. A release build does not look at the variable.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const VARIABLE: &str = "WINDVANE_CRASH_AT";

struct Plan {
    stage: String,
    left: AtomicU64,
}

fn plan(text: &str) -> Option<Plan> {
    let (name, count) = text.split_once(':').unwrap_or((text, "1"));
    Some(Plan { stage: name.to_owned(), left: AtomicU64::new(count.parse().ok()?) })
}

/// Ends the process if this is the stage, and the time, at which it is to end.
pub(crate) fn at(stage: &str) {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| std::env::var(VARIABLE).ok().as_deref().and_then(plan));
    let Some(plan) = plan.as_ref().filter(|plan| plan.stage == stage) else { return };
    if plan.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        // SIGKILL cannot be caught: nothing is flushed, no destructor runs.
        let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        unreachable!("SIGKILL to the own process returned {killed:?}");
    }
}
