//! What a day's delta costs beside a full publication: seconds and bytes, at the carrier and at the bank.
//!
//! `cargo run --release -p windvane --example delta_cost -- 200000 0.01`

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane::clock::SystemClock;
use windvane::dataset::{
    Build, ChangeImport, DataSetConfig, DeltaBuild, Import, Publish, Quality, build, change, delta, import,
    index_staging, publish, published_dir,
};
use windvane::snapshot::{DeltaDownload, Download, Snapshot, installed_dir};
use windvane_keys::signing::ReceiptKey;
use windvane_keys::store::MemoryStore;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::limits::PAGE_BYTES;
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::lookup::provider::EpochKeys;
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::oprf::PrivateKey;
use windvane_world::{World, WorldConfig};

type Failure = Box<dyn std::error::Error>;

const SEED: u64 = 1;

/// Pages of a published table, as a download brings them.
fn stream(
    published: &Snapshot,
    id: &PublicationId,
    mut take: impl FnMut(&[[u8; PAGE_BYTES]]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let file = published.publication(id).ok_or("no such publication")?;
    for from in (0..file.pages()).step_by(64) {
        take(file.read_pages(from, 64)?.as_chunks().0)?;
    }
    Ok(file.pages() * PAGE_BYTES as u64)
}

fn timed<T>(what: &str, act: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let begun = Instant::now();
    let done = act()?;
    writeln!(std::io::stdout(), "{what:<32} {:>8.3} s", begun.elapsed().as_secs_f64())?;
    Ok(done)
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().ok_or("rows?")?.parse()?;
    let share: f64 = arguments.next().ok_or("share of changes?")?.parse()?;
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let (carrier, bank) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let store = MemoryStore::new();
    let storage = StorageKey::generate(&store, 0, &mut rng)?;
    let receipt = ReceiptKey::generate(&store, 0, &mut rng)?;
    let keys: EpochKeys =
        [KeyGroup::Attribute, KeyGroup::Match].map(|g| (g, PrivateKey::random(&mut rng))).into();
    let config = DataSetConfig::carrier().with_quality(Quality::anything());
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
    let world = World::generate(&WorldConfig {
        subscribers_per_carrier: rows,
        applicants: 0,
        ..WorldConfig::default()
    });
    let mut days = world.carriers[0].days();
    let (full, day) = (carrier.path().join("full.csv"), carrier.path().join("day.csv"));
    days.write_full(&full)?;
    let bytes = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len());

    let data_dir = carrier.path();
    let job = Import { data_dir, config: &config, source: &full, key: &storage, now_ms };
    timed("full: import", || Ok(import(&job, &mut rng, &())?))?;
    timed("full: index for changes", || Ok(index_staging(data_dir, &config, &storage, &mut rng)?))?;
    let provider = "carrier-a".parse()?;
    let job = Build {
        data_dir,
        config: &config,
        provider: &provider,
        storage: &storage,
        epoch: 1,
        keys: &keys,
        ids: &(),
        now_ms,
    };
    timed("full: build", || Ok(build(&job, &mut rng, &())?))?;
    let (data_set, clock) = (config.name(), &SystemClock);
    let job = Publish { data_dir, data_set, epoch: 1, epoch_hours: 24, key: &receipt, clock };
    let manifest = timed("full: publish", || Ok(publish(&job)?))?;
    let dir = published_dir(data_dir, config.name(), 1);
    let published = Snapshot::open(&dir)?;
    let id = manifest.body().publications[0].id;
    let snapshot_bytes = timed("full: check and install", || {
        let mut download = Download::resume(bank.path(), &manifest)?;
        let bytes = stream(&published, &id, |pages| Ok(download.append(pages)?))?;
        download.finish()?;
        Ok(bytes)
    })?;

    days.next_day((rows as f64 * share) as usize, &day)?;
    let job = ChangeImport { data_dir, config: &config, source: &day, key: &storage, now_ms };
    let report = timed("delta: import changes", || Ok(change(&job, &mut rng, &())?))?;
    let job = DeltaBuild {
        data_dir,
        config: &config,
        storage: &storage,
        keys: &keys,
        receipt: &receipt,
        ids: &(),
        now_ms,
    };
    let made = timed("delta: seal and publish", || Ok(delta(&job, &mut rng, &())?))?;
    let published = Snapshot::open(&dir)?;
    let installed = installed_dir(bank.path(), &provider, config.name(), 1);
    let before = Snapshot::open(&installed)?;
    let delta_bytes = timed("delta: check and apply", || {
        let mut download = DeltaDownload::resume(&installed, &before, &made.delta)?;
        let bytes =
            stream(&published, &made.delta.body().publication.id, |pages| Ok(download.append(pages)?))?;
        download.finish(&before)?;
        Ok(bytes)
    })?;
    let body = made.delta.body();
    let out = &mut std::io::stdout();
    writeln!(out, "files: {} and {} bytes; {} change rows", bytes(&full)?, bytes(&day)?, report.rows)?;
    let (ins, chg, del) = (body.inserted, body.changed, body.deleted);
    writeln!(out, "{ins} inserted, {chg} changed, {del} deleted; {} rows", body.publication.rows)?;
    writeln!(out, "published: {snapshot_bytes} and {delta_bytes} bytes")?;
    Ok(())
}
