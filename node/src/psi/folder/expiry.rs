//! The end of jobs that were given up.

use std::path::Path;

use windvane_protocols::party::SessionId;

use super::{Fact, JobFolder};
use crate::psi::PsiError;

/// So long a job that ended early can go on: a month.
const KEPT_MS: u64 = 30 * 86_400_000;

impl JobFolder {
    /// Forgets which rows matched in jobs that ended early and that nobody went on with for a month. They cannot
    /// go on then; what the evidence needs stays.
    ///
    /// # Errors
    /// Errors of the system.
    pub(in crate::psi) fn expire(root: &Path, now_ms: u64) -> Result<(), PsiError> {
        let all = Self::all(root);
        if !all.exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(&all).map_err(PsiError::io(&all))? {
            let entry = entry.map_err(PsiError::io(&all))?;
            let name = entry.file_name().to_str().and_then(job);
            if let Some(job) = name.filter(|_| has_matches(&entry.path())) {
                Self::expire_job(root, job, now_ms)?;
            }
        }
        Ok(())
    }

    fn expire_job(root: &Path, job: SessionId, now_ms: u64) -> Result<(), PsiError> {
        let old = Self::peek(root, job)?.is_some_and(|state| state.last_ms + KEPT_MS < now_ms);
        if !old {
            return Ok(());
        }
        // Whoever works on it just now has gone on with it.
        let Ok(mut folder) = Self::open_within(root, job, 1) else { return Ok(()) };
        if folder.state().last_ms + KEPT_MS < now_ms {
            folder.note(&Fact::Expired { at_ms: now_ms })?;
            folder.forget_matches()?;
            tracing::warn!(code = "JOB_EXPIRED", %job, "a job was given up a month ago; its matches are gone");
        }
        Ok(())
    }
}

fn job(name: &str) -> Option<SessionId> {
    let bytes: [u8; 16] = hex::decode(name).ok()?.try_into().ok()?;
    Some(SessionId::from_bytes(bytes))
}

/// Jobs that are through, those of a provider, and those that found nothing yet have none.
fn has_matches(folder: &Path) -> bool {
    std::fs::read_dir(folder.join("matches")).is_ok_and(|mut matches| matches.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psi::side::Outcome;

    const JOB: SessionId = SessionId::from_bytes([7; 16]);
    const BEGUN_MS: u64 = 1_000;

    fn found(root: &Path) -> JobFolder {
        let mut folder = JobFolder::open(root, JOB).unwrap();
        folder.note(&Fact::Attempt { number: 1, at_ms: BEGUN_MS }).unwrap();
        folder.finish(0, [1; 32], &Outcome::Matches(vec![(3, vec![])])).unwrap();
        folder
    }

    #[test]
    fn matches_of_a_job_that_was_given_up_go_after_a_month_and_no_earlier() {
        let dir = tempfile::tempdir().unwrap();
        drop(found(dir.path()));
        JobFolder::expire(dir.path(), BEGUN_MS + KEPT_MS).unwrap();
        let folder = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(folder.state().expired_at_ms, None);
        folder.outcome(0).unwrap();
        drop(folder);
        let late = BEGUN_MS + KEPT_MS + 1;
        JobFolder::expire(dir.path(), late).unwrap();
        let folder = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(folder.state().expired_at_ms, Some(late));
        assert!(folder.outcome(0).is_err());
    }

    #[test]
    fn a_job_that_somebody_works_on_does_not_expire() {
        let dir = tempfile::tempdir().unwrap();
        let folder = found(dir.path());
        JobFolder::expire(dir.path(), BEGUN_MS + 2 * KEPT_MS).unwrap();
        folder.outcome(0).unwrap();
        assert_eq!(JobFolder::peek(dir.path(), JOB).unwrap().unwrap().expired_at_ms, None);
    }
}
