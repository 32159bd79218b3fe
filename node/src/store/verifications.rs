//! Stored verifications: written by one thread, many in one transaction.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::idempotency::KEEP_ANSWER;
use super::{Store, StoreError, connect, int};

/// Rows in one transaction at most.
const MAX_ROWS_PER_COMMIT: usize = 8_192;

/// Jobs that may wait; callers beyond it wait for a place.
const QUEUE: usize = 1_024;

/// One verification as it is kept.
#[derive(Debug, Clone)]
pub struct VerificationRow {
    /// The verification's name.
    pub id: [u8; 16],
    /// Keyed index of the person.
    pub person: [u8; 32],
    /// Milliseconds of Unix time.
    pub at_ms: u64,
    /// Report, identity and commitment seeds, sealed.
    pub sealed: Vec<u8>,
}

/// A receipt that waits for its countersignature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingReceipt {
    /// Its place in the queue.
    pub id: i64,
    /// Who answered.
    pub provider: String,
    /// Digest of the signed receipt.
    pub receipt: [u8; 64],
}

/// An answer that is kept under an idempotency key, which was taken before: the key's digest and the answer.
pub type KeyedAnswer = ([u8; 32], Vec<u8>);

struct Job {
    rows: Vec<VerificationRow>,
    receipts: Vec<(String, [u8; 64])>,
    answer: Option<KeyedAnswer>,
    done: oneshot::Sender<Result<(), StoreError>>,
    _waits: Waits,
}

/// Counts a job until it is answered.
struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn new(jobs: &Arc<AtomicUsize>) -> Self {
        jobs.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(jobs))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The thread that writes; it ends when the last handle is gone.
#[derive(Debug)]
pub struct VerificationWriter {
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    waiting: Arc<AtomicUsize>,
}

impl VerificationWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn start(path: &Path) -> Result<Self, StoreError> {
        let mut connection = connect(path)?;
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("verifications".into())
            .spawn(move || run(&mut connection, &queue))
            .map_err(|_| StoreError::Closed)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), waiting: Arc::default() })
    }

    /// Jobs that are not answered yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Keeps verifications, receipts for countersigning, and the answer under the call's key if it has one; returns when
    /// they are committed, all of them together.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(
        &self,
        rows: Vec<VerificationRow>,
        receipts: Vec<(String, [u8; 64])>,
        answer: Option<KeyedAnswer>,
    ) -> Result<(), StoreError> {
        let (done, committed) = oneshot::channel();
        let job = Job { rows, receipts, answer, done, _waits: Waits::new(&self.waiting) };
        let sender = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        match sender.try_send(job) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(job)) => {
                let sender = sender.clone();
                tokio::task::spawn_blocking(move || sender.send(job))
                    .await
                    .map_err(|_| StoreError::Closed)?
                    .map_err(|_| StoreError::Closed)?;
            }
            Err(mpsc::TrySendError::Disconnected(_)) => return Err(StoreError::Closed),
        }
        committed.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for VerificationWriter {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The thread returns errors to its callers and does not panic; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn run(connection: &mut Connection, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        let mut rows = jobs[0].rows.len();
        while rows < MAX_ROWS_PER_COMMIT {
            let Ok(job) = queue.try_recv() else { break };
            rows += job.rows.len();
            jobs.push(job);
        }
        let result = commit(connection, &jobs).map_err(|error| error.to_string());
        for job in jobs {
            let answer = result.clone().map_err(|_| StoreError::Closed);
            // A caller that no longer waits does not need the answer.
            let _ = job.done.send(answer);
        }
        if let Err(error) = result {
            tracing::error!(code = "STATE_UNAVAILABLE", %error, "verifications were not stored");
        }
    }
}

fn commit(connection: &mut Connection, jobs: &[Job]) -> rusqlite::Result<()> {
    // An answer under a key outlives a cut of power: nobody is asked again for it.
    let keyed = jobs.iter().any(|job| job.answer.is_some());
    connection.pragma_update(None, "synchronous", if keyed { "FULL" } else { "NORMAL" })?;
    let t = connection.transaction()?;
    {
        let mut row = t.prepare_cached("INSERT INTO verification VALUES (?1, ?2, ?3, ?4)")?;
        let mut receipt =
            t.prepare_cached("INSERT INTO uncountersigned (provider, receipt) VALUES (?1, ?2)")?;
        for job in jobs {
            for r in &job.rows {
                row.execute(params![r.id, r.person, int(r.at_ms), r.sealed])?;
            }
            for (provider, digest) in &job.receipts {
                receipt.execute(params![provider, digest])?;
            }
            if let Some((key, answer)) = &job.answer {
                t.execute(KEEP_ANSWER, params![key, answer])?;
            }
        }
    }
    t.commit()
}

impl Store {
    /// A stored verification.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn verification(&self, id: &[u8; 16]) -> Result<Option<VerificationRow>, StoreError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT id, person, at_ms, sealed FROM verification WHERE id = ?1")?;
        Ok(statement.query_row([id], read).optional()?)
    }

    /// All verifications of one person, oldest first, through the keyed index.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn verifications_of(&self, person: &[u8; 32]) -> Result<Vec<VerificationRow>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, person, at_ms, sealed FROM verification WHERE person = ?1 ORDER BY at_ms",
        )?;
        let rows = statement.query_map([person], read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Leaves a receipt to whoever countersigns next; once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn queue_receipt(&self, provider: &str, receipt: &[u8; 64]) -> Result<(), StoreError> {
        let sql = "INSERT INTO uncountersigned (provider, receipt) SELECT ?1, ?2 WHERE NOT EXISTS
            (SELECT 1 FROM uncountersigned WHERE provider = ?1 AND receipt = ?2)";
        self.lock().execute(sql, params![provider, receipt])?;
        Ok(())
    }

    /// Forgets a receipt that was countersigned, where it waits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_receipt(&self, provider: &str, receipt: &[u8; 64]) -> Result<(), StoreError> {
        let sql = "DELETE FROM uncountersigned WHERE provider = ?1 AND receipt = ?2";
        self.lock().execute(sql, params![provider, receipt])?;
        Ok(())
    }

    /// Receipts that wait for their countersignature, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn uncountersigned(&self, provider: &str, limit: usize) -> Result<Vec<PendingReceipt>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, provider, receipt FROM uncountersigned WHERE provider = ?1 ORDER BY id LIMIT ?2",
        )?;
        let rows = statement
            .query_map(params![provider, int(limit as u64)], |row| {
                Ok(PendingReceipt { id: row.get(0)?, provider: row.get(1)?, receipt: row.get(2)? })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Forgets receipts that were countersigned: these and no others. A place in the queue that another round has emptied
    /// may be another receipt's by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn countersigned(&self, batch: &[PendingReceipt]) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        {
            let mut forget = t.prepare_cached(
                "DELETE FROM uncountersigned WHERE id = ?1 AND provider = ?2 AND receipt = ?3",
            )?;
            for PendingReceipt { id, provider, receipt } in batch {
                forget.execute(params![id, provider, receipt])?;
            }
        }
        Ok(t.commit()?)
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<VerificationRow> {
    Ok(VerificationRow {
        id: row.get(0)?,
        person: row.get(1)?,
        at_ms: row.get::<_, i64>(2)? as u64,
        sealed: row.get(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn concurrent_verifications_are_all_kept_and_found_by_person() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).unwrap();
        let writer = Arc::new(VerificationWriter::start(&path).unwrap());
        let tasks: Vec<_> = (0..50_u8)
            .map(|i| {
                let writer = writer.clone();
                let row =
                    VerificationRow { id: [i; 16], person: [i % 5; 32], at_ms: i.into(), sealed: vec![i] };
                tokio::spawn(async move { writer.write(vec![row], vec![("p".into(), [i; 64])], None).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(store.verifications_of(&[3; 32]).unwrap().len(), 10);
        assert_eq!(store.verification(&[7; 16]).unwrap().unwrap().sealed, [7]);
        let pending = store.uncountersigned("p", 20).unwrap();
        assert_eq!(pending.len(), 20);
        store.countersigned(&pending).unwrap();
        assert_eq!(store.uncountersigned("p", 100).unwrap().len(), 30);
    }

    #[tokio::test]
    async fn an_answer_is_kept_under_its_key_with_its_record_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).unwrap();
        let writer = VerificationWriter::start(&path).unwrap();
        let write = |answer: [u8; 1]| {
            let row = VerificationRow { id: [1; 16], person: [2; 32], at_ms: 3, sealed: vec![4] };
            writer.write(vec![row], Vec::new(), Some(([9; 32], answer.to_vec())))
        };
        let answer = || store.take_key(&[9; 32], &[8; 32], 5, 0).unwrap().answer;
        assert_eq!(answer(), None);
        write([1]).await.unwrap();
        assert_eq!(answer(), Some(vec![1]));
        // A record of this id is there already.
        write([2]).await.unwrap_err();
        assert_eq!(answer(), Some(vec![1]));
    }

    #[test]
    fn a_receipt_waits_once_however_often_it_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        for receipt in [1, 2, 1] {
            store.queue_receipt("p", &[receipt; 64]).unwrap();
        }
        let waiting: Vec<_> = store.uncountersigned("p", 9).unwrap().iter().map(|r| r.receipt[0]).collect();
        assert_eq!(waiting, [1, 2]);
        assert!(store.uncountersigned("q", 9).unwrap().is_empty());
    }

    #[test]
    fn a_receipt_in_the_place_of_one_that_was_countersigned_waits() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        store.queue_receipt("p", &[1; 64]).unwrap();
        // Two rounds beside each other have the same batch; what comes between their ends has its place.
        let (one, other) = (store.uncountersigned("p", 9).unwrap(), store.uncountersigned("p", 9).unwrap());
        store.countersigned(&one).unwrap();
        store.queue_receipt("p", &[2; 64]).unwrap();
        let waiting = store.uncountersigned("p", 9).unwrap();
        assert_eq!(waiting[0].id, one[0].id);
        store.countersigned(&other).unwrap();
        assert_eq!(store.uncountersigned("p", 9).unwrap(), waiting);
        store.countersigned(&waiting).unwrap();
        assert!(store.uncountersigned("p", 9).unwrap().is_empty());
    }
}
