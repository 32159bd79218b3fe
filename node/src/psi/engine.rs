//! What both parties' drivers share: the connection's context, its clocks, and a bucket's conversation.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use windvane_proto::convert::PsiFrame;
use windvane_protocols::party::SessionId;
use windvane_protocols::psi::{Parameters, PsiTranscript};

use super::PsiError;
use super::folder::JobFolder;
use super::link::Outgoing;
use super::stage::Stage;

/// Buckets under way at a time: one is on the wire while others are computed; each holds its messages.
pub(super) const WINDOW: usize = 4;

/// How often a driver looks at its clocks and at the operator's wish.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// Ticks between two signs of life.
const LIFE_TICKS: u32 = 10;

/// How long a job waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A peer that says nothing for so long is gone.
    pub idle: Duration,
    /// One connection may take so long.
    pub total: Duration,
}

/// What every bucket of a connection knows.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) session: SessionId,
    pub(super) attempt: u64,
    pub(super) parameters: Parameters,
    pub(super) out: Outgoing,
}

/// A connection's clocks.
#[derive(Debug)]
pub(super) struct Watch {
    patience: Patience,
    begun: Instant,
    heard: Instant,
    ticks: u32,
    cancel: PathBuf,
}

impl Watch {
    pub(super) fn new(patience: Patience, folder: &std::path::Path) -> Self {
        let now = Instant::now();
        Self { patience, begun: now, heard: now, ticks: 0, cancel: JobFolder::cancel_path(folder) }
    }

    /// The peer said something.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Looks at the clocks; whether it is time for a sign of life.
    pub(super) fn tick(&mut self) -> Result<bool, PsiError> {
        if self.cancel.exists() {
            return Err(PsiError::Cancelled);
        }
        if self.heard.elapsed() > self.patience.idle {
            return Err(PsiError::Idle { seconds: self.patience.idle.as_secs() });
        }
        if self.begun.elapsed() > self.patience.total {
            return Err(PsiError::Deadline { seconds: self.patience.total.as_secs() });
        }
        self.ticks += 1;
        Ok(self.ticks.is_multiple_of(LIFE_TICKS))
    }
}

/// A bucket's place in the line in which the chain passes.
pub(super) struct Place<C> {
    before: oneshot::Receiver<C>,
    after: Option<oneshot::Sender<C>>,
}

/// The line's end, where the next bucket joins.
pub(super) struct Line<C>(oneshot::Receiver<C>);

impl<C> Line<C> {
    /// A line whose first bucket gets `chain` at once.
    pub(super) fn new(chain: C) -> Self {
        let (sender, receiver) = oneshot::channel();
        // The receiver is right here.
        let _ = sender.send(chain);
        Self(receiver)
    }

    /// The next bucket joins.
    pub(super) fn join(&mut self) -> Place<C> {
        let (after, next) = oneshot::channel();
        Place { before: std::mem::replace(&mut self.0, next), after: Some(after) }
    }
}

impl<C> Place<C> {
    /// Waits for the chain. A bucket that failed before ends the line.
    pub(super) async fn chain(&mut self) -> Result<C, PsiError> {
        (&mut self.before).await.map_err(|_| PsiError::Closed)
    }

    /// Gives the chain on, the first time that there is one.
    pub(super) fn pass(&mut self, chain: Option<C>) {
        if let Some((chain, after)) = chain.and_then(|chain| Some((chain, self.after.take()?))) {
            // No bucket follows: nobody waits.
            let _ = after.send(chain);
        }
    }
}

/// A bucket's transcript and the number of its next message.
pub(super) struct Course {
    transcript: PsiTranscript,
    next: u32,
    bucket: u32,
}

impl Course {
    pub(super) fn new(connection: &Connection, bucket: u32) -> Self {
        let transcript = PsiTranscript::bucket(connection.session, bucket, connection.attempt);
        Self { transcript, next: 0, bucket }
    }

    /// Takes the peer's message into the transcript.
    pub(super) fn received(&mut self, message: &Bytes) {
        self.transcript.message(message);
        self.next += 1;
    }

    /// Takes an own message into the transcript; gives its number.
    pub(super) fn sends(&mut self, message: &[u8]) -> u32 {
        self.transcript.message(message);
        self.next += 1;
        self.next - 1
    }

    /// The hash over what has travelled so far.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.transcript.clone().finish()
    }

    /// Sends an own message that stands in the transcript.
    pub(super) async fn send(&self, out: &Outgoing, number: u32, message: Vec<u8>) -> Result<(), PsiError> {
        out.message(self.bucket, number, message.into()).await?;
        if number < 2 {
            Stage::BucketSent.reached();
        }
        Ok(())
    }
}

/// The next whole message of the peer about a bucket.
pub(super) async fn next(inbox: &mut mpsc::Receiver<Bytes>) -> Result<Bytes, PsiError> {
    inbox.recv().await.ok_or(PsiError::Closed)
}

/// Runs a step on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PsiError> + Send + 'static,
) -> Result<T, PsiError> {
    let stopped = |_| crate::error::NodeError::Given { code: "INTERNAL", message: "a worker stopped".into() };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

/// Waits for own work outside of the buckets, minding the clocks and giving signs of life.
pub(super) async fn while_alive<T>(
    work: impl Future<Output = Result<T, PsiError>>,
    out: &Outgoing,
    watch: &mut Watch,
) -> Result<T, PsiError> {
    let mut ticks = tokio::time::interval(TICK);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                // The peer is not listened to meanwhile, so its silence is no fault.
                watch.heard();
                if watch.tick()? {
                    out.offer(PsiFrame::Progress(0));
                }
            }
        }
    }
}

/// A folder that the buckets of a connection share.
pub(super) type SharedFolder = Arc<std::sync::Mutex<JobFolder>>;

/// The folder, for a short while.
pub(super) fn lock(folder: &SharedFolder) -> std::sync::MutexGuard<'_, JobFolder> {
    // A panic while the lock was held left the journal at a whole line, or at one that is dropped.
    folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
