//! A peer that declares one size and sends another, sends garbage, stops or floods gets its own error.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use windvane::error::PeerError;
use windvane::functions::Function;
use windvane::peer::{Incoming, channel};
use windvane_proto::convert::{PsiFrame, PsiOpen, PsiPart};
use windvane_proto::psi::v1::Frame;
use windvane_proto::psi::v1::psi_client::PsiClient;
use windvane_proto::psi::v1::psi_server::{Psi, PsiServer};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::{GrantId, PsiTerms};
use windvane_protocols::party::SessionId;
use windvane_protocols::psi::rr22::{Plan, SEEDS_BYTES};
use windvane_protocols::psi::vole::{AwaitPoints, Shape, Step};
use windvane_protocols::psi::{Mode, Parameters, Protocol, PsiAcceptance, PsiRequest};
use windvane_protocols::transcript::{Signed, Transcript};

use super::{World, grant, psi_terms};
use crate::lab::{Party, events, failures};

/// Patience of the tests' carriers and banks.
pub(super) const HASTY: &str = "[service]\npsi_idle_ms = 600\n";

/// A bank's connection, to be misused.
struct Misuse {
    out: mpsc::Sender<Frame>,
    frames: Streaming<Frame>,
}

impl Misuse {
    async fn connect(world: &World) -> Self {
        Self::connect_as(&world.bank, world).await
    }

    /// A connection of another bank.
    async fn connect_as(bank: &Party, world: &World) -> Self {
        let address = world.node.grpc_address().unwrap().to_string();
        let party = world.carrier.config.party();
        let channel = channel(&bank.certificate(), &party, &address).unwrap();
        let (out, frames) = mpsc::channel(64);
        let response = PsiClient::new(channel).run(ReceiverStream::new(frames)).await.unwrap();
        Self { out, frames: response.into_inner() }
    }

    async fn send(&self, frame: PsiFrame) {
        // The other side may have hung up already: that is what the tests wait for.
        let _ = self.out.send(frame.into()).await;
    }

    /// Opens a job of 1,000 rows in buckets of 128, and waits for the acceptance.
    async fn opened(world: &World) -> (Self, Parameters) {
        let request = request(world, SessionId::from_bytes(rand::random()));
        let (misuse, acceptance) = Self::opened_with(world, request).await;
        (misuse, acceptance.body().parameters)
    }

    /// Opens a job with this request, and waits for the acceptance.
    async fn opened_with(world: &World, request: PsiRequest) -> (Self, Signed<PsiAcceptance>) {
        let mut misuse = Self::connect(world).await;
        misuse.send(opening(world, request, 1)).await;
        let PsiFrame::Accept(acceptance) = misuse.frame().await else { panic!("an acceptance") };
        (misuse, *acceptance)
    }

    /// Opens a job of vole, and sets it up as an honest bank does.
    async fn set_up(world: &World) -> (Self, Parameters) {
        let mut request = request(world, SessionId::from_bytes(rand::random()));
        request.protocol = Protocol::Vole;
        let (mut misuse, acceptance) = Self::opened_with(world, request).await;
        let session = Transcript::new("windvane/psi-vole-session/v1")
            .bytes("acceptance", &acceptance.digest())
            .u64("attempt", 1)
            .digest();
        let Step { state, message } = AwaitPoints::open(&session, &mut rand::rng());
        misuse.send(PsiFrame::Setup(message.into())).await;
        let PsiFrame::Setup(points) = misuse.frame().await else { panic!("the setup") };
        let message = state.on_points(&points, &mut rand::rng()).unwrap().message;
        misuse.send(PsiFrame::Setup(message.into())).await;
        (misuse, acceptance.body().parameters)
    }

    /// The carrier's next frame that is no sign of life.
    async fn frame(&mut self) -> PsiFrame {
        loop {
            match PsiFrame::try_from(self.frames.next().await.unwrap().unwrap()).unwrap() {
                PsiFrame::Progress(_) => {}
                frame => return frame,
            }
        }
    }

    async fn part(&self, bucket: u32, message: u32, data: Vec<u8>) {
        self.send(PsiFrame::Part(PsiPart { bucket, message, data: Bytes::from(data) })).await;
    }

    /// A whole message of so many bytes.
    async fn message(&self, bucket: u32, message: u32, bytes: usize) {
        for part in vec![1; bytes].chunks(256 << 10) {
            self.part(bucket, message, part.to_vec()).await;
        }
    }

    /// The code with which the carrier ends the connection.
    async fn end(mut self) -> String {
        loop {
            match self.frames.next().await.expect("an error, not a quiet end") {
                Ok(_) => {}
                Err(status) => return PeerError::from(&status).code,
            }
        }
    }
}

pub(super) fn open(world: &World, session: SessionId, attempt: u64) -> PsiFrame {
    opening(world, request(world, session), attempt)
}

fn opening(world: &World, request: PsiRequest, attempt: u64) -> PsiFrame {
    let request = Signed::sign(request, world.bank.admin.keys().signing_key());
    PsiFrame::Open(Box::new(PsiOpen { request, attempt, finished: vec![] }))
}

/// A request that the grant permits.
fn request(world: &World, session: SessionId) -> PsiRequest {
    PsiRequest {
        session,
        requester: world.bank.config.party(),
        provider: world.carrier.config.party(),
        grant: world.bank.admin.grants().unwrap()[0].0.id,
        purpose: "screening".into(),
        data_set: "risk".parse().unwrap(),
        protocol: Protocol::Ecdh,
        mode: Mode::Intersection,
        minimum: 0,
        key: "phone".into(),
        payload_columns: vec![],
        rows: 1_000,
        bucket_rows: 128,
        nonce: rand::random(),
        input: rand::random(),
        software: [0; 64],
        configuration: [0; 64],
        requested_at_ms: windvane::clock::Clock::now_ms(&world.lab.clock),
    }
}

async fn hasty() -> World {
    World::with(0..1_000, &grant(psi_terms(), 0), HASTY).await
}

/// The code told to the requester is the one in the carrier's log.
async fn ends_with(world: World, misuse: Misuse, code: &str) {
    assert_eq!(misuse.end().await, code);
    assert_eq!(failures(&world.carrier, &world.node).await, [code]);
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_longer_than_declared_is_refused() {
    let world = hasty().await;
    let (misuse, parameters) = Misuse::opened(&world).await;
    misuse.part(0, 0, vec![1; parameters.receiver_bound() * 32 + 1]).await;
    ends_with(world, misuse, "MESSAGE_TOO_LONG").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_elements_is_refused() {
    let world = hasty().await;
    let (misuse, parameters) = Misuse::opened(&world).await;
    misuse.part(0, 0, vec![0xff; parameters.receiver_bound() * 32]).await;
    ends_with(world, misuse, "MESSAGE_INVALID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_buckets_than_the_window_are_refused() {
    let world = hasty().await;
    let (misuse, _) = Misuse::opened(&world).await;
    for bucket in 0..8 {
        misuse.part(bucket, 0, vec![1]).await;
    }
    ends_with(world, misuse, "BUCKET_UNEXPECTED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_refused() {
    let world = hasty().await;
    let (misuse, parameters) = Misuse::opened(&world).await;
    misuse.part(parameters.buckets(), 0, vec![1]).await;
    ends_with(world, misuse, "BUCKET_UNEXPECTED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requester_that_falls_silent_is_given_up() {
    let world = hasty().await;
    let (misuse, _) = Misuse::opened(&world).await;
    misuse.part(0, 0, vec![1]).await;
    ends_with(world, misuse, "PEER_IDLE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_ahead_of_their_turn_do_not_keep_a_carrier_from_its_clocks() {
    let world = hasty().await;
    let (misuse, parameters) = Misuse::set_up(&world).await;
    let plan = Plan::of(&parameters).unwrap();
    let shape = Shape::for_outputs(plan.columns()).unwrap();
    // Bucket 1 waits for what bucket 0 gives on, which never has its whole first message.
    misuse.part(0, 0, vec![1]).await;
    misuse.message(1, 0, shape.request_bytes()).await;
    misuse.message(1, 2, SEEDS_BYTES + plan.encoding_bytes()).await;
    ends_with(world, misuse, "PEER_IDLE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_open_a_job_is_refused() {
    let world = hasty().await;
    let misuse = Misuse::connect(&world).await;
    misuse.part(0, 0, vec![1]).await;
    ends_with(world, misuse, "FRAME_UNEXPECTED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_before_the_last_bucket_is_refused() {
    let world = hasty().await;
    let (misuse, _) = Misuse::opened(&world).await;
    misuse.send(PsiFrame::Finish([0; 64])).await;
    ends_with(world, misuse, "FRAME_UNEXPECTED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_another_signed_is_refused() {
    let world = hasty().await;
    let misuse = Misuse::connect(&world).await;
    let PsiFrame::Open(mut open) = open(&world, SessionId::from_bytes([1; 16]), 1) else { panic!("open") };
    let other = world.carrier.admin.keys().signing_key();
    open.request = Signed::sign(open.request.body().clone(), other);
    misuse.send(PsiFrame::Open(open)).await;
    ends_with(world, misuse, "REQUEST_SIGNATURE_INVALID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_one_connection_at_a_time_and_its_numbers_ascend() {
    let world = hasty().await;
    let session = SessionId::from_bytes([3; 16]);
    let frame = open(&world, session, 1);
    let mut first = Misuse::connect(&world).await;
    first.send(frame.clone()).await;
    first.frames.next().await.unwrap().unwrap();
    let second = Misuse::connect(&world).await;
    second.send(frame.clone()).await;
    assert_eq!(second.end().await, "JOB_RUNNING");
    assert_eq!(first.end().await, "PEER_IDLE");
    let again = Misuse::connect(&world).await;
    again.send(frame).await;
    assert_eq!(again.end().await, "JOB_ATTEMPTS");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bank_takes_no_more_than_its_share_of_the_places() {
    let world = World::with(0..10, &grant(psi_terms(), 0), "[service]\npsi_jobs_per_peer = 1\n").await;
    let other = world.lab.party("other", "");
    world.carrier.admin.import_enrolment(&other.enrolment).unwrap();
    other.admin.import_enrolment(&world.carrier.enrolment).unwrap();
    world.carrier.taken_over_by(&world.node).await;
    let (held, _) = Misuse::opened(&world).await;
    let second = Misuse::connect(&world).await;
    second.send(open(&world, SessionId::from_bytes([1; 16]), 1)).await;
    assert_eq!(second.end().await, "JOBS_BUSY");
    // It gets a place, and is refused for what it lacks.
    let mut request = request(&world, SessionId::from_bytes([2; 16]));
    (request.requester, request.grant) = (other.config.party(), GrantId::from_bytes([9; 16]));
    let request = Signed::sign(request, other.admin.keys().signing_key());
    let theirs = Misuse::connect_as(&other, &world).await;
    theirs.send(PsiFrame::Open(Box::new(PsiOpen { request, attempt: 1, finished: vec![] }))).await;
    assert_eq!(theirs.end().await, "GRANT_UNKNOWN");
    drop(held);
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_not_read_for_a_request_that_cannot_be_accepted() {
    let world = World::new(0..10, &grant(PsiTerms { runs: 1, ..psi_terms() }, 0)).await;
    drop(Misuse::opened(&world).await);
    std::fs::remove_file(world.lab.dir.path().join("risk.csv")).unwrap();
    let mut late = request(&world, SessionId::from_bytes([1; 16]));
    late.requested_at_ms -= 600_000;
    let one_more = request(&world, SessionId::from_bytes([2; 16]));
    for (request, code) in [(late, "CLOCK_SKEW"), (one_more, "GRANT_EXHAUSTED")] {
        let misuse = Misuse::connect(&world).await;
        misuse.send(opening(&world, request, 1)).await;
        assert_eq!(misuse.end().await, code);
    }
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_from_before_a_restore_is_not_begun_again() {
    let world = World::new(0..10, &grant(psi_terms(), 0)).await;
    let session = SessionId::from_bytes([5; 16]);
    drop(Misuse::opened_with(&world, request(&world, session)).await);
    world.node.stop().await.unwrap();
    // A restore brings no folder of what was under way.
    let folder = world.carrier.config.node.data_dir.join("psi").join(session.to_string());
    std::fs::remove_dir_all(folder).unwrap();
    let node = world.lab.start(&world.carrier).await;
    let world = World { node, ..world };
    let again = Misuse::connect(&world).await;
    again.send(opening(&world, request(&world, session), 1)).await;
    assert_eq!(again.end().await, "JOB_DIFFERS");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_accepted_goes_on_however_old_its_request_is() {
    let world = hasty().await;
    let PsiFrame::Open(mut open) = open(&world, SessionId::from_bytes([4; 16]), 1) else { panic!("open") };
    open.finished = vec![(0, [9; 32])];
    // It is accepted, and ends before its first connection counts.
    let first = Misuse::connect(&world).await;
    first.send(PsiFrame::Open(open.clone())).await;
    assert_eq!(first.end().await, "BUCKET_UNKNOWN");
    world.lab.clock.advance_ms(3_600_000);
    open.finished.clear();
    let mut again = Misuse::connect(&world).await;
    again.send(PsiFrame::Open(open)).await;
    assert!(matches!(again.frame().await, PsiFrame::Accept(_)));
    drop(again);
    let World { carrier, node, .. } = world;
    node.stop().await.unwrap();
    let accepted = events(&carrier).iter().filter(|event| matches!(event, Event::PsiAccepted(_))).count();
    assert_eq!(accepted, 1);
}

/// A bank whose node checks nothing is held by the carrier: the refusal comes in place of an acceptance.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_grant_size_column_or_budget_is_refused_before_anything_moves() {
    type Change = fn(&mut PsiRequest);
    let cases: [(Change, &str); 10] = [
        (|request| request.grant = GrantId::from_bytes([9; 16]), "GRANT_UNKNOWN"),
        (|request| request.purpose = "marketing".into(), "GRANT_SCOPE"),
        (|request| request.data_set = "other".parse().unwrap(), "LIST_UNKNOWN"),
        (|request| request.rows = (1 << 20) + 1, "GRANT_ROWS"),
        (|request| request.payload_columns = vec!["note".into()], "GRANT_COLUMN"),
        (|request| request.payload_columns = vec!["tag".into(); 2], "GRANT_COLUMN"),
        (|request| request.bucket_rows = 0, "PARAMETERS_INVALID"),
        (|request| request.bucket_rows = (1 << 20) + 1, "PARAMETERS_INVALID"),
        (|request| (request.rows, request.bucket_rows) = (1 << 20, 1), "PARAMETERS_INVALID"),
        (
            |request| (request.protocol, request.mode) = (Protocol::Vole, Mode::Cardinality),
            "PARAMETERS_INVALID",
        ),
    ];
    let world = hasty().await;
    for (change, code) in cases {
        let mut misuse = Misuse::connect(&world).await;
        let mut request = request(&world, SessionId::from_bytes(rand::random()));
        change(&mut request);
        misuse.send(opening(&world, request, 1)).await;
        let first = misuse.frames.next().await.expect("an error, not a quiet end");
        assert_eq!(PeerError::from(&first.expect_err("no frame")).code, code);
    }
    assert_eq!(failures(&world.carrier, &world.node).await, cases.map(|(_, code)| code));
    world.node.stop().await.unwrap();
    let accepted = events(&world.carrier).iter().any(|event| matches!(event, Event::PsiAccepted(_)));
    assert!(!accepted);
}

/// What a dishonest provider does with the frames of an honest one behind it.
pub(super) type Bend = fn(PsiFrame) -> Option<PsiFrame>;

/// Which frames of the bank reach the honest carrier.
pub(super) type Pass = fn(&Frame) -> bool;

/// Stands between bank and carrier, with the keys of both.
struct Between {
    bend: Bend,
    pass: Pass,
    channel: tonic::transport::Channel,
}

#[tonic::async_trait]
impl Psi for Between {
    type RunStream = ReceiverStream<Result<Frame, Status>>;

    async fn run(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::RunStream>, Status> {
        let asked = request.into_inner().map_while(Result::ok).filter(self.pass);
        let mut answers = PsiClient::new(self.channel.clone()).run(asked).await?.into_inner();
        let (sender, bent) = mpsc::channel(8);
        let bend = self.bend;
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                let frame = answer.map(|frame| bend(PsiFrame::try_from(frame).unwrap()));
                match frame {
                    Ok(None) => continue,
                    Ok(Some(PsiFrame::Done(_))) => return,
                    Ok(Some(frame)) => drop(sender.send(Ok(frame.into())).await),
                    Err(status) => drop(sender.send(Err(status)).await),
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(bent)))
    }
}

/// Puts somebody between the world's bank and its carrier.
pub(super) async fn between(world: &mut World, bend: Bend, pass: Pass) {
    let address = world.node.grpc_address().unwrap().to_string();
    let channel = channel(&world.bank.certificate(), &world.carrier.config.party(), &address).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between: SocketAddr = listener.local_addr().unwrap();
    let incoming = Incoming::new(listener, &world.carrier.certificate(), 8).unwrap();
    let server = Server::builder().add_service(PsiServer::new(Between { bend, pass, channel }));
    tokio::spawn(server.serve_with_incoming(incoming));
    world.bank.config.providers[0].address = between.to_string();
}

/// The bank's error when its provider bends the frames so. A frame bent to [`PsiFrame::Done`] hangs up.
async fn facing(bend: Bend) -> String {
    let mut world = World::new(0..1_000, &grant(psi_terms(), 0)).await;
    between(&mut world, bend, |_| true).await;
    let mut plan = world.plan("job", 0..1_000);
    plan.idle_s = 2;
    let error = world.run(&plan).await.unwrap_err();
    assert!(!plan.output.exists());
    world.node.stop().await.unwrap();
    error.code().to_owned()
}

fn bent(part: &PsiPart, data: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Option<PsiFrame> {
    let data = data(part.data.to_vec()).into();
    Some(PsiFrame::Part(PsiPart { bucket: part.bucket, message: part.message, data }))
}

/// Nothing comes through behind the provider's word that it takes part.
const SILENT: Bend = |frame| matches!(frame, PsiFrame::Accept(_)).then_some(frame);

/// Waits until the provider takes part.
async fn accepted(world: &World) {
    while !events(&world.carrier).iter().any(|event| matches!(event, Event::PsiAccepted(_))) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_under_way_ends_within_five_seconds_when_its_provider_is_revoked_or_ended() {
    for by_list in [true, false] {
        let mut world = World::new(0..1_000, &grant(psi_terms(), 0)).await;
        between(&mut world, SILENT, |_| true).await;
        let mut plan = world.plan("job", 0..1_000);
        plan.idle_s = 60;
        let revoke = async {
            accepted(&world).await;
            if by_list {
                let list = world.lab.revoke(None, &[&world.carrier.enrolment]);
                world.bank.admin.import_revocations(list.der()).unwrap();
            } else {
                world.bank.admin.end_partner(&world.carrier.config.party()).unwrap();
            }
            Instant::now()
        };
        let (ended, revoked) = tokio::join!(world.run(&plan), revoke);
        let error = ended.unwrap_err();
        assert_eq!(error.code(), "PARTNER_ENDED");
        assert!(
            error.to_string().contains("carrier-a") && revoked.elapsed() < Duration::from_secs(5),
            "{error}"
        );
        let told = |event: &Event| matches!(event, Event::Failed { code, .. } if code == "PARTNER_ENDED");
        assert!(events(&world.bank).iter().any(told));
        assert_eq!(world.run(&plan).await.unwrap_err().code(), "PARTNER_MISSING");
        world.node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_under_way_ends_when_its_partner_is_suspended_or_screening_is_off() {
    for is_suspended in [true, false] {
        let mut world = World::new(0..1_000, &grant(psi_terms(), 0)).await;
        between(&mut world, SILENT, |_| true).await;
        let mut plan = world.plan("job", 0..1_000);
        plan.idle_s = 60;
        let switch = async {
            accepted(&world).await;
            if is_suspended {
                world.bank.admin.suspend(&world.carrier.config.party()).unwrap();
            } else {
                world.bank.admin.switch(Function::Screening, false).unwrap();
            }
            Instant::now()
        };
        let (ended, switched) = tokio::join!(world.run(&plan), switch);
        let code = if is_suspended { "PARTNER_SUSPENDED" } else { "SCREENING_OFF" };
        assert_eq!(ended.unwrap_err().code(), code);
        assert!(switched.elapsed() < Duration::from_secs(5));
        world.node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_names_what_its_provider_does_wrong() {
    let garbage: Bend = |frame| match frame {
        PsiFrame::Part(part) => bent(&part, |data| vec![0xff; data.len()]),
        other => Some(other),
    };
    let long: Bend = |frame| match frame {
        PsiFrame::Part(part) => bent(&part, |data| [data, vec![0; 400_000]].concat()),
        other => Some(other),
    };
    let hang_up: Bend = |frame| match frame {
        PsiFrame::Part(_) => Some(PsiFrame::Done(0)),
        other => Some(other),
    };
    let silent: Bend = |frame| match frame {
        PsiFrame::Accept(_) => Some(frame),
        _ => None,
    };
    let other_bucket: Bend = |frame| match frame {
        PsiFrame::Part(part) => Some(PsiFrame::Part(PsiPart { bucket: 4_000, ..part })),
        other => Some(other),
    };
    let out_of_turn: Bend = |frame| match frame {
        PsiFrame::Part(_) => Some(PsiFrame::Finish([0; 64])),
        other => Some(other),
    };
    for (bend, code) in [
        (garbage, "MESSAGE_INVALID"),
        (long, "MESSAGE_TOO_LONG"),
        (hang_up, "PEER_CLOSED"),
        (silent, "PEER_IDLE"),
        (other_bucket, "BUCKET_UNEXPECTED"),
        (out_of_turn, "FRAME_UNEXPECTED"),
    ] {
        assert_eq!(facing(bend).await, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_or_a_receipt_that_another_signed_does_not_hold() {
    fn resigned<T: windvane_protocols::transcript::Record + Clone>(signed: &Signed<T>) -> Signed<T> {
        let mut bytes = signed.as_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Signed::from_bytes_unverified(bytes).unwrap()
    }
    let acceptance: Bend = |frame| match frame {
        PsiFrame::Accept(acceptance) => Some(PsiFrame::Accept(Box::new(resigned(&acceptance)))),
        other => Some(other),
    };
    let receipt: Bend = |frame| match frame {
        PsiFrame::Receipt(receipt) => Some(PsiFrame::Receipt(Box::new(resigned(&receipt)))),
        other => Some(other),
    };
    assert_eq!(facing(acceptance).await, "ACCEPTANCE_INVALID");
    assert_eq!(facing(receipt).await, "RECEIPT_INVALID");
}
