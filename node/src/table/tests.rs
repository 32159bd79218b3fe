//! Both formats against the libraries that others read them with, and every way in which a file is refused.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use encoding_rs::GB18030;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;

const SEED: u64 = 42;

/// Rows that `row` says, with their numbers and lines.
type Found = Vec<(u64, u64, Vec<String>)>;

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn open(path: &Path) -> Result<TableReader, TableError> {
    TableReader::open(path, TableOptions::default())
}

fn read(mut reader: TableReader) -> Result<Found, TableError> {
    let mut found = Vec::new();
    while let Some(row) = reader.next_row()? {
        found.push((row.number(), row.line(), (0..row.width()).map(|i| row.text(i).to_owned()).collect()));
    }
    Ok(found)
}

fn read_columns(path: &Path, columns: &[&str]) -> Result<Found, TableError> {
    read(open(path)?.choose(columns)?)
}

fn cells(found: &Found) -> Vec<Vec<&str>> {
    found.iter().map(|(.., cells)| cells.iter().map(String::as_str).collect()).collect()
}

/// Text in which everything that means something to CSV is frequent.
fn wild(rng: &mut ChaCha20Rng, bytes: usize) -> String {
    const PIECES: [&str; 12] =
        [",", ",", "\n", "\n", "\r\n", "\r", "\"", "\"\"", "\"a\"", "13812345678", "号", "\u{feff}"];
    let quotes = rng.next_u32() % 3;
    let mut text = "x".to_owned();
    while text.len() < bytes {
        let piece = PIECES[rng.next_u32() as usize % PIECES.len()];
        // A third without quotation marks, a third with few, a third with many.
        let few = quotes == 1 && !rng.next_u32().is_multiple_of(50);
        if !(piece.contains('"') && (quotes == 0 || few)) {
            text.push_str(piece);
        }
    }
    text
}

#[test]
fn every_row_of_random_text_is_the_csv_crate_s() {
    let (bench, mut rng) = (Bench::new(), ChaCha20Rng::seed_from_u64(SEED));
    for round in 0..600 {
        let size = [10, 100, 3_000, 400_000][(round % 4).min(if round < 60 { 3 } else { 2 })];
        let path = bench.file("wild.csv", wild(&mut rng, size));
        let file = Digested::new(File::open(&path).unwrap(), false);
        let mut rows = CsvRows::open(path.clone(), file, Encoding::Utf8).unwrap();
        let mut theirs =
            ::csv::ReaderBuilder::new().flexible(true).has_headers(false).from_path(&path).unwrap();
        for theirs in theirs.byte_records() {
            let theirs = theirs.unwrap();
            assert!(rows.advance().unwrap(), "round {round}");
            let all: Vec<usize> = (0..rows.width()).collect();
            let ours: Vec<&[u8]> = rows.row(&all).cells().collect();
            assert_eq!(ours, theirs.iter().collect::<Vec<_>>(), "round {round}");
        }
        assert!(!rows.advance().unwrap() && !rows.advance().unwrap(), "round {round}");
    }
}

#[test]
fn rows_have_numbers_and_the_lines_in_which_they_begin() {
    let bench = Bench::new();
    let path = bench.file("a.csv", "\u{feff} phone , name\n\n1,a\r\n2,\"b\nb\"\n\r\n3,\"c\"\"c\"");
    assert_eq!(open(&path).unwrap().header(), ["phone", "name"]);
    let row =
        |number: u64, line: u64, name: &str| (number, line, vec![name.to_owned(), (number + 1).to_string()]);
    let expected = [row(0, 3, "a"), row(1, 4, "b\nb"), row(2, 7, "c\"c")];
    assert_eq!(read_columns(&path, &["name", "phone"]).unwrap(), expected);
}

#[test]
fn no_two_rows_stand_in_the_same_line_however_lines_end() {
    let bench = Bench::new();
    let path = bench.file("a.csv", "a\r1\r\r2\n3\r\n\"4\r4\r\n4\"\r5\r\n6");
    let lines: Vec<_> = read_columns(&path, &["a"]).unwrap().iter().map(|(_, line, _)| *line).collect();
    assert_eq!(lines, [2, 4, 5, 6, 9, 10]);
    // A file of many buffers, so that both bytes of an end come apart somewhere.
    for end in ["\n", "\r", "\r\n"] {
        for cell in ["1234567", "\"1234567\""] {
            let rows = format!("a{end}{}", format!("{cell}{end}").repeat(100_000));
            let found = read_columns(&bench.file("b.csv", rows), &["a"]).unwrap();
            assert!(found.iter().map(|(_, line, _)| *line).eq(2..=100_001), "{end:?} {cell}");
        }
    }
}

#[test]
fn gb18030_reads_as_utf8_does() {
    let bench = Bench::new();
    let text = "手机号,姓名\n13812345678,𠮷\n".repeat(2);
    let (utf8, gb) = (bench.file("u.csv", &text), bench.file("g.csv", GB18030.encode(&text).0));
    assert_eq!((open(&utf8).unwrap().encoding(), open(&gb).unwrap().encoding()), ("utf-8", "gb18030"));
    let expected = read_columns(&utf8, &["姓名"]).unwrap();
    assert_eq!(cells(&expected)[0], ["𠮷"]);
    assert_eq!(read_columns(&gb, &["姓名"]).unwrap(), expected);
}

#[test]
fn a_csv_file_is_refused_with_its_line_row_and_rule() {
    let bench = Bench::new();
    let error =
        |bytes: &[u8], columns: &[&str]| read_columns(&bench.file("a.csv", bytes), columns).unwrap_err();
    for empty in [b"".as_slice(), b"\n\r\n", b"\xEF\xBB\xBF"] {
        assert_eq!(error(empty, &["a"]).code(), "TABLE_EMPTY");
    }
    let missing = error(b"a,b\n", &["c"]);
    assert!(matches!(&missing, TableError::ColumnMissing { column, .. } if column == "c"), "{missing}");
    let twice = error(b"a, b,b,b\n", &["b"]);
    assert!(matches!(twice, TableError::ColumnRepeated { found: 3, .. }), "{twice}");
    let short = error(b"a,b\n1,2\n\n\"3\"\n", &["a"]);
    assert!(matches!(short, TableError::RowLength { row: 1, line: 4, found: 1, expected: 2, .. }), "{short}");
    let bad = [b"a\n".as_slice(), &b"1\n".repeat(1 << 20), b"\xC3\n"].concat();
    let bad = error(&bad, &["a"]);
    assert!(matches!(bad, TableError::Encoding { line: 1_048_578, expected: "utf-8", .. }), "{bad}");
    for long in [b"\"".as_slice(), b""] {
        let long = error(&[b"a,b\n1,2\n".as_slice(), long, &b"x".repeat(MAX_ROW_BYTES + 2)].concat(), &["a"]);
        assert!(matches!(long, TableError::RowTooLong { line: 3, .. }), "{long}");
    }
    assert_eq!(open(&bench.path("none.csv")).unwrap_err().code(), "FILE_IO");
}

#[test]
fn a_ragged_row_is_given_without_cells_where_that_is_asked_for() {
    let bench = Bench::new();
    let path = bench.file("a.csv", "a,b\n1\n1,2\n1,2,3\n");
    let options = TableOptions { ragged: true, ..TableOptions::default() };
    let found = read(TableReader::open(&path, options).unwrap().choose(&["b"]).unwrap()).unwrap();
    assert_eq!(cells(&found), [vec![], vec!["2"], vec![]]);
}

#[test]
fn progress_ends_at_the_size_and_the_digest_is_the_file_s() {
    let bench = Bench::new();
    for (name, rows) in [("a.csv", 100_000), ("a.parquet", 5_000)] {
        let path = bench.path(name);
        write(&path, &["a"], &(0..rows).map(|i| vec![format!("{i:011}")]).collect::<Vec<_>>());
        let options = TableOptions { digest: true, ..TableOptions::default() };
        let mut reader = TableReader::open(&path, options).unwrap().choose(&["a"]).unwrap();
        let mut last = 0;
        while reader.next_row().unwrap().is_some() {
            assert!(reader.progress().0 >= last);
            last = reader.progress().0;
        }
        let (done, total) = reader.progress();
        assert!(done == total && total > 0, "{done} {total}");
        let expected: [u8; 32] = Sha256::digest(fs::read(&path).unwrap()).into();
        assert_eq!(reader.digest().unwrap(), Some(expected));
    }
}

fn write(path: &Path, header: &[&str], rows: &[Vec<String>]) {
    let mut writer = TableWriter::create(path, header).unwrap();
    rows.iter().for_each(|row| writer.row(row.iter().map(String::as_bytes)).unwrap());
    assert_eq!(writer.finish().unwrap(), rows.len() as u64);
}

#[test]
fn what_is_written_in_either_format_is_read_back() {
    let (bench, header) = (Bench::new(), ["号", "b", "c,\"d"]);
    let wild = |i: usize| ["", "13812345678", "a,b", "\"", "\n", "号"][i % 6].to_owned();
    let row = |i: usize| vec![i.to_string(), wild(i), wild(i / 6)];
    // More rows than a batch and than a row group.
    let rows: Vec<_> = (0..(1 << 18) + 10).map(row).collect();
    for name in ["a.csv", "a.parquet"] {
        let path = bench.path(name);
        write(&path, &header, &rows);
        assert_eq!(open(&path).unwrap().format(), Format::of_name(&path));
        let found = read_columns(&path, &header).unwrap();
        assert!(found.iter().map(|(.., cells)| cells).eq(&rows), "{name}");
        assert_eq!(found.last().map(|(number, ..)| *number), Some(rows.len() as u64 - 1));
        write(&path, &header, &[]);
        assert!(read_columns(&path, &header).unwrap().is_empty());
        assert_eq!(open(&path).unwrap().header(), header);
    }
}

#[test]
fn csv_is_written_as_the_csv_crate_writes_it() {
    let (bench, mut rng) = (Bench::new(), ChaCha20Rng::seed_from_u64(SEED));
    for width in [1, 2, 3] {
        let header: Vec<_> = (0..width).map(|column| format!("c{column}")).collect();
        let mut theirs = ::csv::Writer::from_writer(Vec::new());
        let mut ours = TableWriter::create(&bench.path("a.csv"), &header).unwrap();
        theirs.write_record(&header).unwrap();
        for _ in 0..20_000 {
            let bytes = rng.next_u32() as usize % 8;
            let row: Vec<_> = header.iter().map(|_| wild(&mut rng, bytes)[1..].to_owned()).collect();
            theirs.write_record(&row).unwrap();
            ours.row(row.iter().map(String::as_bytes)).unwrap();
        }
        ours.finish().unwrap();
        assert!(fs::read(bench.path("a.csv")).unwrap() == theirs.into_inner().unwrap(), "{width}");
    }
}

#[test]
fn parquet_is_known_by_its_first_bytes_whatever_its_name() {
    let bench = Bench::new();
    write(&bench.path("a.parquet"), &["a"], &[vec!["1".to_owned()]]);
    fs::rename(bench.path("a.parquet"), bench.path("a.csv")).unwrap();
    assert_eq!(cells(&read_columns(&bench.path("a.csv"), &["a"]).unwrap()), [["1"]]);
    assert_eq!(open(&bench.file("b.parquet", "a\n1\n")).unwrap_err().code(), "TABLE_DAMAGED");
}

/// A file with a column of every type; three rows, the middle one null where it may be.
fn typed(path: &Path, properties: WriterProperties) {
    let schema = "message m { required int64 phone; optional binary name (UTF8); optional boolean stopped; \
         optional int32 since (DATE); required double score; optional int64 seen (TIMESTAMP(MILLIS,true)); \
         required int32 count (INTEGER(32,false)); optional group g { required int32 inner; } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let levels = Some([1, 0, 1].as_slice());
    macro_rules! column {
        ($type:ty, $values:expr, $levels:expr) => {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<$type>().write_batch(&$values, $levels, None).unwrap();
            column.close().unwrap();
        };
    }
    column!(Int64Type, [13_812_345_678, 0, -1], None);
    column!(ByteArrayType, ["张三".into(), ByteArray::from("")], levels);
    column!(BoolType, [true, false], levels);
    column!(Int32Type, [0, 20_767], levels);
    column!(DoubleType, [0.5, 1.0, 2.0], None);
    column!(Int64Type, [0, 1], levels);
    column!(Int32Type, [1, 2, -1], None);
    column!(Int32Type, [7, 8], levels);
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn typed_columns_and_nulls_become_text_and_others_are_refused_by_name() {
    let path = Bench::new();
    let file = path.path("typed.parquet");
    typed(&file, WriterProperties::new());
    let columns = ["count", "phone", "name", "stopped", "since", "seen"];
    let found = read_columns(&file, &columns).unwrap();
    let expected = [
        ["1", "13812345678", "张三", "true", "1970-01-01", "1970-01-01"],
        ["2", "0", "", "", "", ""],
        ["4294967295", "-1", "", "false", "2026-11-10", "1970-01-01T00:00:00.001Z"],
    ];
    assert_eq!(cells(&found), expected);
    assert_eq!(
        found.iter().map(|(number, line, _)| (*number, *line)).collect::<Vec<_>>(),
        [(0, 2), (1, 3), (2, 4)]
    );
    for column in ["score", "g"] {
        let error = read_columns(&file, &[column]).unwrap_err();
        assert_eq!(error.code(), "COLUMN_TYPE");
        assert!(error.to_string().contains(column), "{error}");
    }
}

#[test]
fn pages_of_both_versions_of_every_codec_and_with_statistics_are_read() {
    let bench = Bench::new();
    let path = bench.path("typed.parquet");
    let columns = ["count", "phone", "name", "stopped", "since", "seen"];
    typed(&path, WriterProperties::new());
    let expected = read_columns(&path, &columns).unwrap();
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for codec in [
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::LZ4_RAW,
            Compression::ZSTD(Default::default()),
        ] {
            for dictionary in [false, true] {
                let properties =
                    WriterProperties::builder().set_writer_version(version).set_compression(codec);
                let properties =
                    properties.set_dictionary_enabled(dictionary).set_data_page_row_count_limit(1);
                let properties = properties.set_write_batch_size(1).set_write_page_header_statistics(true);
                typed(&path, properties.build());
                assert_eq!(
                    read_columns(&path, &columns).unwrap(),
                    expected,
                    "{version:?} {codec} {dictionary}"
                );
            }
        }
    }
}

#[test]
fn a_page_that_declares_too_much_is_refused_before_memory_is_reserved() {
    let bench = Bench::new();
    let path = bench.path("a.parquet");
    let row = "x".repeat(1_000);
    write(&path, &["a"], &vec![vec![row]; 10]);
    let mut bytes = fs::read(&path).unwrap();
    // The file begins with the dictionary's header: its kind, and its size in two bytes.
    assert_eq!(bytes[4..7], [0x15, 4, 0x15]);
    let footer = bytes.split_off(bytes.len() - 8);
    bytes.splice(7..9, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
    bytes.extend(footer);
    let error = read_columns(&bench.file("b.parquet", bytes), &["a"]).unwrap_err();
    assert_eq!(error.code(), "TABLE_DAMAGED");
    assert!(error.to_string().contains("a page of 2147483647 bytes, expected at most 134217728"), "{error}");
}

#[test]
fn a_text_of_parquet_that_is_longer_than_a_row_may_be_is_refused() {
    let bench = Bench::new();
    let (path, row) = (bench.path("a.parquet"), |bytes: usize| vec!["x".repeat(bytes)]);
    write(&path, &["a"], &[row(1), row(MAX_ROW_BYTES)]);
    assert_eq!(read_columns(&path, &["a"]).unwrap().len(), 2);
    write(&path, &["a"], &[row(1), row(MAX_ROW_BYTES + 1)]);
    let error = read_columns(&path, &["a"]).unwrap_err();
    assert!(matches!(error, TableError::RowTooLong { line: 3, .. }), "{error}");
}

#[test]
fn damage_in_a_parquet_file_is_an_error_or_goes_unnoticed_but_never_ends_the_process() {
    let (bench, mut rng) = (Bench::new(), ChaCha20Rng::seed_from_u64(SEED));
    let path = bench.path("a.parquet");
    typed(&path, WriterProperties::new());
    let whole = fs::read(&path).unwrap();
    let columns = ["phone", "name", "since", "stopped"];
    let mut refused = 0;
    for round in 0..1_000 {
        let mut bytes = whole.clone();
        if round % 3 == 0 {
            bytes.truncate(rng.next_u32() as usize % whole.len());
        } else {
            let at = rng.next_u32() as usize % whole.len();
            bytes[at] ^= (rng.next_u32() % 255 + 1) as u8;
        }
        let outcome = read_columns(&bench.file("damaged.parquet", bytes), &columns);
        refused += u32::from(outcome.is_err());
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn wanted_rows_are_copied_in_file_order_with_their_extra_cells() {
    let bench = Bench::new();
    let source = bench.file("in.csv", "a,b,c\n0,x,0\n1,y,1\n2,\"z,\",2\n3,w,3\n");
    for name in ["out.csv", "out.parquet"] {
        let mut writer = TableWriter::create(&bench.path(name), &["b", "a", "tag"]).unwrap();
        let mut reader = open(&source).unwrap().choose(&["b", "a"]).unwrap();
        let wanted = [(0, ["p"]), (2, ["q"])].map(Ok::<_, TableError>);
        assert_eq!(copy_rows(&mut reader, wanted, &mut writer).unwrap(), 2);
        writer.finish().unwrap();
        let found = read_columns(&bench.path(name), &["b", "a", "tag"]).unwrap();
        assert_eq!(cells(&found), [["x", "0", "p"], ["z,", "2", "q"]]);
    }
    assert_eq!(bench.names(), ["in.csv", "out.csv", "out.parquet"]);
}

#[test]
fn an_output_that_fails_leaves_the_one_before_it_and_nothing_else() {
    let bench = Bench::new();
    let source = bench.file("in.csv", "a\n0\n1\n");
    let output = bench.file("out.csv", "before");
    for wanted in [[1, 7], [1, 1], [1, 0]] {
        let mut writer = TableWriter::create(&output, &["a"]).unwrap();
        let mut reader = open(&source).unwrap().choose(&["a"]).unwrap();
        let wanted = wanted.map(|row| Ok::<_, TableError>((row, [""; 0])));
        let error = copy_rows(&mut reader, wanted, &mut writer).unwrap_err();
        assert_eq!(error.code(), "ROW_MISSING");
    }
    let mut writer = TableWriter::create(&output, &["a"]).unwrap();
    assert_eq!(writer.row([b"1".as_slice(), b"2"]).unwrap_err().code(), "ROW_LENGTH");
    drop(writer);
    assert_eq!(TableWriter::create(&output, &["a", "a"]).unwrap_err().code(), "COLUMN_REPEATED");
    assert_eq!(bench.names(), ["in.csv", "out.csv"]);
    assert_eq!(fs::read(&output).unwrap(), b"before");
}
