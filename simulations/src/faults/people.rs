//! Who is asked about, and the truth.

use tokio::time::Instant;
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

/// What a change file has before the columns of a full one.
const CHANGE_HEADER: &str = "操作类型,";

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

    /// Whether a carrier's answer is the truth by these facts of it; the answer is one that came.
    pub fn is_true_of(self, carrier: usize, facts: &Facts, answer: &ProviderAnswer) -> bool {
        let state = facts.state(self.subscriber);
        let found = carrier == self.carrier && self.fit != Fit::Stranger && state != State::Gone;
        let misfit = answer.mismatch.map(|misfit| (misfit.name, misfit.id));
        let expected = match self.fit {
            _ if !found => (MatchResult::NoRecord, None),
            Fit::WrongName => (MatchResult::Mismatch, Some((true, false))),
            Fit::WrongDocument => (MatchResult::Mismatch, Some((false, true))),
            _ => (MatchResult::Match, None),
        };
        let tags = if found && state == State::Suspected { vec!["fraud_suspected"] } else { Vec::new() };
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

/// What a carrier says of one of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is a subscriber's.
    Clear,
    /// And suspected of fraud.
    Suspected,
    /// It is nobody's.
    Gone,
}

/// What a carrier says of all of its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts([State; SUBSCRIBERS]);

impl Default for Facts {
    fn default() -> Self {
        Self(std::array::from_fn(
            |subscriber| if subscriber % 3 == 1 { State::Suspected } else { State::Clear },
        ))
    }
}

impl Facts {
    /// Of one number.
    pub const fn state(&self, subscriber: usize) -> State {
        self.0[subscriber]
    }

    /// These, but for one number.
    #[must_use]
    pub fn with(&self, subscriber: usize, state: State) -> Self {
        let mut facts = self.clone();
        facts.0[subscriber] = state;
        facts
    }
}

/// What is true at one carrier, and which of it the bank may have.
#[derive(Debug)]
pub struct Tables {
    present: Facts,
    /// Tables that the bank may look into, oldest first, and until when.
    at_bank: Vec<(Facts, Option<Instant>)>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { present: Facts::default(), at_bank: vec![(Facts::default(), None)] }
    }
}

impl Tables {
    /// What is true now.
    pub fn present(&self) -> Facts {
        self.present.clone()
    }

    /// Other things are true from now on.
    pub fn change(&mut self, facts: Facts) {
        self.present = facts;
    }

    /// The bank may have what is true now at any moment.
    pub fn under_way(&mut self) {
        if self.at_bank.last().is_none_or(|(last, until)| *last != self.present || until.is_some()) {
            self.at_bank.push((self.present.clone(), None));
        }
    }

    /// The bank has what was under way last, and uses nothing else after `at`.
    pub fn arrived(&mut self, at: Instant) {
        if let Some((_, before)) = self.at_bank.split_last_mut() {
            before.iter_mut().for_each(|(_, until)| *until = until.or(Some(at)));
        }
    }

    /// Everything that the bank may have looked into since then.
    pub fn since(&self, begun: Instant) -> Vec<Facts> {
        let there = self.at_bank.iter().filter(|(_, until)| until.is_none_or(|until| until >= begun));
        there.map(|(facts, _)| facts.clone()).collect()
    }
}

/// A carrier's file.
pub fn file(carrier: usize, facts: &Facts) -> String {
    let rows = (0..SUBSCRIBERS).filter(|subscriber| facts.state(*subscriber) != State::Gone);
    HEADER.to_owned()
        + &rows.map(|subscriber| row(carrier, subscriber, facts.state(subscriber))).collect::<String>()
}

/// A change file that makes one number what it is to be; none where it is.
pub fn change_row(carrier: usize, subscriber: usize, before: State, after: State) -> Option<String> {
    let word = match (before, after) {
        _ if before == after => return None,
        (_, State::Gone) => "删除",
        (State::Gone, _) => "新增",
        _ => "变更",
    };
    Some(format!("{CHANGE_HEADER}{HEADER}{word},{}", row(carrier, subscriber, after)))
}

fn row(carrier: usize, subscriber: usize, state: State) -> String {
    let tag = if state == State::Suspected { "疑似涉诈" } else { "" };
    format!(
        "{},{},居民身份证,{},正常,2015-05-01,,否,1,{tag},2026-11-01\n",
        phone(carrier, subscriber),
        name(subscriber),
        document(carrier, subscriber),
    )
}
