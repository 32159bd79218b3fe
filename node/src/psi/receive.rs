//! The receiver's driver: starts buckets in order, a few at a time, and keeps what each gives.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use windvane_proto::convert::{PsiFrame, WireError};
use windvane_proto::psi::v1::Frame;

use super::engine::{
    Connection, Course, Line, Patience, Place, SharedFolder, TICK, Watch, blocking, lock, next,
};
use super::flight::{Flights, Task};
use super::input::Buckets;
use super::side::{ReceiverSide, Turn};
use super::stage::Stage;
use super::{JobProgress, PsiError};
use crate::error::PeerError;
use crate::identity::NodeKeys;

/// Drives all buckets that are not finished.
pub(super) struct Receiving<R: ReceiverSide> {
    side: Arc<R>,
    input: Arc<dyn Buckets>,
    folder: SharedFolder,
    /// Seals what buckets gave.
    keys: Arc<NodeKeys>,
    connection: Connection,
    line: Line<R::Chain>,
    waiting: VecDeque<u32>,
    flights: Flights<u32>,
    finished: u64,
}

impl<R: ReceiverSide> Receiving<R> {
    pub(super) fn new(
        side: R,
        chain: R::Chain,
        input: Arc<dyn Buckets>,
        folder: SharedFolder,
        keys: Arc<NodeKeys>,
        connection: Connection,
    ) -> Self {
        let done: Vec<u32> = lock(&folder).state().finished.keys().copied().collect();
        let waiting =
            (0..connection.parameters.buckets()).filter(|b| done.binary_search(b).is_err()).collect();
        Self {
            side: Arc::new(side),
            input,
            folder,
            keys,
            connection,
            line: Line::new(chain),
            waiting,
            flights: Flights::new(),
            finished: done.len() as u64,
        }
    }

    /// Runs until every bucket is finished.
    pub(super) async fn run(
        mut self,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
        progress: &dyn JobProgress,
    ) -> Result<(), PsiError> {
        let run = self.drive(frames, watch, progress).await;
        // Buckets that are given up let go of the job's folder before anybody takes it up again.
        self.flights.shutdown().await;
        run
    }

    async fn drive(
        &mut self,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
        progress: &dyn JobProgress,
    ) -> Result<(), PsiError> {
        let total = self.connection.parameters.buckets().into();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            progress.buckets(self.finished, total);
            self.start();
            if self.flights.is_idle() {
                return Ok(());
            }
            tokio::select! {
                frame = frames.next() => {
                    watch.heard();
                    self.take(receive(frame)?)?;
                }
                Some(done) = self.flights.ended() => {
                    self.flights.land(done?);
                    self.finished += 1;
                }
                _ = ticks.tick() => {
                    if watch.tick()? {
                        self.connection.out.offer(PsiFrame::Progress(self.finished as u32));
                    }
                }
            }
        }
    }

    fn start(&mut self) {
        while !self.flights.is_full() {
            let Some(bucket) = self.waiting.pop_front() else { return };
            let task = Task {
                side: self.side.clone(),
                input: self.input.clone(),
                folder: self.folder.clone(),
                connection: self.connection.clone(),
                bucket,
            };
            let (place, keys) = (self.line.join(), self.keys.clone());
            self.flights.begin(bucket, self.side.incoming(), |messages| task.ask(keys, place, messages));
        }
    }

    fn take(&mut self, frame: PsiFrame) -> Result<(), PsiError> {
        match frame {
            PsiFrame::Progress(_) => Ok(()),
            PsiFrame::Part(part) => self.flights.take(&part),
            other => Err(PsiError::Unexpected { found: other.name(), expected: "a part of a bucket" }),
        }
    }
}

/// A frame, or why there is none.
pub(super) fn receive(frame: Option<Result<Frame, Status>>) -> Result<PsiFrame, PsiError> {
    match frame {
        None => Err(PsiError::Closed),
        Some(Err(status)) => Err(match WireError::of(&status) {
            Some(error) => error.clone().into(),
            None => PeerError::from(&status).into(),
        }),
        Some(Ok(frame)) => Ok(frame.try_into()?),
    }
}

impl<R: ReceiverSide> Task<R> {
    /// One bucket's conversation, from the first question to the result.
    async fn ask(
        self,
        keys: Arc<NodeKeys>,
        mut place: Place<R::Chain>,
        mut inbox: mpsc::Receiver<Bytes>,
    ) -> Result<u32, PsiError> {
        let (bucket, parameters) = (self.bucket, self.connection.parameters);
        let input = self.input.clone();
        let items = blocking(move || input.bucket(bucket, &parameters)).await?;
        let chain = place.chain().await?;
        Stage::BucketStarted.reached();
        let (side, mut course) = (self.side.clone(), Course::new(&self.connection, bucket));
        let mut turn = blocking(move || side.start(bucket, items, chain)).await?;
        loop {
            match turn {
                Turn::Ask { message, chain, then, .. } => {
                    place.pass(chain);
                    let number = course.sends(&message);
                    course.send(&self.connection.out, number, message).await?;
                    let message = next(&mut inbox).await?;
                    let stepped = blocking(move || {
                        course.received(&message);
                        Ok((then(message)?, course))
                    });
                    (turn, course) = stepped.await?;
                }
                Turn::Work { chain, then } => {
                    place.pass(Some(chain));
                    turn = blocking(then).await?;
                }
                Turn::End { chain, result, .. } => {
                    place.pass(chain);
                    let (folder, hash) = (self.folder.clone(), course.hash());
                    blocking(move || lock(&folder).finish(bucket, hash, &result, &keys.storage)).await?;
                    Stage::BucketFinished.reached();
                    self.connection.out.send(PsiFrame::Done(bucket)).await?;
                    return Ok(bucket);
                }
            }
        }
    }
}

/// Waits for one frame outside of the buckets, minding the clocks.
pub(super) async fn await_frame(
    frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
    watch: &mut Watch,
    mut alive: impl FnMut(),
) -> Result<PsiFrame, PsiError> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            frame = frames.next() => {
                watch.heard();
                match receive(frame)? {
                    PsiFrame::Progress(_) => {}
                    frame => return Ok(frame),
                }
            }
            _ = ticks.tick() => {
                if watch.tick()? {
                    alive();
                }
            }
        }
    }
}

/// A patience's clocks for a folder.
pub(super) fn watch(patience: Patience, folder: &SharedFolder) -> Watch {
    Watch::new(patience, lock(folder).path())
}
