//! People whose data are marked: every text of theirs that the scan looks for.
//!
//! No two of them share a name, a number or a document, so that a find tells whose it is. Names have at least
//! three characters: shorter ones would be found by chance among megabytes of ciphertext.

use std::collections::BTreeSet;

use windvane_protocols::identity::{Document, DocumentKind, Name, Person, Phone};

/// A person, with every spelling that an operation is given.
#[derive(Debug)]
pub(crate) struct Marked {
    /// How findings call the person.
    pub(crate) label: &'static str,
    pub(crate) kind: DocumentKind,
    /// The first spelling of each is the carrier's, the others are a bank's.
    pub(crate) names: &'static [&'static str],
    pub(crate) documents: &'static [&'static str],
    pub(crate) phones: &'static [&'static str],
}

const fn resident(
    label: &'static str,
    names: &'static [&'static str],
    documents: &'static [&'static str],
    phones: &'static [&'static str],
) -> Marked {
    Marked { label, kind: DocumentKind::ResidentId, names, documents, phones }
}

/// Subscribers of the carriers.
pub(crate) const SUBSCRIBERS: [Marked; 6] = [
    resident(
        "plain Han",
        &["欧阳澄观"],
        &["11010519530417281X", "11010519530417281x"],
        &["13800138017", "+86 138-0013-8017"],
    ),
    resident(
        "another name is asked",
        &["司徒望舒"],
        &["440524198811029373"],
        &["13911250932", "8613911250932"],
    ),
    resident(
        "dotted name",
        &["阿依古丽·买买提江", "阿依古丽•买买提江"],
        &["510107197506231140"],
        &["15882467310", "0086-158-8246-7310"],
    ),
    resident("old document", &["轩辕不器"], &["130503670401001", "130503196704010016"], &["17731209644"]),
    resident(
        "full-width forms",
        &["ＭＡＲＩＡ　Ｍａｒｋｅｄ", "Maria  MARKED"],
        &["３１０１１５１９９１１２０５４８２５", "310115199112054825"],
        &["１８９１７３０４４２６", "+86 18917304426"],
    ),
    Marked {
        label: "Latin name with a passport",
        kind: DocumentKind::Passport,
        names: &["Wilhelmina O'Markley", "WILHELMINA O'MARKLEY"],
        documents: &["E87654329", "e87654329"],
        phones: &["13671880257", "136 7188 0257"],
    },
];

/// Applicants whom no carrier knows.
pub(crate) const STRANGERS: [Marked; 3] = [
    resident("nobody's customer", &["诸葛未录"], &["420106198409197733"], &["18627044915"]),
    resident("a foreign number", &["Łukasz Żółciński"], &["33010219800808102X"], &["+44 7911 123456"]),
    Marked {
        label: "a company",
        kind: DocumentKind::SocialCredit,
        names: &["成都标记测试有限公司"],
        documents: &["91510100MA6CM4RK7C"],
        phones: &["13981907366"],
    },
];

/// People whose data break a rule: rows of a carrier, questions to a bank.
pub(crate) const REFUSED: [Marked; 4] = [
    resident("a wrong check character", &["南宫错验"], &["220104196202283564"], &["13179014428"]),
    resident("a phone number too long", &["东方长号"], &["610113199907146246"], &["138912345678"]),
    resident("an impossible birth date", &["公孙非日"], &["520103198802301472"], &["18785190364"]),
    resident(
        "a lost character",
        &["西门\u{fffd}失字", "西门失字甲"],
        &["11010519530417281"],
        &["16651290733x"],
    ),
];

/// The name that is asked for in place of the second subscriber's.
pub(crate) const WRONG_NAME: Marked = resident("the other name", &["上官无咎甲"], &[], &[]);

/// Everybody.
pub(crate) fn everybody() -> impl Iterator<Item = &'static Marked> {
    static OTHER: Marked = WRONG_NAME;
    static KNOWN: [Marked; 6] = SUBSCRIBERS;
    static UNKNOWN: [Marked; 3] = STRANGERS;
    static BROKEN: [Marked; 4] = REFUSED;
    KNOWN.iter().chain(&UNKNOWN).chain(&BROKEN).chain([&OTHER])
}

impl Marked {
    /// The person as a bank spells them; none where a rule is broken.
    pub(crate) fn person(&self) -> Option<Person> {
        Some(Person {
            phone: Some(Phone::parse(self.phones.last()?).ok()?),
            document: Some(Document::parse(self.kind, self.documents.last()?).ok()?),
            name: Some(Name::parse(self.names.last()?).ok()?),
            other: None,
        })
    }

    /// Every text that stands for the person: as given, canonical, and as others write it.
    pub(crate) fn texts(&self) -> BTreeSet<String> {
        let names = self.names.iter().flat_map(|name| name_texts(name));
        let documents = self.documents.iter().flat_map(|number| self.document_texts(number));
        let phones = self.phones.iter().flat_map(|phone| phone_texts(phone));
        names.chain(documents).chain(phones).collect()
    }

    /// Phone, document and name in the forms that systems join together.
    pub(crate) fn parts(&self) -> Vec<[String; 3]> {
        let (Some(phone), Some(document)) = (self.phones.first(), self.documents.first()) else {
            return Vec::new();
        };
        let document =
            Document::parse(self.kind, document).map_or((*document).to_owned(), |d| d.number().into());
        let name = Name::parse(self.names[0]).map_or(self.names[0].to_owned(), |n| n.as_str().into());
        let national = national(phone);
        [national.clone(), format!("86{national}"), format!("+86{national}")]
            .map(|phone| [phone, document.clone(), name.clone()])
            .into()
    }

    fn document_texts(&self, number: &str) -> Vec<String> {
        let canonical = Document::parse(self.kind, number).map(|d| d.number().to_owned());
        let ascii = narrow(number);
        let cases = [number.to_owned(), ascii.to_uppercase(), ascii.to_lowercase()];
        cases.into_iter().chain(canonical).collect()
    }
}

fn name_texts(name: &str) -> Vec<String> {
    let canonical = Name::parse(name).map(|name| name.as_str().to_owned());
    let joined = name.split_whitespace().collect();
    let cases = [name.to_owned(), name.to_uppercase(), name.to_lowercase(), narrow(name), joined];
    cases.into_iter().chain(canonical).collect()
}

fn phone_texts(phone: &str) -> Vec<String> {
    let canonical = Phone::parse(phone).map(|phone| phone.as_str().to_owned());
    let number = national(phone);
    let mut texts = vec![phone.to_owned(), number.clone()];
    texts.extend(["86", "+86", "0086", "+86 ", "+86-", "+", "00"].map(|prefix| format!("{prefix}{number}")));
    if number.len() == 11 && number.is_ascii() {
        let (a, b, c) = (&number[..3], &number[3..7], &number[7..]);
        texts.extend([format!("{a}-{b}-{c}"), format!("{a} {b} {c}")]);
    }
    texts.into_iter().chain(canonical).collect()
}

/// The digits without mainland prefixes.
pub(crate) fn national(phone: &str) -> String {
    let digits: String = narrow(phone).chars().filter(char::is_ascii_alphanumeric).collect();
    let stripped = ["0086", "86"].into_iter().find_map(|prefix| digits.strip_prefix(prefix));
    stripped.filter(|rest| rest.len() == 11).unwrap_or(&digits).to_owned()
}

/// Full-width ASCII to ASCII.
fn narrow(text: &str) -> String {
    let fold = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    };
    text.chars().map(fold).collect()
}
