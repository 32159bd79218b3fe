//! A carrier's subscribers from day to day: each day's change file, and what is true after it.
//!
//! Of a day's changes one in five is a number that comes (of those one in three was given up before, so that
//! numbers come back to others), one in five one that goes, the others change: half of them in what their label
//! says, half in who holds them. One in sixteen of the latter stands in the file twice, as a deletion and an
//! insertion. Numbers that changed a day ago are among those that change today.

use crate::files::{CARRIER_HEADER, Sheet, TextEncoding, carrier_row};
use crate::layout::Layout;
use crate::seed::{Purpose, Scatter};
use crate::subscriber::{Status, Subscriber, Tag};
use crate::world::Carrier;
use rand::{Rng, RngExt};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The column that stands before those of a carrier's full file.
pub const OPERATION_HEADER: &str = "操作类型";

/// What a day's file says about one number; the later row where it stands there twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayChange {
    /// The subscriber before the day, if there was one.
    pub before: Option<Subscriber>,
    /// The subscriber after it, if there is one.
    pub after: Option<Subscriber>,
}

/// A carrier's days.
#[derive(Clone, Debug)]
pub struct Days {
    carrier: usize,
    encoding: TextEncoding,
    layout: Arc<Layout>,
    day: u64,
    /// What differs from the full file, by row; rows beyond it are numbers that came.
    current: BTreeMap<u64, Option<Subscriber>>,
    /// Numbers that were given up and did not come back yet.
    gone: Vec<(u64, Subscriber)>,
    came: u64,
    strangers: u64,
    yesterday: Vec<u64>,
}

impl Carrier {
    /// This carrier's days after its full file.
    pub fn days(&self) -> Days {
        Days {
            carrier: self.index,
            encoding: self.encoding,
            layout: Arc::clone(&self.layout),
            day: 0,
            current: BTreeMap::new(),
            gone: Vec::new(),
            came: 0,
            strangers: 0,
            yesterday: Vec::new(),
        }
    }
}

impl Days {
    /// The next day: writes its change file of about `count` rows, and tells what it says.
    ///
    /// # Errors
    /// Those of creating and writing the file.
    pub fn next_day(&mut self, count: usize, path: &Path) -> io::Result<Vec<DayChange>> {
        self.day += 1;
        let key = self.day << 2 | self.carrier as u64;
        let mut rng = self.layout.seed.stream(Purpose::Day, key);
        let mut sheet = Sheet::create(path, self.encoding)?;
        sheet.row([OPERATION_HEADER].into_iter().chain(CARRIER_HEADER))?;
        let mut changes = Vec::new();
        let mut touched = BTreeSet::new();
        for row in self.rows(count, &mut rng) {
            let change = self.change(row, &mut rng);
            let Some((row, change)) = change.filter(|(row, _)| touched.insert(*row)) else { continue };
            self.write(&change, rng.random_ratio(1, 16), &mut sheet)?;
            if let DayChange { before: Some(before), after: None } = &change {
                self.gone.push((row, before.clone()));
            }
            self.current.insert(row, change.after.clone());
            changes.push(change);
        }
        self.yesterday = touched.into_iter().collect();
        sheet.finish()?;
        Ok(changes)
    }

    /// The carrier's subscribers after the days so far.
    pub fn subscribers(&self) -> impl Iterator<Item = Subscriber> + '_ {
        let known = (0..self.layout.block_count())
            .flat_map(|block| self.layout.block_rows(self.carrier, block))
            .filter_map(|old| self.current.get(&old.row).map_or(Some(old), Clone::clone));
        let came = self.current.range(self.layout.subscribers..).filter_map(|(_, new)| new.clone());
        known.chain(came)
    }

    /// Writes the carrier's full file after the days so far.
    ///
    /// # Errors
    /// Those of creating and writing the file.
    pub fn write_full(&self, path: &Path) -> io::Result<()> {
        let mut sheet = Sheet::create(path, self.encoding)?;
        sheet.row(CARRIER_HEADER)?;
        self.subscribers().try_for_each(|subscriber| sheet.row(carrier_row(&self.layout, &subscriber)))?;
        sheet.finish()
    }

    /// Rows for the day: scattered ones, one in ten of yesterday's; `None` for a number that comes.
    fn rows(&self, count: usize, rng: &mut impl Rng) -> Vec<Option<u64>> {
        let scatter = Scatter::new(self.layout.subscribers, rng.random());
        (0..count as u64)
            .map(|nth| match (nth % 10, self.yesterday.as_slice()) {
                (0 | 5, _) => None,
                (1, yesterday @ [_, ..]) => Some(yesterday[rng.random_range(0..yesterday.len())]),
                _ => Some(scatter.map(nth % self.layout.subscribers)),
            })
            .collect()
    }

    fn change(&mut self, row: Option<u64>, rng: &mut impl Rng) -> Option<(u64, DayChange)> {
        let Some(row) = row else { return Some(self.coming(rng)) };
        let old = || (row < self.layout.subscribers).then(|| self.layout.subscriber(self.carrier, row));
        let before = self.current.get(&row).cloned().unwrap_or_else(old)?;
        let after = match rng.random_range(0..8) {
            0 | 1 => None,
            2..5 => Some(self.relabelled(&before, rng)),
            _ => Some(self.handed_over(&before)),
        };
        Some((row, DayChange { before: Some(before), after }))
    }

    /// A number that nobody held, or one that was given up.
    fn coming(&mut self, rng: &mut impl Rng) -> (u64, DayChange) {
        if !self.gone.is_empty() && rng.random_ratio(1, 3) {
            let (row, former) = self.gone.swap_remove(rng.random_range(0..self.gone.len()));
            // It may have come back as a change of the same day's file.
            if self.current.get(&row) == Some(&None) {
                return (row, DayChange { before: None, after: Some(self.handed_over(&former)) });
            }
        }
        let (row, first) = (self.layout.subscribers + self.came, self.layout.first_bad_number());
        let template = self.layout.subscriber(self.carrier, self.came % self.layout.subscribers);
        let phone =
            self.layout.numbering.unused_number(self.carrier, first + self.layout.bad_rows + 1 + self.came);
        self.came += 1;
        let after = Subscriber { row, phone, recycled: false, ported: false, ..self.handed_over(&template) };
        (row, DayChange { before: None, after: Some(after) })
    }

    /// The same number with a stranger since today.
    fn handed_over(&mut self, former: &Subscriber) -> Subscriber {
        let person =
            self.layout.outsider(self.layout.first_bad_outsider() + self.layout.bad_rows + self.strangers);
        self.strangers += 1;
        Subscriber {
            name: person.name,
            document: person.document,
            status: Status::Active,
            activated: self.layout.as_of,
            sim_changed: None,
            recycled: true,
            numbers_under_id: 1,
            tags: Vec::new(),
            holder: person.id,
            former_holder: Some(former.holder),
            ring_fellow: None,
            ..former.clone()
        }
    }

    /// The same holder; another status, another card, or other tags.
    fn relabelled(&self, old: &Subscriber, rng: &mut impl Rng) -> Subscriber {
        let mut new = old.clone();
        match rng.random_range(0..3) {
            0 => new.status = if old.status == Status::Active { Status::Suspended } else { Status::Active },
            1 if old.sim_changed != Some(self.layout.as_of) => new.sim_changed = Some(self.layout.as_of),
            _ => {
                let tag = Tag::ALL[rng.random_range(0..Tag::ALL.len())];
                new.tags = Tag::ALL.into_iter().filter(|t| (*t == tag) != old.tags.contains(t)).collect();
            }
        }
        new
    }

    fn write(&self, change: &DayChange, twice: bool, sheet: &mut Sheet) -> io::Result<()> {
        let mut row = |word: &str, subscriber: &Subscriber| {
            let cells = carrier_row(&self.layout, subscriber);
            let blank =
                |(at, cell): (usize, String)| if word == "删除" && at > 0 { String::new() } else { cell };
            let cells = cells.into_iter().enumerate().map(blank);
            sheet.row(std::iter::once(word.to_owned()).chain(cells))
        };
        match (&change.before, &change.after) {
            (Some(before), Some(after)) if twice && before.holder != after.holder => {
                row("删除", before)?;
                row("新增", after)
            }
            (Some(_), Some(after)) => row("变更", after),
            (Some(before), None) => row("删除", before),
            (None, Some(after)) => row("新增", after),
            (None, None) => Ok(()),
        }
    }
}
