//! What a peer that floods costs a node's memory: its receive windows, however much comes.
//!
//! The flood is signs of life with ballast: a field that nobody knows, as large as a frame may be. A node takes
//! such frames and drops the ballast, so that nothing but the peer's patience ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::{NamedService, StreamingService};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use windvane::error::PeerError;
use windvane::peer::{Incoming, channel};
use windvane::psi::folder::JobFolder;
use windvane_proto::convert::{PsiFrame, PsiPart};
use windvane_proto::psi::v1::Frame;
use windvane_proto::psi::v1::psi_client::PsiClient;
use windvane_proto::psi::v1::psi_server::SERVICE_NAME;
use windvane_protocols::party::SessionId;

use super::hostile::open;
use super::process::Process;
use super::{World, grant, psi_terms};
use crate::lab::failures;

/// What is pushed at a node.
const FLOOD_BYTES: usize = 1 << 30;

/// A frame's ballast: what a frame of 1 MiB has room for.
const BALLAST_BYTES: usize = (1 << 20) - 64;

/// Frames that may be on their way when the last one was given to the connection: windows and buffers.
const FRAMES_AHEAD: usize = 16;

/// How far a node's peak may be above what it holds before the flood: the receive windows of a connection are
/// 4 MiB at a provider and 8 MiB at a bank, a frame is at most 2 MiB, and a job of this size takes little.
const GROWTH_BYTES: u64 = 64 << 20;

/// The provider's jobs at a time, all of them one bank's, and all of which flood.
const JOBS: usize = 4;

/// Bytes of a message after a node's memory was read: more than any bucket of the tests.
const OVERLONG_BYTES: usize = 400_000;

/// A field of a frame that nobody knows.
#[derive(Clone, PartialEq, prost::Message)]
struct Ballast {
    #[prost(bytes = "vec", tag = "1000")]
    data: Vec<u8>,
}

fn ballast() -> Bytes {
    let mut bytes = Frame::from(PsiFrame::Progress(0)).encode_to_vec();
    Ballast { data: vec![0x5a; BALLAST_BYTES] }.encode(&mut bytes).unwrap();
    bytes.into()
}

fn bytes(frame: PsiFrame) -> Bytes {
    Frame::from(frame).encode_to_vec().into()
}

fn overlong() -> Bytes {
    bytes(PsiFrame::Part(PsiPart { bucket: 0, message: 0, data: vec![1; OVERLONG_BYTES].into() }))
}

/// Sends a frame's bytes as they are given.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Frame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        Frame::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// A figure of a process in bytes: `VmRSS` is what it holds, `VmHWM` the most that it held.
fn memory(process: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Forgets a process's peak so far, which is that of opening its keys; gives what it holds.
fn settled(process: u32) -> u64 {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
    memory(process, "VmRSS")
}

/// Prints how far a process grew, and holds it against the bound.
#[expect(clippy::print_stdout, reason = "the figure is what the test measures")]
fn bounded(who: &str, before: u64, peak: u64) {
    let grown = peak.saturating_sub(before);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{who}: {:.0} MiB pushed at it, {:.1} MiB before, {:.1} MiB at its peak, {:.1} MiB more",
        mib(FLOOD_BYTES as u64),
        mib(before),
        mib(peak),
        mib(grown)
    );
    assert!(grown < GROWTH_BYTES, "{who} grew by {grown} bytes");
}

/// One job of a flooding bank; gives the code with which the carrier ends it.
async fn flooding_job(channel: Channel, opening: Bytes) -> String {
    let (out, frames) = mpsc::channel(1);
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_maybe_shared(format!("/{SERVICE_NAME}/Run")).unwrap();
    let request = Request::new(ReceiverStream::new(frames));
    let mut answers: Streaming<Frame> = client.streaming(request, path, Raw).await.unwrap().into_inner();
    out.send(opening).await.unwrap();
    let ballast = ballast();
    for _ in 0..FLOOD_BYTES / BALLAST_BYTES / JOBS {
        out.send(ballast.clone()).await.unwrap();
    }
    out.send(overlong()).await.unwrap();
    loop {
        if let Err(status) = answers.next().await.expect("an error, not a quiet end") {
            return PeerError::from(&status).code;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carriers_memory_stays_bounded_while_banks_flood_it() {
    let service = format!("[service]\npsi_jobs_per_peer = {JOBS}\n");
    let world = World::with(0..1_000, &grant(psi_terms(), 0), &service).await.stopped().await;
    let (carrier, address) = Process::carrier(&world, None).await;
    let channel = channel(&world.bank.certificate(), &world.carrier.config.party(), &address).unwrap();
    let before = settled(carrier.id());
    let jobs = (0..JOBS).map(|_| {
        let opening = bytes(open(&world, SessionId::from_bytes(rand::random()), 1));
        tokio::spawn(flooding_job(channel.clone(), opening))
    });
    for job in jobs.collect::<Vec<_>>() {
        // Frames come in order, so all ballast was taken before this one was refused.
        assert_eq!(job.await.unwrap(), "MESSAGE_TOO_LONG");
    }
    bounded("a carrier", before, memory(carrier.id(), "VmHWM"));
    drop(carrier);
    let world = world.restarted().await;
    assert_eq!(failures(&world.carrier, &world.node).await, ["MESSAGE_TOO_LONG"; JOBS]);
    world.node.stop().await.unwrap();
}

/// A carrier that accepts as an honest one behind it does, and then floods.
#[derive(Clone)]
struct Flooding {
    behind: Channel,
    /// The bank's process.
    bank: Arc<AtomicU32>,
    /// What the bank held before the flood, and its peak after it.
    figures: mpsc::Sender<[u64; 2]>,
}

impl Flooding {
    async fn answer(self, request: Request<Streaming<Frame>>, out: mpsc::Sender<Result<Bytes, Status>>) {
        let asked = request.into_inner().map_while(Result::ok);
        let mut honest = PsiClient::new(self.behind).run(asked).await.unwrap().into_inner();
        let acceptance = honest.next().await.unwrap().unwrap();
        let bank = self.bank.load(Ordering::SeqCst);
        let before = settled(bank);
        out.send(Ok(acceptance.encode_to_vec().into())).await.unwrap();
        let ballast = ballast();
        for _ in 0..FLOOD_BYTES / BALLAST_BYTES + FRAMES_AHEAD {
            out.send(Ok(ballast.clone())).await.unwrap();
        }
        self.figures.send([before, memory(bank, "VmHWM")]).await.unwrap();
        out.send(Ok(overlong())).await.unwrap();
        // The honest connection is kept until the bank hangs up.
        out.closed().await;
    }
}

impl NamedService for Flooding {
    const NAME: &'static str = SERVICE_NAME;
}

impl StreamingService<Frame> for Flooding {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let (out, frames) = mpsc::channel(1);
        tokio::spawn(self.clone().answer(request, out));
        Box::pin(async { Ok(Response::new(ReceiverStream::new(frames))) })
    }
}

impl Service<http::Request<tonic::body::Body>> for Flooding {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let flooding = self.clone();
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).streaming(flooding, request).await) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banks_memory_stays_bounded_while_its_carrier_floods_it() {
    let world = World::new(0..1_000, &grant(psi_terms(), 0)).await;
    let job = world.begun(&world.plan("job", 0..1_000)).await;
    let honest = world.node.grpc_address().unwrap().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flooding_at: SocketAddr = listener.local_addr().unwrap();
    let (figures, mut measured) = mpsc::channel(1);
    let bank = Arc::new(AtomicU32::new(0));
    let behind = channel(&world.bank.certificate(), &world.carrier.config.party(), &honest).unwrap();
    let incoming = Incoming::new(listener, &world.carrier.certificate(), 8).unwrap();
    let flooding = Flooding { behind, bank: bank.clone(), figures };
    tokio::spawn(Server::builder().add_service(flooding).serve_with_incoming(incoming));
    let config = world.lab.dir.path().join("bank/windvane.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&honest, &flooding_at.to_string())).unwrap();
    let mut process = Process::bank(&world, job, None);
    bank.store(process.id(), Ordering::SeqCst);
    let [before, peak] = measured.recv().await.unwrap();
    bounded("a bank", before, peak);
    assert!(!process.ended().success());
    let state = JobFolder::peek(&world.bank.config.node.data_dir, job).unwrap().unwrap();
    assert_eq!(state.ended.as_deref(), Some("MESSAGE_TOO_LONG"));
    world.node.stop().await.unwrap();
}
