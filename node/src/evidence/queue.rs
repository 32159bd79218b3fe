//! What waits for the writer, and what the writer has done: the state that handles and threads share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;
use windvane_protocols::audit::checkpoint::Checkpoint;
use windvane_protocols::limits::MAX_ENTRY_BYTES;

use super::journal::Half;
use super::{LogConfig, LogError};

/// Bytes that may wait for the writer: a second of storage at 32 MiB/s.
const MAX_QUEUED_BYTES: usize = 32 << 20;

/// What an entry costs in the queue and in the journal beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Bytes up to which an append that finds the log idle is written where it is.
const MAX_HERE_BYTES: usize = 64 << 10;

/// Sync times that [`LogStats`] looks back on.
const SAMPLES: usize = 1_024;

/// Upper bounds of the counted sync times, seconds: from a good flash disk to one that is about to fail.
const SYNC_SECONDS: [f64; 11] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// Where an append's entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Index of the first one; the others follow.
    pub first_index: u64,
}

/// Counts since the log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Entries made durable.
    pub entries: u64,
    /// Syncs that this took.
    pub fsyncs: u64,
    /// Median duration of the last thousand syncs, with their writes, in microseconds.
    pub fsync_p50_us: u64,
}

/// How a log stands at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogCondition {
    /// Why it accepts nothing, where it does not.
    pub refuses: Option<String>,
    /// Appends that wait for the writer.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// For how long the oldest durable entry has waited for a checkpoint over it; `None` while none waits.
    pub unpublished_for: Option<Duration>,
    /// Since when the last checkpoint stands, or the log was opened.
    pub published_for: Duration,
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// Where the answer to an append arrives.
pub(super) type Queued = oneshot::Receiver<Result<Appended, LogError>>;

/// An append that waits.
pub(super) struct Waiting {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) answer: Answer<Appended>,
}

/// What the log accepts.
#[derive(Clone)]
enum Phase {
    /// Everything.
    Open,
    /// No more appends; what is queued is written, then checkpoints that were asked for are published.
    Closing,
    /// What is queued is written, then the threads end.
    Stopping,
    /// Nothing.
    Failed(Arc<str>),
}

struct State {
    phase: Phase,
    queue: Vec<Waiting>,
    queued_bytes: usize,
    queued_since: Option<Instant>,
    durable: u64,
    unpublished: Vec<Vec<u8>>,
    unpublished_since: Option<Instant>,
    requests: Vec<Answer<Checkpoint>>,
    /// The journal file in use; whoever commits has it meanwhile.
    half: Option<Half>,
    /// Whether the writer waits, without an end, for that file to come back.
    awaited: bool,
    /// The journal file that is not in use; the publisher has it while it publishes.
    spare: Option<Half>,
    checkpoint: Checkpoint,
    published_at: Instant,
    /// Since when entries wait that the publisher has in its hands.
    publishing_since: Option<Instant>,
    appended: u64,
    syncs: u64,
    sync_times: Vec<u32>,
}

/// What handles and threads share.
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    interval: Duration,
    gather: Duration,
    sync_seconds: Histogram,
}

/// Appends to make durable, and the journal file for them.
pub(super) struct Commit {
    pub(super) half: Half,
    pub(super) group: Vec<Waiting>,
}

/// What the writer is to do next.
pub(super) enum Task {
    /// Make these durable.
    Commit(Commit),
    /// Hand this journal file to the publisher, with these entries.
    Publish { half: Half, entries: Vec<Vec<u8>>, answers: Vec<Answer<Checkpoint>> },
    /// Nothing more.
    End,
}

impl Shared {
    pub(super) fn new(checkpoint: Checkpoint, config: &LogConfig) -> Self {
        let state = State {
            phase: Phase::Open,
            queue: Vec::new(),
            queued_bytes: 0,
            queued_since: None,
            durable: checkpoint.size,
            unpublished: Vec::new(),
            unpublished_since: None,
            requests: Vec::new(),
            half: None,
            awaited: false,
            spare: None,
            checkpoint,
            published_at: Instant::now(),
            publishing_since: None,
            appended: 0,
            syncs: 0,
            sync_times: Vec::with_capacity(SAMPLES),
        };
        let (interval, gather) = (config.checkpoint_interval, config.gather);
        let sync_seconds = Histogram::new(SYNC_SECONDS);
        Self { state: Mutex::new(state), wake: Condvar::new(), interval, gather, sync_seconds }
    }

    /// The state stays consistent between statements, so that a poisoned lock says nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn size(&self) -> u64 {
        self.lock().durable
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.lock().checkpoint.clone()
    }

    pub(super) fn stats(&self) -> LogStats {
        let state = self.lock();
        let (entries, fsyncs, mut times) = (state.appended, state.syncs, state.sync_times.clone());
        drop(state);
        times.sort_unstable();
        let fsync_p50_us = times.get(times.len() / 2).copied().unwrap_or_default().into();
        LogStats { entries, fsyncs, fsync_p50_us }
    }

    pub(super) fn condition(&self) -> LogCondition {
        let state = self.lock();
        LogCondition {
            refuses: state.phase.accepts().err().map(|error| error.to_string()),
            waiting: state.queue.len() as u64,
            waiting_bytes: state.queued_bytes as u64,
            unpublished_for: state.publishing_since.or(state.unpublished_since).map(|since| since.elapsed()),
            published_for: state.published_at.elapsed(),
        }
    }

    /// Counts of sync times, which go on counting.
    pub(super) fn sync_seconds(&self) -> Histogram {
        self.sync_seconds.clone()
    }

    /// Queues entries; the answer comes when they are durable. A commit that comes with it is the caller's to
    /// make: nobody else was at it.
    pub(super) fn enqueue(&self, entries: Vec<Vec<u8>>) -> Result<(Queued, Option<Commit>), LogError> {
        let bytes = queue_bytes(&entries)?;
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        state.phase.accepts()?;
        if state.queued_bytes + bytes > MAX_QUEUED_BYTES {
            return Err(LogError::Busy);
        }
        state.queued_bytes += bytes;
        state.queued_since.get_or_insert_with(Instant::now);
        state.queue.push(Waiting { entries, answer });
        let commit = if self.may_commit_here(&state) { state.commit() } else { None };
        drop(state);
        if commit.is_none() {
            self.wake.notify_one();
        }
        Ok((answered, commit))
    }

    /// Asks for a checkpoint over all that is durable.
    pub(super) fn request_checkpoint(
        &self,
    ) -> Result<oneshot::Receiver<Result<Checkpoint, LogError>>, LogError> {
        self.request(None)
    }

    /// Refuses further appends, and asks for a checkpoint over all that is queued.
    pub(super) fn close(&self) -> Result<oneshot::Receiver<Result<Checkpoint, LogError>>, LogError> {
        self.request(Some(Phase::Closing))
    }

    fn request(
        &self,
        phase: Option<Phase>,
    ) -> Result<oneshot::Receiver<Result<Checkpoint, LogError>>, LogError> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        state.phase.accepts()?;
        state.requests.push(answer);
        if let Some(phase) = phase {
            state.phase = phase;
        }
        drop(state);
        self.wake.notify_one();
        Ok(answered)
    }

    /// Lets the threads end once the queue is written.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Failed(_)) {
            state.phase = Phase::Stopping;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Turns the log into one that refuses everything; returns the first reason that did.
    pub(super) fn fail(&self, error: &LogError) -> Arc<str> {
        let mut state = self.lock();
        let reason = match &state.phase {
            Phase::Failed(reason) => Arc::clone(reason),
            _ => Arc::from(error.to_string()),
        };
        state.phase = Phase::Failed(Arc::clone(&reason));
        let (queue, requests) = (std::mem::take(&mut state.queue), std::mem::take(&mut state.requests));
        drop(state);
        refuse(queue.into_iter().map(|waiting| waiting.answer), &reason);
        refuse(requests, &reason);
        self.wake.notify_one();
        reason
    }

    /// Waits for the writer's next task.
    pub(super) fn next_task(&self) -> Task {
        let mut state = self.lock();
        loop {
            if matches!(state.phase, Phase::Failed(_)) {
                return Task::End;
            }
            let now = Instant::now();
            let publish_in = self.publish_in(&state, now);
            let commit_in = self.commit_in(&state, now);
            if publish_in == Some(Duration::ZERO)
                && let Some(publish) = state.cut()
            {
                return publish;
            }
            if commit_in == Some(Duration::ZERO)
                && let Some(commit) = state.commit()
            {
                return Task::Commit(commit);
            }
            if matches!(state.phase, Phase::Stopping) && state.half.is_some() {
                return Task::End;
            }
            state.awaited = state.half.is_none();
            let next = [publish_in, commit_in].into_iter().flatten().min();
            state = match next {
                Some(next) => self.wake.wait_timeout(state, next).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Whether the append that was just queued may be written by its caller: nobody came before it, and no checkpoint
    /// waits for the journal file.
    fn may_commit_here(&self, state: &State) -> bool {
        let alone = state.queue.len() == 1 && state.queued_bytes <= MAX_HERE_BYTES;
        alone && self.gather.is_zero() && self.publish_in(state, Instant::now()) != Some(Duration::ZERO)
    }

    /// How long until a checkpoint is due; `None` while there is nothing to publish, or the publisher or a commit is
    /// at work.
    fn publish_in(&self, state: &State, now: Instant) -> Option<Duration> {
        state.spare.as_ref().and(state.half.as_ref())?;
        match state.phase {
            Phase::Open if !state.requests.is_empty() => Some(Duration::ZERO),
            Phase::Open => remaining(state.unpublished_since?, self.interval, now),
            Phase::Closing if state.queue.is_empty() && !state.requests.is_empty() => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// How long until the queue is to be written; `None` while it is empty, or a commit is at work.
    fn commit_in(&self, state: &State, now: Instant) -> Option<Duration> {
        let since = state.half.as_ref().and(state.queued_since)?;
        match state.phase {
            Phase::Open if state.queued_bytes < MAX_QUEUED_BYTES / 2 => remaining(since, self.gather, now),
            _ => Some(Duration::ZERO),
        }
    }

    /// Records a group that became durable, and takes the journal file back.
    pub(super) fn committed(
        &self,
        half: Half,
        entries: impl Iterator<Item = Vec<u8>>,
        durable: u64,
        took: Duration,
    ) {
        self.sync_seconds.observe(took.as_secs_f64());
        let mut state = self.lock();
        state.half = Some(half);
        state.appended += durable - state.durable;
        state.durable = durable;
        state.unpublished.extend(entries);
        // The writer waited for the file, or has a checkpoint to wait for that it does not know of.
        let news = std::mem::take(&mut state.awaited) || state.unpublished_since.is_none();
        state.unpublished_since.get_or_insert_with(Instant::now);
        let slot = usize::try_from(state.syncs).unwrap_or_default() % SAMPLES;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        match state.sync_times.get_mut(slot) {
            Some(sample) => *sample = micros,
            None => state.sync_times.push(micros),
        }
        state.syncs += 1;
        drop(state);
        if news {
            self.wake.notify_one();
        }
    }

    /// Takes the journal file back from a commit that failed; it stays locked until the log is closed.
    pub(super) fn give_back(&self, half: Half) {
        self.lock().half = Some(half);
    }

    /// Gives the journal's files, before the threads start.
    pub(super) fn set_halves(&self, [half, spare]: [Half; 2]) {
        let mut state = self.lock();
        (state.half, state.spare) = (Some(half), Some(spare));
    }

    /// Takes the journal's files, once the threads have ended.
    pub(super) fn take_halves(&self) -> Option<[Half; 2]> {
        let mut state = self.lock();
        let (half, spare) = (state.half.take(), state.spare.take());
        half.zip(spare).map(|(half, spare)| [half, spare])
    }

    pub(super) fn published(&self, checkpoint: Checkpoint, spare: Half) {
        let mut state = self.lock();
        state.checkpoint = checkpoint;
        state.published_at = Instant::now();
        state.publishing_since = None;
        state.spare = Some(spare);
        drop(state);
        self.wake.notify_one();
    }
}

/// What is left of a delay; `None` when it never ends.
fn remaining(since: Instant, delay: Duration, now: Instant) -> Option<Duration> {
    Some(since.checked_add(delay)?.saturating_duration_since(now))
}

impl State {
    /// Takes what is queued, with the journal file for it; `None` while somebody has that.
    fn commit(&mut self) -> Option<Commit> {
        let half = self.half.take()?;
        self.queued_bytes = 0;
        self.queued_since = None;
        Some(Commit { half, group: std::mem::take(&mut self.queue) })
    }

    /// Hands over what is durable and not published, and puts the spare journal file to use; `None` while somebody
    /// has either file.
    fn cut(&mut self) -> Option<Task> {
        let half = self.half.take_if(|_| self.spare.is_some())?;
        self.half = self.spare.take();
        self.publishing_since = self.unpublished_since.take();
        let entries = std::mem::take(&mut self.unpublished);
        Some(Task::Publish { half, entries, answers: std::mem::take(&mut self.requests) })
    }
}

impl Phase {
    fn accepts(&self) -> Result<(), LogError> {
        match self {
            Self::Open => Ok(()),
            Self::Closing | Self::Stopping => Err(LogError::Closed),
            Self::Failed(reason) => Err(LogError::Failed { reason: Arc::clone(reason) }),
        }
    }
}

/// What an append takes from the queue, when its entries can be taken at all.
fn queue_bytes(entries: &[Vec<u8>]) -> Result<usize, LogError> {
    let mut bytes = 0_usize;
    for entry in entries {
        if entry.is_empty() || entry.len() > MAX_ENTRY_BYTES {
            return Err(LogError::EntryBytes { found: entry.len(), expected: MAX_ENTRY_BYTES });
        }
        bytes = bytes.saturating_add(ENTRY_OVERHEAD_BYTES + entry.len());
    }
    if bytes > MAX_QUEUED_BYTES {
        return Err(LogError::AppendBytes { found: bytes, expected: MAX_QUEUED_BYTES });
    }
    Ok(bytes)
}

/// Tells everyone who waits that the log has failed.
pub(super) fn refuse<T>(answers: impl IntoIterator<Item = Answer<T>>, reason: &Arc<str>) {
    for answer in answers {
        // Whoever stopped waiting needs no answer; so everywhere.
        let _ = answer.send(Err(LogError::Failed { reason: Arc::clone(reason) }));
    }
}
