//! A carrier's row: what it knows about one number.

use crate::block::{Block, Slot, Trait};
use crate::date::Date;
use crate::document::Document;
use crate::layout::Layout;
use crate::name::same_name;
use crate::people::PersonId;
use crate::seed::Purpose;
use rand::{Rng, RngExt};

/// The state of a number at its carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// 正常, in use.
    Active,
    /// 停机, barred for the time being.
    Suspended,
    /// 销户, given up.
    Closed,
}

impl Status {
    /// The word that stands in the files' column 用户状态.
    pub fn label(self) -> &'static str {
        match self {
            Self::Active => "正常",
            Self::Suspended => "停机",
            Self::Closed => "销户",
        }
    }
}

/// What a carrier's fraud desk has noted about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// 涉诈确认, fraud proven.
    FraudConfirmed,
    /// 跑分, launders money for others.
    MoneyMule,
    /// 疑似涉诈, fraud suspected.
    FraudSuspected,
    /// 高频呼叫, calls in bulk.
    BulkCalling,
    /// 群发短信, sends messages in bulk.
    BulkSms,
    /// 一机多卡, one device with many cards.
    SharedDevice,
}

impl Tag {
    /// Every tag, in the order in which a row lists them.
    pub const ALL: [Self; 6] = [
        Self::FraudConfirmed,
        Self::MoneyMule,
        Self::FraudSuspected,
        Self::BulkCalling,
        Self::BulkSms,
        Self::SharedDevice,
    ];

    /// The code that stands in `truth.csv`.
    pub fn code(self) -> &'static str {
        match self {
            Self::FraudConfirmed => "fraud_confirmed",
            Self::MoneyMule => "money_mule",
            Self::FraudSuspected => "fraud_suspected",
            Self::BulkCalling => "bulk_calling",
            Self::BulkSms => "bulk_sms",
            Self::SharedDevice => "shared_device",
        }
    }

    /// The word that stands in the carriers' files.
    pub fn label(self) -> &'static str {
        match self {
            Self::FraudConfirmed => "涉诈确认",
            Self::MoneyMule => "跑分",
            Self::FraudSuspected => "疑似涉诈",
            Self::BulkCalling => "高频呼叫",
            Self::BulkSms => "群发短信",
            Self::SharedDevice => "一机多卡",
        }
    }

    fn planned(self) -> Trait {
        match self {
            Self::FraudConfirmed => Trait::FraudConfirmed,
            Self::MoneyMule => Trait::MoneyMule,
            Self::FraudSuspected => Trait::FraudSuspected,
            Self::BulkCalling => Trait::BulkCalling,
            Self::BulkSms => Trait::BulkSms,
            Self::SharedDevice => Trait::SharedDevice,
        }
    }
}

/// One row of a carrier's file, in canonical form (the file may write it differently).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Which carrier, as an index of `World::carriers`.
    pub carrier: usize,
    /// Which row of the carrier's data, from 0; its line in the file if there are no bad rows.
    pub row: u64,
    /// The number: 11 digits.
    pub phone: String,
    /// The holder's name.
    pub name: String,
    /// The holder's document.
    pub document: Document,
    /// The number's state.
    pub status: Status,
    /// When the holder got the number.
    pub activated: Date,
    /// When its SIM card was last changed, if ever.
    pub sim_changed: Option<Date>,
    /// True if somebody else held the number before.
    pub recycled: bool,
    /// How many numbers stand under the holder's document, over all carriers.
    pub numbers_under_id: u32,
    /// The fraud desk's tags, in the order of [`Tag::ALL`].
    pub tags: Vec<Tag>,
    /// True if the number stands at another carrier than its prefix says. Not delivered.
    pub ported: bool,
    /// Who holds the number. Not delivered.
    pub holder: PersonId,
    /// Who held a recycled number before. Not delivered.
    pub former_holder: Option<PersonId>,
    /// Another member of the holder's fraud ring, which uses the same devices. Not delivered.
    pub ring_fellow: Option<PersonId>,
}

impl Subscriber {
    /// Fills in the plan of `block` for `row_in_block` of `carrier`.
    pub(crate) fn make(layout: &Layout, block: &Block, carrier: usize, row_in_block: usize) -> Self {
        let row = block.first_row() + row_in_block as u64;
        let mut rng = layout.seed.stream(Purpose::Row, Layout::row_key(carrier, row));
        let slot = block.slot(carrier, row_in_block);
        let person = layout.people.person(block.holder(slot));
        let (phone, ported) = layout.numbering.number(carrier, row);
        let age = layout.as_of.days_since(person.birth);
        let (tenure, recycled) = tenure(&mut rng, slot, age);
        let former_holder = recycled.then(|| former_holder(layout, &mut rng, block, slot, &person.name));
        Self {
            carrier,
            row,
            phone,
            name: person.name,
            document: person.document,
            status: status(slot),
            activated: layout.as_of.days_before(tenure),
            sim_changed: sim_change(&mut rng, slot, tenure).map(|days| layout.as_of.days_before(days)),
            recycled,
            numbers_under_id: slot.numbers_under_id,
            tags: Tag::ALL.into_iter().filter(|tag| slot.traits.has(tag.planned())).collect(),
            ported,
            holder: person.id,
            former_holder: former_holder.flatten(),
            ring_fellow: slot.in_ring.then(|| block.fellow(&mut rng, slot)).flatten(),
        }
    }
}

fn status(slot: Slot) -> Status {
    match (slot.traits.has(Trait::Closed), slot.traits.has(Trait::Suspended)) {
        (true, _) => Status::Closed,
        (_, true) => Status::Suspended,
        _ => Status::Active,
    }
}

/// Days since activation, and whether the number is recycled. Limits of the policy (29 and 30 days, 89
/// and 90 days) are drawn often, so that a verifier that is off by one is found out.
fn tenure(rng: &mut impl Rng, slot: Slot, age_days: i64) -> (i64, bool) {
    let longest = (age_days - 16 * 365).clamp(400, 12 * 365);
    let recently = slot.traits.has(Trait::RecycledRecently);
    if slot.traits.has(Trait::Fresh) {
        return (often(rng, 29, 0..=29), recently);
    }
    if recently {
        return (often(rng, 89, 30..=89), true);
    }
    if slot.in_ring {
        return (rng.random_range(30..=200), false);
    }
    match rng.random_range(0..72) {
        0..3 => (30, false),
        3 => (90, true),
        4..6 => (rng.random_range(91..=longest), true),
        _ => (rng.random_range(60..=longest), false),
    }
}

/// Days since the SIM card was changed; never before activation.
fn sim_change(rng: &mut impl Rng, slot: Slot, tenure: i64) -> Option<i64> {
    if slot.traits.has(Trait::SimSwapped) {
        return Some(often(rng, 7, 0..=7).min(tenure));
    }
    let changed = tenure >= 8 && rng.random_ratio(1, 4);
    changed.then(|| if rng.random_ratio(1, 8) { 8 } else { rng.random_range(8..=tenure) })
}

fn often(rng: &mut impl Rng, limit: i64, range: std::ops::RangeInclusive<i64>) -> i64 {
    if rng.random_ratio(1, 3) { limit } else { rng.random_range(range) }
}

/// Somebody else of another name; gives up (no known former holder) after eight namesakes in a row.
fn former_holder(
    layout: &Layout,
    rng: &mut impl Rng,
    block: &Block,
    slot: Slot,
    name: &str,
) -> Option<PersonId> {
    (0..8)
        .map(|_| block.somebody_else(rng, slot))
        .find(|former| !same_name(&layout.people.person(*former).name, name))
}
