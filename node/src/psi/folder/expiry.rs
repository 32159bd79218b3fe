//! The end of jobs that were given up.

use std::path::Path;

use windvane_protocols::party::SessionId;
use windvane_protocols::psi::PsiReceipt;
use windvane_protocols::transcript::Signed;

use super::{Document, Fact, JobFolder, JobState};
use crate::psi::PsiError;

/// So long a job that ended early can go on: a month.
const KEPT_MS: u64 = 30 * 86_400_000;

impl JobFolder {
    /// Forgets which rows matched in jobs that ended early and that nobody went on with for a month. They cannot
    /// go on then; what the evidence needs stays. A receipt among it, whose countersignature may have been kept
    /// back, goes to `receipts`. One damaged folder does not keep others from being looked at.
    ///
    /// # Errors
    /// Errors of the system, for the folder of all jobs.
    pub(in crate::psi) fn expire(
        root: &Path,
        now_ms: u64,
        mut receipts: impl FnMut(&Signed<PsiReceipt>) -> Result<(), PsiError>,
    ) -> Result<(), PsiError> {
        let all = Self::all(root);
        if !all.exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(&all).map_err(PsiError::io(&all))? {
            let entry = entry.map_err(PsiError::io(&all))?;
            let name = entry.file_name().to_str().and_then(job);
            let Some(job) = name.filter(|_| has_matches(&entry.path())) else { continue };
            if let Err(error) = Self::expire_job(root, job, now_ms, &mut receipts) {
                tracing::warn!(code = error.code(), %job, %error, "an old job could not be given up");
            }
        }
        Ok(())
    }

    fn expire_job(
        root: &Path,
        job: SessionId,
        now_ms: u64,
        receipts: &mut impl FnMut(&Signed<PsiReceipt>) -> Result<(), PsiError>,
    ) -> Result<(), PsiError> {
        let over = |state: &JobState| state.completed_at_ms.is_some() || state.last_ms + KEPT_MS < now_ms;
        if !Self::peek(root, job)?.as_ref().is_some_and(over) {
            return Ok(());
        }
        // Whoever works on it just now has gone on with it.
        let Ok(mut folder) = Self::open_within(root, job, 1) else { return Ok(()) };
        if folder.state().completed_at_ms.is_some() {
            // It was through, and died before it had forgotten them.
            return folder.forget_matches();
        }
        if over(folder.state()) {
            folder.read(Document::Receipt)?.as_ref().map_or(Ok(()), receipts)?;
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
    use windvane_keys::store::MemoryStore;
    use windvane_keys::symmetric::StorageKey;

    use super::*;
    use crate::psi::side::Outcome;

    const JOB: SessionId = SessionId::from_bytes([7; 16]);
    const BEGUN_MS: u64 = 1_000;

    fn found(root: &Path) -> JobFolder {
        let mut folder = JobFolder::open(root, JOB).unwrap();
        folder.note(&Fact::Attempt { number: 1, at_ms: BEGUN_MS }).unwrap();
        let key = StorageKey::generate(&MemoryStore::new(), 1, &mut rand::rng()).unwrap();
        folder.finish(0, [1; 32], &Outcome::Matches(vec![(3, vec![])]), &key).unwrap();
        folder
    }

    fn expire(root: &Path, now_ms: u64) {
        JobFolder::expire(root, now_ms, |_| Ok(())).unwrap();
    }

    #[test]
    fn matches_of_a_job_that_was_given_up_go_after_a_month_and_no_earlier() {
        let dir = tempfile::tempdir().unwrap();
        drop(found(dir.path()));
        expire(dir.path(), BEGUN_MS + KEPT_MS);
        let folder = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(folder.state().expired_at_ms, None);
        assert!(has_matches(folder.path()));
        drop(folder);
        let late = BEGUN_MS + KEPT_MS + 1;
        expire(dir.path(), late);
        let folder = JobFolder::open(dir.path(), JOB).unwrap();
        assert_eq!(folder.state().expired_at_ms, Some(late));
        // Opening it makes the folder, and nothing in it.
        assert!(!has_matches(folder.path()));
    }

    #[test]
    fn a_job_that_was_through_forgets_at_once_and_a_damaged_one_beside_it_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = found(dir.path());
        folder.note(&Fact::Completed { matches: Some(1), at_ms: BEGUN_MS }).unwrap();
        drop(folder);
        for first_or_last in [[0; 16], [0xff; 16]] {
            let damaged = JobFolder::path_of(dir.path(), SessionId::from_bytes(first_or_last));
            std::fs::create_dir_all(damaged.join("matches/0")).unwrap();
            std::fs::create_dir(damaged.join("journal")).unwrap();
        }
        expire(dir.path(), BEGUN_MS);
        let state = JobFolder::peek(dir.path(), JOB).unwrap().unwrap();
        assert_eq!((state.completed_at_ms, state.expired_at_ms), (Some(BEGUN_MS), None));
        assert!(!has_matches(&JobFolder::path_of(dir.path(), JOB)));
    }

    #[test]
    fn a_job_that_somebody_works_on_does_not_expire() {
        let dir = tempfile::tempdir().unwrap();
        let folder = found(dir.path());
        expire(dir.path(), BEGUN_MS + 2 * KEPT_MS);
        assert!(has_matches(folder.path()));
        assert_eq!(JobFolder::peek(dir.path(), JOB).unwrap().unwrap().expired_at_ms, None);
    }
}
