//! The files as operators and the bank deliver them, written row by row.

use crate::applicants::Applicant;
use crate::bad::{self, BadRows};
use crate::layout::Layout;
use crate::noise;
use crate::seed::Purpose;
use crate::subscriber::{Subscriber, Tag};
use encoding_rs::GB18030;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The header of every carrier's file.
pub const CARRIER_HEADER: [&str; 11] = [
    "手机号",
    "姓名",
    "证件类型",
    "证件号码",
    "用户状态",
    "入网日期",
    "换卡日期",
    "二次放号",
    "同证号码数",
    "风险标签",
    "数据日期",
];

/// The header of the bank's file.
pub const APPLICATIONS_HEADER: [&str; 7] =
    ["客户类型", "证件类型", "证件号码", "客户名称", "手机号", "申请号", "授权编号"];

/// The header of `truth.csv`.
pub const TRUTH_HEADER: [&str; 7] = ["申请号", "class", "result", "mismatch", "carrier", "tags", "colour"];

/// How a file's text becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8 without a mark.
    Utf8,
    /// UTF-8 that begins with the mark EF BB BF, as spreadsheets write it.
    Utf8WithMark,
    /// GB 18030.
    Gb18030,
}

/// A row of a carrier's file: the cells in the order of [`CARRIER_HEADER`].
pub(crate) type CarrierRow = [String; 11];

/// Writes `carrier`'s whole file: a block of rows in memory at a time.
pub(crate) fn write_carrier(
    layout: &Layout,
    carrier: usize,
    encoding: TextEncoding,
    path: &Path,
) -> io::Result<()> {
    let mut sheet = Sheet::create(path, encoding)?;
    sheet.row(CARRIER_HEADER)?;
    let mut bad_rows = bad::rows(layout, carrier).peekable();
    for index in 0..layout.block_count() {
        for subscriber in layout.block_rows(carrier, index) {
            while let Some(bad) = bad_rows.next_if(|bad| bad.before <= subscriber.row) {
                sheet.row(&bad.cells)?;
            }
            sheet.row(carrier_row(layout, &subscriber))?;
        }
    }
    bad_rows.try_for_each(|bad| sheet.row(&bad.cells))?;
    sheet.finish()
}

/// The cells of `subscriber`'s row, with its noise.
pub(crate) fn carrier_row(layout: &Layout, subscriber: &Subscriber) -> CarrierRow {
    let key = Layout::row_key(subscriber.carrier, subscriber.row);
    let mut rng = layout.seed.stream(Purpose::RowNoise, key);
    [
        noise::phone(&mut rng, &subscriber.phone),
        noise::name(&mut rng, &subscriber.name),
        subscriber.document.kind.label().to_owned(),
        noise::document(&mut rng, &subscriber.document),
        subscriber.status.label().to_owned(),
        subscriber.activated.to_string(),
        subscriber.sim_changed.map(|day| day.to_string()).unwrap_or_default(),
        if subscriber.recycled { "是" } else { "否" }.to_owned(),
        subscriber.numbers_under_id.to_string(),
        join(&subscriber.tags, Tag::label),
        layout.as_of.to_string(),
    ]
}

/// Writes the bank's file, UTF-8.
pub(crate) fn write_applications(applicants: &[Applicant], path: &Path) -> io::Result<()> {
    let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
    sheet.row(APPLICATIONS_HEADER)?;
    for Applicant { application, .. } in applicants {
        sheet.row([
            "个人",
            application.document_kind.label(),
            &application.document_number,
            &application.name,
            &application.phone,
            &application.number,
            &application.consent,
        ])?;
    }
    sheet.finish()
}

/// Writes the truth about the applicants, UTF-8.
pub(crate) fn write_truth(applicants: &[Applicant], path: &Path) -> io::Result<()> {
    let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
    sheet.row(TRUTH_HEADER)?;
    for Applicant { application, truth } in applicants {
        sheet.row([
            application.number.as_str(),
            truth.class.code(),
            truth.result.code(),
            truth.result.mismatch_code(),
            truth.carrier.as_deref().unwrap_or(""),
            &join(&truth.tags, Tag::code),
            truth.colour.code(),
        ])?;
    }
    sheet.finish()
}

/// Writes how many bad rows each carrier's file has, by reason, UTF-8.
pub(crate) fn write_bad_rows(counts: &[BadRows], path: &Path) -> io::Result<()> {
    let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
    sheet.row(["carrier", "reason", "rows"])?;
    for count in counts {
        sheet.row([count.carrier.as_str(), count.reason.code(), &count.rows.to_string()])?;
    }
    sheet.finish()
}

pub(crate) fn join(tags: &[Tag], text: fn(Tag) -> &'static str) -> String {
    tags.iter().map(|tag| text(*tag)).collect::<Vec<_>>().join("|")
}

/// A CSV file that encodes each row as it is written.
pub(crate) struct Sheet {
    file: BufWriter<File>,
    encoding: TextEncoding,
    row: csv::Writer<Vec<u8>>,
}

impl Sheet {
    pub(crate) fn create(path: &Path, encoding: TextEncoding) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        if encoding == TextEncoding::Utf8WithMark {
            file.write_all(b"\xEF\xBB\xBF")?;
        }
        Ok(Self { file, encoding, row: csv::Writer::from_writer(Vec::new()) })
    }

    pub(crate) fn row<I: IntoIterator<Item: AsRef<[u8]>>>(&mut self, cells: I) -> io::Result<()> {
        self.row.write_record(cells)?;
        self.row.flush()?;
        if self.row.get_ref().len() >= 1 << 16 {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        let empty = csv::Writer::from_writer(Vec::new());
        let rows =
            std::mem::replace(&mut self.row, empty).into_inner().map_err(|error| error.into_error())?;
        if self.encoding != TextEncoding::Gb18030 {
            return self.file.write_all(&rows);
        }
        let text = std::str::from_utf8(&rows).map_err(io::Error::other)?;
        let (bytes, _, unmappable) = GB18030.encode(text);
        if unmappable {
            return Err(io::Error::other("GB 18030 lacks a character"));
        }
        self.file.write_all(&bytes)
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write_out()?;
        self.file.flush()
    }
}
