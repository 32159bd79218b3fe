//! From a file to a table in which every subscriber is found again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use encoding_rs::GB18030;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tempfile::TempDir;
use windvane_keys::signing::ReceiptKey;
use windvane_keys::store::MemoryStore;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::identity::{Document, DocumentKind, Family, Name, Person, Phone};
use windvane_protocols::limits::PAGE_BYTES;
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::lookup::provider::EpochKeys;
use windvane_protocols::lookup::row::RowKeys;
use windvane_protocols::lookup::schema::{Decoded, Kind};
use windvane_protocols::oprf::{Context, PrivateKey};
use windvane_world::{CARRIER_HEADER, Status, Subscriber, World, WorldConfig};

use super::*;
use crate::risk::Vocabulary;
use crate::score::test_world::Standing;
use crate::table::{TableError, TableOptions, TableReader, TableWriter};

mod changes;
mod config;
mod parquet;
mod staging;
mod tables;
mod world;

const SEED: u64 = 42;

/// 2026-11-10, nine days behind the data date of the rows.
const NOW: u64 = 1_794_268_800_000;

/// One provider's directory and keys.
struct Bench {
    dir: TempDir,
    rng: ChaCha20Rng,
    storage: StorageKey,
    receipt: ReceiptKey,
    keys: EpochKeys,
    config: DataSetConfig,
}

impl Bench {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let store = MemoryStore::new();
        Self {
            dir: tempfile::tempdir().unwrap(),
            storage: StorageKey::generate(&store, 0, &mut rng).unwrap(),
            receipt: ReceiptKey::generate(&store, 0, &mut rng).unwrap(),
            keys: [KeyGroup::Attribute, KeyGroup::Match].map(|g| (g, PrivateKey::random(&mut rng))).into(),
            config: DataSetConfig::carrier(),
            rng,
        }
    }

    fn tolerant() -> Self {
        let bench = Self::new();
        let config = bench.config.clone().with_quality(Quality::anything());
        Self { config, ..bench }
    }

    fn data(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data().join("datasets/subscribers").join(name)
    }

    fn import_bytes(&mut self, bytes: &[u8]) -> Result<ImportReport, ImportError> {
        let source = self.data().join("input.csv");
        fs::write(&source, bytes).unwrap();
        self.import_file(&source)
    }

    fn import_file(&mut self, source: &Path) -> Result<ImportReport, ImportError> {
        let data_dir = self.dir.path();
        let job = Import { data_dir, config: &self.config, source, key: &self.storage, now_ms: NOW };
        import(&job, &mut self.rng, &())
    }

    fn build(&mut self, epoch: u64) -> Result<BuildReport, BuildError> {
        let provider = "carrier-a".parse().unwrap();
        let job = Build {
            data_dir: self.dir.path(),
            config: &self.config,
            provider: &provider,
            storage: &self.storage,
            epoch,
            keys: &self.keys,
            ids: &(),
            now_ms: NOW,
        };
        build(&job, &mut self.rng, &())
    }

    fn publish(
        &self,
        epoch: u64,
    ) -> Result<
        windvane_protocols::transcript::Signed<windvane_protocols::lookup::manifest::Manifest>,
        PublishError,
    > {
        publish(&Publish {
            data_dir: self.data(),
            data_set: self.config.name(),
            epoch,
            epoch_hours: self.config.epoch_hours(),
            key: &self.receipt,
            clock: &Standing(NOW),
        })
    }

    fn open(&self, epoch: u64) -> PublishedEpoch {
        PublishedEpoch::open(&published_dir(self.data(), self.config.name(), epoch)).unwrap()
    }

    /// What a bank finds under one key: `None` without a row.
    fn look_up(&self, table: &PublishedEpoch, family: Family, person: &Person) -> Option<Vec<u8>> {
        let input = family.encode(self.config.name().as_str(), person).unwrap();
        let key = &self.keys[&KeyGroup::of(family)];
        let output = key.evaluate(&Context::LOOKUP, &[input.as_bytes()]).remove(0);
        let manifest = table.manifest().body();
        let keys = RowKeys::new(&manifest.table(), &output);
        let rows = table.rows(keys.locator()).unwrap();
        let rows: Vec<_> = rows.chunks_exact(manifest.table().row_bytes()).collect();
        keys.open(&manifest.table(), |index| table.chain().publication(index), &rows).unwrap()
    }

    fn change_file(&mut self, source: &Path) -> Result<ChangeReport, ChangesError> {
        let job = ChangeImport {
            data_dir: self.dir.path(),
            config: &self.config,
            source,
            key: &self.storage,
            now_ms: NOW,
        };
        change(&job, &mut self.rng, &())
    }

    fn delta(&mut self) -> Result<DeltaReport, DeltaBuildError> {
        let job = DeltaBuild {
            data_dir: self.dir.path(),
            config: &self.config,
            storage: &self.storage,
            keys: &self.keys,
            receipt: &self.receipt,
            ids: &(),
            now_ms: NOW,
        };
        delta(&job, &mut self.rng, &())
    }

    fn rejects(&self, name: &str) -> Vec<[String; 3]> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(csv.headers().unwrap(), ["line", "field", "rule"].as_slice());
        csv.records().map(|row| std::array::from_fn(|i| row.as_ref().unwrap()[i].to_owned())).collect()
    }

    fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Cells of a good row, in the order of the header.
const GOOD: [&str; 11] = [
    "13812345678",
    "张三",
    "居民身份证",
    "11010519491231002X",
    "正常",
    "2020-01-31",
    "",
    "否",
    "1",
    "",
    "2026-11-01",
];

fn with(changes: &[(usize, &'static str)]) -> [&'static str; 11] {
    let mut row = GOOD;
    changes.iter().for_each(|(at, cell)| row[*at] = cell);
    row
}

fn file(rows: &[[&str; 11]]) -> String {
    let lines = std::iter::once(CARRIER_HEADER).chain(rows.iter().copied()).map(|row| row.join(","));
    lines.map(|line| line + "\n").collect()
}

/// Rows of as many different numbers.
fn good_rows(count: usize) -> String {
    let row = |i: usize| {
        let phone = (13_900_000_000_u64 + i as u64).to_string();
        let mut row = GOOD.map(str::to_owned);
        row[0] = phone;
        row.join(",") + "\n"
    };
    file(&[]) + &(0..count).map(row).collect::<String>()
}

fn person(phone: &str, name: &str, document: &str) -> Person {
    Person {
        phone: Some(Phone::parse(phone).unwrap()),
        document: Some(Document::parse(DocumentKind::ResidentId, document).unwrap()),
        name: Some(Name::parse(name).unwrap()),
        other: None,
    }
}
