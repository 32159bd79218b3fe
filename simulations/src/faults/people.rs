//! Who is asked about, and the truth.

use windvane::bank::Inquiry;
use windvane::verification::{MatchResult, ProviderAnswer};
use windvane_protocols::identity::{Document, DocumentKind, Name, Person, Phone};
use windvane_world::{Date, gb11643_number};

/// Subscribers of each carrier.
pub const SUBSCRIBERS: usize = 24;

/// Numbers that nobody has.
const STRANGERS: usize = 4;

/// Header of a carrier's file.
const HEADER: &str =
    "手机号,姓名,证件类型,证件号码,用户状态,入网日期,换卡日期,二次放号,同证号码数,风险标签,数据日期\n";

const FAMILY_NAMES: [&str; 8] = ["张", "李", "王", "赵", "陈", "杨", "黄", "周"];
const GIVEN_NAMES: [&str; 6] = ["三", "四", "秀英", "建国", "伟", "丽华"];

/// How a question fits the number's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Everything fits.
    Right,
    /// The name is another's.
    WrongName,
    /// The document is another's.
    WrongDocument,
    /// Nobody has the number.
    Stranger,
}

/// A question to which the answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The carrier that has the number.
    pub carrier: usize,
    /// Which of its numbers.
    pub subscriber: usize,
    /// How the rest fits.
    pub fit: Fit,
}

impl Known {
    /// The question's number.
    pub fn phone(self) -> String {
        match self.fit {
            Fit::Stranger => phone(self.carrier, SUBSCRIBERS + self.subscriber % STRANGERS),
            _ => phone(self.carrier, self.subscriber),
        }
    }

    /// The question as the bank's caller asks it.
    pub fn inquiry(self, ticket: u64) -> Inquiry {
        let other = (self.subscriber + 1) % SUBSCRIBERS;
        let named = if self.fit == Fit::WrongName { other } else { self.subscriber };
        let documented = if self.fit == Fit::WrongDocument { other } else { self.subscriber };
        Inquiry {
            person: Person {
                phone: Some(Phone::parse(&self.phone()).expect("a legal number")),
                document: Some(
                    Document::parse(DocumentKind::ResidentId, &document(self.carrier, documented))
                        .expect("a legal document"),
                ),
                name: Some(Name::parse(&name(named)).expect("a legal name")),
                other: None,
            },
            customer_type: None,
            document_type: None,
            purpose: super::template::PURPOSE.into(),
            ticket: format!("T-{ticket}"),
            consent: format!("C-{ticket}"),
            operator: "teller-1".into(),
            outlet: None,
            branch: None,
        }
    }

    /// Whether a carrier's answer is the truth; the answer is one that came.
    pub fn is_true_of(self, carrier: usize, answer: &ProviderAnswer) -> bool {
        let found = carrier == self.carrier && self.fit != Fit::Stranger;
        let misfit = answer.mismatch.map(|misfit| (misfit.name, misfit.id));
        let expected = match self.fit {
            _ if !found => (MatchResult::NoRecord, None),
            Fit::WrongName => (MatchResult::Mismatch, Some((true, false))),
            Fit::WrongDocument => (MatchResult::Mismatch, Some((false, true))),
            _ => (MatchResult::Match, None),
        };
        let tags = if found && is_suspected(self.subscriber) { vec!["fraud_suspected"] } else { Vec::new() };
        (answer.result, misfit) == expected && answer.tags.iter().map(String::as_str).eq(tags)
    }
}

fn phone(carrier: usize, number: usize) -> String {
    format!("13{}0013{number:04}", 8 + carrier)
}

fn name(subscriber: usize) -> String {
    let (family, given) = (subscriber % FAMILY_NAMES.len(), subscriber % GIVEN_NAMES.len());
    format!("{}{}", FAMILY_NAMES[family], GIVEN_NAMES[given])
}

fn document(carrier: usize, subscriber: usize) -> String {
    let born = Date::new(1960 + subscriber as i32, 1 + carrier as u8, 7).expect("a day of the calendar");
    gb11643_number(110_105, born, 100 + subscriber as u16)
}

const fn is_suspected(subscriber: usize) -> bool {
    subscriber % 3 == 1
}

/// A carrier's file.
pub fn file(carrier: usize) -> String {
    let row = |subscriber| {
        let tag = if is_suspected(subscriber) { "疑似涉诈" } else { "" };
        format!(
            "{},{},居民身份证,{},正常,2015-05-01,,否,1,{tag},2026-11-01\n",
            phone(carrier, subscriber),
            name(subscriber),
            document(carrier, subscriber),
        )
    };
    HEADER.to_owned() + &(0..SUBSCRIBERS).map(row).collect::<String>()
}
