//! Screening: the bank's existing customers, each carrier's risk list, and what must be found, on the first
//! day and after a day's changes.

use crate::files::{Sheet, TextEncoding, join};
use crate::layout::Layout;
use crate::noise;
use crate::numbering::CARRIERS;
use crate::policy::Colour;
use crate::seed::{Purpose, Scatter};
use crate::subscriber::{Subscriber, Tag};
use crate::world::{PARTIES, World};
use std::io;
use std::path::{Path, PathBuf};

/// The header of the bank's customer files.
pub const CUSTOMERS_HEADER: [&str; 3] = ["客户号", "网点", "手机号"];

/// The header of risk lists and of their changes.
pub const RISK_LIST_HEADER: [&str; 2] = ["手机号", "风险标签"];

/// The header of the truth files.
pub const SCREENING_TRUTH_HEADER: [&str; 5] = ["客户号", "网点", "carrier", "tags", "colour"];

/// Outlets of the bank.
const OUTLETS: u64 = 40;

/// One customer in four has a number that stands at no carrier.
const UNKNOWN_ONE_IN: u64 = 4;

/// A row of the bank's customer file, with what is true of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// 客户号; unique.
    pub number: String,
    /// 网点, the outlet that keeps the account.
    pub outlet: String,
    /// The telephone number in canonical form; the file may write it otherwise.
    pub phone: String,
    /// The carrier at which the number stands, as an index of [`World::carriers`].
    pub carrier: Option<usize>,
    /// The number's tags on the first day.
    pub tags: Vec<Tag>,
    /// The number's tags after the day's changes.
    pub tags_after: Vec<Tag>,
}

/// Where a screening was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreeningFiles {
    /// The customers of the first day.
    pub customers: PathBuf,
    /// The customers who came during the day.
    pub new_customers: PathBuf,
    /// Each carrier's party id, its risk list of the first day, the day's changes (an empty 风险标签 takes a
    /// number off the list), and the list after them.
    pub lists: Vec<(String, PathBuf, PathBuf, PathBuf)>,
    /// What must be found on the first day: one row a customer on a list.
    pub truth: PathBuf,
    /// What must be found after the changes, the new customers included.
    pub truth_after: PathBuf,
}

/// The colour that a customer on a risk list has: red for proven fraud and money mules, otherwise yellow.
pub fn listed_colour(tags: &[Tag]) -> Colour {
    let proven = tags.iter().any(|tag| matches!(tag, Tag::FraudConfirmed | Tag::MoneyMule));
    if proven { Colour::Red } else { Colour::Yellow }
}

impl World {
    /// The bank's customers `range`, in the order of its file. Numbers may repeat: one person, two accounts.
    pub fn customers(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = Customer> + '_ {
        let rows = Scatter::new(self.layout.subscribers, 17);
        range.map(move |nth| customer(&self.layout, rows, nth))
    }

    /// Writes a screening of `customers` customers, of whom `new` come during the day. The truth comes first.
    ///
    /// # Errors
    /// Those of creating and writing files.
    pub fn write_screening(&self, customers: u64, new: u64, dir: &Path) -> io::Result<ScreeningFiles> {
        let path = |name: &str| dir.join(name);
        let lists = PARTIES.map(|party| {
            let file = |kind: &str| path(&format!("{party}-risk{kind}.csv"));
            (party.to_owned(), file(""), file("-changes"), file("-after"))
        });
        let files = ScreeningFiles {
            customers: path("customers.csv"),
            new_customers: path("new_customers.csv"),
            lists: lists.to_vec(),
            truth: path("screening_truth.csv"),
            truth_after: path("screening_truth_after.csv"),
        };
        let old = 0..customers - new;
        write_truth(self.customers(old.clone()), |c| &c.tags, &files.truth)?;
        write_truth(self.customers(0..customers), |c| &c.tags_after, &files.truth_after)?;
        write_customers(&self.layout, self.customers(old.clone()), &files.customers)?;
        write_customers(&self.layout, self.customers(old.end..customers), &files.new_customers)?;
        for (carrier, (_, list, changes, after)) in self.carriers.iter().zip(&files.lists) {
            write_lists(&self.layout, carrier.subscribers(), [list, changes, after])?;
        }
        Ok(files)
    }
}

fn customer(layout: &Layout, rows: Scatter, nth: u64) -> Customer {
    let number = format!("KH{nth:08}");
    let outlet = format!("W{:03}", nth.wrapping_mul(0x9E37_79B9) % OUTLETS);
    let carrier = (nth % CARRIERS as u64) as usize;
    if nth % UNKNOWN_ONE_IN == UNKNOWN_ONE_IN - 1 {
        let phone = layout.numbering.unused_number(carrier, nth);
        return Customer { number, outlet, phone, carrier: None, tags: Vec::new(), tags_after: Vec::new() };
    }
    let subscriber = layout.subscriber(carrier, rows.map(nth / CARRIERS as u64 % layout.subscribers));
    let tags_after = tags_after(&subscriber);
    Customer {
        number,
        outlet,
        phone: subscriber.phone,
        carrier: Some(carrier),
        tags: subscriber.tags,
        tags_after,
    }
}

/// What a day changes: some numbers leave the list, some get worse, some come onto it.
fn tags_after(subscriber: &Subscriber) -> Vec<Tag> {
    match (subscriber.tags.is_empty(), subscriber.row % 23) {
        (false, 5) => Vec::new(),
        (false, 7) => vec![Tag::FraudConfirmed],
        (true, 11) => vec![Tag::MoneyMule],
        (true, 13) => vec![Tag::BulkSms],
        _ => subscriber.tags.clone(),
    }
}

fn write_customers(
    layout: &Layout,
    customers: impl Iterator<Item = Customer>,
    path: &Path,
) -> io::Result<()> {
    let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
    sheet.row(CUSTOMERS_HEADER)?;
    for (nth, customer) in (0..).zip(customers) {
        let mut rng = layout.seed.stream(Purpose::CustomerNoise, nth);
        let phone = noise::phone(&mut rng, &customer.phone);
        sheet.row([&customer.number, &customer.outlet, &phone])?;
    }
    sheet.finish()
}

fn write_truth(
    customers: impl Iterator<Item = Customer>,
    tags: fn(&Customer) -> &Vec<Tag>,
    path: &Path,
) -> io::Result<()> {
    let mut sheet = Sheet::create(path, TextEncoding::Utf8)?;
    sheet.row(SCREENING_TRUTH_HEADER)?;
    for customer in customers {
        let (tags, Some(carrier)) = (tags(&customer), customer.carrier) else { continue };
        if !tags.is_empty() {
            let colour = listed_colour(tags).code();
            let tags = join(tags, Tag::code);
            sheet.row([&customer.number, &customer.outlet, PARTIES[carrier], tags.as_str(), colour])?;
        }
    }
    sheet.finish()
}

/// The list of the first day, the changes, and the list after them.
fn write_lists(
    layout: &Layout,
    subscribers: impl Iterator<Item = Subscriber>,
    paths: [&PathBuf; 3],
) -> io::Result<()> {
    let [mut list, mut changes, mut after] = {
        let sheets: Vec<_> = paths
            .into_iter()
            .map(|path| Sheet::create(path, TextEncoding::Utf8))
            .collect::<Result<_, _>>()?;
        <[Sheet; 3]>::try_from(sheets).map_err(|_| io::Error::other("three paths give three sheets"))?
    };
    for sheet in [&mut list, &mut changes, &mut after] {
        sheet.row(RISK_LIST_HEADER)?;
    }
    for subscriber in subscribers {
        let key = Layout::row_key(subscriber.carrier, subscriber.row);
        let phone = noise::phone(&mut layout.seed.stream(Purpose::ListNoise, key), &subscriber.phone);
        let now = tags_after(&subscriber);
        let words = [&subscriber.tags, &now].map(|tags| join(tags, Tag::label));
        if !subscriber.tags.is_empty() {
            list.row([&phone, &words[0]])?;
        }
        if now != subscriber.tags {
            changes.row([&phone, &words[1]])?;
        }
        if !now.is_empty() {
            after.row([&phone, &words[1]])?;
        }
    }
    [list, changes, after].into_iter().try_for_each(Sheet::finish)
}
