//! Files that partners and operators hand over.

use std::io::Write as _;
use std::str::from_utf8;

use windvane::document::Document;
use windvane::table::{Encoding, TableOptions, TableReader};
use windvane_keys::enrolment::{Enrolment, EnrolmentRequest};
use windvane_keys::identity::{AuthorityCertificate, CertificateIdentity};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::schema::TrainSchema;

use super::choose;

pub(super) fn certificate(input: &[u8]) {
    let _ = (CertificateIdentity::from_der(input), AuthorityCertificate::from_der(input));
}

pub(super) fn enrolment(input: &[u8]) {
    if let Ok(text) = from_utf8(input) {
        let _ = (EnrolmentRequest::from_pem(text), Enrolment::from_pem(text));
    }
}

pub(super) fn documents(input: &[u8]) {
    let _ = (Document::<Universe>::from_pem(input), Document::<TrainSchema>::from_pem(input));
}

pub(super) fn csv(input: &[u8]) {
    choose(
        input,
        &[|input| table(input, ".csv", Encoding::Utf8), |input| table(input, ".csv", Encoding::Gb18030)],
    );
}

pub(super) fn parquet(input: &[u8]) {
    table(input, ".parquet", Encoding::Utf8);
}

/// Reads every cell of every row of the first columns.
fn table(input: &[u8], suffix: &str, encoding: Encoding) {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a temporary file");
    file.write_all(input).expect("a temporary file can be written");
    let options = TableOptions { encoding, ..TableOptions::default() };
    let Ok(reader) = TableReader::open(file.path(), options) else { return };
    let columns: Vec<String> = reader.header().iter().take(4).cloned().collect();
    let Ok(mut reader) = reader.choose(&columns) else { return };
    while let Ok(Some(row)) = reader.next_row() {
        assert!(row.cells().all(|cell| from_utf8(cell).is_ok()), "cells are UTF-8");
    }
}
