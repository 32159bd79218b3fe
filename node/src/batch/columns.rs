//! The header, and the cells of a line.

use csv::{ReaderBuilder, StringRecord, Terminator};

use super::BatchKind;
use super::error::BatchError;
use crate::http::Problem;

/// 客户类型, the bank's own code of the customer type.
pub(super) const CUSTOMER_TYPE: &str = "客户类型";
/// 证件类型, the document's kind in words.
pub(super) const DOCUMENT_TYPE: &str = "证件类型";
/// 证件号码, the document's number.
pub(super) const ID_NUMBER: &str = "证件号码";
/// 客户名称, the name.
pub(super) const NAME: &str = "客户名称";
/// 手机号, the phone number.
pub(super) const PHONE: &str = "手机号";
/// 申请号, the ticket; optional.
pub(super) const TICKET: &str = "申请号";
/// 授权编号, the consent; optional.
pub(super) const CONSENT: &str = "授权编号";

/// Where each known column stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) customer_type: Option<usize>,
    pub(super) document_type: Option<usize>,
    pub(super) id_number: Option<usize>,
    pub(super) name: Option<usize>,
    pub(super) phone: usize,
    pub(super) ticket: Option<usize>,
    pub(super) consent: Option<usize>,
    /// Cells of every row.
    pub(super) count: usize,
    /// The names of the columns that are not used.
    pub(super) ignored: Vec<String>,
}

impl Columns {
    /// Reads the header's line. Names are compared exactly, after trimming.
    pub(super) fn parse(header: &str, kind: BatchKind) -> Result<Self, BatchError> {
        let cells = cells(header).map_err(|_| BatchError::NoHeader)?;
        let names: Vec<&str> = cells.iter().map(str::trim).collect();
        let required = |column| found(&names, column)?.ok_or(BatchError::ColumnMissing { column });
        let asked = |column| match kind {
            BatchKind::Verification => required(column).map(Some),
            // Nothing of the person is asked about, so nothing of it is read.
            BatchKind::Score => Ok(None),
        };
        let known = [CUSTOMER_TYPE, DOCUMENT_TYPE, ID_NUMBER, NAME, PHONE, TICKET, CONSENT];
        Ok(Self {
            customer_type: asked(CUSTOMER_TYPE)?,
            document_type: asked(DOCUMENT_TYPE)?,
            id_number: asked(ID_NUMBER)?,
            name: asked(NAME)?,
            phone: required(PHONE)?,
            ticket: found(&names, TICKET)?,
            consent: found(&names, CONSENT)?,
            count: names.len(),
            ignored: names.iter().filter(|n| !known.contains(n)).map(|n| (*n).to_owned()).collect(),
        })
    }
}

fn found(names: &[&str], column: &'static str) -> Result<Option<usize>, BatchError> {
    let mut places = (0..).zip(names).filter(|(_, name)| **name == column).map(|(place, _)| place);
    let first = places.next();
    match places.next() {
        Some(_) => Err(BatchError::ColumnRepeated { column }),
        None => Ok(first),
    }
}

/// The cells of one line (RFC 4180, without line ends inside a cell).
pub(super) fn cells(line: &str) -> Result<StringRecord, Problem> {
    if !line.bytes().filter(|byte| *byte == b'"').count().is_multiple_of(2) {
        return Err(Problem::new(0, "ROW_QUOTE", "row: an open quotation mark", "close it on its line"));
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(line.len().max(1))
        // A carriage return inside a line is a cell's own fault.
        .terminator(Terminator::Any(b'\n'))
        .from_reader(line.as_bytes());
    let mut record = StringRecord::new();
    reader.read_record(&mut record).expect("a text in memory is read without fail, and is UTF-8");
    Ok(record)
}
