//! The connections of peers, from their handshake to their end.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::StreamExt as _;

use super::burst::in_turns;
use super::call::{Calls, Routed};
use super::connection::Connection;
use super::{Limits, Seat};
use crate::functions::Functions;
use crate::peer::{Incoming, PeerIdentity, PeerStream};

/// What a connection may send before its messages are read: large messages in few rounds, and little memory.
const CONNECTION_WINDOW: u32 = 2 << 20;

/// The same for one of its streams.
const STREAM_WINDOW: u32 = 1 << 20;

/// Bytes of an answer that wait for a slow reader once the call is done with; more keeps the call open.
const SEND_BUFFER: usize = 16 << 10;

/// Names and values of all headers of a request: the methods need a few hundred bytes.
const MAX_HEADER_BYTES: u32 = 8 << 10;

/// Streams that a peer opened and gave up before they were looked at.
const MAX_PENDING_RESETS: usize = 20;

/// Streams that were refused for errors of the peer's, and are remembered; past it the connection is closed.
const MAX_ERROR_RESETS: usize = 256;

/// A silent peer is probed after this time, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A peer whose faults are too many has its next connection served this much later: it keeps its seat meanwhile, so
/// that opening connections again and again costs it more than the node.
const FAULTY_PAUSE: Duration = Duration::from_secs(1);

/// A connection that was told to end does so within this time.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves connections until `stop`, then lets calls that run end.
pub(crate) async fn serve(
    mut incoming: Incoming,
    routes: Routed,
    limits: Arc<Limits>,
    functions: Arc<Functions>,
    stop: impl Future<Output = ()> + Send,
) {
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = incoming.next() => match accepted {
                Some(Ok(stream)) => {
                    let one = One::new(&stream, &routes, &limits, &functions);
                    if let Some(one) = one {
                        connections.spawn(one.run(stream, closed.clone()));
                    }
                }
                // Errors are the acceptor's own affair.
                Some(Err(_)) => {}
                None => break,
            },
        }
    }
    drop(incoming);
    closing.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// One connection.
struct One {
    calls: Calls,
    _seat: Seat,
}

impl One {
    /// `None` where the peer, or all peers together, have as many as they may.
    fn new(
        stream: &PeerStream,
        routes: &Routed,
        limits: &Arc<Limits>,
        functions: &Arc<Functions>,
    ) -> Option<Self> {
        let identity: PeerIdentity = stream.identity().clone();
        let account = limits.account(&identity.party);
        let Some(seat) = limits.seat(&account) else {
            tracing::warn!(code = "TOO_MANY_CONNECTIONS", peer = %identity.party, "refused a connection");
            return None;
        };
        let calls = Calls {
            routes: routes.clone(),
            identity,
            account,
            limits: limits.clone(),
            functions: functions.clone(),
            connection: Arc::new(Connection::new()),
        };
        Some(Self { calls, _seat: seat })
    }

    async fn run(self, stream: PeerStream, mut closed: watch::Receiver<bool>) {
        let account = &self.calls.account;
        let party = &account.party;
        if account.is_faulty(Instant::now()) {
            tokio::select! {
                () = tokio::time::sleep(FAULTY_PAUSE) => {}
                _ = closed.changed() => return,
            }
        }
        let serving = builder(self.calls.limits.config.streams_per_connection)
            .serve_connection(TokioIo::new(in_turns(stream)), self.calls.clone());
        tokio::pin!(serving);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_ending, mut ends_by) = (false, None);
        loop {
            tokio::select! {
                ended = &mut serving => {
                    if let Err(error) = ended {
                        if is_against_the_protocol(&error) {
                            account.note_flood(Instant::now());
                        }
                        tracing::info!(code = "CONNECTION_BROKEN", peer = %party, %error, "a connection ended early");
                    }
                    return;
                }
                // The node's own grace ends what does not end by itself.
                _ = closed.changed(), if !is_ending => {
                    is_ending = true;
                    serving.as_mut().graceful_shutdown();
                }
                _ = looks.tick() => match self.look(Instant::now(), ends_by) {
                    Looked::Well => {}
                    Looked::Idle if is_ending => {}
                    Looked::Idle => {
                        (is_ending, ends_by) = (true, Some(Instant::now() + DRAIN));
                        serving.as_mut().graceful_shutdown();
                    }
                    Looked::Over => return,
                    Looked::Bad(code) => {
                        return tracing::warn!(code, peer = %party, "closed a connection");
                    }
                },
            }
        }
    }

    fn look(&self, now: Instant, ends_by: Option<Instant>) -> Looked {
        let Calls { limits, functions, connection, account, .. } = &self.calls;
        let patience = Duration::from_millis(limits.config.slow_reader_ms);
        let whole = Duration::from_millis(limits.config.transfer_deadline_ms);
        let idle = Duration::from_millis(limits.config.idle_ms);
        if connection.is_stalled(now, patience, whole) {
            return Looked::Bad("SLOW_READER");
        }
        // A suspended partner's calls are refused one by one; what is under way for longer ends with its connection.
        if functions.check_partner(&account.party).is_err() && connection.is_stalled(now, whole, LOOK) {
            return Looked::Bad("PARTNER_SUSPENDED");
        }
        match ends_by {
            Some(ends_by) if now > ends_by => Looked::Over,
            None if connection.idle(now).is_some_and(|so_long| so_long > idle) => Looked::Idle,
            _ => Looked::Well,
        }
    }
}

/// Whether the peer did what HTTP/2 forbids, and not the network.
fn is_against_the_protocol(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| !cause.is_io() && cause.is_library())
}

/// What a look at a connection finds.
enum Looked {
    Well,
    /// There was no call for long.
    Idle,
    /// It was told to end, and has had its time.
    Over,
    /// Its peer does what it must not, by this code.
    Bad(&'static str),
}

fn builder(streams: u32) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}
