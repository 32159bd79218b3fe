//! The engine's view of RR22 over a silent vector OLE.
//!
//! A connection is set up once, by three messages under a session of its own: the acceptance, which has both
//! nonces in it, and the number of the connection, which never comes twice. Then every bucket is a request and
//! the trees of one VOLE batch, and the masked encoding and the records of RR22. Batches follow one another,
//! because each is bootstrapped from the one before; encodings and records overlap with later buckets.

use bytes::Bytes;
use tokio_stream::Stream;
use tonic::Status;
use windvane_proto::convert::PsiFrame;
use windvane_proto::psi::v1::Frame;
use windvane_protocols::psi::okvs::OkvsError;
use windvane_protocols::psi::rr22::{
    AwaitSeeds, Encoded, Intersection, Plan, ReceiverShare, Rr22Error, SEEDS_BYTES, SenderShare,
};
use windvane_protocols::psi::vole::{
    AwaitNoise, AwaitPoints, AwaitTrees, Receiver, ReceiverBatch, Sender, Shape, Step,
};
use windvane_protocols::psi::{Parameters, PsiAcceptance};
use windvane_protocols::transcript::{Hash, Signed, Transcript};

use super::PsiError;
use super::engine::Watch;
use super::error::ProtocolError;
use super::link::Outgoing;
use super::receive::await_frame;
use super::side::{Begun, BucketItems, Common, Outcome, ReceiverSide, SenderSide, Then, Turn};

/// A store has no solution once in many millions at most; so often in a row is a fault of its own.
const ENCODINGS: u32 = 8;

/// What both sides of a connection know.
#[derive(Debug, Clone, Copy)]
struct Shared {
    plan: Plan,
    shape: Shape,
}

impl Shared {
    fn new(parameters: &Parameters) -> Result<Self, ProtocolError> {
        let plan = Plan::of(parameters)?;
        Ok(Self { plan, shape: Shape::for_outputs(plan.columns())? })
    }

    const fn encoding_bytes(&self) -> usize {
        SEEDS_BYTES + self.plan.encoding_bytes()
    }
}

/// Whether the protocol takes buckets of this size.
pub(super) fn check(parameters: &Parameters) -> Result<(), ProtocolError> {
    Shared::new(parameters).map(drop)
}

/// The session of one connection's VOLE.
fn session(acceptance: &Signed<PsiAcceptance>, attempt: u64) -> Hash {
    Transcript::new("windvane/psi-vole-session/v1")
        .bytes("acceptance", &acceptance.digest())
        .u64("attempt", attempt)
        .digest()
}

/// Sets up the receiver's part of a connection.
pub(super) async fn set_up_receiver(
    acceptance: &Signed<PsiAcceptance>,
    attempt: u64,
    out: &Outgoing,
    frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
    watch: &mut Watch,
) -> Result<Receiver, PsiError> {
    let Step { state, message } = AwaitPoints::open(&session(acceptance, attempt), &mut rand::rng());
    out.send(PsiFrame::Setup(message.into())).await?;
    let points = await_setup(frames, watch).await?;
    let Step { state, message } = state.on_points(&points, &mut rand::rng()).map_err(PsiError::of(0))?;
    out.send(PsiFrame::Setup(message.into())).await?;
    Ok(state)
}

/// Sets up the sender's part of a connection.
pub(super) async fn set_up_sender(
    acceptance: &Signed<PsiAcceptance>,
    attempt: u64,
    out: &Outgoing,
    frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
    watch: &mut Watch,
) -> Result<Sender, PsiError> {
    let opening = await_setup(frames, watch).await?;
    let session = session(acceptance, attempt);
    let step = AwaitNoise::respond(&session, &opening, &mut rand::rng()).map_err(PsiError::of(0))?;
    out.send(PsiFrame::Setup(step.message.into())).await?;
    let noise = await_setup(frames, watch).await?;
    step.state.on_noise(&noise).map_err(PsiError::of(0))
}

async fn await_setup(
    frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
    watch: &mut Watch,
) -> Result<Bytes, PsiError> {
    match await_frame(frames, watch, || ()).await? {
        PsiFrame::Setup(data) => Ok(data),
        other => Err(PsiError::Unexpected { found: other.name(), expected: "the protocol's setup" }),
    }
}

/// The receiver's side.
pub(super) struct VoleReceiver {
    shared: Shared,
    incoming: [usize; 2],
}

/// The sender's side.
pub(super) struct VoleSender {
    shared: Shared,
    incoming: [usize; 2],
}

impl VoleReceiver {
    /// For one connection.
    pub(super) fn new(common: &Common) -> Result<Self, PsiError> {
        let shared = Shared::new(&common.parameters).map_err(PsiError::of(0))?;
        let incoming = [shared.shape.trees_bytes(), shared.plan.records_bytes()];
        Ok(Self { shared, incoming })
    }
}

impl ReceiverSide for VoleReceiver {
    type Chain = Receiver;

    fn incoming(&self) -> &[usize] {
        &self.incoming
    }

    fn start(
        &self,
        bucket: u32,
        items: BucketItems,
        chain: Receiver,
    ) -> Result<Turn<Outcome, Receiver>, PsiError> {
        let Step { state, message } = chain.begin(self.shared.shape, &mut rand::rng());
        let shared = self.shared;
        let then: Then<_, _> = Box::new(move |trees| on_trees(bucket, shared, items, state, &trees));
        Ok(Turn::Ask { message, chain: None, then, or_done: None })
    }
}

fn on_trees(
    bucket: u32,
    shared: Shared,
    items: BucketItems,
    wait: AwaitTrees,
    trees: &[u8],
) -> Result<Turn<Outcome, Receiver>, PsiError> {
    let ReceiverBatch { state, share } = wait.on_trees(trees).map_err(PsiError::of(bucket))?;
    let share = ReceiverShare::new(share.a.into_vec(), share.c.into_vec());
    let work = move || mask(bucket, shared, &items.keys, items.rows, share);
    Ok(Turn::Work { chain: state, then: Box::new(work) })
}

fn mask(
    bucket: u32,
    shared: Shared,
    keys: &[[u8; 16]],
    rows: Vec<u64>,
    share: ReceiverShare,
) -> Result<Turn<Outcome, Receiver>, PsiError> {
    let encoded = encode(shared.plan, &numbers(keys)).map_err(PsiError::of(bucket))?;
    let masked = encoded.mask(share).map_err(PsiError::of(bucket))?;
    let mut message = Vec::with_capacity(shared.encoding_bytes());
    message.extend_from_slice(&masked.seeds);
    message.extend_from_slice(&masked.encoding);
    drop(masked.encoding);
    let decoding = masked.state;
    let then: Then<_, _> = Box::new(move |records: Bytes| {
        let mut wait = decoding.decode().map_err(PsiError::of(bucket))?;
        wait.on_chunk(&records).map_err(PsiError::of(bucket))?;
        let found = wait.finish().map_err(PsiError::of(bucket))?;
        Ok(Turn::End { message: None, chain: None, result: matches(&found, &rows) })
    });
    Ok(Turn::Ask { message, chain: None, then, or_done: None })
}

/// Encodes under fresh seeds until there is a solution.
fn encode(plan: Plan, keys: &[u128]) -> Result<Encoded, Rr22Error> {
    let mut encoded = Encoded::encode(plan, keys, &mut rand::rng());
    for _ in 1..ENCODINGS {
        if !matches!(encoded, Err(Rr22Error::Okvs(OkvsError::Unsolvable))) {
            break;
        }
        encoded = Encoded::encode(plan, keys, &mut rand::rng());
    }
    encoded
}

fn numbers(keys: &[[u8; 16]]) -> Vec<u128> {
    keys.iter().map(|key| u128::from_le_bytes(*key)).collect()
}

fn matches(found: &Intersection, rows: &[u64]) -> Outcome {
    let row = |(at, index): (usize, &u32)| (rows[*index as usize], found.payload(at).to_vec());
    let mut matches: Vec<_> = found.indices().iter().enumerate().map(row).collect();
    matches.sort_unstable();
    Outcome::Matches(matches)
}

impl VoleSender {
    /// For one connection.
    pub(super) fn new(common: &Common) -> Result<Self, PsiError> {
        let shared = Shared::new(&common.parameters).map_err(PsiError::of(0))?;
        let incoming = [shared.shape.request_bytes(), shared.encoding_bytes()];
        Ok(Self { shared, incoming })
    }
}

impl SenderSide for VoleSender {
    type Chain = Sender;

    fn incoming(&self) -> &[usize] {
        &self.incoming
    }

    fn start(&self, bucket: u32, items: BucketItems, chain: Sender) -> Result<Begun<Sender>, PsiError> {
        let shared = self.shared;
        let then: Then<_, _> = Box::new(move |request: Bytes| {
            let batch = chain.on_request(shared.shape, &request, &mut rand::rng());
            let batch = batch.map_err(PsiError::of(bucket))?;
            let share = SenderShare::new(*batch.state.delta().expose(), batch.share.b.into_vec());
            let then: Then<_, _> =
                Box::new(move |encoding: Bytes| records(bucket, shared, &items, share, &encoding));
            Ok(Turn::Ask { message: batch.message, chain: Some(batch.state), then, or_done: None })
        });
        Ok((then, None))
    }
}

fn records(
    bucket: u32,
    shared: Shared,
    items: &BucketItems,
    share: SenderShare,
    encoding: &[u8],
) -> Result<Turn<(), Sender>, PsiError> {
    let (seeds, encoding) = encoding.split_first_chunk::<SEEDS_BYTES>().ok_or(PsiError::Bucket { bucket })?;
    let wait = AwaitSeeds::new(shared.plan, numbers(&items.keys), share).map_err(PsiError::of(bucket))?;
    let mut wait = wait.on_seeds(seeds).map_err(PsiError::of(bucket))?;
    wait.on_chunk(encoding).map_err(PsiError::of(bucket))?;
    let records = wait.finish(&items.payloads, &mut rand::rng()).map_err(PsiError::of(bucket))?;
    Ok(Turn::End { message: Some(records.message), chain: None, result: () })
}
