//! Identity documents: resident ID numbers of GB 11643-1999, and passports.

use crate::date::Date;

/// The kind of an identity document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// 居民身份证, a resident ID number of GB 11643-1999.
    ResidentId,
    /// 护照, a passport.
    Passport,
}

impl DocumentKind {
    /// The word that stands in the files' column 证件类型.
    pub fn label(self) -> &'static str {
        match self {
            Self::ResidentId => "居民身份证",
            Self::Passport => "护照",
        }
    }
}

/// An identity document in its one canonical form: 18 characters with an upper-case `X`, or a passport.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Document {
    /// What kind of document it is.
    pub kind: DocumentKind,
    /// Its number.
    pub number: String,
}

/// The resident ID number of GB 11643-1999 for a six-digit region, a date of birth and a sequence code
/// (1–999, odd for men), with its check character.
///
/// # Panics
/// If `region` has more or fewer than six digits or `sequence` is not within 1–999.
pub fn gb11643_number(region: u32, birth: Date, sequence: u16) -> String {
    assert!((100_000..=999_999).contains(&region), "a region code has six digits");
    assert!((1..=999).contains(&sequence), "a sequence code is within 1 and 999");
    let mut number =
        format!("{region}{:04}{:02}{:02}{sequence:03}", birth.year(), birth.month(), birth.day());
    number.push(check_character(&number));
    number
}

/// The check character of 17 digits: ISO 7064 MOD 11-2, computed from the left as a running remainder.
fn check_character(digits: &str) -> char {
    let remainder = digits.bytes().fold(0, |sum, digit| (sum + u32::from(digit - b'0')) * 2 % 11);
    char::from(b"10X98765432"[remainder as usize])
}

/// Six-digit codes of real counties and urban districts (GB/T 2260).
#[rustfmt::skip]
pub(crate) const REGIONS: [u32; 128] = [
    110101, 110102, 110105, 110106, 110107, 110108, 110109, 110111, 120101, 120102, 120103, 120104,
    130102, 130104, 130203, 130302, 140105, 140106, 140107, 150102, 150105, 210102, 210103, 210202,
    210203, 220102, 220104, 230102, 230103, 310101, 310104, 310105, 310106, 310107, 310109, 310110,
    310112, 310113, 310115, 320102, 320104, 320105, 320106, 320205, 320505, 320508, 320583, 330102,
    330106, 330108, 330203, 330302, 340103, 340104, 350102, 350203, 350206, 350502, 360102, 360103,
    370102, 370103, 370202, 370602, 410102, 410103, 410105, 410302, 420102, 420103, 420106, 420111,
    430102, 430103, 430104, 430105, 440103, 440104, 440105, 440106, 440303, 440304, 440305, 440306,
    440402, 440604, 441302, 450102, 450103, 460105, 460106, 500103, 500105, 500106, 500107, 500108,
    500112, 510104, 510105, 510106, 510107, 510108, 510703, 511302, 511502, 520102, 520103, 530102,
    530103, 540102, 610102, 610103, 610104, 610113, 620102, 620103, 630102, 630103, 640104, 640105,
    650102, 650103, 650104, 653101, 653201, 210106, 370203, 330402,
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The standard's own statement: weights, a sum, and a table; shares nothing with the code above.
    pub(crate) fn is_valid_resident_id(number: &str) -> bool {
        const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
        const TABLE: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
        let characters: Vec<char> = number.chars().collect();
        if characters.len() != 18 {
            return false;
        }
        let Some(digits) = characters[..17].iter().map(|c| c.to_digit(10)).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
        let birth = format!("{}-{}-{}", &number[6..10], &number[10..12], &number[12..14]);
        TABLE[(sum % 11) as usize] == characters[17] && Date::parse(&birth).is_some()
    }

    #[test]
    fn published_examples_come_out() {
        let birth = Date::new(1949, 12, 31).unwrap();
        assert_eq!(gb11643_number(110_105, birth, 2), "11010519491231002X");
        let birth = Date::new(1880, 1, 1).unwrap();
        assert_eq!(gb11643_number(440_524, birth, 1), "440524188001010014");
    }

    #[test]
    fn every_check_character_agrees_with_the_standards_table() {
        let birth = Date::new(1990, 2, 28).unwrap();
        for region in REGIONS {
            for sequence in [1, 2, 10, 99, 500, 998, 999] {
                assert!(is_valid_resident_id(&gb11643_number(region, birth, sequence)));
            }
        }
    }

    #[test]
    fn regions_are_distinct() {
        let distinct: std::collections::HashSet<u32> = REGIONS.into_iter().collect();
        assert_eq!(distinct.len(), REGIONS.len());
    }
}
