//! Snapshots of random rows: reading, damage, downloads.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use windvane_keys::signing::ReceiptKey;
use windvane_keys::store::MemoryStore;
use windvane_protocols::identity::{Family, IDENTITY_VERSION};
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::lookup::manifest::Publication;
use windvane_protocols::lookup::schema::Schema;
use windvane_protocols::lookup::snapshot::{PageBuilder, find};
use windvane_protocols::oprf::PrivateKey;

use super::writer::PageWriter;
use super::*;

const SEED: u64 = 20_261_101;

type RawPage = [u8; PAGE_BYTES];

/// A provider's complete directory with random rows.
struct Source {
    dir: TempDir,
    manifest: Signed<Manifest>,
    locators: Vec<Locator>,
}

impl Source {
    fn new(rows: usize) -> Self {
        Self::within(&std::env::temp_dir(), rows)
    }

    fn within(place: &Path, rows: usize) -> Self {
        let dir = tempfile::tempdir_in(place).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let mut manifest = manifest(&mut rng);
        let table = manifest.table();
        let mut random = vec![[0; LOCATOR_BYTES]; rows];
        random.iter_mut().for_each(|locator| rng.fill_bytes(locator));
        random.sort_unstable();
        random.dedup();
        let (mut writer, mut builder) =
            (PageWriter::create(dir.path(), &table).unwrap(), PageBuilder::new(&table));
        for locator in &random {
            let full = builder.push(&row(&table, locator)).unwrap();
            full.iter().for_each(|page| writer.append(page).unwrap());
        }
        builder.finish().iter().for_each(|page| writer.append(page).unwrap());
        let written = writer.finish().unwrap();
        let (rows, pages, root) = (written.rows, written.pages, written.root);
        manifest.publications = vec![Publication { id: [4; 16], rows, pages, root }];
        let key = ReceiptKey::generate(&MemoryStore::new(), 0, &mut rng).unwrap();
        let manifest = Signed::sign(manifest, key.signing_key());
        fs::write(dir.path().join(MANIFEST), manifest.as_bytes()).unwrap();
        Self { dir, manifest, locators: random }
    }

    fn pages(&self) -> Vec<RawPage> {
        fs::read(self.dir.path().join(PAGES)).unwrap().as_chunks().0.to_vec()
    }

    fn open(&self) -> Result<Snapshot, SnapshotError> {
        Snapshot::open(self.dir.path())
    }
}

fn manifest(rng: &mut ChaCha20Rng) -> Manifest {
    let schema = "name = 's'\nversion = 1\nlabel_bytes = 14\n[[field]]\nname = 'a'\nkind = 'code'\nbits = 8";
    Manifest {
        provider: "carrier-a".parse().unwrap(),
        data_set: "subscribers".parse().unwrap(),
        epoch: 3,
        identity_version: IDENTITY_VERSION.into(),
        schema: Schema::parse(schema).unwrap(),
        families: vec![Family::Phone],
        keys: vec![(KeyGroup::Attribute, PrivateKey::random(rng).public().clone())],
        publications: vec![],
        rejected: 0,
        built_at_ms: 1,
        published_at_ms: 1,
        not_after_ms: 2,
    }
}

fn row(table: &Table, locator: &Locator) -> Vec<u8> {
    let mut row = vec![0xAB; table.row_bytes()];
    row[..LOCATOR_BYTES].copy_from_slice(locator);
    row[LOCATOR_BYTES..LOCATOR_BYTES + 2].fill(0);
    row
}

#[test]
fn every_row_is_found_and_nothing_else() {
    let source = Source::new(5_000);
    let snapshot = source.open().unwrap();
    let table = snapshot.pages().table().clone();
    let found = |locator: &Locator| {
        let page = snapshot.pages().find(locator).unwrap();
        page.map_or(0, |page| find(&page, &table, locator).len())
    };
    assert!(source.locators.iter().all(|locator| found(locator) == 1));
    let known: BTreeSet<_> = source.locators.iter().copied().collect();
    let mut rng = ChaCha20Rng::seed_from_u64(SEED + 1);
    for _ in 0..1_000 {
        let mut locator = [0; LOCATOR_BYTES];
        rng.fill_bytes(&mut locator);
        assert_eq!(found(&locator), usize::from(known.contains(&locator)), "seed {SEED}");
    }
    assert!(snapshot.pages().find(&[0; 8]).unwrap().is_none());
    assert_eq!(snapshot.pages().rows(), source.locators.len() as u64);
}

#[test]
fn pages_are_served_as_they_stand_and_no_further() {
    let source = Source::new(10_000);
    let pages = source.open().unwrap();
    let pages = pages.pages();
    assert_eq!(pages.pages(), 99);
    assert_eq!(pages.read_pages(97, 64).unwrap(), source.pages()[97..].concat());
    assert_eq!(pages.read_pages(0, usize::MAX).unwrap(), source.pages()[..64].concat());
    assert!(pages.read_pages(99, 1).unwrap().is_empty() && pages.read_pages(u64::MAX, 1).unwrap().is_empty());
}

#[test]
fn a_damaged_directory_is_refused() {
    for (name, damage) in [
        (INDEX, (|bytes| bytes[9] ^= 1) as fn(&mut Vec<u8>)),
        (INDEX, |bytes| bytes.truncate(8)),
        (INDEX, |bytes| bytes.extend([0; 8])),
        (PAGES, |bytes| bytes.truncate(PAGE_BYTES)),
        (PAGES, |bytes| bytes.push(0)),
        (RECORD, |bytes| bytes.clear()),
        (MANIFEST, |bytes| bytes.truncate(100)),
    ] {
        let source = Source::new(500);
        let path = source.dir.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let code = source.open().unwrap_err().code();
        assert!(["SNAPSHOT_DAMAGED", "MANIFEST_INVALID", "FILE_TOO_LARGE"].contains(&code), "{name}: {code}");
    }
}

#[test]
fn a_manifest_of_other_pages_is_refused() {
    let (source, other) = (Source::new(500), Source::new(900));
    fs::write(source.dir.path().join(MANIFEST), other.manifest.as_bytes()).unwrap();
    assert_eq!(source.open().unwrap_err().code(), "SNAPSHOT_DAMAGED");
}

fn install(data: &Path, source: &Source) -> Snapshot {
    let mut download = Download::resume(data, &source.manifest).unwrap();
    source.pages().chunks(7).for_each(|pages| download.append(pages).unwrap());
    assert!(download.is_complete());
    download.finish().unwrap()
}

#[test]
fn a_download_installs_what_the_provider_published() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(3_000));
    let installed = install(data.path(), &source);
    assert_eq!(installed.manifest(), &source.manifest);
    assert_eq!(installed.pages().read_pages(0, 64).unwrap(), source.pages().concat());
    let body = source.manifest.body();
    assert_eq!(installed_epochs(data.path(), &body.provider, &body.data_set).unwrap(), [3]);
    let again = Download::resume(data.path(), &source.manifest).unwrap_err();
    assert_eq!(again.code(), "SNAPSHOT_INSTALLED");
    remove_installed(data.path(), &body.provider, &body.data_set, 3).unwrap();
    assert_eq!(installed_epochs(data.path(), &body.provider, &body.data_set).unwrap(), [0; 0]);
}

#[test]
fn a_truncated_download_is_kept_and_goes_on() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(3_000));
    let mut download = Download::resume(data.path(), &source.manifest).unwrap();
    download.append(&source.pages()[..11]).unwrap();
    let error = download.finish().unwrap_err();
    assert!(matches!(error, InstallError::Truncated { found: 11, expected: 30 }), "{error}");
    let mut download = Download::resume(data.path(), &source.manifest).unwrap();
    assert_eq!(download.next_page(), 11);
    download.append(&source.pages()[11..]).unwrap();
    assert_eq!(download.finish().unwrap().pages().read_pages(0, 64).unwrap(), source.pages().concat());
}

#[test]
fn what_a_crash_left_behind_whole_pages_is_cut_off() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(3_000));
    let mut download = Download::resume(data.path(), &source.manifest).unwrap();
    download.append(&source.pages()[..11]).unwrap();
    drop(download);
    let partial =
        installed_dir(data.path(), &"carrier-a".parse().unwrap(), &"subscribers".parse().unwrap(), 3)
            .with_file_name(".partial-3");
    let mut pages = fs::OpenOptions::new().append(true).open(partial.join(PAGES)).unwrap();
    pages.write_all(&[0; PAGE_BYTES + 100]).unwrap();
    assert_eq!(Download::resume(data.path(), &source.manifest).unwrap().next_page(), 11);
    assert_eq!(install_rest(data.path(), &source).pages().pages(), 30);
}

fn install_rest(data: &Path, source: &Source) -> Snapshot {
    let mut download = Download::resume(data, &source.manifest).unwrap();
    let from = download.next_page() as usize;
    download.append(&source.pages()[from..]).unwrap();
    download.finish().unwrap()
}

#[test]
fn a_partial_download_of_another_manifest_is_begun_anew() {
    let (data, source, other) = (tempfile::tempdir().unwrap(), Source::new(3_000), Source::new(2_000));
    let mut download = Download::resume(data.path(), &other.manifest).unwrap();
    download.append(&other.pages()).unwrap();
    drop(download);
    assert_eq!(Download::resume(data.path(), &source.manifest).unwrap().next_page(), 0);
}

#[test]
fn a_corrupted_page_is_refused_and_the_pages_before_it_stay() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(3_000));
    let good = source.pages();
    let mut unsorted = good.clone();
    unsorted[3].as_mut_slice()[..80].rotate_left(40);
    let mut swapped = good.clone();
    swapped.swap(3, 4);
    swapped[3] = good[2];
    let mut tail = good.clone();
    tail[3][PAGE_BYTES - 1] = 1;
    let mut empty = good.clone();
    empty[3] = [0; PAGE_BYTES];
    for bad in [unsorted, swapped, tail, empty] {
        let mut download = Download::resume(data.path(), &source.manifest).unwrap();
        let error = download.append(&bad[download.next_page() as usize..]).unwrap_err();
        assert!(matches!(error, InstallError::PageInvalid { page: 3, .. }), "{error}");
        assert_eq!(download.next_page(), 3);
    }
    assert_eq!(install_rest(data.path(), &source).pages().pages(), 30);
}

#[test]
fn a_changed_row_gives_another_root_and_discards_the_download() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(3_000));
    let mut pages = source.pages();
    pages[5][20] ^= 1;
    let mut download = Download::resume(data.path(), &source.manifest).unwrap();
    download.append(&pages).unwrap();
    assert_eq!(download.finish().unwrap_err().code(), "SNAPSHOT_ROOT_MISMATCH");
    assert_eq!(Download::resume(data.path(), &source.manifest).unwrap().next_page(), 0);
}

#[test]
fn more_pages_than_the_manifest_says_are_refused_before_they_are_written() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(3_000));
    let mut download = Download::resume(data.path(), &source.manifest).unwrap();
    download.append(&source.pages()).unwrap();
    let error = download.append(&source.pages()[..1]).unwrap_err();
    assert_eq!(error.code(), "SNAPSHOT_TOO_LONG");
    assert_eq!(download.finish().unwrap().pages().pages(), 30);
}

#[test]
fn an_abandoned_download_of_another_epoch_is_removed() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(300));
    let sets = data.path().join("snapshots/carrier-a/subscribers");
    fs::create_dir_all(sets.join(".partial-2")).unwrap();
    let download = Download::resume(data.path(), &source.manifest).unwrap();
    assert!(!sets.join(".partial-2").exists() && sets.join(".partial-3").exists());
    drop(download);
}

#[test]
fn two_downloads_of_one_epoch_do_not_mix() {
    let (data, source) = (tempfile::tempdir().unwrap(), Source::new(300));
    let first = Download::resume(data.path(), &source.manifest).unwrap();
    assert_eq!(Download::resume(data.path(), &source.manifest).unwrap_err().code(), "SNAPSHOT_BUSY");
    drop(first);
    assert!(Download::resume(data.path(), &source.manifest).is_ok());
}

/// Counts what this thread alone reads from the disk: other tests run beside it.
fn bytes_read_from_disk() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")).unwrap();
    line.parse().unwrap()
}

fn is_in_memory(place: &Path) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    rustix::fs::statfs(place).unwrap().f_type == TMPFS_MAGIC
}

#[test]
fn a_lookup_in_a_million_rows_reads_one_page_from_the_disk() {
    let places = [std::env::temp_dir(), Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()];
    let Some(place) = places.iter().find(|place| !is_in_memory(place)) else {
        writeln!(io::stderr(), "SKIPPED: no disk under {places:?}; reads cannot be measured").unwrap();
        return;
    };
    let source = Source::within(place, 1_000_000);
    let snapshot = source.open().unwrap();
    let file = File::open(source.dir.path().join(PAGES)).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let before = bytes_read_from_disk();
    for _ in 0..500 {
        let locator = source.locators[rng.next_u32() as usize % source.locators.len()];
        let page = snapshot.pages().find(&locator).unwrap().unwrap();
        assert_eq!(find(&page, snapshot.pages().table(), &locator).len(), 1);
    }
    let each = (bytes_read_from_disk() - before) / 500;
    assert!((2_048..=4_300).contains(&each), "{each} bytes a lookup, expected one page; seed {SEED}");
}
