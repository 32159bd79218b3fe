//! One connection's frames: messages cut into parts, and put together again within known lengths.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tonic::Status;
use windvane_proto::convert::{PsiFrame, PsiPart};
use windvane_proto::psi::v1::Frame;

use super::PsiError;

/// Frames that wait for the connection, so that bodies do not pile up behind a slow peer: 4 MiB.
const FRAMES_AHEAD: usize = 16;

/// Bytes of a message in one frame.
const PART_BYTES: usize = 256 << 10;

/// What is on its way out. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing(mpsc::Sender<Result<Frame, Status>>);

/// The other end of an [`Outgoing`], for the connection.
pub(crate) type Frames = mpsc::Receiver<Result<Frame, Status>>;

/// A connection's way out.
pub(super) fn outgoing() -> (Outgoing, Frames) {
    let (sender, frames) = mpsc::channel(FRAMES_AHEAD);
    (Outgoing(sender), frames)
}

impl Outgoing {
    /// Sends a frame, when there is room.
    pub(super) async fn send(&self, frame: PsiFrame) -> Result<(), PsiError> {
        self.0.send(Ok(frame.into())).await.map_err(|_| PsiError::Closed)
    }

    /// Sends a frame if there is room now: a sign of life is not needed while others wait.
    pub(super) fn offer(&self, frame: PsiFrame) {
        // Full or closed: either is noticed where it matters.
        let _ = self.0.try_send(Ok(frame.into()));
    }

    /// Sends a bucket's whole message in parts.
    pub(super) async fn message(&self, bucket: u32, message: u32, mut body: Bytes) -> Result<(), PsiError> {
        loop {
            let data = body.split_to(body.len().min(PART_BYTES));
            self.send(PsiFrame::Part(PsiPart { bucket, message, data })).await?;
            if body.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ends the connection with an error.
    pub(super) async fn fail(&self, status: Status) {
        // A peer that is gone needs no reason.
        let _ = self.0.send(Err(status)).await;
    }
}

/// Puts one bucket's messages together. Nothing is held beyond the length that the parameters give.
#[derive(Debug)]
pub(super) struct Assembly {
    bucket: u32,
    /// Lengths of this bucket's messages, in order.
    lengths: Vec<usize>,
    /// Which of them is under way.
    at: usize,
    body: BytesMut,
}

impl Assembly {
    pub(super) fn new(bucket: u32, lengths: &[usize]) -> Self {
        Self { bucket, lengths: lengths.to_vec(), at: 0, body: BytesMut::new() }
    }

    /// Takes a part; the whole message when it is there.
    pub(super) fn take(&mut self, part: &PsiPart) -> Result<Option<Bytes>, PsiError> {
        // Messages of both sides are numbered together, so this side's come at every other number.
        let due = self.lengths.get(self.at).filter(|_| part.message as usize / 2 == self.at);
        let expected = *due.ok_or(PsiError::Bucket { bucket: self.bucket })?;
        if part.data.len() > expected - self.body.len() || (part.data.is_empty() && expected > 0) {
            return Err(PsiError::TooLong { bucket: self.bucket, expected });
        }
        self.body.extend_from_slice(&part.data);
        if self.body.len() < expected {
            return Ok(None);
        }
        self.at += 1;
        Ok(Some(std::mem::take(&mut self.body).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(message: u32, data: &[u8]) -> PsiPart {
        PsiPart { bucket: 3, message, data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn parts_become_messages_in_their_order() {
        let mut assembly = Assembly::new(3, &[4, 1]);
        assert_eq!(assembly.take(&part(0, b"ab")).unwrap(), None);
        assert_eq!(assembly.take(&part(0, b"cd")).unwrap().unwrap(), "abcd");
        assert_eq!(assembly.take(&part(2, b"e")).unwrap().unwrap(), "e");
        assert!(matches!(assembly.take(&part(4, b"f")), Err(PsiError::Bucket { bucket: 3 })));
    }

    #[test]
    fn more_than_the_length_and_parts_out_of_turn_are_refused() {
        let mut assembly = Assembly::new(3, &[4, 1]);
        assert!(matches!(assembly.take(&part(2, b"a")), Err(PsiError::Bucket { .. })));
        assert_eq!(assembly.take(&part(0, b"abc")).unwrap(), None);
        assert!(matches!(assembly.take(&part(0, b"de")), Err(PsiError::TooLong { expected: 4, .. })));
        assert!(matches!(assembly.take(&part(0, b"")), Err(PsiError::TooLong { expected: 4, .. })));
    }

    #[tokio::test]
    async fn a_long_message_travels_in_parts_that_join_to_it() {
        let (out, mut frames) = outgoing();
        let body: Vec<u8> = (0..PART_BYTES * 2 + 7).map(|i| i as u8).collect();
        out.message(3, 0, Bytes::from(body.clone())).await.unwrap();
        drop(out);
        let mut assembly = Assembly::new(3, &[body.len()]);
        let mut whole = None;
        while let Some(Ok(frame)) = frames.recv().await {
            let PsiFrame::Part(part) = PsiFrame::try_from(frame).unwrap() else { panic!("a part") };
            assert!(whole.is_none());
            whole = assembly.take(&part).unwrap();
        }
        assert_eq!(whole.unwrap(), body);
    }
}
