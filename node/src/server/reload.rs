//! Taking over what commands changed: into the log, then into effect, and again until every step has succeeded.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windvane_protocols::transcript::Hash;

use super::{blocking, certificates};
use crate::bank::Bank;
use crate::error::NodeError;
use crate::outbox;
use crate::peer::renew::renew;
use crate::provider::{Provider, Shared};

/// Before what failed is tried again for the first time; twice as long before each further time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest time before what failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How far the changes of commands came.
#[derive(Debug, Default)]
pub(crate) struct TakingOver {
    /// What is in the log, and could not be taken out of the outbox yet.
    pub(super) logged: HashSet<Hash>,
    /// What is in the log is not all in effect yet.
    again: Option<Again>,
}

#[derive(Debug, Clone, Copy)]
struct Again {
    at: Instant,
    pause: Duration,
}

/// When to try what failed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// When its pause is over.
    Due,
    /// At once.
    Now,
}

impl TakingOver {
    /// Whether to take over what is in the log by now. `whole` tells whether all of it is in effect as far as is known.
    fn is_due(&self, whole: bool, when: When, now: Instant) -> bool {
        self.again.map_or(!whole, |again| when == When::Now || again.at <= now)
    }

    /// Notes whether everything is in effect now. Gives whether it is time to tell of a failure: what commands do
    /// meanwhile brings no more lines than the pauses allow.
    fn note(&mut self, whole: bool, now: Instant) -> bool {
        let pause = match self.again {
            _ if whole => {
                self.again = None;
                return false;
            }
            None => FIRST_PAUSE,
            Some(again) if again.at <= now => (again.pause * 2).min(LONGEST_PAUSE),
            Some(_) => return false,
        };
        self.again = Some(Again { at: now + pause, pause });
        true
    }
}

/// Takes the entries of commands into the log, and then what they changed into effect, with what could not be taken
/// over before. What fails is told, and stays due.
///
/// # Errors
/// The first [`NodeError`].
pub(super) async fn reload(
    shared: &Shared,
    provider: Option<Arc<Provider>>,
    bank: Option<Arc<Bank>>,
    when: When,
) -> Result<(), NodeError> {
    let mut taking_over = shared.taking_over.lock().await;
    let now = Instant::now();
    let is_whole = || bank.as_ref().is_none_or(|bank| bank.has_what_stands_there());
    let due = taking_over.is_due(is_whole(), when, now);
    let done = match into_log(shared, provider.as_ref(), bank.as_ref(), &mut taking_over.logged).await {
        Ok(false) if !due => return Ok(()),
        Ok(_) => into_effect(shared, provider, bank.clone()).await,
        Err(error) => Err(error),
    };
    let tell = taking_over.note(done.is_ok() && is_whole(), now);
    if let Err(error) = &done
        && tell
    {
        tracing::error!(code = error.code(), %error, "changes could not be taken over; they are tried again");
    }
    done
}

/// Takes the entries of commands into the log: whether there were any.
async fn into_log(
    shared: &Shared,
    provider: Option<&Arc<Provider>>,
    bank: Option<&Arc<Bank>>,
    logged: &mut HashSet<Hash>,
) -> Result<bool, NodeError> {
    if !shared.store.outbox()?.is_empty() {
        // No grant is used any more before the log says that it was ended: however long the rest of taking over takes,
        // what stands behind the end was under way.
        provider.map_or(Ok(()), |provider| provider.policy().withdraw(&shared.store))?;
        bank.map_or(Ok(()), |bank| bank.withdraw())?;
    }
    outbox::drain(&shared.store, &shared.log, logged).await
}

/// Takes over what the state and the files say. Each by itself: what one cannot take over must not keep the others
/// from it. Files are opened and checked.
async fn into_effect(
    shared: &Shared,
    provider: Option<Arc<Provider>>,
    bank: Option<Arc<Bank>>,
) -> Result<(), NodeError> {
    let functions = shared.functions.reload(&shared.store).map_err(NodeError::from);
    let renewing = shared.clone();
    let renewed = blocking(move || renew(&renewing)).await;
    // One that failed may have renewed a part.
    if matches!(renewed, Ok((true, _))) {
        bank.iter().for_each(|bank| bank.connect_anew());
        certificates::warn(shared);
    }
    let provider = blocking(move || provider.map_or(Ok(()), |provider| provider.reload())).await;
    let bank = blocking(move || bank.map_or(Ok(()), |bank| bank.reload())).await;
    let (provider, bank) = (provider.and_then(|done| done), bank.and_then(|done| done));
    functions.and(renewed.and_then(|(_, done)| done)).and(provider).and(bank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_due_again_after_pauses_that_grow_and_is_told_as_often() {
        let (mut taking_over, mut now) = (TakingOver::default(), Instant::now());
        assert!(!taking_over.is_due(true, When::Due, now));
        assert!(taking_over.is_due(false, When::Due, now), "known from the start");
        assert!(taking_over.note(false, now));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(!taking_over.is_due(false, When::Due, now));
            assert!(taking_over.is_due(false, When::Now, now));
            assert!(!taking_over.note(false, now), "an entry came meanwhile");
            let pause = taking_over.again.unwrap().pause;
            now += pause;
            assert!(taking_over.is_due(true, When::Due, now));
            assert!(taking_over.note(false, now));
            pauses.push(pause);
        }
        assert_eq!((pauses[0], pauses[1], pauses[11]), (FIRST_PAUSE, 2 * FIRST_PAUSE, LONGEST_PAUSE));
        assert!(!taking_over.note(true, now));
        assert!(!taking_over.is_due(true, When::Now, now));
    }
}
