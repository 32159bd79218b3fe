//! `Idempotency-Key`: a call that comes again is answered as it was, and not made again.
//!
//! **Promised**: the same key with another body is always refused, also after a restart; the same key with the same body
//! gets the stored answer, or an error while the first call is under way. The bank keeps the answer with its records, in
//! one transaction and before the caller has it, so that no call that was answered is made again. One that failed, or that
//! a kill cut off before, may be made again under its key: what was asked and logged by then stays counted. Keys are the
//! caller's own, and are kept for a bounded time. Keys and bodies may speak of people: only keyed digests of them are kept,
//! and the ids of reports, which lie sealed elsewhere.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::commit;

use super::problem::Problem;
use crate::bank::{BankError, Keyed};
use crate::clock::Clock;
use crate::store::{Remembered, Store};
use crate::verification::VerificationReport;

/// The header (draft-ietf-httpapi-idempotency-key-header).
pub(super) const HEADER: &str = "idempotency-key";

/// The longest key: two UUIDs and a prefix.
const MAX_KEY_BYTES: usize = 128;

/// When to ask again for what is under way.
const RETRY_AFTER_MS: u64 = 1_000;

/// The memory of keys.
#[derive(Debug)]
pub struct Idempotency {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    secret: Secret<[u8; 32]>,
    keep_ms: u64,
    running: Arc<Mutex<HashSet<[u8; 32]>>>,
}

/// What one item of a stored answer was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kept {
    /// A report, by its id.
    Report(String),
    /// An item that broke a rule.
    Error(Problem),
}

/// What to do with a call.
#[derive(Debug)]
pub(super) enum Begun {
    /// It carries no key, or one that is new, and is to be made.
    Make(Option<Claim>),
    /// It was made: these are its answers.
    Made(Vec<Kept>),
}

/// A key whose call is under way.
#[derive(Debug)]
pub(super) struct Claim {
    store: Arc<Store>,
    running: Arc<Mutex<HashSet<[u8; 32]>>>,
    key: [u8; 32],
}

impl Idempotency {
    /// Keys are remembered for `keep_ms`; `secret` keeps their digests from being guessed.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, secret: &Secret<[u8; 32]>, keep_ms: u64) -> Self {
        let secret = Secret::new(commit(secret.expose(), b"windvane/idempotency/v1"));
        Self { store, clock, secret, keep_ms, running: Arc::default() }
    }

    /// Looks a call up by its key, and takes the key where it is new.
    pub(super) async fn begin(
        &self,
        headers: &HeaderMap,
        caller: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Begun, Problem> {
        let Some(key) = key_of(headers)? else { return Ok(Begun::Make(None)) };
        let key = self.digest(&[caller.as_bytes(), key]);
        let body = self.digest(&[path.as_bytes(), body]);
        if !lock(&self.running).insert(key) {
            let problem = Problem::new(
                409,
                "IDEMPOTENCY_IN_PROGRESS",
                "a call under this Idempotency-Key is under way",
                "wait as Retry-After says, then send it again",
            );
            return Err(problem.after(RETRY_AFTER_MS));
        }
        let claim = Claim { store: self.store.clone(), running: self.running.clone(), key };
        let (store, now_ms, keep_ms) = (self.store.clone(), self.clock.now_ms(), self.keep_ms);
        let since_ms = now_ms.saturating_sub(keep_ms);
        let taken = tokio::task::spawn_blocking(move || store.take_key(&key, &body, now_ms, since_ms)).await;
        let taken = taken.map_err(|_| Problem::from(BankError::internal()))?;
        let Remembered { body: known, answer } =
            taken.map_err(|error| Problem::from(BankError::from(error)))?;
        if known != body {
            return Err(Problem::new(
                422,
                "IDEMPOTENCY_MISMATCH",
                "this Idempotency-Key was used with another body",
                "use a fresh key for a new question, and the very same bytes for a repetition",
            ));
        }
        let kept = answer.map(|answer| serde_json::from_slice(&answer));
        match kept.transpose() {
            Ok(Some(kept)) => Ok(Begun::Made(kept)),
            Ok(None) => Ok(Begun::Make(Some(claim))),
            Err(_) => {
                Err(BankError::unavailable("RECORD_DAMAGED", "the stored answer cannot be read").into())
            }
        }
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let length = |part: &&[u8]| (part.len() as u64).to_be_bytes();
        let item: Vec<u8> =
            parts.iter().flat_map(|part| length(part).into_iter().chain(part.iter().copied())).collect();
        commit(self.secret.expose(), &item)
    }
}

impl Claim {
    /// The key with what is kept under it, for the bank.
    pub(super) fn keyed(
        &self,
        kept: impl FnOnce(&[VerificationReport]) -> Vec<Kept> + Send + 'static,
    ) -> Keyed {
        Keyed::new(self.key, move |reports| {
            serde_json::to_vec(&kept(reports)).map_err(|_| BankError::internal())
        })
    }

    /// Keeps an answer under the key for which the bank was not asked.
    pub(super) async fn finish(self, kept: &[Kept]) -> Result<(), BankError> {
        let answer = serde_json::to_vec(kept).map_err(|_| BankError::internal())?;
        let (store, key) = (self.store.clone(), self.key);
        let stored = tokio::task::spawn_blocking(move || store.keep_answer(&key, &answer)).await;
        Ok(stored.map_err(|_| BankError::internal())??)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.key);
    }
}

fn lock(running: &Mutex<HashSet<[u8; 32]>>) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let printable = key.as_bytes().iter().all(|b| (0x20..=0x7e).contains(b));
    if given.next().is_some() || !printable || !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Err(invalid_key());
    }
    Ok(Some(key.as_bytes()))
}

/// A key that cannot be one.
pub(super) fn invalid_key() -> Problem {
    Problem::new(
        400,
        "IDEMPOTENCY_KEY_INVALID",
        "the Idempotency-Key is not 1 to 128 printable ASCII characters",
        "send one fresh random key, such as a UUID, with each new question",
    )
}
