//! The receiver's driver: starts buckets in order, a few at a time, and keeps what each gives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use windvane_proto::convert::PsiFrame;
use windvane_proto::psi::v1::Frame;

use super::engine::{
    Connection, Course, Line, Patience, Place, SharedFolder, TICK, WINDOW, Watch, blocking, lock, next,
};
use super::input::Buckets;
use super::link::Assembly;
use super::side::{ReceiverSide, Turn};
use super::stage::Stage;
use super::{JobProgress, PsiError};
use crate::error::PeerError;

/// A bucket under way.
struct Flight {
    assembly: Assembly,
    inbox: mpsc::Sender<Bytes>,
}

/// Drives all buckets that are not finished.
pub(super) struct Receiving<R: ReceiverSide> {
    side: Arc<R>,
    input: Arc<dyn Buckets>,
    folder: SharedFolder,
    connection: Connection,
    line: Line<R::Chain>,
    waiting: VecDeque<u32>,
    flights: BTreeMap<u32, Flight>,
    tasks: JoinSet<Result<u32, PsiError>>,
    finished: u64,
}

impl<R: ReceiverSide> Receiving<R> {
    pub(super) fn new(
        side: R,
        chain: R::Chain,
        input: Arc<dyn Buckets>,
        folder: SharedFolder,
        connection: Connection,
    ) -> Self {
        let done: Vec<u32> = lock(&folder).state().finished.keys().copied().collect();
        let waiting =
            (0..connection.parameters.buckets()).filter(|b| done.binary_search(b).is_err()).collect();
        Self {
            side: Arc::new(side),
            input,
            folder,
            connection,
            line: Line::new(chain),
            waiting,
            flights: BTreeMap::new(),
            tasks: JoinSet::new(),
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
        self.tasks.shutdown().await;
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
            if self.tasks.is_empty() {
                return Ok(());
            }
            tokio::select! {
                frame = frames.next() => {
                    watch.heard();
                    self.take(receive(frame)?).await?;
                }
                done = self.tasks.join_next() => {
                    if let Some(done) = done {
                        self.done(done)?;
                    }
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
        while self.flights.len() < WINDOW {
            let Some(bucket) = self.waiting.pop_front() else { return };
            let (inbox, messages) = mpsc::channel(1);
            let assembly = Assembly::new(bucket, self.side.incoming());
            self.flights.insert(bucket, Flight { assembly, inbox });
            let task = Task {
                side: self.side.clone(),
                input: self.input.clone(),
                folder: self.folder.clone(),
                connection: self.connection.clone(),
                bucket,
            };
            self.tasks.spawn(task.converse(self.line.join(), messages));
        }
    }

    async fn take(&mut self, frame: PsiFrame) -> Result<(), PsiError> {
        match frame {
            PsiFrame::Progress(_) => Ok(()),
            PsiFrame::Part(part) => {
                let bucket = part.bucket;
                let flight = self.flights.get_mut(&bucket).ok_or(PsiError::Bucket { bucket })?;
                if let Some(message) = flight.assembly.take(&part)? {
                    // A bucket that failed says so itself.
                    let _ = flight.inbox.send(message).await;
                }
                Ok(())
            }
            other => Err(PsiError::Unexpected { found: other.name(), expected: "a part of a bucket" }),
        }
    }

    fn done(&mut self, done: Result<Result<u32, PsiError>, tokio::task::JoinError>) -> Result<(), PsiError> {
        let stopped =
            |_| crate::error::NodeError::Given { code: "INTERNAL", message: "a bucket stopped".into() };
        let bucket = done.map_err(stopped)??;
        self.flights.remove(&bucket);
        self.finished += 1;
        Ok(())
    }
}

/// A frame, or why there is none.
pub(super) fn receive(frame: Option<Result<Frame, Status>>) -> Result<PsiFrame, PsiError> {
    match frame {
        None => Err(PsiError::Closed),
        Some(Err(status)) => Err(PeerError::from(&status).into()),
        Some(Ok(frame)) => Ok(frame.try_into()?),
    }
}

/// One bucket's conversation.
struct Task<R> {
    side: Arc<R>,
    input: Arc<dyn Buckets>,
    folder: SharedFolder,
    connection: Connection,
    bucket: u32,
}

impl<R: ReceiverSide> Task<R> {
    async fn converse(
        self,
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
                    blocking(move || lock(&folder).finish(bucket, hash, &result)).await?;
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
