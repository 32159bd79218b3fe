//! Measures import and build: `build_table CSV [DIR]`. Prints rows a second and the peak of memory.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use windvane::clock::SystemClock;
use windvane::dataset::{Build, DataSetConfig, Import, Publish, Quality, build, import, publish};
use windvane_keys::signing::ReceiptKey;
use windvane_keys::store::MemoryStore;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::lookup::provider::EpochKeys;
use windvane_protocols::oprf::PrivateKey;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let source = arguments.first().ok_or("usage: build_table CSV [DIR]")?;
    let dir = tempfile::tempdir_in(arguments.get(1).map_or(".", String::as_str))?;
    measure(Path::new(source), dir.path())
}

fn measure(source: &Path, data_dir: &Path) -> Result<(), Failure> {
    let mut rng = rand::rng();
    let mut out = std::io::stdout();
    let store = MemoryStore::new();
    let storage = StorageKey::generate(&store, 0, &mut rng)?;
    let receipt = ReceiptKey::generate(&store, 0, &mut rng)?;
    let config = DataSetConfig::carrier().with_quality(Quality::anything());
    let keys: EpochKeys =
        [KeyGroup::Attribute, KeyGroup::Match].map(|g| (g, PrivateKey::random(&mut rng))).into();
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;

    let begun = Instant::now();
    let job = Import { data_dir, config: &config, source, key: &storage, now_ms };
    let report = import(&job, &mut rng, &())?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "import: {} rows, {:.0} rows/s, peak {} MiB",
        report.rows,
        report.rows as f64 / seconds,
        peak()?
    )?;

    let begun = Instant::now();
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
    let built = build(&job, &mut rng, &())?;
    let seconds = begun.elapsed().as_secs_f64();
    let rate = built.rows as f64 / seconds;
    writeln!(out, "build: {} rows, {rate:.0} rows/s, {seconds:.1} s, peak {} MiB", built.rows, peak()?)?;

    let begun = Instant::now();
    let data_set = config.name();
    publish(&Publish { data_dir, data_set, epoch: 1, epoch_hours: 24, key: &receipt, clock: &SystemClock })?;
    writeln!(out, "publish: {:.2} s", begun.elapsed().as_secs_f64())?;
    Ok(())
}

/// `VmHWM` in MiB.
fn peak() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kib >> 10)
}
