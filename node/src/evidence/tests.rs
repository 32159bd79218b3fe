use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tempfile::TempDir;
use windvane_protocols::audit::tiles::tiles_of;
use windvane_protocols::limits::MAX_ENTRY_BYTES;

use super::verify::verify_entries;
use super::*;

/// All randomness of these tests.
const SEED: u64 = 0xe71d;
const ORIGIN: &str = "bank.example/windvane/log";
const NEVER: Duration = Duration::MAX;

/// A directory with a log and its journal.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn journal(&self, half: u8) -> PathBuf {
        self.0.path().join(format!("journal.{half}"))
    }

    fn config(&self) -> LogConfig {
        LogConfig {
            dir: self.dir(),
            journal: self.0.path().join("journal"),
            origin: ORIGIN.into(),
            checkpoint_interval: NEVER,
            gather: Duration::ZERO,
        }
    }

    fn open(&self) -> EvidenceLog {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<EvidenceLog, LogError> {
        EvidenceLog::open(self.config(), key())
    }

    /// The published entries.
    fn published(&self) -> Vec<Vec<u8>> {
        let reader = LogReader::open(&self.dir()).unwrap();
        let entries: Vec<_> = reader.entries(0).collect::<Result<_, _>>().unwrap();
        assert!(entries.iter().map(|(index, _)| *index).eq(0..entries.len() as u64));
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn assert_whole(&self) {
        let log = LogSigner::new(ORIGIN, key()).unwrap().verifier().clone();
        let take = |entries: &mut Vec<_>, _, entry| entries.push(entry);
        let (report, entries) = verify_entries(&self.dir(), Some(&log), &[], take);
        assert_eq!(report.findings, []);
        assert_eq!(entries, self.published());
    }

    /// Files below the log's directory.
    fn files(&self) -> BTreeSet<String> {
        let mut pending = vec![self.dir()];
        let mut files = BTreeSet::new();
        while let Some(dir) = pending.pop() {
            for path in fs::read_dir(dir).unwrap().map(|found| found.unwrap().path()) {
                if path.is_dir() {
                    pending.push(path);
                } else {
                    files.insert(path.strip_prefix(self.dir()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        files
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|i| format!("entry {i}").into_bytes()).collect()
}

#[test]
fn what_was_appended_is_read_back_and_a_sealed_log_is_whole() {
    let place = Place::new();
    let log = place.open();
    assert_eq!((log.size(), log.checkpoint().size), (0, 0));
    assert_eq!(log.append_blocking(entries(0..2)).unwrap(), Appended { first_index: 0 });
    assert_eq!(log.append_blocking(entries(2..3)).unwrap(), Appended { first_index: 2 });
    assert_eq!((log.size(), log.checkpoint().size), (3, 0));
    assert_eq!(log.publish_blocking().unwrap().size, 3);
    assert_eq!(log.checkpoint().size, 3);
    let rest: Vec<_> = log.entries_from(1).unwrap().map(Result::unwrap).collect();
    assert_eq!(rest, [(1, b"entry 1".to_vec()), (2, b"entry 2".to_vec())]);
    let stats = log.stats();
    assert_eq!((stats.entries, stats.fsyncs), (3, 2));
    assert!(stats.fsync_p50_us > 0);
    log.seal_blocking().unwrap();
    assert_eq!(place.published(), entries(0..3));
    place.assert_whole();
    assert!(!place.journal(0).exists() && !place.journal(1).exists());
}

#[test]
fn appends_in_steps_of_seven_leave_exactly_the_tiles_of_the_layout() {
    let place = Place::new();
    let log = place.open();
    let mut first_tile = None;
    for step in 0..100 {
        log.append_blocking(entries(step * 7..step * 7 + 7)).unwrap();
        assert_eq!(log.publish_blocking().unwrap().size, step * 7 + 7);
        let tile =
            fs::metadata(place.dir().join("tile/0/000")).map(|found| (found.ino(), found.mtime_nsec()));
        let tile = tile.ok();
        assert!(first_tile.is_none() || tile == first_tile, "a full tile is written once");
        first_tile = tile;
    }
    assert!(first_tile.is_some());
    place.assert_whole();
    assert!(place.files().contains("tile/0/002.p/6"), "earlier partial tiles stay until theirs is full");
    assert!(!place.dir().join("tile/0/001.p").exists());
    log.seal_blocking().unwrap();
    let layout = tiles_of(700).map(|tile| tile.to_string()).chain(["checkpoint".to_owned()]);
    assert_eq!(place.files(), layout.collect());
    place.assert_whole();
    assert_eq!(place.published(), entries(0..700));
}

#[test]
fn a_log_that_was_dropped_without_sealing_continues() {
    let place = Place::new();
    for round in 0..6 {
        let log = place.open();
        assert_eq!((log.size(), log.checkpoint().size), (round * 90, round * 90));
        log.append_blocking(entries(round * 90..round * 90 + 40)).unwrap();
        log.publish_blocking().unwrap();
        log.append_blocking(entries(round * 90 + 40..round * 90 + 90)).unwrap();
    }
    place.open().seal_blocking().unwrap();
    assert_eq!(place.published(), entries(0..540));
    place.assert_whole();
}

/// A place whose journal holds these bytes after the header; the tree is empty.
fn crashed(records: &[u8]) -> Place {
    let place = Place::new();
    drop(place.open());
    let mut journal = fs::read(place.journal(0)).unwrap();
    journal.truncate(32);
    journal.extend_from_slice(records);
    fs::write(place.journal(0), journal).unwrap();
    place
}

fn records(range: std::ops::Range<u64>) -> Vec<u8> {
    let mut records = Vec::new();
    range.clone().zip(entries(range)).for_each(|(index, entry)| journal::encode(index, &entry, &mut records));
    records
}

#[test]
fn a_journal_torn_at_any_byte_of_its_last_record_gives_all_before() {
    let (whole, last) = (records(0..3), records(2..3).len());
    for torn in 0..=last {
        let kept = &whole[..whole.len() - torn];
        let (garbage, zeros) = ([kept, &vec![0xa5; torn]].concat(), [kept, &[0; 100]].concat());
        for journal in [kept.to_vec(), garbage, zeros] {
            let expected = if torn == 0 { 3 } else { 2 };
            let place = crashed(&journal);
            let log = place.open();
            assert_eq!(log.size(), expected, "{torn} bytes torn");
            log.append_blocking(entries(expected..expected + 1)).unwrap();
            drop(log);
            place.open().seal_blocking().unwrap();
            assert_eq!(place.published(), entries(0..expected + 1));
        }
    }
}

#[test]
fn a_journal_with_a_gap_or_of_another_log_is_refused_and_nothing_changes() {
    let gap = [records(0..2), records(3..4)].concat();
    for (journal, found, expected) in [(gap, 3, 2), (records(1..2), 1, 0)] {
        let place = crashed(&journal);
        let (before, files) = (fs::read(place.journal(0)).unwrap(), place.files());
        let refused = place.try_open().unwrap_err();
        assert!(
            matches!(refused, LogError::JournalGap { found: f, expected: e } if (f, e) == (found, expected))
        );
        assert_eq!((fs::read(place.journal(0)).unwrap(), place.files()), (before, files));
    }
    let place = crashed(&records(0..1));
    let config =
        LogConfig { origin: "other.example/log".into(), dir: place.0.path().join("o"), ..place.config() };
    assert!(matches!(EvidenceLog::open(config, key()), Err(LogError::OtherJournal { .. })));
    let inside = LogConfig { journal: place.dir().join("journal"), ..place.config() };
    assert!(matches!(EvidenceLog::open(inside, key()), Err(LogError::JournalInside { .. })));
}

#[test]
fn a_tree_that_was_rolled_back_does_not_take_its_journal() {
    let place = Place::new();
    let log = place.open();
    let empty = fs::read(place.dir().join("checkpoint")).unwrap();
    log.append_blocking(entries(0..5)).unwrap();
    log.publish_blocking().unwrap();
    log.append_blocking(entries(5..6)).unwrap();
    drop(log);
    fs::write(place.dir().join("checkpoint"), empty).unwrap();
    assert!(matches!(place.try_open(), Err(LogError::JournalGap { found: 5, expected: 0 })));
    fs::remove_file(place.dir().join("checkpoint")).unwrap();
    assert!(matches!(place.try_open(), Err(LogError::CheckpointMissing { .. })));
}

#[test]
fn an_interrupted_publication_is_completed() {
    let place = Place::new();
    let log = place.open();
    log.append_blocking(entries(0..250)).unwrap();
    log.publish_blocking().unwrap();
    let checkpoint = fs::read(place.dir().join("checkpoint")).unwrap();
    drop(log);
    let log = place.open();
    log.append_blocking(entries(250..260)).unwrap();
    let journal = fs::read(place.journal(0)).unwrap();
    // Stop between the tiles and the checkpoint: the old partial tiles are not removed yet.
    let partial = ["tile/0/000.p/250", "tile/entries/000.p/250"];
    let kept = partial.map(|path| fs::read(place.dir().join(path)).unwrap());
    log.publish_blocking().unwrap();
    drop(log);
    for (path, content) in partial.iter().zip(kept) {
        fs::create_dir_all(place.dir().join(path).parent().unwrap()).unwrap();
        fs::write(place.dir().join(path), content).unwrap();
    }
    fs::write(place.dir().join("checkpoint"), checkpoint).unwrap();
    fs::write(place.dir().join(".publishing"), b"half a tile").unwrap();
    fs::write(place.journal(0), journal).unwrap();
    let log = place.open();
    assert_eq!((log.size(), log.checkpoint().size), (260, 260));
    place.assert_whole();
    log.seal_blocking().unwrap();
    assert_eq!(place.published(), entries(0..260));
}

#[test]
fn a_full_tile_with_other_content_is_not_overwritten() {
    let place = Place::new();
    let log = place.open();
    log.append_blocking(entries(0..256)).unwrap();
    fs::create_dir_all(place.dir().join("tile/0")).unwrap();
    fs::write(place.dir().join("tile/0/000"), b"other").unwrap();
    assert!(matches!(log.publish_blocking(), Err(LogError::Failed { .. })));
    assert_eq!(fs::read(place.dir().join("tile/0/000")).unwrap(), b"other");
}

#[test]
fn a_changed_byte_at_the_right_edge_is_refused_at_open() {
    let place = Place::new();
    let log = place.open();
    log.append_blocking(entries(0..3)).unwrap();
    log.seal_blocking().unwrap();
    for path in ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"] {
        let path = place.dir().join(path);
        let content = fs::read(&path).unwrap();
        for i in 0..content.len() {
            let mut altered = content.clone();
            altered[i] ^= 1;
            fs::write(&path, altered).unwrap();
            assert!(place.try_open().is_err(), "{} byte {i}", path.display());
        }
        fs::write(&path, content).unwrap();
    }
    assert!(EvidenceLog::open(place.config(), SigningKey::from_bytes(&[4; 32])).is_err());
    assert_eq!(place.open().size(), 3);
}

#[test]
fn one_log_has_one_writer() {
    let place = Place::new();
    let log = place.open();
    assert!(matches!(place.try_open(), Err(LogError::Locked { .. })));
    let other_journal = LogConfig { journal: place.0.path().join("j"), ..place.config() };
    assert!(matches!(EvidenceLog::open(other_journal, key()), Err(LogError::Locked { .. })));
    let other_dir = LogConfig { dir: place.0.path().join("other"), ..place.config() };
    assert!(matches!(EvidenceLog::open(other_dir, key()), Err(LogError::Locked { .. })));
    let handle = log.clone();
    log.seal_blocking().unwrap();
    let reopened = place.open();
    assert!(matches!(handle.append_blocking(entries(0..1)), Err(LogError::Closed)));
    assert!(matches!(handle.publish_blocking(), Err(LogError::Closed)));
    assert!(matches!(handle.seal_blocking(), Err(LogError::Closed)));
    drop(reopened);
    place.open();
}

/// A disk on which a sync takes a while, so that there is something to share wherever the test runs.
#[derive(Debug)]
struct SlowDisk;

impl Disk for SlowDisk {
    fn sync(&self, file: &File) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(1));
        file.sync_data()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_syncs_and_get_their_own_indices() {
    const TASKS: u64 = 64;
    const APPENDS: u64 = 40;
    let place = Place::new();
    let config = LogConfig { checkpoint_interval: Duration::from_millis(5), ..place.config() };
    let log = EvidenceLog::open_on(config, key(), &(Arc::new(SlowDisk) as Arc<dyn Disk>)).unwrap();
    let append = |task: u64| {
        let log = log.clone();
        tokio::spawn(async move {
            let mut rng = ChaCha8Rng::seed_from_u64(SEED + task);
            let mut appended = Vec::new();
            for append in 0..APPENDS {
                let entries: Vec<_> = (0..rng.random_range(1..4))
                    .map(|i| format!("task {task} append {append} entry {i}").into_bytes())
                    .collect();
                let Appended { first_index } = log.append(entries.clone()).await.unwrap();
                assert!(log.size() >= first_index + entries.len() as u64);
                appended.push((first_index, entries));
            }
            appended
        })
    };
    let tasks: Vec<_> = (0..TASKS).map(append).collect();
    let mut expected = Vec::new();
    for task in tasks {
        let appended = task.await.unwrap();
        assert!(appended.is_sorted_by_key(|(first_index, _)| *first_index), "seed {SEED:#x}");
        expected.extend(appended);
    }
    expected.sort();
    let stats = log.stats();
    assert!(stats.fsyncs < TASKS * APPENDS / 2, "{stats:?}");
    let checkpoint = log.clone().seal().await.unwrap();
    assert_eq!((checkpoint.size, log.size()), (stats.entries, stats.entries));
    let expected: Vec<_> = expected.into_iter().flat_map(|(_, entries)| entries).collect();
    assert_eq!(place.published(), expected, "seed {SEED:#x}");
    place.assert_whole();
}

#[test]
fn entries_are_published_within_the_interval_without_being_asked() {
    let place = Place::new();
    let config = LogConfig { checkpoint_interval: Duration::from_millis(1), ..place.config() };
    let log = EvidenceLog::open(config, key()).unwrap();
    let started = Instant::now();
    for round in 1..=3 {
        log.append_blocking(entries(0..5)).unwrap();
        while log.checkpoint().size < round * 5 {
            assert!(started.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
    }
}

/// Appends that follow one another without a pause hold the journal file whenever the writer wakes.
#[test]
fn entries_are_published_within_the_interval_after_a_run_of_appends_that_ends() {
    let place = Place::new();
    let config = LogConfig { checkpoint_interval: Duration::from_millis(20), ..place.config() };
    let log = EvidenceLog::open(config, key()).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(200) {
            log.append_blocking(entries(0..1)).unwrap();
        }
        while log.checkpoint().size < log.size() {
            assert!(started.elapsed() < Duration::from_secs(30), "{:?}", log.stats());
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_failed_journal_refuses_everything_and_acknowledges_nothing() {
    let place = Place::new();
    let signer = LogSigner::new(ORIGIN, key()).unwrap();
    let verifier = signer.verifier().clone();
    let mut tree = Tree::open(&place.dir(), signer, Arc::new(SystemDisk)).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let (mut journal, _) = Journal::open(&place.config().journal, &verifier, 0, &disk).unwrap();
    let checkpoint = tree.publish(Vec::new()).unwrap();
    journal.reset().unwrap();
    journal.fail_writes();
    let log = EvidenceLog::start(place.config(), verifier, tree, journal, checkpoint).unwrap();
    assert!(matches!(log.append_blocking(entries(0..1)), Err(LogError::Failed { .. })));
    assert!(matches!(log.append_blocking(entries(0..1)), Err(LogError::Failed { .. })));
    assert!(matches!(log.publish_blocking(), Err(LogError::Failed { .. })));
    assert_eq!((log.size(), log.stats().entries), (0, 0));
    assert!(matches!(log.seal_blocking(), Err(LogError::Failed { .. })));
    assert_eq!(place.open().size(), 0);
}

#[test]
fn a_failed_publication_refuses_everything_and_loses_nothing() {
    let place = Place::new();
    let log = place.open();
    fs::write(place.dir().join("tile"), b"in the way").unwrap();
    log.append_blocking(entries(0..2)).unwrap();
    assert!(matches!(log.publish_blocking(), Err(LogError::Failed { .. })));
    assert!(matches!(log.append_blocking(entries(2..3)), Err(LogError::Failed { .. })));
    assert_eq!(log.checkpoint().size, 0);
    drop(log);
    fs::remove_file(place.dir().join("tile")).unwrap();
    place.open().seal_blocking().unwrap();
    assert_eq!(place.published(), entries(0..2));
}

#[test]
fn entries_of_impossible_lengths_and_a_full_queue_are_refused() {
    let place = Place::new();
    let log = EvidenceLog::open(LogConfig { gather: NEVER, ..place.config() }, key()).unwrap();
    for len in [0, MAX_ENTRY_BYTES + 1] {
        let refused = log.append_blocking(vec![vec![1; len]]);
        assert!(matches!(refused, Err(LogError::EntryBytes { found, .. }) if found == len));
    }
    let mebibytes = |count: usize| vec![vec![7; 64 << 10 >> 1]; count * 32];
    assert!(matches!(log.append_blocking(mebibytes(33)), Err(LogError::AppendBytes { .. })));
    // The queue waits for company while it is less than half full.
    let (mut queued, _) = log.inner.shared.enqueue(mebibytes(15)).unwrap();
    assert!(matches!(log.append_blocking(mebibytes(17)), Err(LogError::Busy)));
    assert!(queued.try_recv().is_err());
    drop(log);
    assert_eq!(queued.blocking_recv().unwrap().unwrap(), Appended { first_index: 0 });
    let log = place.open();
    assert_eq!(log.size(), 15 * 32);
    log.append_blocking(vec![vec![9; MAX_ENTRY_BYTES]]).unwrap();
    log.seal_blocking().unwrap();
    place.assert_whole();
}
