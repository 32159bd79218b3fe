//! From files to questions, and from answers to files.

use std::io::{Read as _, repeat};
use std::os::unix::fs::PermissionsExt as _;

use encoding_rs::GB18030;

use super::super::lines::{Line, Lines};
use super::*;
use crate::http::ConsentBody;
use crate::verification::DocumentType;

#[tokio::test]
async fn every_required_column_is_named_when_it_is_missing_or_repeated() {
    let columns: Vec<&str> = REQUIRED.split(',').collect();
    for column in &columns {
        let others: Vec<_> = columns.iter().filter(|other| *other != column).copied().collect();
        let error = Case::new(others.join(",")).run(&Script::default()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the header has no column {column}"));
        assert_eq!(error.code(), "COLUMN_MISSING");
        let error = Case::new(format!("{REQUIRED}, {column} ")).run(&Script::default()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the header has column {column} more than once"));
    }
    for optional in ["申请号", "授权编号"] {
        let twice = format!("{REQUIRED},{optional},{optional}");
        let error = Case::new(twice).run(&Script::default()).await.unwrap_err();
        assert_eq!(error.code(), "COLUMN_REPEATED", "{optional}");
    }
}

#[tokio::test]
async fn a_file_without_a_header_is_refused_without_repeating_its_first_row() {
    for input in [String::new(), format!("{REQUIRED},\"open"), "手".repeat(40_000)] {
        assert_eq!(Case::new(input).run(&Script::default()).await.unwrap_err().code(), "HEADER_MISSING");
    }
    let data = format!("个人,身份证,{ID_NUMBER},{NAME},{PHONE}\n");
    let error = Case::new(data).run(&Script::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the header has no column 客户类型");
}

#[tokio::test]
async fn a_row_becomes_a_question_with_the_files_own_ticket_and_consent() {
    let input = format!(
        "备注,手机号, 客户名称 ,证件号码,证件类型,客户类型,授权编号,申请号\n\
         vip,\" {PHONE} \",\"{NAME}\",{ID_NUMBER},居民身份证,个人,c-9,t-8\n"
    );
    let (case, script) = (Case::new(input), Script::default());
    let summary = case.run(&script).await.unwrap();
    let call = script.calls().pop().unwrap();
    assert_eq!((call.purpose.as_str(), call.operator.as_str()), ("account_opening", "teller-1"));
    let expected = BatchItem {
        name: Some(NAME.into()),
        id_number: Some(ID_NUMBER.into()),
        document_type: DocumentType::ResidentId,
        phone: PHONE.into(),
        customer_type: Some("个人".into()),
        ticket: "t-8".into(),
        consent: ConsentBody { id: "c-9".into(), digest: None },
        outlet: Some("o-1".into()),
        branch: None,
    };
    assert_eq!(call.items, [expected]);
    assert_eq!(summary.ignored_columns, ["备注"]);
}

#[tokio::test]
async fn ticket_and_consent_default_to_the_files_digest_and_the_line() {
    let row = format!(",护照,E12345678,{NAME},{PHONE}\n");
    let (case, script) = (Case::new(format!("{REQUIRED}\n{row}\n{row}")), Script::default());
    case.run(&script).await.unwrap();
    let digest = digest_of(&case.options.input);
    let items = script.items();
    let tickets: Vec<_> = items.iter().map(|item| item.ticket.clone()).collect();
    assert_eq!(tickets, [format!("{}:2", &digest[..16]), format!("{}:4", &digest[..16])]);
    assert!(items.iter().all(|item| item.consent.id == format!("batch:{digest}")));
    assert!(items.iter().all(|item| item.customer_type.is_none()));
    let lines: Vec<_> = case.rows().into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(lines, [("2".into(), tickets[0].clone()), ("4".into(), tickets[1].clone())]);
}

#[tokio::test]
async fn an_empty_ticket_has_the_default_and_an_empty_consent_is_refused() {
    let row = |ticket, consent| format!("个人,身份证,{ID_NUMBER},{NAME},{PHONE},{ticket},{consent}\n");
    let input = format!("{REQUIRED},申请号,授权编号\n{}{}", row("", "c-1"), row("t-2", " "));
    let (case, script) = (Case::new(input), Script::default());
    case.run(&script).await.unwrap();
    let digest = digest_of(&case.options.input);
    assert_eq!(script.tickets(), [format!("{}:2", &digest[..16])]);
    assert_eq!(case.rows()[1][11..13], ["CONSENT_ID_EMPTY", "授权编号：不能为空"]);
}

#[tokio::test]
async fn documents_are_named_in_words_only() {
    let words = [
        ("居民身份证", ID_NUMBER, Some(DocumentType::ResidentId)),
        ("身份证", ID_NUMBER, Some(DocumentType::ResidentId)),
        ("护照", "E12345678", Some(DocumentType::Passport)),
        ("统一社会信用代码", "91350100M000100Y43", Some(DocumentType::SocialCredit)),
        ("营业执照", "91350100M000100Y43", Some(DocumentType::SocialCredit)),
        ("10", ID_NUMBER, None),
        ("01", ID_NUMBER, None),
        ("resident_id", ID_NUMBER, None),
    ];
    let row = |(word, number, _): &(&str, &str, _)| format!("个人,{word},{number},{NAME},{PHONE}\n");
    let input = format!("{REQUIRED}\n{}", words.iter().map(row).collect::<String>());
    let (case, script) = (Case::new(input), Script::default());
    case.run(&script).await.unwrap();
    let kinds: Vec<_> = script.items().iter().map(|item| item.document_type).collect();
    assert_eq!(kinds, words.iter().filter_map(|(_, _, kind)| *kind).collect::<Vec<_>>());
    for (row, (word, _, kind)) in case.rows().iter().zip(&words) {
        assert_eq!(row[11], if kind.is_some() { "" } else { "DOCUMENT_TYPE_WORD" }, "{word}");
    }
}

/// Cells, code and explanation of rows that break one rule each.
const BROKEN: [(&str, &str, &str); 22] = [
    ("个人,,11010519491231002X,王小明,13800138000,t", "DOCUMENT_TYPE_EMPTY", "证件类型：不能为空"),
    ("个人,身份证,,王小明,13800138000,t", "DOCUMENT_EMPTY", "证件号码：不能为空"),
    ("个人,身份证,110105194912310021,王小明,13800138000,t", "DOCUMENT_CHECK", "证件号码：校验码不正确"),
    ("个人,身份证,11010519491331002X,王小明,13800138000,t", "DOCUMENT_BIRTH_DATE", "证件号码：出生日期无效"),
    ("个人,身份证,1101051949,王小明,13800138000,t", "DOCUMENT_LENGTH", "证件号码：长度不符合该证件类型"),
    (
        "个人,身份证,A1010519491231002X,王小明,13800138000,t",
        "DOCUMENT_CHARACTER",
        "证件号码：含有该证件类型不允许的字符",
    ),
    ("个人,营业执照,91350100M000100Y44,王小明,13800138000,t", "DOCUMENT_CHECK", "证件号码：校验码不正确"),
    ("个人,护照,E1,王小明,13800138000,t", "DOCUMENT_LENGTH", "证件号码：长度不符合该证件类型"),
    ("个人,身份证,11010519491231002X,,13800138000,t", "NAME_EMPTY", "客户名称：不能为空"),
    (
        "个人,身份证,11010519491231002X,王\u{7}明,13800138000,t",
        "NAME_CHARACTER",
        "客户名称：含有控制字符或无法识别的字符",
    ),
    (
        "个人,身份证,11010519491231002X,王\r明,13800138000,t",
        "NAME_CHARACTER",
        "客户名称：含有控制字符或无法识别的字符",
    ),
    ("个人,身份证,11010519491231002X,王小明,,t", "PHONE_EMPTY", "手机号：不能为空"),
    ("个人,身份证,11010519491231002X,王小明,1380013800,t", "PHONE_LENGTH", "手机号：位数不正确"),
    ("个人,身份证,11010519491231002X,王小明,23800138000,t", "PHONE_PREFIX", "手机号：境内手机号应以 1 开头"),
    ("个人,身份证,11010519491231002X,王小明,1.38E+10,t", "PHONE_CHARACTER", "手机号：含有非数字字符"),
    (
        "个人,身份证,11010519491231002X,王小明,+12345678,t",
        "PHONE_PLAN",
        "手机号：不是任何国家或地区的有效号码",
    ),
    (
        "个人,身份证,11010519491231002X,王小明,13800138000,t\u{1}",
        "TICKET_CHARACTER",
        "申请号：含有控制字符或无法识别的字符",
    ),
    (
        "个\u{1}人,身份证,11010519491231002X,王小明,13800138000,t",
        "CUSTOMER_TYPE_CHARACTER",
        "客户类型：含有控制字符或无法识别的字符",
    ),
    ("个人,身份证,11010519491231002X,王小明,13800138000", "ROW_CELLS", "该行列数与表头不一致"),
    ("个人,身份证,11010519491231002X,王,小明,13800138000,t", "ROW_CELLS", "该行列数与表头不一致"),
    ("个人,身份证,11010519491231002X,\"王小明,13800138000,t", "ROW_QUOTE", "该行引号不成对"),
    (
        "个人,身份证,11010519491231002X,王小明,23800138000,t\u{1}",
        "PHONE_PREFIX",
        "手机号：境内手机号应以 1 开头",
    ),
];

#[tokio::test]
async fn every_broken_rule_is_explained_in_its_own_row_and_never_sent() {
    let good = format!("个人,身份证,{ID_NUMBER},{NAME},{PHONE},good\n");
    let rows: String = BROKEN.iter().map(|(row, _, _)| format!("{row}\n{good}")).collect();
    let long = format!("个人,身份证,{ID_NUMBER},{NAME},{PHONE},{}\n{good}", "t".repeat(129));
    let endless = format!("个人,身份证,{ID_NUMBER},{},{PHONE},t\n{good}", "王".repeat(40_000));
    let (case, script) = (Case::new(format!("{REQUIRED},申请号\n{rows}{long}{endless}")), Script::default());
    let summary = case.run(&script).await.unwrap();
    let expected = BROKEN.iter().map(|(_, code, explanation)| (*code, *explanation));
    let expected: Vec<_> = expected
        .chain([("TICKET_LENGTH", "申请号：超过长度上限"), ("ROW_LENGTH", "该行超过 64 KiB")])
        .collect();
    let found = case.rows();
    assert_eq!(found.len(), 2 * expected.len());
    for (pair, (code, explanation)) in found.chunks(2).zip(&expected) {
        assert_eq!((pair[0][11].as_str(), pair[0][12].as_str()), (*code, *explanation));
        assert!(pair[0][2..11].iter().all(String::is_empty));
        assert_eq!((pair[1][1].as_str(), pair[1][2].as_str()), ("good", "match"), "after {code}");
        assert!(["t", ""].contains(&pair[0][1].as_str()), "{:?}", pair[0][1]);
    }
    assert_eq!(script.tickets(), vec!["good"; expected.len()]);
    assert_eq!(summary.errors.values().sum::<u64>(), expected.len() as u64);
    let text = String::from_utf8(case.output()).unwrap();
    for value in ["王", "19491231", "138001", "Y44"] {
        assert!(!text.contains(value), "{value}");
    }
}

#[tokio::test]
async fn a_byte_that_is_no_character_fails_only_its_row() {
    let (utf8, gb18030) = (good(3), GB18030.encode(&good(3)).0.into_owned());
    for mut bytes in [utf8.into_bytes(), gb18030] {
        let second = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1).unwrap().0 + 1;
        let name_end = second + bytes[second..].windows(5).position(|w| w == b",1380").unwrap();
        bytes[name_end - 1] = 0xFF;
        let case = Case::new(bytes);
        case.run(&Script::default()).await.unwrap();
        // The output follows the input's encoding, and these columns are ASCII in both.
        let output = case.output();
        let lines: Vec<_> = output.split(|b| *b == b'\n').collect();
        for (line, refused) in [(1, false), (2, true), (3, false)] {
            let found = lines[line].windows(14).any(|w| w == b"NAME_CHARACTER");
            assert_eq!(found, refused, "line {line}");
        }
    }
}

#[tokio::test]
async fn the_output_follows_the_inputs_encoding_unless_another_is_asked_for() {
    let text = good(2);
    let marked = [b"\xEF\xBB\xBF", text.as_bytes()].concat();
    let gb18030 = GB18030.encode(&text).0.into_owned();
    let encodings = [FileEncoding::Utf8, FileEncoding::Utf8WithMark, FileEncoding::Gb18030];
    let mut texts = Vec::new();
    for (input, own) in [text.into_bytes(), marked, gb18030].into_iter().zip(encodings) {
        for asked in [None, Some(encodings[0]), Some(encodings[1]), Some(encodings[2])] {
            let mut case = Case::new(&input);
            case.options.encoding = asked;
            let summary = case.run(&Script::default()).await.unwrap();
            assert_eq!(summary.input_encoding, own);
            texts.push(decoded(&case.output(), asked.unwrap_or(own)));
        }
    }
    assert!(texts[0].starts_with("行号,申请号,结果,") && texts[0].contains("姓名不符；姓名不符"));
    assert!(texts.iter().all(|text| *text == texts[0]));
}

fn decoded(bytes: &[u8], encoding: FileEncoding) -> String {
    let (text, bad) = match encoding {
        FileEncoding::Gb18030 => GB18030.decode_without_bom_handling(bytes),
        _ => encoding_rs::UTF_8.decode_without_bom_handling(bytes),
    };
    assert!(!bad);
    let marked = text.strip_prefix('\u{FEFF}');
    assert_eq!(marked.is_some(), encoding == FileEncoding::Utf8WithMark);
    marked.unwrap_or(&text).to_owned()
}

#[test]
fn encodings_are_read_by_the_names_that_they_print() {
    for encoding in [FileEncoding::Utf8, FileEncoding::Utf8WithMark, FileEncoding::Gb18030] {
        assert_eq!(encoding.to_string().parse(), Ok(encoding));
    }
    assert_eq!("gbk".parse::<FileEncoding>(), Err(UnknownEncoding));
}

#[tokio::test]
async fn line_ends_of_any_system_a_missing_last_one_and_duplicates_are_accepted() {
    let row = format!("个人,身份证,{ID_NUMBER},{NAME},{PHONE},t-2");
    for input in [
        format!("{REQUIRED},申请号\n{row}\n{row}\n"),
        format!("{REQUIRED},申请号\n{row}\n{row}"),
        format!("{REQUIRED},申请号\r\n{row}\r\n{row}\r\n\r\n"),
    ] {
        let (case, script) = (Case::new(input), Script::default());
        case.run(&script).await.unwrap();
        assert_eq!(script.tickets(), ["t-2", "t-2"]);
    }
}

#[tokio::test]
async fn an_answer_fills_its_row() {
    let case = Case::new(good(2));
    let summary = case.run(&Script::default()).await.unwrap();
    let tail = ["bulk_sms|shared_device", "status=active|tenure=ge_3y", "carrier-a|carrier-b"];
    let row = |line, ticket, head: [&'static str; 3], id| {
        let middle = ["姓名不符；姓名不符", "当面核对"];
        [&[line, ticket], head.as_slice(), &middle, &tail, &[id, "", "", "", "", "", ""]].concat()
    };
    let rows = case.rows();
    assert_eq!(rows[0], row("2", "t-0", ["match", "", "green"], "v-t-0"));
    assert_eq!(rows[1], row("3", "t-1", ["mismatch", "name|id", "red"], "v-t-1"));
    let counts = serde_json::to_value(&summary).unwrap();
    assert_eq!(counts["rows"], 2);
    assert_eq!(counts["results"], serde_json::json!({ "match": 1, "mismatch": 1 }));
    assert_eq!(counts["colours"], serde_json::json!({ "green": 1, "red": 1 }));
    assert_eq!(counts["input_sha256"], digest_of(&case.options.input));
    assert!(summary.to_string().contains("match 1, mismatch 1"), "{summary}");
    assert_eq!(case.files(), ["in.csv", "out.csv"]);
    assert_eq!(fs::metadata(&case.options.output).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_of_a_header_only_has_an_output_of_a_header_only() {
    let (case, script) = (Case::new(REQUIRED), Script::default());
    assert_eq!(case.run(&script).await.unwrap().rows, 0);
    assert!(case.rows().is_empty() && script.calls().is_empty());
}

#[test]
fn an_endless_line_is_skipped_without_being_held() {
    let source = [REQUIRED.as_bytes(), b"\n"].concat();
    let endless = repeat(b'x').take(64 << 20);
    let source = source.chain(endless).chain(b"\nlast".as_slice());
    let (_, mut lines) = Lines::open(source).unwrap().unwrap();
    assert_eq!(lines.next().unwrap(), Some((2, Line::TooLong)));
    assert!(lines.held() < 256 << 10, "{} bytes", lines.held());
    assert_eq!(lines.next().unwrap(), Some((3, Line::Text("last".to_owned().into()))));
    assert_eq!(lines.next().unwrap(), None);
}
