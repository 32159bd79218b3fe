//! One direction of a connection: segments that arrive at their time, in order unless the network disorders them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Counts, Rates, Sent, count};

/// Bytes that may be under way; a writer waits beyond it.
const WINDOW_BYTES: usize = 1 << 20;

/// Longest extra delay of a segment, milliseconds.
const MAX_DELAY_MS: u64 = 1_000;

/// What a direction does to segments.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) rates: Rates,
    pub(super) counts: Arc<Counts>,
    pub(super) latency: Duration,
    pub(super) rng: ChaCha8Rng,
}

/// What becomes of a segment.
enum Fate {
    Arrives,
    Late(Duration),
    Lost,
    Twice,
    Overtakes,
    Changed,
    Last,
}

impl Link {
    fn fate(&mut self) -> Fate {
        let Rates { delayed, dropped, duplicated, reordered, corrupted, cut } = self.rates;
        count(&self.counts.segments);
        let mut drawn = self.rng.random_range(0..10_000_u32);
        let mut is = |rate: u32| {
            let hit = drawn < rate;
            drawn = drawn.wrapping_sub(rate);
            hit
        };
        if is(delayed) {
            count(&self.counts.delayed);
            Fate::Late(Duration::from_millis(self.rng.random_range(0..=MAX_DELAY_MS)))
        } else if is(dropped) {
            count(&self.counts.dropped);
            Fate::Lost
        } else if is(duplicated) {
            count(&self.counts.duplicated);
            Fate::Twice
        } else if is(reordered) {
            count(&self.counts.reordered);
            Fate::Overtakes
        } else if is(corrupted) {
            count(&self.counts.corrupted);
            Fate::Changed
        } else if is(cut) {
            count(&self.counts.cut);
            Fate::Last
        } else {
            Fate::Arrives
        }
    }
}

#[derive(Debug)]
struct Segment {
    at: Instant,
    bytes: Vec<u8>,
    read: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The writer has ended it; what is under way still arrives.
    Ended,
    /// Broken; what is under way still arrives.
    Reset,
}

#[derive(Debug)]
struct State {
    link: Link,
    under_way: VecDeque<Segment>,
    bytes: usize,
    phase: Phase,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe(Mutex<State>);

impl Pipe {
    pub(super) fn new(link: Link) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            link,
            under_way: VecDeque::new(),
            bytes: 0,
            phase: Phase::Open,
            reader: None,
            writer: None,
        })))
    }

    pub(super) fn reset(&self) {
        self.end(Phase::Reset);
    }

    fn end(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase == Phase::Reset {
            return;
        }
        state.phase = phase;
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a segment; whether the connection goes on.
    fn send(&mut self, bytes: &[u8]) -> bool {
        let now = Instant::now();
        let fate = self.link.fate();
        let due = now + self.link.latency + if let Fate::Late(by) = fate { by } else { Duration::ZERO };
        // What was sent later arrives later.
        let at = self.under_way.back().map_or(due, |last| due.max(last.at));
        let mut segment = Segment { at, bytes: bytes.to_vec(), read: 0 };
        self.bytes += bytes.len();
        match fate {
            Fate::Arrives | Fate::Late(_) | Fate::Last => self.under_way.push_back(segment),
            Fate::Lost => self.bytes -= bytes.len(),
            Fate::Twice => {
                self.bytes += bytes.len();
                self.under_way.push_back(Segment { at, bytes: bytes.to_vec(), read: 0 });
                self.under_way.push_back(segment);
            }
            Fate::Overtakes => {
                // One that began to arrive is not overtaken.
                let place = self.under_way.iter().rposition(|segment| segment.read > 0).map_or(0, |i| i + 1);
                let place = place.max(self.under_way.len().saturating_sub(1));
                segment.at = self.under_way.get(place).map_or(at, |next| next.at);
                self.under_way.insert(place, segment);
            }
            Fate::Changed => {
                let bit = self.link.rng.random_range(0..8 * segment.bytes.len());
                segment.bytes[bit / 8] ^= 1 << (bit % 8);
                self.under_way.push_back(segment);
            }
        }
        !matches!(fate, Fate::Last)
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    from: Arc<Pipe>,
    to: Arc<Pipe>,
    sent: Option<Arc<dyn Sent>>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl End {
    pub(super) fn new(from: Arc<Pipe>, to: Arc<Pipe>) -> Self {
        Self { from, to, sent: None, wait: None }
    }

    /// Tells the end's machine of what it sends.
    pub(super) fn heard_by(mut self, sent: Option<Arc<dyn Sent>>) -> Self {
        self.sent = sent;
        self
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.to.end(Phase::Ended);
        self.from.reset();
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let pipe = self.from.clone();
            let mut state = pipe.lock();
            let Some(front) = state.under_way.front_mut() else {
                self.wait = None;
                return match state.phase {
                    Phase::Open => {
                        state.reader = Some(cx.waker().clone());
                        Poll::Pending
                    }
                    Phase::Ended => Poll::Ready(Ok(())),
                    Phase::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                };
            };
            if front.at > Instant::now() {
                let at = front.at;
                state.reader = Some(cx.waker().clone());
                drop(state);
                let wait = self.wait.get_or_insert_with(|| Box::pin(sleep_until(at)));
                if wait.deadline() != at {
                    wait.as_mut().reset(at);
                }
                std::task::ready!(wait.as_mut().poll(cx));
                continue;
            }
            let left = &front.bytes[front.read..];
            let taken = left.len().min(buf.remaining());
            buf.put_slice(&left[..taken]);
            front.read += taken;
            if front.read == front.bytes.len() {
                state.under_way.pop_front();
            }
            state.bytes -= taken;
            if let Some(writer) = state.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.to.lock();
        if state.phase != Phase::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if state.bytes >= WINDOW_BYTES {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let goes_on = state.send(buf);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        if !goes_on {
            self.to.reset();
            self.from.reset();
        }
        if let Some(sent) = &self.sent {
            sent.sent();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.end(Phase::Ended);
        Poll::Ready(Ok(()))
    }
}
