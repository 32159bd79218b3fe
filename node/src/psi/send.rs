//! The sender's driver: answers buckets in the order in which the receiver starts them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use windvane_proto::convert::{PsiFrame, PsiPart};
use windvane_proto::psi::v1::Frame;
use windvane_protocols::transcript::Hash;

use super::PsiError;
use super::engine::{Connection, Course, Line, Place, SharedFolder, TICK, Watch, blocking, lock};
use super::flight::{Flights, Task};
use super::folder::Fact;
use super::input::Buckets;
use super::receive::receive;
use super::side::{SenderSide, Turn};
use super::stage::Stage;

/// Drives the buckets of one connection.
pub(super) struct Sending<S: SenderSide> {
    side: Arc<S>,
    input: Arc<dyn Buckets>,
    folder: SharedFolder,
    connection: Connection,
    line: Line<S::Chain>,
    /// The lowest bucket that may still begin: they begin in ascending order.
    next: u32,
    /// From a bucket's first part until the receiver is done with it.
    flights: Flights<()>,
}

impl<S: SenderSide> Sending<S> {
    pub(super) fn new(
        side: S,
        chain: S::Chain,
        input: Arc<dyn Buckets>,
        folder: SharedFolder,
        connection: Connection,
    ) -> Self {
        Self {
            side: Arc::new(side),
            input,
            folder,
            connection,
            line: Line::new(chain),
            next: 0,
            flights: Flights::new(),
        }
    }

    /// Runs until the receiver says that it is through; gives the hash that it says.
    pub(super) async fn run(
        mut self,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
    ) -> Result<Hash, PsiError> {
        let run = self.drive(frames, watch).await;
        // Buckets that are given up let go of the job's folder before anybody takes it up again.
        self.flights.shutdown().await;
        run
    }

    async fn drive(
        &mut self,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
    ) -> Result<Hash, PsiError> {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                frame = frames.next() => {
                    watch.heard();
                    match receive(frame)? {
                        PsiFrame::Part(part) => self.part(&part)?,
                        PsiFrame::Done(bucket) => self.done(bucket).await?,
                        PsiFrame::Progress(_) => {}
                        PsiFrame::Finish(hash) => return Ok(hash),
                        other => {
                            let expected = "a part of a bucket";
                            return Err(PsiError::Unexpected { found: other.name(), expected });
                        }
                    }
                }
                Some(ended) = self.flights.ended() => ended?,
                _ = ticks.tick() => {
                    if watch.tick()? {
                        let finished = lock(&self.folder).state().finished.len();
                        self.connection.out.offer(PsiFrame::Progress(finished as u32));
                    }
                }
            }
        }
    }

    fn part(&mut self, part: &PsiPart) -> Result<(), PsiError> {
        if !self.flights.contains(part.bucket) {
            self.begin(part.bucket)?;
        }
        self.flights.take(part)
    }

    /// A bucket begins: in order, within the window, and never one that was finished.
    fn begin(&mut self, bucket: u32) -> Result<(), PsiError> {
        let finished = lock(&self.folder).state().finished.contains_key(&bucket);
        let within = (self.next..self.connection.parameters.buckets()).contains(&bucket);
        if finished || !within || self.flights.is_full() {
            return Err(PsiError::Bucket { bucket });
        }
        self.next = bucket + 1;
        let task = Task {
            side: self.side.clone(),
            input: self.input.clone(),
            folder: self.folder.clone(),
            connection: self.connection.clone(),
            bucket,
        };
        let place = self.line.join();
        self.flights.begin(bucket, self.side.incoming(), |messages| task.answer(place, messages));
        Ok(())
    }

    /// The receiver keeps a bucket's result. Without this node's last message it cannot.
    async fn done(&mut self, bucket: u32) -> Result<(), PsiError> {
        if !self.flights.land(bucket) {
            return Err(PsiError::Bucket { bucket });
        }
        let folder = self.folder.clone();
        blocking(move || {
            let mut folder = lock(&folder);
            let hash = folder.state().sent.get(&bucket).copied().ok_or(PsiError::Bucket { bucket })?;
            folder.note(&Fact::Finished { bucket, hash: hex::encode(hash) })
        })
        .await?;
        Stage::BucketFinished.reached();
        let finished = lock(&self.folder).state().finished.len();
        let (job, buckets) = (self.connection.session, self.connection.parameters.buckets());
        tracing::info!(code = "PSI_PROGRESS", %job, finished, buckets, "a bucket is finished");
        Ok(())
    }
}

impl<S: SenderSide> Task<S> {
    /// One bucket's conversation, from the first answer to the last.
    async fn answer(
        self,
        mut place: Place<S::Chain>,
        mut inbox: mpsc::Receiver<Bytes>,
    ) -> Result<(), PsiError> {
        let (bucket, parameters) = (self.bucket, self.connection.parameters);
        Stage::BucketStarted.reached();
        let input = self.input.clone();
        let items = blocking(move || input.bucket(bucket, &parameters)).await?;
        let chain = place.chain().await?;
        let (side, mut course) = (self.side.clone(), Course::new(&self.connection, bucket));
        let (mut then, chain) = blocking(move || side.start(bucket, items, chain)).await?;
        place.pass(chain);
        loop {
            // The receiver may be done in place of asking further.
            let Some(message) = inbox.recv().await else { return Ok(()) };
            let stepped = blocking(move || {
                course.received(&message);
                Ok((then(message)?, course))
            });
            let mut turn;
            (turn, course) = stepped.await?;
            while let Turn::Work { chain, then } = turn {
                place.pass(Some(chain));
                turn = blocking(then).await?;
            }
            match turn {
                Turn::Ask { message, chain, then: more, or_done } => {
                    place.pass(chain);
                    let number = course.sends(&message);
                    if or_done.is_some() {
                        self.sent(&course).await?;
                    }
                    course.send(&self.connection.out, number, message).await?;
                    then = more;
                }
                Turn::Work { .. } => unreachable!("it was just done"),
                Turn::End { message, chain, .. } => {
                    place.pass(chain);
                    let message = message.unwrap_or_default();
                    let number = course.sends(&message);
                    self.sent(&course).await?;
                    return course.send(&self.connection.out, number, message).await;
                }
            }
        }
    }

    /// Notes a message with which the receiver may be done, before it leaves.
    async fn sent(&self, course: &Course) -> Result<(), PsiError> {
        let (folder, bucket, hash) = (self.folder.clone(), self.bucket, hex::encode(course.hash()));
        blocking(move || lock(&folder).note(&Fact::Sent { bucket, hash })).await
    }
}
