//! The same subscribers as CSV and as Parquet.

use super::*;

/// The world's first carrier, its bad rows among the good, in the format that the name asks for.
fn write(dir: &Path, name: &str) -> PathBuf {
    let config = WorldConfig { subscribers_per_carrier: 300, bad_rows: 20, ..WorldConfig::default() };
    let files = World::generate(&config).write(dir).unwrap();
    let options = TableOptions { ragged: true, ..TableOptions::default() };
    let reader = TableReader::open(&files.carriers[0].1, options).unwrap();
    let header = reader.header().to_vec();
    let mut reader = reader.choose(&header).unwrap();
    let mut writer = TableWriter::create(&dir.join(name), &header).unwrap();
    while let Some(row) = reader.next_row().unwrap() {
        // Parquet has no rows of other lengths.
        if row.width() == header.len() {
            writer.row(row.cells()).unwrap();
        }
    }
    assert!(writer.finish().unwrap() > 300);
    dir.join(name)
}

#[test]
fn a_parquet_file_gives_the_records_the_rejects_and_the_table_of_the_same_csv_file() {
    let [csv, parquet] = ["subscribers.csv", "subscribers.parquet"].map(|name| {
        let mut bench = Bench::tolerant();
        let source = write(bench.data(), name);
        let report = bench.import_file(&source).unwrap();
        let reader = StagingReader::open(bench.data(), bench.config.name(), 14, &bench.storage).unwrap();
        let records: Vec<_> = reader.into_iter().map(Result::unwrap).collect();
        bench.build(1).unwrap();
        let pages = fs::read(bench.path("built/1/pages")).unwrap();
        (ImportReport { source_bytes: 0, ..report }, bench.rejects("import-rejects.csv"), records, pages)
    });
    assert!(csv.0.accepted >= 300 && !csv.1.is_empty(), "{:?}", csv.0);
    assert_eq!((&csv.0, &csv.1), (&parquet.0, &parquet.1));
    assert!(csv.2 == parquet.2, "the staged records differ");
    assert!(csv.3 == parquet.3, "the tables differ");
}

#[test]
fn a_parquet_file_without_a_column_or_cut_short_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new();
    let source = write(bench.data(), "subscribers.parquet");
    let whole = fs::read(&source).unwrap();
    fs::write(&source, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(bench.import_file(&source).unwrap_err().code(), "TABLE_DAMAGED");
    TableWriter::create(&source, &["手机号"]).unwrap().finish().unwrap();
    assert_eq!(bench.import_file(&source).unwrap_err().code(), "COLUMN_MISSING");
    assert!(bench.entries().is_empty());
}
