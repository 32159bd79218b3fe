use std::path::PathBuf;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tempfile::TempDir;
use windvane_protocols::audit::checkpoint::LogSigner;
use windvane_protocols::audit::merkle::leaf_hash;
use windvane_protocols::audit::tiles::{encode_entry, hash_tiles};

use super::*;
use crate::evidence::{EvidenceLog, LogConfig};

const ORIGIN: &str = "bank.example/windvane/log";

/// A sealed log.
struct Sealed {
    temp: TempDir,
    checkpoint: Checkpoint,
}

impl Sealed {
    fn with(entries: Vec<Vec<u8>>) -> Self {
        let temp = TempDir::new().unwrap();
        let config = LogConfig {
            dir: temp.path().join("log"),
            journal: temp.path().join("journal"),
            origin: ORIGIN.into(),
            checkpoint_interval: Duration::MAX,
            gather: Duration::ZERO,
        };
        let log = EvidenceLog::open(config, SigningKey::from_bytes(&[5; 32])).unwrap();
        log.append_blocking(entries).unwrap();
        let checkpoint = log.seal_blocking().unwrap();
        Self { temp, checkpoint }
    }

    fn of(count: u64) -> Self {
        Self::with(entries(count))
    }

    fn path(&self, path: impl fmt::Display) -> PathBuf {
        self.temp.path().join(format!("log/{path}"))
    }

    fn read(&self, path: impl fmt::Display) -> Vec<u8> {
        fs::read(self.path(path)).unwrap()
    }

    fn write(&self, path: impl fmt::Display, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn report(&self, since: Option<&Checkpoint>) -> LogReport {
        verify_log(&self.path("."), Some(signer().verifier()), since.map_or(&[], std::slice::from_ref))
    }

    /// Codes and places of all findings, sorted.
    fn findings(&self) -> Vec<(&'static str, String)> {
        let findings = self.report(None).findings.into_iter();
        let mut findings: Vec<_> = findings.map(|finding| (finding.code, finding.location)).collect();
        findings.sort();
        findings
    }

    /// Its files, all of which a whole log has.
    fn files(&self) -> Vec<String> {
        let tiles = windvane_protocols::audit::tiles::tiles_of(self.checkpoint.size);
        tiles.map(|tile| tile.to_string()).chain([CHECKPOINT.to_owned()]).collect()
    }
}

fn signer() -> LogSigner {
    LogSigner::new(ORIGIN, SigningKey::from_bytes(&[5; 32])).unwrap()
}

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("entry {i:03}").into_bytes()).collect()
}

fn found(code: &'static str, location: &str) -> (&'static str, String) {
    (code, location.to_owned())
}

#[test]
fn whole_logs_have_no_findings() {
    for count in [0, 1, 5, 255, 256, 257, 600] {
        let log = Sealed::of(count);
        let report = log.report(Some(&log.checkpoint));
        assert_eq!(report.findings, [], "{count} entries");
        assert_eq!(report.checkpoint.as_ref(), Some(&log.checkpoint));
        assert_eq!(report.entries, count);
        let earlier = Sealed::of(count / 2);
        assert_eq!(log.report(Some(&earlier.checkpoint)).findings, [], "{count} entries");
    }
}

#[test]
fn one_pass_gives_the_entries_in_order_and_holds_the_log_against_every_earlier_checkpoint() {
    let log = Sealed::of(600);
    let earlier = [0, 1, 256, 600].map(|count| Sealed::of(count).checkpoint);
    let read = |since: &[Checkpoint]| {
        let take = |all: &mut Vec<_>, index, entry| all.push((index, entry));
        verify_entries(&log.path("."), Some(signer().verifier()), since, take)
    };
    let (report, given) = read(&earlier);
    assert_eq!((report.findings, report.entries), (Vec::new(), 600));
    assert!(given.into_iter().eq((0..).zip(entries(600))));

    let mut other = Sealed::of(7).checkpoint;
    other.root[0] ^= 1;
    let [none, one, ..] = earlier;
    let (report, _) = read(&[none, other, one, Sealed::of(601).checkpoint]);
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [code::HISTORY, code::ROLLED_BACK]);

    // A bundle that is missing is left out, and everything behind it is still given.
    fs::remove_file(log.path("tile/entries/001")).unwrap();
    let (report, given) = read(&[]);
    assert_eq!((report.entries, given.len()), (344, 344));
    assert!(given.iter().map(|(index, _)| *index).eq((0..256).chain(512..600)));
}

#[test]
fn every_changed_byte_of_a_small_sealed_log_is_found() {
    let log = Sealed::of(5);
    for path in log.files() {
        let content = log.read(&path);
        for (i, bit) in (0..content.len()).flat_map(|i| (0..8).map(move |bit| (i, bit))) {
            let mut altered = content.clone();
            altered[i] ^= 1 << bit;
            log.write(&path, altered);
            assert_ne!(log.findings(), [], "bit {bit} of byte {i} of {path}");
        }
        log.write(&path, content);
    }
    assert_eq!(log.findings(), []);
}

#[test]
fn changed_bytes_of_a_log_with_several_levels_are_found() {
    let log = Sealed::of(260);
    for path in log.files() {
        let content = log.read(&path);
        for i in (0..content.len()).step_by(17) {
            let mut altered = content.clone();
            altered[i] ^= 0x10;
            log.write(&path, altered);
            assert_ne!(log.findings(), [], "byte {i} of {path}");
        }
        log.write(&path, content);
    }
    assert_eq!(log.findings(), []);
}

#[test]
fn deleted_truncated_and_extended_files_are_found() {
    let log = Sealed::of(260);
    for path in log.files() {
        let content = log.read(&path);
        fs::remove_file(log.path(&path)).unwrap();
        let code = if path == CHECKPOINT { code::CHECKPOINT_MISSING } else { code::TILE_MISSING };
        assert!(log.findings().contains(&(code, path.clone())), "{path} deleted");
        for len in [0, 1, content.len() / 2, content.len() - 1] {
            log.write(&path, &content[..len]);
            assert_ne!(log.findings(), [], "{path} cut to {len} bytes");
        }
        log.write(&path, [content.as_slice(), b"\n"].concat());
        let code = if path == CHECKPOINT { code::CHECKPOINT_SYNTAX } else { code::TILE_FORM };
        assert!(log.findings().contains(&(code, path.clone())), "{path} extended");
        log.write(&path, content);
    }
}

#[test]
fn added_files_are_found() {
    let log = Sealed::of(260);
    let foreign = ["x", ".publishing", "tile/x", "tile/0/0", "tile/0/000.p/00", "tile/data/000"];
    for path in foreign {
        log.write(path, b"");
        assert_eq!(log.findings(), [found(code::FOREIGN_FILE, path)]);
        fs::remove_file(log.path(path)).unwrap();
    }
    let beyond = ["tile/0/001", "tile/0/002", "tile/1/000.p/2", "tile/2/000.p/1", "tile/entries/001.p/5"];
    for path in beyond {
        log.write(path, b"");
        assert_eq!(log.findings(), [found(code::BEYOND_CHECKPOINT, path)]);
        fs::remove_file(log.path(path)).unwrap();
    }
    log.write("tile/0/000.p/3", &log.read("tile/0/000")[..96]);
    assert_eq!(log.findings(), [], "a true part of a tile may stay");
    log.write("tile/0/000.p/3", [7; 96]);
    log.write("tile/entries/000.p/1", b"\x00\x01x");
    let parts = [
        found(code::PARTIAL_DIFFERS, "tile/0/000.p/3"),
        found(code::PARTIAL_DIFFERS, "tile/entries/000.p/1"),
    ];
    assert_eq!(log.findings(), parts);
    std::os::unix::fs::symlink(log.path("tile/0/000"), log.path("tile/0/link")).unwrap();
    assert!(log.findings().contains(&found(code::FOREIGN_FILE, "tile/0/link")));
}

#[test]
fn what_a_writer_has_not_published_yet_is_left_out_while_it_holds_the_lock() {
    let log = Sealed::of(260);
    log.write(".publishing", b"x");
    log.write("tile/0/001.p/9", [7; 9 * 32]);
    let left = [found(code::BEYOND_CHECKPOINT, "tile/0/001.p/9"), found(code::FOREIGN_FILE, ".publishing")];
    assert_eq!(log.findings(), left);
    let writer = fs::File::open(log.path(".")).unwrap();
    writer.lock().unwrap();
    assert_eq!(log.findings(), []);
    log.write("tile/0/x", b"");
    log.write("tile/0/.publishing", b"");
    let foreign = [found(code::FOREIGN_FILE, "tile/0/.publishing"), found(code::FOREIGN_FILE, "tile/0/x")];
    assert_eq!(log.findings(), foreign, "no writer has files of these names");
    for path in ["tile/0/x", "tile/0/.publishing"] {
        fs::remove_file(log.path(path)).unwrap();
    }
    drop(writer);
    assert_eq!(log.findings(), left);
}

#[test]
fn a_partial_tile_that_is_gone_is_read_from_its_full_tile() {
    let (log, earlier) = (Sealed::of(600), Sealed::of(200));
    log.write(CHECKPOINT, earlier.read(CHECKPOINT));
    let writer = fs::File::open(log.path(".")).unwrap();
    writer.lock().unwrap();
    let report = log.report(None);
    assert_eq!(report.findings, []);
    assert_eq!(report.entries, 200);
    let mut bundle = log.read("tile/entries/000");
    bundle[5] ^= 1;
    log.write("tile/entries/000", bundle);
    assert_eq!(log.findings(), [found(code::ENTRY_HASH, "entry 0"), found(code::ROOT, CHECKPOINT)]);
    fs::remove_file(log.path("tile/entries/000")).unwrap();
    assert!(log.findings().contains(&found(code::TILE_MISSING, "tile/entries/000.p/200")));
}

#[test]
fn swapped_entries_are_found() {
    let log = Sealed::of(5);
    let mut bundle = log.read("tile/entries/000.p/5");
    let (first, second) = bundle.split_at_mut(2 * 11);
    first[11..].swap_with_slice(&mut second[..11]);
    log.write("tile/entries/000.p/5", bundle);
    let expected = [
        found(code::ENTRY_HASH, "entry 1"),
        found(code::ENTRY_HASH, "entry 2"),
        found(code::ROOT, CHECKPOINT),
    ];
    assert_eq!(log.findings(), expected);
}

#[test]
fn an_edited_entry_is_found_even_when_all_tiles_are_computed_again() {
    let log = Sealed::of(300);
    let mut edited = entries(300);
    edited[7] = b"entry 00X".to_vec();
    let leaves: Vec<_> = edited.iter().map(|entry| leaf_hash(entry)).collect();
    for (tile, content) in hash_tiles(&leaves) {
        log.write(tile, content);
    }
    let mut bundle = Vec::new();
    edited[..256].iter().for_each(|entry| encode_entry(entry, &mut bundle).unwrap());
    log.write("tile/entries/000", bundle);
    assert_eq!(log.findings(), [found(code::ROOT, CHECKPOINT), found(code::ROOT, CHECKPOINT)]);
}

#[test]
fn all_failures_are_reported_not_the_first() {
    let log = Sealed::of(600);
    for (path, at) in [("tile/entries/000", 5), ("tile/0/001", 40), ("tile/1/000.p/2", 0), (CHECKPOINT, 190)]
    {
        let mut content = log.read(path);
        content[at] ^= 1;
        log.write(path, content);
    }
    fs::remove_file(log.path("tile/entries/002.p/88")).unwrap();
    let expected = [
        found(code::CHECKPOINT_SIGNATURE, CHECKPOINT),
        found(code::ENTRY_HASH, "entry 0"),
        found(code::ENTRY_HASH, "entry 257"),
        found(code::ROOT, CHECKPOINT),
        found(code::TILE_HASH, "tile/1/000"),
        found(code::TILE_HASH, "tile/1/000"),
        found(code::TILE_MISSING, "tile/entries/002.p/88"),
    ];
    assert_eq!(log.findings(), expected);
    assert_eq!(log.report(None).entries, 512);
}

#[test]
fn a_rolled_back_or_rewritten_log_is_found_with_an_earlier_checkpoint() {
    let (long, short) = (Sealed::of(300), Sealed::of(200));
    let codes = |log: &Sealed, since: &Checkpoint| {
        let findings = log.report(Some(since)).findings.into_iter();
        findings.map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&long, &short.checkpoint), [""; 0]);
    assert_eq!(codes(&short, &long.checkpoint), [code::ROLLED_BACK]);
    let mut other = entries(300);
    other[199] = b"another".to_vec();
    let rewritten = Sealed::with(other);
    assert_eq!(rewritten.findings(), []);
    assert_eq!(codes(&rewritten, &short.checkpoint), [code::HISTORY]);
    assert_eq!(codes(&rewritten, &long.checkpoint), [code::HISTORY]);
    let stranger = Checkpoint { origin: "other.example".into(), ..short.checkpoint.clone() };
    assert_eq!(codes(&long, &stranger), [code::OTHER_LOG]);
}

#[test]
fn a_checkpoint_of_another_key_or_log_is_found_and_without_a_key_only_its_form_is_checked() {
    let log = Sealed::of(3);
    let other = LogSigner::new(ORIGIN, SigningKey::from_bytes(&[6; 32])).unwrap();
    log.write(CHECKPOINT, other.sign(3, log.checkpoint.root).to_string());
    assert_eq!(log.findings(), [found(code::CHECKPOINT_SIGNATURE, CHECKPOINT)]);
    assert_eq!(verify_log(&log.path("."), None, &[]).findings, []);
    let other = LogSigner::new("other.example", SigningKey::from_bytes(&[5; 32])).unwrap();
    log.write(CHECKPOINT, other.sign(3, log.checkpoint.root).to_string());
    assert_eq!(log.findings(), [found(code::OTHER_LOG, CHECKPOINT)]);
}

#[test]
fn a_checkpoint_that_claims_a_vast_log_is_answered_at_once() {
    let log = Sealed::of(3);
    log.write(CHECKPOINT, signer().sign(i64::MAX as u64, [0; 32]).to_string());
    let findings = log.findings();
    assert!(findings.contains(&found(code::TILE_MISSING, "tile/entries/000")));
    assert!(findings.len() < 20, "{findings:?}");
}

#[test]
fn without_a_checkpoint_the_tiles_are_still_checked() {
    let log = Sealed::of(300);
    fs::remove_file(log.path(CHECKPOINT)).unwrap();
    let mut tile = log.read("tile/0/000");
    tile[64] ^= 1;
    log.write("tile/0/000", tile);
    let expected = [
        found(code::CHECKPOINT_MISSING, CHECKPOINT),
        found(code::ENTRY_HASH, "entry 2"),
        found(code::TILE_HASH, "tile/1/000"),
    ];
    assert_eq!(log.findings(), expected);
    let nowhere = verify_log(Path::new("/nonexistent/log"), None, &[]);
    let codes: Vec<_> = nowhere.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [code::CHECKPOINT_MISSING, code::UNREADABLE]);
}
