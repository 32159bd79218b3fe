//! The engine's view of Diffie-Hellman: buckets are independent, so their chain carries nothing.

use std::sync::Arc;

use bytes::Bytes;
use windvane_protocols::psi::Mode;
use windvane_protocols::psi::ecdh::{
    AwaitPermutation, Counted, Found, Match, Receiver, Sender, SenderItem, Withheld, answer_bytes,
    blinded_bytes, permutation_bytes,
};

use super::PsiError;
use super::side::{Begun, BucketItems, Common, Outcome, ReceiverSide, SenderSide, Then, Turn};

/// Decides about a count: the signed release request, or `None` when the count is below the minimum.
pub(super) type Decide = Arc<dyn Fn(u64) -> Result<Option<Vec<u8>>, PsiError> + Send + Sync>;

/// Checks and logs the receiver's release request; nothing is released before it returns.
pub(super) type Release = Arc<dyn Fn(&[u8]) -> Result<(), PsiError> + Send + Sync>;

/// The receiver's side.
pub(super) struct EcdhReceiver {
    common: Common,
    incoming: Vec<usize>,
    receiver: Receiver,
    decide: Decide,
}

/// The sender's side.
pub(super) struct EcdhSender {
    common: Common,
    incoming: Vec<usize>,
    sender: Arc<Sender>,
    release: Release,
}

impl EcdhReceiver {
    /// A fresh scalar for one connection.
    pub(super) fn new(common: Common, decide: Decide) -> Self {
        let parameters = &common.parameters;
        let mut incoming = vec![answer_bytes(parameters)];
        if parameters.sizes().mode == Mode::MinimumThenRelease {
            incoming.push(permutation_bytes(parameters));
        }
        let receiver = Receiver::new(common.parameters, common.salt, &mut rand::rng());
        Self { common, incoming, receiver, decide }
    }
}

impl ReceiverSide for EcdhReceiver {
    type Chain = ();

    fn incoming(&self) -> &[usize] {
        &self.incoming
    }

    fn start(&self, bucket: u32, items: BucketItems, chain: ()) -> Result<Turn<Outcome, ()>, PsiError> {
        let threads = self.common.threads;
        let (message, wait) =
            self.receiver.blind(&items.keys, threads, &mut rand::rng()).map_err(PsiError::of(bucket))?;
        let (rows, decide) = (items.rows, self.decide.clone());
        let then: Then<_, _> =
            Box::new(move |answer| match wait.on_answer(&answer, threads).map_err(PsiError::of(bucket))? {
                Found::Matches(found) => Ok(end(Outcome::Matches(rows_of(found, &rows)))),
                Found::Count(count) => Ok(end(Outcome::Count(count))),
                Found::Counted(counted) => ask_release(bucket, counted, rows, &decide),
            });
        Ok(Turn::Ask { message, chain: Some(chain), then, or_done: None })
    }
}

fn ask_release(
    bucket: u32,
    counted: Counted,
    rows: Vec<u64>,
    decide: &Decide,
) -> Result<Turn<Outcome, ()>, PsiError> {
    let count = counted.count();
    let Some(message) = decide(count)? else { return Ok(end(Outcome::Below(count))) };
    let wait: AwaitPermutation = counted.ask();
    let then: Then<_, _> = Box::new(move |order: Bytes| {
        let found = wait.on_permutation(&order).map_err(PsiError::of(bucket))?;
        Ok(end(Outcome::Matches(rows_of(found, &rows))))
    });
    Ok(Turn::Ask { message, chain: None, then, or_done: None })
}

fn end(result: Outcome) -> Turn<Outcome, ()> {
    Turn::End { message: None, chain: None, result }
}

fn rows_of(found: Vec<Match>, rows: &[u64]) -> Vec<(u64, Vec<u8>)> {
    let row = |found: Match| (rows[found.item], found.payload.unwrap_or_default());
    let mut matches: Vec<_> = found.into_iter().map(row).collect();
    matches.sort_unstable();
    matches
}

impl EcdhSender {
    /// A fresh scalar for one connection; `release_bytes` is the length of a signed release request.
    pub(super) fn new(common: Common, release: Release, release_bytes: usize) -> Self {
        let mut incoming = vec![blinded_bytes(&common.parameters)];
        if common.parameters.sizes().mode == Mode::MinimumThenRelease {
            incoming.push(release_bytes);
        }
        let sender = Arc::new(Sender::new(common.parameters, common.salt, &mut rand::rng()));
        Self { common, incoming, sender, release }
    }
}

impl SenderSide for EcdhSender {
    type Chain = ();

    fn incoming(&self) -> &[usize] {
        &self.incoming
    }

    fn start(&self, bucket: u32, items: BucketItems, chain: ()) -> Result<Begun<()>, PsiError> {
        let (sender, threads, release) = (self.sender.clone(), self.common.threads, self.release.clone());
        let then: Then<_, _> = Box::new(move |blinded: Bytes| {
            let payload = |at: usize| items.payloads.get(at).map_or(&[] as &[u8], Vec::as_slice);
            let item = |(at, key): (usize, &_)| SenderItem { key: *key, payload: payload(at) };
            let rows: Vec<_> = items.keys.iter().enumerate().map(item).collect();
            let answered = sender.answer(&blinded, &rows, threads, &mut rand::rng());
            let (message, withheld) = answered.map_err(PsiError::of(bucket))?;
            Ok(match withheld {
                None => Turn::End { message: Some(message), chain: None, result: () },
                Some(withheld) => await_release(message, withheld, release),
            })
        });
        Ok((then, Some(chain)))
    }
}

fn await_release(message: Vec<u8>, withheld: Withheld, release: Release) -> Turn<(), ()> {
    let then: Then<_, _> = Box::new(move |request: Bytes| {
        release(&request)?;
        Ok(Turn::End { message: Some(withheld.reveal()), chain: None, result: () })
    });
    Turn::Ask { message, chain: None, then, or_done: Some(()) }
}
