//! Files of customers: good and bad rows in both encodings, files that are refused, and a run that is
//! interrupted.

use std::path::Path;

use encoding_rs::GB18030;
use windvane::batch::{self, BatchKind, BatchOptions, FileEncoding};
use windvane::http::{Client, Token};
use windvane_protocols::identity::DocumentKind;

use super::marks::{Marked, REFUSED, STRANGERS, SUBSCRIBERS};
use super::operations::{PURPOSE, Stage};
use super::record::{REPORTS, Record};

pub(crate) const HEADER: &str = "客户类型,证件类型,证件号码,客户名称,手机号";

/// Everything that a bank's operator does with a file.
pub(crate) async fn run(stage: &Stage, address: &str, token: &Token) {
    let client = Client::new(&format!("http://{address}"), token).unwrap();
    let text = file(HEADER);
    for (name, encoding, bytes) in [
        ("utf8", FileEncoding::Utf8, text.clone().into_bytes()),
        ("gb18030", FileEncoding::Gb18030, GB18030.encode(&text).0.into_owned()),
    ] {
        let options = options(stage.desk.path(), &stage.record, name, &bytes, Some(encoding));
        let summary = batch::run(&client, &options, &batch::progress_bar()).await.unwrap();
        assert_eq!(summary.rows, 13);
        // The company's row, the passport's and the residents' are answered; the refused rows are not.
        assert_eq!(summary.errors.values().sum::<u64>(), 4, "{:?}", summary.errors);
        stage.record.report("batch summaries", &summary);
    }
    refused(stage, &client, token).await;
}

/// Files and runs that end in an error. What was answered before stays beside the output.
async fn refused(stage: &Stage, client: &Client, token: &Token) {
    let rows = file("");
    let nobody = Client::new("http://127.0.0.1:1", token).unwrap();
    for (name, content) in [
        ("headless", rows.trim_start().to_owned()),
        ("twice", file(&format!("手机号,{HEADER}"))),
        ("unknown column", file(&HEADER.replace("手机号", SUBSCRIBERS[0].phones[0]))),
        ("empty", String::new()),
    ] {
        let options = options(stage.desk.path(), &stage.record, name, content.as_bytes(), None);
        stage.record.error(name, batch::run(client, &options, &batch::progress_bar()).await);
    }
    let options = options(stage.desk.path(), &stage.record, "interrupted", file(HEADER).as_bytes(), None);
    let interrupted = batch::run(&nobody, &options, &batch::progress_bar()).await;
    stage.record.error("interrupted", interrupted);
    assert!(stage.record.file(REPORTS, "interrupted.partial").exists());
    let other = BatchOptions { purpose: "marketing".into(), ..options };
    stage.record.error("another run", batch::run(client, &other, &batch::progress_bar()).await);
}

/// The operator's file lies on the desk, outside of the scan; what comes of it is scanned.
pub(crate) fn options(
    desk: &Path,
    record: &Record,
    name: &str,
    content: &[u8],
    encoding: Option<FileEncoding>,
) -> BatchOptions {
    let input = desk.join(format!("{name}-customers.csv"));
    std::fs::write(&input, content).unwrap();
    BatchOptions {
        kind: BatchKind::Verification,
        input,
        output: record.file(REPORTS, name),
        purpose: PURPOSE.into(),
        operator: "teller-4".into(),
        outlet: Some("outlet-3".into()),
        branch: None,
        encoding,
        chunk_rows: 5,
    }
}

pub(crate) fn file(header: &str) -> String {
    let people = SUBSCRIBERS.iter().chain(&REFUSED).chain(&STRANGERS);
    format!("{header}\n{}", people.map(row).collect::<String>())
}

fn row(marked: &Marked) -> String {
    let kind = match marked.kind {
        DocumentKind::ResidentId => "居民身份证",
        DocumentKind::Passport => "护照",
        DocumentKind::SocialCredit => "统一社会信用代码",
    };
    let [number, name, phone] =
        [marked.documents, marked.names, marked.phones].map(|spellings| spellings[spellings.len() - 1]);
    format!("personal,{kind},{number},{name},{phone}\n")
}
