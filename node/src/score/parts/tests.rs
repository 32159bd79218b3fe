//! Files of parts: what is used, what is refused, and what stands on the disk.

use std::fs;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tempfile::TempDir;
use windvane_keys::store::MemoryStore;
use windvane_protocols::score::universe::Segment;

use super::*;
use crate::table::TableWriter;

fn universe(segments: u32) -> Universe {
    let segments = (0..segments).map(|i| Segment::try_from(1_380_000 + i).unwrap()).collect();
    Universe::new("bank".parse().unwrap(), 1, segments).unwrap()
}

fn storage(seed: u64) -> StorageKey {
    StorageKey::generate(&MemoryStore::new(), 0, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap()
}

struct Desk {
    dir: TempDir,
    universe: Universe,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), universe: universe(2) }
    }

    fn import(&self, path: &Path) -> Result<(DenseParts, PartsReport), PartsError> {
        let file = PartsFile {
            path,
            number_column: PartsFile::NUMBER_COLUMN,
            part_column: PartsFile::PART_COLUMN,
            default: 7,
            rejects: &self.dir.path().join("rejects.csv"),
        };
        DenseParts::import(&file, &self.universe, &())
    }

    fn import_text(&self, text: &str) -> Result<(DenseParts, PartsReport), PartsError> {
        let path = self.dir.path().join("parts.csv");
        fs::write(&path, text).unwrap();
        self.import(&path)
    }

    fn rejects(&self) -> String {
        fs::read_to_string(self.dir.path().join("rejects.csv")).unwrap()
    }
}

#[test]
fn a_number_has_its_files_part_and_every_other_one_the_default() {
    let desk = Desk::new();
    let text =
        "part,name,number\n255,x,138 0000 0003\n0,y,+8613800019999\n9,z,13800000000\n9,z,13800000000\n";
    let (parts, report) = desk.import_text(text).unwrap();
    let mut expected = vec![7; 20_000];
    (expected[3], expected[19_999], expected[0]) = (255, 0, 9);
    assert_eq!(parts.as_slice(), expected);
    assert_eq!((report.rows, report.used, report.duplicate, report.distinct), (4, 3, 1, 4));
    assert_eq!((report.outside, report.rejected, report.rejected_by_rule.len()), (0, 0, 0));
    assert_eq!((parts.universe(), parts.default_part()), (desk.universe.digest(), 7));
    let (parts, report) = desk.import_text("number,part\n").unwrap();
    assert_eq!((parts, report.used), (DenseParts::uniform(&desk.universe, 7), 0));
}

#[test]
fn refused_lines_are_listed_by_line_and_rule_and_never_by_value() {
    let desk = Desk::new();
    let text = "number,part\n13800000001,1\n13900000002,31\n1380000000x,41\n13800000003,256\n13800000004,-1\n\
                13800000005,\n13800000006,5.5\n13800000007\n13800000008,99999999999999999999\n";
    let (parts, report) = desk.import_text(text).unwrap();
    assert_eq!((report.rows, report.used, report.outside, report.rejected), (9, 1, 1, 7));
    assert_eq!(report.rejected_by_rule.values().sum::<u64>(), 8);
    assert_eq!(parts.as_slice().iter().filter(|part| **part != 7).count(), 1);
    let expected = "line,field,rule\n3,phone,OUTSIDE_UNIVERSE\n4,phone,PHONE_CHARACTER\n5,part,PART_RANGE\n\
                    6,part,PART_INVALID\n7,part,PART_EMPTY\n8,part,PART_INVALID\n9,row,ROW_LENGTH\n\
                    10,part,PART_RANGE\n";
    assert_eq!(desk.rejects(), expected);
}

#[test]
fn a_number_with_two_parts_ends_the_import_and_every_such_line_is_listed() {
    let desk = Desk::new();
    let text = "number,part\n13800000001,1\n13800000002,2\n13800000001,3\n13800000002,4\n13800000001,1\n";
    let error = desk.import_text(text).unwrap_err();
    assert_eq!(error.code(), "PART_CONFLICT");
    assert!(matches!(error, PartsError::Conflict { found: 2, .. }), "{error}");
    assert_eq!(desk.rejects(), "line,field,rule\n4,part,PART_CONFLICT\n5,part,PART_CONFLICT\n");
    let none = desk.import_text("number,part\nabc,1\n13900000002,31\n").unwrap_err();
    assert_eq!(none.code(), "NO_ROWS");
    assert_eq!(desk.import_text("number,points\n13800000001,1\n").unwrap_err().code(), "COLUMN_MISSING");
}

#[test]
fn a_parquet_file_gives_the_same_parts() {
    let desk = Desk::new();
    let path = desk.dir.path().join("parts.parquet");
    let mut writer = TableWriter::create(&path, &["number", "part"]).unwrap();
    let mut text = "number,part\n".to_owned();
    for i in 0..500 {
        let (number, part) = (format!("1380000{:04}", i * 17), (i % 251).to_string());
        writer.row([number.as_bytes(), part.as_bytes()]).unwrap();
        text += &format!("{number},{part}\n");
    }
    writer.finish().unwrap();
    assert_eq!(desk.import(&path).unwrap(), desk.import_text(&text).unwrap());
}

#[test]
fn sealed_parts_open_under_their_own_key_for_their_own_universe_and_are_not_on_the_disk() {
    let (desk, key) = (Desk::new(), storage(1));
    let mut parts = DenseParts::uniform(&desk.universe, 7);
    parts.parts[100..200].copy_from_slice(&[42; 100]);
    let path = desk.dir.path().join("parts");
    parts.store(&path, &key).unwrap();
    assert_eq!(DenseParts::open(&path, &key, 20_000).unwrap(), parts);
    assert_eq!(DenseParts::open(&path, &key, 10_000).unwrap_err().code(), "PARTS_UNIVERSE");
    assert_eq!(DenseParts::open(&path, &storage(2), 20_000).unwrap_err().code(), "PARTS_KEY");
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(8).any(|window| window == [42; 8] || window == [7; 8]));
    assert!(!desk.dir.path().join("parts.tmp").exists());
    assert_eq!(format!("{parts:?}"), "DenseParts(20000 rows)");
}

#[test]
fn damage_anywhere_in_sealed_parts_is_found() {
    let (desk, key) = (Desk::new(), storage(1));
    let parts = DenseParts::uniform(&universe(120), 7);
    let (path, rows) = (desk.dir.path().join("parts"), parts.rows());
    parts.store(&path, &key).unwrap();
    let whole = fs::read(&path).unwrap();
    let code = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        DenseParts::open(&path, &key, rows).unwrap_err().code()
    };
    // Magic, id, universe, default, first and last chunk, last tag.
    for at in [0, 20, 60, 114, 130, whole.len() - 20, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert_eq!(code(&bytes), "PARTS_DAMAGED", "{at}");
    }
    assert_eq!(code(&whole[..whole.len() - 1]), "PARTS_DAMAGED");
    assert_eq!(code(&whole[..50]), "PARTS_DAMAGED");
    assert_eq!(code(&[&whole[..], &[0]].concat()), "PARTS_DAMAGED");
    parts.store(&path, &key).unwrap();
    let other = fs::read(&path).unwrap();
    let middle = 123 + (1 << 20) + 16;
    assert_eq!(code(&[&whole[..middle], &other[middle..]].concat()), "PARTS_DAMAGED");
}
