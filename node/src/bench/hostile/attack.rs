//! The attacks: each runs until its time is up and counts what the attacker was told.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::SendRequest;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;
use windvane_proto::lookup::v1::EvaluateRequest;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_protocols::limits::MAX_MESSAGE_BYTES;

use super::attacker::Attacker;
use super::raw::{self, Flood};
use crate::error::{NodeError, PeerError};

/// Calls of an attacker at a time, where it makes calls.
const AT_A_TIME: usize = 64;

/// Connections that an attacker opens, where it needs many: more than one peer may have.
const CONNECTIONS: usize = 24;

/// Pause before another connection is tried in the place of one that was closed.
const AGAIN: Duration = Duration::from_millis(20);

/// Streams that it opens at once.
const STREAMS: u32 = 10_000;

/// Streams of a connection on which a message is begun.
const PARTIAL: usize = 256;

/// Connections without a word.
const SILENT: usize = 400;

/// What is said to follow, and sent, where a field has 32 bytes.
const GIGABYTE: usize = 1 << 30;

/// An empty key group of a question, as it is encoded.
const EMPTY_RECORD: [u8; 2] = [0x12, 0];

/// The path of a call with one short text.
const SMALL: &str = "/windvane.lookup.v1.Lookup/FetchManifest";

const EVALUATE: &str = "/windvane.lookup.v1.Lookup/Evaluate";

const DOWNLOAD: &str = "/windvane.lookup.v1.Lookup/FetchPages";

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Attack {
    /// Downloads, and does not read.
    SlowReader,
    /// Opens 10,000 streams of a connection at once, again and again.
    ManyStreams,
    /// Sends a gigabyte where a few bytes belong.
    Gigabyte,
    /// Sends large messages but for their last byte, on as many streams as it gets.
    PartialMessages,
    /// Sends lists of empty records, two bytes each, which were forty once decoded.
    EmptyRecords,
    /// Repeats a session, with the same content and with other.
    Replay,
    /// Says other counts than it sends.
    FalseCounts,
    /// Opens streams and gives them up at once.
    Resets,
    /// Sends a header without end.
    LongHeaders,
    /// Opens connections, with a certificate and without.
    Connections,
    /// Asks good questions as fast as it can.
    Questions,
}

/// No attack of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of an attack")]
pub struct UnknownAttack;

/// What an attacker was told, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told(pub BTreeMap<String, u64>);

impl Attack {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::SlowReader,
        Self::ManyStreams,
        Self::Gigabyte,
        Self::PartialMessages,
        Self::EmptyRecords,
        Self::Replay,
        Self::FalseCounts,
        Self::Resets,
        Self::LongHeaders,
        Self::Connections,
        Self::Questions,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlowReader => "slow-reader",
            Self::ManyStreams => "many-streams",
            Self::Gigabyte => "gigabyte",
            Self::PartialMessages => "partial-messages",
            Self::EmptyRecords => "empty-records",
            Self::Replay => "replay",
            Self::FalseCounts => "false-counts",
            Self::Resets => "resets",
            Self::LongHeaders => "long-headers",
            Self::Connections => "connections",
            Self::Questions => "questions",
        }
    }
}

impl FromStr for Attack {
    type Err = UnknownAttack;

    fn from_str(text: &str) -> Result<Self, UnknownAttack> {
        Self::ALL.into_iter().find(|attack| attack.as_str() == text).ok_or(UnknownAttack)
    }
}

impl Told {
    fn add(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    fn join(&mut self, other: Self) {
        other.0.into_iter().for_each(|(what, count)| *self.0.entry(what).or_default() += count);
    }
}

/// Attacks until the time is up.
pub(super) async fn run(attacker: Arc<Attacker>, attack: Attack, time: Duration) -> Result<Told, NodeError> {
    let until = Instant::now() + time;
    match attack {
        Attack::SlowReader => on_connections(attacker, until, unread).await,
        Attack::ManyStreams => flooded(&attacker, Flood::Streams(STREAMS), until).await,
        Attack::Gigabyte => on_connections(attacker, until, gigabyte).await,
        Attack::PartialMessages => on_connections(attacker, until, partial).await,
        Attack::EmptyRecords => on_connections(attacker, until, empty_records).await,
        Attack::Replay => {
            let (first, second) = attacker.replayed();
            called(&attacker, until, move |nth| if nth % 4 == 0 { first.clone() } else { second.clone() })
                .await
        }
        Attack::FalseCounts => {
            let wrong = attacker.miscounted();
            called(&attacker, until, move |nth| wrong[nth % wrong.len()].clone()).await
        }
        Attack::Resets => flooded(&attacker, Flood::Resets, until).await,
        Attack::LongHeaders => flooded(&attacker, Flood::Headers, until).await,
        Attack::Connections => connections(&attacker, until).await,
        Attack::Questions => {
            let asking = attacker.clone();
            called(&attacker, until, move |_| EvaluateRequest::from(&asking.question(1))).await
        }
    }
}

/// Calls, many at a time, one after another in each place, over four connections.
async fn called(
    attacker: &Arc<Attacker>,
    until: Instant,
    message: impl Fn(usize) -> EvaluateRequest + Send + Sync + 'static,
) -> Result<Told, NodeError> {
    let channels = (0..4).map(|_| attacker.channel()).collect::<Result<Vec<_>, _>>()?;
    let message = Arc::new(message);
    let mut workers = JoinSet::new();
    for place in 0..AT_A_TIME {
        let channel = channels[place % channels.len()].clone();
        let message = message.clone();
        workers.spawn(async move {
            let mut client = LookupClient::new(channel).max_encoding_message_size(2 * MAX_MESSAGE_BYTES);
            let mut told = Told::default();
            let mut nth = place;
            while Instant::now() < until {
                let call = timeout_at(until, client.evaluate(message(nth))).await;
                nth += AT_A_TIME;
                match call {
                    Ok(Ok(_)) => told.add("ANSWERED"),
                    Ok(Err(status)) => told.add(&PeerError::from(&status).code),
                    Err(_) => break,
                }
            }
            told
        });
    }
    Ok(joined(workers).await)
}

/// One connection after another, each flooded until it is closed.
async fn flooded(attacker: &Attacker, flood: Flood, until: Instant) -> Result<Told, NodeError> {
    let mut told = Told::default();
    while Instant::now() < until {
        match attacker.connect().await {
            Ok(stream) => raw::flood(stream, flood, until, &mut told.0).await,
            Err(_) => {
                told.add("NO_CONNECTION");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    Ok(told)
}

/// The same on many connections beside each other; a connection that is closed is followed by another.
async fn on_connections<F>(
    attacker: Arc<Attacker>,
    until: Instant,
    work: fn(SendRequest<Bytes>, Arc<Attacker>, Instant) -> F,
) -> Result<Told, NodeError>
where
    F: Future<Output = Told> + Send + 'static,
{
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let attacker = attacker.clone();
        workers.spawn(async move {
            let mut told = Told::default();
            while Instant::now() < until {
                let Some((requests, driver)) = handshake(&attacker).await else {
                    told.add("NO_CONNECTION");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                let driver = tokio::spawn(driver);
                told.join(work(requests, attacker.clone(), until).await);
                if driver.is_finished() {
                    told.add("CONNECTION_CLOSED");
                }
                driver.abort();
                tokio::time::sleep(AGAIN).await;
            }
            told
        });
    }
    Ok(joined(workers).await)
}

/// An HTTP/2 connection with windows so small that next to nothing of an answer is taken.
async fn handshake(
    attacker: &Attacker,
) -> Option<(SendRequest<Bytes>, impl Future<Output = ()> + Send + 'static)> {
    let stream = attacker.connect().await.ok()?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1_024).initial_connection_window_size(1 << 16);
    let (requests, connection) = builder.handshake::<_, Bytes>(stream).await.ok()?;
    Some((requests, async move { drop(connection.await) }))
}

fn head(path: &str) -> http::Request<()> {
    let request = http::Request::post(format!("http://windvane{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(()).expect("constants that follow the rules")
}

/// A message as gRPC frames it, with a length that need not be true.
fn framed(length: usize, message: &[u8]) -> Bytes {
    [&[0][..], &(length as u32).to_be_bytes(), message].concat().into()
}

fn code(response: &http::Response<h2::RecvStream>) -> String {
    let text = |key| response.headers().get(key).and_then(|value| value.to_str().ok());
    match (text("windvane-code"), text("grpc-status")) {
        (Some(code), _) => code.to_owned(),
        (None, Some(status)) => {
            format!("{:?}", Status::new(status.parse::<i32>().unwrap_or(2).into(), "").code())
        }
        (None, None) => "ANSWERED".to_owned(),
    }
}

/// Announces a message, and sends so many bytes, two again and again, as fast as the windows permit; then waits for ever.
async fn push(body: &mut SendStream<Bytes>, announced: usize, pair: &[u8; 2], total: usize) {
    let _ = body.send_data(framed(announced, &[]), false);
    let chunk = Bytes::from(pair.repeat(8 << 10));
    let mut sent = 0;
    while sent < total {
        body.reserve_capacity(chunk.len().min(total - sent));
        let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { break };
        let from = sent % chunk.len();
        let part = chunk.slice(from..chunk.len().min(from + room.min(total - sent)));
        sent += part.len();
        if body.send_data(part, false).is_err() {
            break;
        }
    }
    std::future::pending::<()>().await;
}

/// Messages of so many bytes, one after another; each is pushed until the peer refuses it.
async fn pushed(
    requests: SendRequest<Bytes>,
    until: Instant,
    path: &str,
    bytes: usize,
    pair: &[u8; 2],
) -> Told {
    let mut told = Told::default();
    while let Ok(Ok(mut requests)) = timeout_at(until, requests.clone().ready()).await {
        let Ok((response, mut body)) = requests.send_request(head(path), false) else { break };
        tokio::select! {
            response = response => match response {
                Ok(response) => told.add(&code(&response)),
                Err(_) => { told.add("BROKEN"); break }
            },
            () = push(&mut body, bytes, pair, bytes) => {}
            () = sleep_until(until) => break,
        }
    }
    told
}

/// A gigabyte in one field.
async fn gigabyte(requests: SendRequest<Bytes>, _: Arc<Attacker>, until: Instant) -> Told {
    pushed(requests, until, SMALL, GIGABYTE, b"xx").await
}

/// Lists of empty records, as long as a message may be.
async fn empty_records(requests: SendRequest<Bytes>, _: Arc<Attacker>, until: Instant) -> Told {
    pushed(requests, until, EVALUATE, MAX_MESSAGE_BYTES, &EMPTY_RECORD).await
}

/// Large messages but for their last byte, on as many streams as there may be.
async fn partial(requests: SendRequest<Bytes>, _: Arc<Attacker>, until: Instant) -> Told {
    let mut told = Told::default();
    let mut streams = JoinSet::new();
    // More than a connection may have: the others wait at the attacker's own end.
    for _ in 0..PARTIAL {
        let ready = timeout_at(Instant::now() + Duration::from_millis(500), requests.clone().ready()).await;
        let Ok(Ok(mut ready)) = ready else { break };
        let Ok((response, mut body)) = ready.send_request(head(EVALUATE), false) else { break };
        streams.spawn(async move {
            tokio::select! {
                response = response => response.map_or_else(|_| "BROKEN".to_owned(), |response| code(&response)),
                () = push(&mut body, MAX_MESSAGE_BYTES, b"xx", MAX_MESSAGE_BYTES - 1) => "TAKEN".to_owned(),
                () = sleep_until(until - Duration::from_millis(200)) => "WAITED".to_owned(),
            }
        });
    }
    while let Some(ended) = streams.join_next().await {
        told.add(&ended.unwrap_or_else(|_| "BROKEN".to_owned()));
    }
    told
}

/// Downloads of which nothing is read.
async fn unread(requests: SendRequest<Bytes>, attacker: Arc<Attacker>, until: Instant) -> Told {
    let mut told = Told::default();
    let message = attacker.download();
    let mut unread = Vec::new();
    while Instant::now() < until {
        let ready = timeout_at(Instant::now() + Duration::from_millis(500), requests.clone().ready()).await;
        let Ok(Ok(mut ready)) = ready else { break };
        let Ok((response, mut body)) = ready.send_request(head(DOWNLOAD), false) else { break };
        let _ = body.send_data(framed(message.len(), &message), true);
        match timeout_at(until, response).await {
            Ok(Ok(response)) if code(&response) == "ANSWERED" => unread.push(response),
            Ok(Ok(response)) => {
                told.add(&code(&response));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(Err(_)) | Err(_) => break,
        }
    }
    // Each is left alone until the peer has had enough.
    for response in unread {
        let mut body = response.into_body();
        let _ = timeout_at(until, async { while let Some(Ok(_)) = body.data().await {} }).await;
        told.add("DOWNLOAD_ENDED");
    }
    told
}

async fn connections(attacker: &Attacker, until: Instant) -> Result<Told, NodeError> {
    let mut told = Told::default();
    let mut open = Vec::new();
    for _ in 0..4 * CONNECTIONS {
        match timeout_at(until, attacker.connect()).await {
            Ok(Ok(stream)) => open.push(stream),
            Ok(Err(_)) | Err(_) => told.add("NO_CONNECTION"),
        }
    }
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        match tokio::net::TcpStream::connect(attacker.address()).await {
            Ok(stream) => silent.push(stream),
            Err(_) => told.add("NO_CONNECTION"),
        }
    }
    sleep_until(until - Duration::from_millis(100)).await;
    for stream in silent {
        told.add(if closed(&stream) { "SILENT_CLOSED" } else { "SILENT_OPEN" });
    }
    for mut stream in open {
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte);
        // The provider's settings come at once on a connection that it keeps.
        let kept = matches!(timeout_at(Instant::now() + Duration::from_millis(50), read).await, Ok(Ok(1)));
        told.add(if kept { "CONNECTION_KEPT" } else { "CONNECTION_CLOSED" });
    }
    Ok(told)
}

fn closed(stream: &tokio::net::TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

async fn joined(workers: JoinSet<Told>) -> Told {
    let mut told = Told::default();
    workers.join_all().await.into_iter().for_each(|part| told.join(part));
    told
}
