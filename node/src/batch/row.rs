//! From a line to a question, or to the rule that it breaks.

use csv::StringRecord;

use super::columns::{CONSENT, CUSTOMER_TYPE, Columns, DOCUMENT_TYPE, ID_NUMBER, NAME, PHONE, TICKET, cells};
use super::lines::Line;
use crate::http::{BatchItem, ConsentBody, Private, Problem};
use crate::verification::DocumentType;

/// One row of the bank's file.
#[derive(Debug)]
pub(super) struct Row {
    /// Its line in the file.
    pub(super) line: u64,
    /// The bank's application number, or the default; empty where the row's own does not do.
    pub(super) ticket: String,
    /// The question, or why there is none.
    pub(super) item: Result<BatchItem, Problem>,
}

/// What rows have in common.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    /// SHA-256 of the file, hexadecimal.
    pub(super) digest: String,
    pub(super) outlet: Option<String>,
    pub(super) branch: Option<String>,
}

impl Row {
    /// Reads a line that is not blank.
    pub(super) fn parse(number: u64, line: &Line, columns: &Columns, defaults: &Defaults) -> Self {
        let Line::Text(text) = line else { return Self::refused(number, too_long()) };
        let cells = match cells(text).and_then(|cells| counted(cells, columns)) {
            Ok(cells) => cells,
            Err(problem) => return Self::refused(number, problem),
        };
        let item = item(number, &cells, columns, defaults);
        let ticket = item.check_ticket().map(|()| item.ticket.clone()).unwrap_or_default();
        let words = columns.document_type.map(|place| cell(&cells, place));
        let known = words.map_or(Ok(()), |words| document_type(words).map(|_| ()));
        Self { line: number, ticket, item: known.and_then(|()| item.check()).map(|()| item) }
    }

    fn refused(line: u64, problem: Problem) -> Self {
        Self { line, ticket: String::new(), item: Err(problem) }
    }
}

fn too_long() -> Problem {
    Problem::new(0, "ROW_LENGTH", "row: longer than 64 KiB", "shorten the row")
}

fn counted(cells: StringRecord, columns: &Columns) -> Result<StringRecord, Problem> {
    let (found, expected) = (cells.len(), columns.count);
    if found == expected {
        return Ok(cells);
    }
    let message = format!("row: {found} cells, expected {expected} as in the header");
    Err(Problem::new(0, "ROW_CELLS", message, "quote cells that hold commas"))
}

/// The row as a question; an unknown kind of document is read as the default one and refused afterwards.
fn item(number: u64, cells: &StringRecord, columns: &Columns, defaults: &Defaults) -> BatchItem {
    let optional = |place: Option<usize>| place.map(|place| cell(cells, place));
    let ticket = optional(columns.ticket).filter(|ticket| !ticket.is_empty());
    let consent = optional(columns.consent);
    let customer_type = optional(columns.customer_type).filter(|kind| !kind.is_empty());
    BatchItem {
        name: optional(columns.name).map(Private::from),
        id_number: optional(columns.id_number).map(Private::from),
        document_type: optional(columns.document_type)
            .and_then(|words| document_type(words).ok())
            .unwrap_or_default(),
        phone: Private::from(cell(cells, columns.phone)),
        customer_type: customer_type.map(str::to_owned),
        ticket: ticket.map_or_else(|| format!("{}:{number}", &defaults.digest[..16]), str::to_owned),
        consent: ConsentBody {
            id: consent.map_or_else(|| format!("batch:{}", defaults.digest), str::to_owned),
            digest: None,
        },
        outlet: defaults.outlet.clone(),
        branch: defaults.branch.clone(),
    }
}

fn cell(cells: &StringRecord, place: usize) -> &str {
    cells.get(place).unwrap_or_default().trim()
}

/// The words of the bank's files; no code and no other word is guessed at.
fn document_type(words: &str) -> Result<DocumentType, Problem> {
    match words {
        "居民身份证" | "身份证" => Ok(DocumentType::ResidentId),
        "护照" => Ok(DocumentType::Passport),
        "统一社会信用代码" | "营业执照" => Ok(DocumentType::SocialCredit),
        "" => Err(Problem::rule("document_type", "DOCUMENT_TYPE_EMPTY", "document_type: empty")),
        _ => {
            let message = "document_type: expected 居民身份证, 身份证, 护照, 统一社会信用代码 or 营业执照";
            Err(Problem::rule("document_type", "DOCUMENT_TYPE_WORD", message))
        }
    }
}

/// What a person at the bank reads of a problem: the file's own column, then the rule.
pub(super) fn explanation(problem: &Problem) -> String {
    let rule = in_chinese(&problem.code).unwrap_or(&problem.message);
    match problem.field.as_deref().and_then(column_of) {
        Some(column) => format!("{column}：{rule}"),
        None => rule.to_owned(),
    }
}

fn column_of(field: &str) -> Option<&'static str> {
    Some(match field {
        "customer_type" => CUSTOMER_TYPE,
        "document_type" => DOCUMENT_TYPE,
        "id_number" => ID_NUMBER,
        "name" => NAME,
        "phone" => PHONE,
        "ticket" => TICKET,
        "consent.id" => CONSENT,
        _ => return None,
    })
}

fn in_chinese(code: &str) -> Option<&'static str> {
    Some(match code {
        "ROW_LENGTH" => "该行超过 64 KiB",
        "ROW_QUOTE" => "该行引号不成对",
        "ROW_CELLS" => "该行列数与表头不一致",
        "DOCUMENT_TYPE_EMPTY" | "DOCUMENT_EMPTY" | "NAME_EMPTY" | "PHONE_EMPTY" | "CONSENT_ID_EMPTY" => {
            "不能为空"
        }
        "DOCUMENT_TYPE_WORD" => "只能是居民身份证、身份证、护照、统一社会信用代码或营业执照",
        "DOCUMENT_CHARACTER" => "含有该证件类型不允许的字符",
        "DOCUMENT_LENGTH" => "长度不符合该证件类型",
        "DOCUMENT_BIRTH_DATE" => "出生日期无效",
        "DOCUMENT_CHECK" => "校验码不正确",
        "PHONE_CHARACTER" => "含有非数字字符",
        "PHONE_LENGTH" => "位数不正确",
        "PHONE_PREFIX" => "境内手机号应以 1 开头",
        "PHONE_PLAN" => "不是任何国家或地区的有效号码",
        "NAME_CHARACTER" | "TICKET_CHARACTER" | "CUSTOMER_TYPE_CHARACTER" => "含有控制字符或无法识别的字符",
        "CONSENT_ID_CHARACTER" => "含有空白或控制字符",
        "NAME_LENGTH" | "TICKET_LENGTH" | "CONSENT_ID_LENGTH" | "CUSTOMER_TYPE_LENGTH" => "超过长度上限",
        _ => return None,
    })
}
