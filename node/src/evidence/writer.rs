//! Group commit: whoever finds the log idle, or else one thread, makes entries durable; another thread publishes
//! them.
//!
//! Whoever commits has the journal file in use, and assigns indices meanwhile. When a checkpoint is due the writer
//! hands that file, with the entries in it, to the publisher and puts the other one to use; the publisher gives the
//! file back empty. So a file is never cleared while it holds an entry that is not published.
//!
//! An append that finds the log idle is written and synced in its caller's thread, because two hops between threads
//! cost as much as half a sync. What arrives meanwhile waits for the writer, so that at most one thread of the
//! asynchronous runtime waits for the disk; nor does an append go before a checkpoint that is due.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use windvane_protocols::audit::checkpoint::Checkpoint;

use super::LogError;
use super::journal::{self, Half, Journal};
use super::queue::{Answer, Appended, Commit, Shared, Task, refuse};
use super::tree::Tree;

/// A checkpoint to make: entries, the journal file that holds them, and who waits for it.
struct Publication {
    entries: Vec<Vec<u8>>,
    half: Half,
    answers: Vec<Answer<Checkpoint>>,
}

/// The two threads of an open log.
pub(super) struct Threads {
    writer: JoinHandle<()>,
    publisher: JoinHandle<Tree>,
}

impl Threads {
    pub(super) fn start(shared: &Arc<Shared>, tree: Tree, journal: Journal) -> Result<Self, LogError> {
        shared.set_halves(journal.into_halves());
        let (publications, received) = mpsc::channel();
        let for_publisher = Arc::clone(shared);
        let publisher = spawn("log-publisher", move || run_publisher(&for_publisher, tree, &received))?;
        let for_writer = Arc::clone(shared);
        let writer = spawn("log-writer", move || run_writer(&for_writer, &publications))?;
        Ok(Self { writer, publisher })
    }

    /// Waits until the queue is written and the threads have ended; returns what they held, so that the
    /// locks can be kept a little longer.
    pub(super) fn stop(self, shared: &Shared) -> (Option<Tree>, Option<[Half; 2]>) {
        shared.stop();
        // There is nothing to be done for a thread that panicked.
        let _ = self.writer.join();
        let tree = self.publisher.join().ok();
        (tree, shared.take_halves())
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, LogError> {
    let failed = |error: io::Error| LogError::Failed { reason: error.to_string().into() };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)
}

/// Writes until there is nothing more to write; ends the publisher by dropping the channel.
fn run_writer(shared: &Shared, publications: &mpsc::Sender<Publication>) {
    loop {
        match shared.next_task() {
            Task::Commit(commit) => make_durable(shared, commit),
            Task::Publish { half, entries, answers } => {
                // The publisher ends only after this thread.
                let _ = publications.send(Publication { entries, half, answers });
            }
            Task::End => return,
        }
    }
}

/// Ends the log when a commit panics: the journal file went with it, and who waits must not wait for ever.
struct Unwinding<'a>(&'a Shared);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(&LogError::Failed { reason: "a commit panicked".into() });
        }
    }
}

/// Makes a group durable, then answers.
pub(super) fn make_durable(shared: &Shared, Commit { mut half, group }: Commit) {
    let _unwinding = Unwinding(shared);
    let first = shared.size();
    let mut index = first;
    let mut records = Vec::new();
    for entry in group.iter().flat_map(|waiting| &waiting.entries) {
        journal::encode(index, entry, &mut records);
        index += 1;
    }
    let started = Instant::now();
    if let Err(error) = half.append(&records) {
        let reason = shared.fail(&error);
        shared.give_back(half);
        return refuse(group.into_iter().map(|waiting| waiting.answer), &reason);
    }
    let took = started.elapsed();
    let (groups, answers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|waiting| (waiting.entries, waiting.answer)).unzip();
    let counts: Vec<_> = groups.iter().map(Vec::len).collect();
    shared.committed(half, groups.into_iter().flatten(), index, took);
    let mut first_index = first;
    for (answer, count) in answers.into_iter().zip(counts) {
        let _ = answer.send(Ok(Appended { first_index }));
        first_index += count as u64;
    }
}

fn run_publisher(shared: &Shared, mut tree: Tree, publications: &mpsc::Receiver<Publication>) -> Tree {
    for Publication { entries, mut half, answers } in publications {
        let published = tree.publish(entries).and_then(|checkpoint| half.clear().map(|()| checkpoint));
        match published {
            Ok(checkpoint) => {
                shared.published(checkpoint.clone(), half);
                for answer in answers {
                    let _ = answer.send(Ok(checkpoint.clone()));
                }
            }
            Err(error) => refuse(answers, &shared.fail(&error)),
        }
    }
    tree
}
