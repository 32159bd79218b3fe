//! Sessions of many customers: so many at a time, each on a thread that may block.
//!
//! A thread cannot be stopped. So the place is held until the work has ended, also where its caller gave up meanwhile,
//! and work whose caller gave up before it began is left.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use crate::error::Refusal;

/// The places.
#[derive(Debug)]
pub(super) struct Large(Arc<Semaphore>);

impl Default for Large {
    /// Half the processors, so that single calls find one.
    fn default() -> Self {
        let half = |processors: std::num::NonZero<usize>| (processors.get() / 2).max(1);
        Self::new(std::thread::available_parallelism().map_or(1, half))
    }
}

impl Large {
    fn new(at_a_time: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_a_time)))
    }

    /// What becomes of the work, once there is a place for it.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when it did not end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.0.clone().acquire_owned().await.map_err(|_| Refusal::Internal)?;
        let (reply, outcome) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            if !reply.is_closed() {
                // Who hung up meanwhile needs no answer.
                let _ = reply.send(work());
            }
        });
        outcome.await.map_err(|_| Refusal::Internal)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    /// Begins it, and leaves it where it waits.
    async fn begin<F: Future>(mut future: Pin<&mut F>) {
        poll_fn(|cx| {
            assert!(future.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn work_that_was_given_up_keeps_its_place_until_it_has_ended() {
        let large = Large::new(1);
        let (begun, has_begun) = oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        {
            let mut given_up = pin!(large.run(move || {
                begun.send(()).unwrap();
                ends.recv().unwrap_err();
            }));
            begin(given_up.as_mut()).await;
            has_begun.await.unwrap();
        }
        assert_eq!(large.0.available_permits(), 0);
        let mut next = pin!(large.run(|| 7));
        begin(next.as_mut()).await;
        drop(end);
        assert_eq!(next.await, Ok(7));
    }

    #[test]
    fn work_that_was_given_up_before_it_began_is_left() {
        // One thread, so that what is behind other work has not begun.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let large = Large::new(1);
            let (end, ends) = mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || ends.recv());
            let (ran, has_run) = mpsc::channel();
            {
                let mut given_up = pin!(large.run(move || ran.send(()).unwrap()));
                begin(given_up.as_mut()).await;
            }
            drop(end);
            assert_eq!(large.run(|| 7).await, Ok(7));
            assert!(has_run.try_recv().is_err(), "it was left");
        });
    }
}
