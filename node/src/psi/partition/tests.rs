//! Every row is in its bucket once, in memory or spilled.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tempfile::TempDir;
use windvane_protocols::identity::{Family, Person, Phone};

use super::*;
use crate::table::TableOptions;

const SEED: u64 = 42;

struct Bench {
    dir: TempDir,
    hasher: ItemHasher,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), hasher: ItemHasher::new(&[7; 64]) }
    }

    fn rejects(&self) -> PathBuf {
        self.dir.path().join("rejects.csv")
    }

    fn read(
        &self,
        kind: KeyKind,
        columns: &[&str],
        memory_bytes: usize,
        text: &str,
    ) -> Result<Partition, PartitionError> {
        let source = self.dir.path().join("in.csv");
        fs::write(&source, text).unwrap();
        let options = TableOptions { ragged: true, ..TableOptions::default() };
        let mut reader = TableReader::open(&source, options)?.choose(columns)?;
        let rejects = self.rejects();
        let options = PartitionOptions { kind, memory_bytes, folder: self.dir.path(), rejects: &rejects };
        Partition::read(&mut reader, &self.hasher, &options, &mut ChaCha20Rng::seed_from_u64(SEED), &())
    }
}

fn number(row: u64) -> String {
    format!("1{:010}", row.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000_000_000)
}

fn numbers(rows: u64) -> String {
    (0..rows).fold("phone\n".to_owned(), |text, row| text + &number(row) + "\n")
}

#[test]
fn every_bucket_of_every_count_holds_its_items_in_file_order_in_memory_and_spilled() {
    // Enough that every part fills a chunk, and some parts two.
    const ROWS: u64 = 700_000;
    let bench = Bench::new();
    let text = numbers(ROWS);
    for (memory, spills) in [(DEFAULT_MEMORY_BYTES, false), (0, true), (13 << 20, true)] {
        let partition = bench.read(KeyKind::Phone, &["phone"], memory, &text).unwrap();
        assert_eq!((partition.rows(), partition.items(), partition.rejected()), (ROWS, ROWS, 0));
        assert_eq!(partition.spilled_bytes() > 0, spills);
        assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 2, "the spill file has no name");
        let expected = |row: u32| {
            let phone = Phone::parse(&number(row.into())).unwrap();
            let person = Person { phone: Some(phone), ..Person::default() };
            bench.hasher.hash(Family::Phone.encode("", &person).unwrap().as_bytes())
        };
        for (bits, buckets) in [(0, 0..1), (3, 5..8), (8, 0..256), (10, 0..1024), (13, 8000..8192)] {
            let mut rows = 0;
            for bucket in buckets {
                let found = partition.load(bucket, bits).unwrap();
                rows += found.rows.len() as u64;
                if bits >= PART_BITS {
                    assert!(found.rows.is_sorted());
                }
                for (key, row) in found.keys.iter().zip(&found.rows).step_by(500) {
                    assert_eq!((*key, bucket), (expected(*row).key, expected(*row).bucket(bits)));
                }
            }
            if matches!(bits, 0 | 8 | 10) {
                assert_eq!(rows, ROWS);
            }
        }
    }
}

#[test]
fn a_repeated_item_keeps_its_first_row_however_it_is_written() {
    let bench = Bench::new();
    let text = "phone\n13800138000\n13900139000\n+86 138-0013-8000\n13900139000\n13800138000\n13700137000\n";
    let partition = bench.read(KeyKind::Phone, &["phone"], 0, text).unwrap();
    let found = partition.load(0, 0).unwrap();
    let mut rows = found.rows.clone();
    rows.sort_unstable();
    assert_eq!(rows, [0, 1, 5]);
    let expected = [(2, 0), (3, 1), (4, 0)].map(|(row, first)| Duplicate { row, first });
    assert_eq!(partition.duplicates().unwrap(), expected);
    assert_eq!(partition.items(), 6);
}

#[test]
fn rows_that_are_no_items_are_counted_and_named_without_their_values() {
    let bench = Bench::new();
    let text = "phone,name\n13800138000,张三\n1380013800a,a\n13800138000\n,b\n13800138001, \n";
    let partition = bench.read(KeyKind::PhoneName, &["phone", "name"], 0, text).unwrap();
    assert_eq!((partition.rows(), partition.items(), partition.rejected()), (5, 1, 4));
    let rejects = fs::read_to_string(bench.rejects()).unwrap();
    let expected = "row,line,field,rule\n1,3,phone,PHONE_CHARACTER\n2,4,row,ROW_LENGTH\n\
                    3,5,phone,PHONE_EMPTY\n4,6,name,NAME_EMPTY\n";
    assert_eq!(rejects, expected);
}

#[test]
fn an_empty_table_has_empty_buckets() {
    let bench = Bench::new();
    let partition = bench.read(KeyKind::Text, &["a"], 0, "a\n").unwrap();
    assert_eq!(partition.load(0, 0).unwrap(), Bucket::default());
    assert_eq!(partition.load(u32::MAX, 32).unwrap(), Bucket::default());
    assert!(partition.duplicates().unwrap().is_empty());
}

#[test]
fn the_fast_way_for_plain_numbers_is_the_identity_rules() {
    let bench = Bench::new();
    let cells =
        ["13800138000", "10000000000", "1999999999９", " 13800138001", "+8613800138002", "008613800138003"];
    let text = cells.iter().fold("phone\n".to_owned(), |text, cell| text + cell + "\n");
    let partition = bench.read(KeyKind::Phone, &["phone"], 0, &text).unwrap();
    assert_eq!(partition.items(), cells.len() as u64);
    let found = partition.load(0, 0).unwrap();
    let keys: BTreeMap<u32, u128> = found.rows.into_iter().zip(found.keys).collect();
    for (row, cell) in cells.iter().enumerate() {
        let person = Person { phone: Some(Phone::parse(cell).unwrap()), ..Person::default() };
        let item = Family::Phone.encode("", &person).unwrap();
        assert_eq!(keys[&(row as u32)], bench.hasher.hash(item.as_bytes()).key, "{cell}");
    }
    let refused = bench.read(KeyKind::Phone, &["phone"], 0, "phone\n23800138000\n1380013800\n138001380000\n");
    assert_eq!(refused.unwrap().rejected(), 3);
}

#[test]
fn text_is_compared_byte_by_byte_without_the_space_around_it() {
    let bench = Bench::new();
    let partition = bench.read(KeyKind::Text, &["a"], 0, "a\nx\n x\t\nX\n  \nx y\n").unwrap();
    assert_eq!((partition.items(), partition.rejected()), (4, 1));
    assert_eq!(partition.duplicates().unwrap(), [Duplicate { row: 1, first: 0 }]);
    let keys = partition.load(0, 0).unwrap().keys;
    assert!(["x", "X", "x y"].iter().all(|text| keys.contains(&bench.hasher.hash(text.as_bytes()).key)));
}

#[test]
fn every_kind_of_key_takes_its_fields_and_gives_its_family_s_item() {
    let bench = Bench::new();
    let cells = [
        ("phone", "13800138000"),
        ("document", "11010519491231002X"),
        ("name", "张三"),
        ("account", "6222021234567890123"),
        ("ip_address", "192.0.2.1"),
    ];
    let header: Vec<_> = cells.iter().map(|(field, _)| *field).collect();
    let row: Vec<_> = cells.iter().map(|(_, cell)| *cell).collect();
    let text = format!("{}\n{}\n", header.join(","), row.join(","));
    use KeyKind::{Account, Id, IdName, IpAddress, Phone, PhoneId, PhoneIdName, PhoneName};
    let mut keys = Vec::new();
    for kind in [Phone, PhoneId, PhoneName, PhoneIdName, Id, IdName, Account, IpAddress] {
        let partition = bench.read(kind, kind.fields(), 0, &text).unwrap();
        assert_eq!(partition.items(), 1, "{kind:?}");
        keys.extend(partition.load(0, 0).unwrap().keys);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 8);
}
