//! Rows that an import must reject, for those who ask for them.

use crate::document::DocumentKind;
use crate::files::CarrierRow;
use crate::layout::Layout;
use crate::numbering::CARRIERS;
use crate::party;
use crate::seed::Purpose;
use crate::subscriber::Status;
use rand::{Rng, RngExt};

/// What is wrong with a bad row. Everything else in it is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BadReason {
    /// The resident ID number's check character does not fit.
    CheckCharacter,
    /// The phone number has 10 digits.
    PhoneLength,
    /// The date of activation is no day of the calendar.
    ImpossibleDate,
    /// The status is none of the three.
    UnknownStatus,
}

impl BadReason {
    /// Every reason.
    pub const ALL: [Self; 4] =
        [Self::CheckCharacter, Self::PhoneLength, Self::ImpossibleDate, Self::UnknownStatus];

    /// The code that stands in `bad_rows.csv`.
    pub fn code(self) -> &'static str {
        match self {
            Self::CheckCharacter => "check_character",
            Self::PhoneLength => "phone_length",
            Self::ImpossibleDate => "impossible_date",
            Self::UnknownStatus => "unknown_status",
        }
    }
}

/// How many rows of a carrier's file are bad for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRows {
    /// The carrier's party id.
    pub carrier: String,
    /// What is wrong.
    pub reason: BadReason,
    /// How many rows.
    pub rows: u64,
}

/// A bad row on its way into the file.
pub(crate) struct Planted {
    /// The data row before which it stands.
    pub(crate) before: u64,
    pub(crate) cells: CarrierRow,
}

/// The bad rows of every carrier by reason; reasons that do not occur are left out.
pub(crate) fn counts(layout: &Layout) -> Vec<BadRows> {
    let mut counts = Vec::new();
    for carrier in 0..CARRIERS {
        for reason in BadReason::ALL {
            let rows = (0..share(layout, carrier)).filter(|nth| reason_of(*nth) == reason).count() as u64;
            counts.push(BadRows { carrier: party(carrier), reason, rows });
        }
    }
    counts.retain(|count| count.rows > 0);
    counts
}

/// `carrier`'s bad rows, spread evenly over its file. Their numbers stand nowhere else.
pub(crate) fn rows(layout: &Layout, carrier: usize) -> impl Iterator<Item = Planted> {
    let count = share(layout, carrier);
    (0..count).map(move |nth| Planted {
        before: nth * layout.subscribers / count,
        cells: cells(layout, carrier, nth),
    })
}

/// Bad rows go to the carriers in turn.
fn share(layout: &Layout, carrier: usize) -> u64 {
    (layout.bad_rows + (CARRIERS - 1 - carrier) as u64) / CARRIERS as u64
}

fn reason_of(nth: u64) -> BadReason {
    BadReason::ALL[(nth % 4) as usize]
}

/// A row in canonical form, but for what is wrong.
fn cells(layout: &Layout, carrier: usize, nth: u64) -> CarrierRow {
    let key = nth * CARRIERS as u64 + carrier as u64;
    let mut rng = layout.seed.stream(Purpose::BadRow, key);
    let person = layout.outsider(layout.first_bad_outsider() + key);
    let activated = layout.as_of.days_before(rng.random_range(100..400)).to_string();
    let mut cells = [
        layout.numbering.unused_number(carrier, layout.first_bad_number() + nth),
        person.name,
        DocumentKind::ResidentId.label().to_owned(),
        layout.people.resident_number(person.id),
        Status::Active.label().to_owned(),
        activated,
        String::new(),
        "否".to_owned(),
        "1".to_owned(),
        String::new(),
        layout.as_of.to_string(),
    ];
    spoil(&mut rng, &mut cells, reason_of(nth));
    cells
}

fn spoil(rng: &mut impl Rng, cells: &mut CarrierRow, reason: BadReason) {
    match reason {
        BadReason::CheckCharacter => {
            let right = cells[3].pop();
            cells[3].push(if right == Some('7') { 'X' } else { '7' });
        }
        BadReason::PhoneLength => cells[0].truncate(10),
        BadReason::ImpossibleDate => {
            let days = ["2025-02-29", "2024-04-31", "2023-13-01", "2022-00-10", "2021-06-31"];
            cells[5] = days[rng.random_range(0..days.len())].to_owned();
        }
        BadReason::UnknownStatus => {
            cells[4] = ["冻结", "未知", "在网中"][rng.random_range(0..3)].to_owned();
        }
    }
}
