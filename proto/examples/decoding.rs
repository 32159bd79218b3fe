//! What the pass before decoding costs beside decoding itself, for the messages of a lookup and the largest ones.
//! `cargo run --release -p windvane-proto --example decoding`

#![expect(clippy::print_stdout, reason = "the figures are what this program prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use windvane_proto::decode::Shaped;
use windvane_proto::lookup::v1::{EvaluateRequest, EvaluateResponse, GroupAnswer, GroupElements};
use windvane_proto::train::v1::{Proposal, SumRequest, UploadRequest, upload_request::Body};
use windvane_protocols::limits::{
    MAX_FAMILIES, MAX_MESSAGE_BYTES, MAX_TRAIN_CHUNK_BYTES, MAX_TRAIN_FEATURES,
};
use windvane_protocols::train::step::MAX_LEVEL_PAIRS;

fn main() {
    told("a question about one customer", &question(32));
    told("its answer", &answer(32));
    told("a question as long as one may be", &question(MAX_MESSAGE_BYTES / 11));
    told("a chunk of an upload", &UploadRequest { body: Some(Body::Chunk(filled(MAX_TRAIN_CHUNK_BYTES))) });
    let groups = vec![filled(3); MAX_TRAIN_FEATURES];
    let pairs = vec![Proposal { right: false, groups }; MAX_LEVEL_PAIRS];
    told("the groups of all features, for all pairs", &SumRequest { place: None, pairs });
    let repeated = |pair: [u8; 2]| pair.repeat(MAX_MESSAGE_BYTES / 2);
    timed::<EvaluateRequest>("numbers that nobody knows, which are refused", repeated([0x78, 0]));
    timed::<EvaluateRequest>("empty groups, which are refused", repeated([0x12, 0]));
}

fn filled(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

fn question(elements: usize) -> EvaluateRequest {
    let group = |group| GroupElements { group, elements: filled(elements) };
    let groups = (1..=MAX_FAMILIES as u32).map(group).collect();
    EvaluateRequest { request: filled(1 << 10), groups, score: None }
}

fn answer(elements: usize) -> EvaluateResponse {
    let group = |group| {
        let (key_id, proof) = (filled(32), filled(64));
        GroupAnswer { group, key_id, elements: filled(elements), proof }
    };
    let groups = (1..=MAX_FAMILIES as u32).map(group).collect();
    EvaluateResponse { groups, receipt: filled(1 << 10), score: None }
}

fn told<M: Message + Default + Shaped>(what: &str, message: &M) {
    timed::<M>(what, message.encode_to_vec());
}

fn timed<M: Message + Default + Shaped>(what: &str, message: Vec<u8>) {
    let message = Bytes::from(message);
    let pass = each(|| M::SHAPE.check(black_box(&message)).is_ok());
    let decoded = each(|| M::decode(black_box(message.clone())).is_ok());
    println!("{what}, {} bytes: the pass {pass:?}, decoding {decoded:?}", message.len());
}

/// The time of one run, over half a second.
fn each(mut run: impl FnMut() -> bool) -> Duration {
    let (begun, mut runs) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(500) {
        black_box(run());
        runs += 1;
    }
    begun.elapsed() / runs
}
