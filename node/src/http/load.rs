//! Shedding: more calls at once than the node can hold are refused at once, instead of queueing without end.
//!
//! A call keeps its place until it ended, be its caller still there or not.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::app::App;
use super::problem::Problem;

/// Single verifications under way at once: half a second's worth at 1,000 a second.
const MAX_SINGLES: u32 = 512;

/// Batches under way at once: each may hold 4,096 customers, about 20 MB with its answer.
const MAX_BATCHES: u32 = 8;

/// A refused caller should wait this long.
const RETRY_AFTER_MS: u64 = 1_000;

/// Places for calls under way.
#[derive(Debug, Clone)]
pub struct Places {
    singles: Arc<Semaphore>,
    batches: Arc<Semaphore>,
}

/// A call's place, as long as anybody holds it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Default for Places {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count as usize));
        Self { singles: places(MAX_SINGLES), batches: places(MAX_BATCHES) }
    }
}

impl Places {
    /// Waits until no call is under way, that of a caller that hung up included.
    pub async fn all_free(&self) {
        for (places, count) in [(&self.singles, MAX_SINGLES), (&self.batches, MAX_BATCHES)] {
            let _all = places.acquire_many(count).await.expect("the semaphore is never closed");
        }
    }
}

impl Place {
    /// The place that a request was given.
    pub(super) fn of(request: &Request) -> Option<Self> {
        request.extensions().get().cloned()
    }
}

/// Takes a place for a single call, or refuses it.
pub(super) async fn single(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    with_place(&app.places.singles, request, next).await
}

/// Takes a place for a batch, or refuses it.
pub(super) async fn batch(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    with_place(&app.places.batches, request, next).await
}

async fn with_place(places: &Arc<Semaphore>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
        let problem = Problem::new(429, "OVERLOADED", "too many calls at once", "wait as Retry-After says");
        return Err(problem.after(RETRY_AFTER_MS));
    };
    let place = Place { _permit: Arc::new(permit) };
    request.extensions_mut().insert(place.clone());
    let response = next.run(request).await;
    drop(place);
    Ok(response)
}
