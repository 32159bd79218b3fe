//! What the bank does about the monitor's verdict.
//!
//! **Promised**: an alert is told once, not at every window; a fallback always ends in a state that does not use what
//! was found wanting, by the rules alone where nothing else is left.

use super::activation::{ActivationError, ActiveState, Choice, Lifecycle, MONITOR};
use super::monitor::{Finding, Verdict, What};
use crate::config::Fallback;

/// Carries a verdict on `watched` out: tells of an alert, or stops using the score. Does nothing when something else is
/// in use by now, of which the verdict says nothing. What is queued for the log makes the node reload what it scores
/// with. Reads whole tables, so it belongs on a thread that may wait.
///
/// # Errors
/// [`ActivationError`]: the log was not told. The caller tells the monitor so, and a next window with the same findings
/// says them again; a fallback that was stored stays, and its entries wait in the group's state.
pub fn apply(
    verdict: &Verdict,
    watched: &Choice,
    life: &Lifecycle<'_>,
    fallback: Fallback,
) -> Result<(), ActivationError> {
    match verdict {
        Verdict::Fine | Verdict::Alert { repeated: true, .. } => Ok(()),
        Verdict::Alert { findings, .. } => {
            let state = ActiveState::load(life.folder)?;
            if state.in_use() != Some(watched) {
                return Ok(());
            }
            warn(findings, life, "alert");
            life.tell([life.model_event(life.active_model(&state)?, "alert", MONITOR)])
        }
        Verdict::Fallback { findings } => {
            let _held = life.folder.lock()?;
            if life.settle()?.in_use() != Some(watched) {
                return Ok(());
            }
            warn(findings, life, "fallback");
            fall_back(findings, life, fallback)?;
            life.settle().map(drop)
        }
    }
}

fn fall_back(findings: &[Finding], life: &Lifecycle<'_>, fallback: Fallback) -> Result<(), ActivationError> {
    // An earlier model would ask the same providers, who do not answer.
    let earlier_helps = findings.iter().any(|finding| finding.what != What::Unavailable);
    if fallback == Fallback::LastGood && earlier_helps {
        match life.step_back("fallback", MONITOR) {
            Err(error) => tracing::warn!(code = error.code(), %error, "the rules alone decide"),
            done => return done,
        }
    }
    life.stop_scoring(MONITOR)
}

fn warn(findings: &[Finding], life: &Lifecycle<'_>, action: &str) {
    for Finding { what, found, limit } in findings {
        let (code, group) = (what.code(), life.folder.group().as_str());
        tracing::warn!(code, group, found, limit, action, "the joint score is beyond its limits");
    }
}

#[cfg(test)]
mod tests;
