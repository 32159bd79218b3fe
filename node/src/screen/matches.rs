//! A job's matched rows as hits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::{Hit, ScreenError, ScreenPlan, ScreenProvider, TagWords, register};
use crate::risk::LISTED;
use crate::table::{TableOptions, TableReader};

/// What a row without tags says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untagged {
    /// The number stands on the list all the same.
    Listed,
    /// The number left the list.
    Left,
}

/// A job's result, and the file that it was about.
#[derive(Debug)]
pub(super) struct Matches<'a> {
    pub(super) plan: &'a ScreenPlan,
    pub(super) provider: &'a ScreenProvider,
    pub(super) words: &'a TagWords,
    /// The customers whose numbers were intersected.
    pub(super) customers: &'a Path,
    pub(super) untagged: Untagged,
}

impl Matches<'_> {
    /// Reads the matched rows, and adds the customers whose numbers stand in an earlier row already, which an
    /// intersection leaves out.
    ///
    /// # Errors
    /// [`ScreenError`].
    pub(super) fn read(&self, matched: &Path, duplicates: &Path) -> Result<Vec<Hit>, ScreenError> {
        let mut hits = self.hits(matched)?;
        let distinct = hits.iter().map(|hit| hit.customer.as_str()).collect::<HashSet<_>>().len();
        if distinct < hits.len() {
            let (path, column) = (self.customers.to_owned(), self.plan.customer_column.clone());
            return Err(ScreenError::HitRepeated { path, column });
        }
        let pairs = pairs(duplicates)?;
        if !pairs.is_empty() {
            let more = self.repeated(&hits, &pairs)?;
            hits.extend(more);
        }
        Ok(hits)
    }

    fn hits(&self, matched: &Path) -> Result<Vec<Hit>, ScreenError> {
        let mut hits = Vec::new();
        let columns: Vec<_> = [&self.plan.customer_column, &self.plan.outlet_column]
            .into_iter()
            .chain(&self.provider.tag_columns)
            .collect();
        let mut reader = TableReader::open(matched, TableOptions::default())?.choose(&columns)?;
        while reader.advance()? {
            let row = reader.row();
            let mut tags = BTreeSet::new();
            for column in 2..row.width() {
                tags.append(&mut self.words.codes(&self.provider.party, row.text(column))?);
            }
            if tags.is_empty() && self.untagged == Untagged::Listed {
                tags.insert(LISTED.to_owned());
            }
            let (customer, outlet) = (row.text(0).to_owned(), row.text(1).to_owned());
            hits.push(Hit { customer, outlet, provider: self.provider.party.clone(), tags });
        }
        Ok(hits)
    }

    /// One pass over the customers: the first row of a number comes before those that repeat it.
    fn repeated(&self, hits: &[Hit], pairs: &[(u64, u64)]) -> Result<Vec<Hit>, ScreenError> {
        let found: HashMap<_, _> =
            hits.iter().enumerate().map(|(at, hit)| (hit.customer.as_str(), at)).collect();
        let mut firsts: Vec<_> = pairs.iter().map(|(_, first)| *first).collect();
        firsts.sort_unstable();
        firsts.dedup();
        let (mut firsts, mut repeats) = (firsts.into_iter().peekable(), pairs.iter().peekable());
        let (mut matched, mut more) = (HashMap::new(), Vec::new());
        let mut reader = register::open(self.plan, self.customers)?;
        while repeats.peek().is_some() && reader.advance()? {
            let row = reader.row();
            let number = row.number();
            if firsts.next_if_eq(&number).is_some()
                && let Some(at) = found.get(row.text(0))
            {
                matched.insert(number, *at);
            }
            if let Some((_, first)) = repeats.next_if(|(repeat, _)| *repeat == number)
                && let Some(at) = matched.get(first)
            {
                let (customer, outlet) = (row.text(0).to_owned(), row.text(1).to_owned());
                more.push(Hit { customer, outlet, ..hits[*at].clone() });
            }
        }
        Ok(more)
    }
}

/// Rows that repeat an earlier one, ascending, each with the first row of the same number.
fn pairs(duplicates: &Path) -> Result<Vec<(u64, u64)>, ScreenError> {
    if !duplicates.exists() {
        return Err(ScreenError::DuplicatesMissing);
    }
    let mut pairs = Vec::new();
    let mut reader = TableReader::open(duplicates, TableOptions::default())?.choose(&["row", "first_row"])?;
    while reader.advance()? {
        let row = reader.row();
        let number = |cell: usize| row.text(cell).parse::<u64>().map_err(|_| ScreenError::DuplicatesMissing);
        pairs.push((number(0)?, number(1)?));
    }
    pairs.sort_unstable();
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::super::SAMPLE;
    use super::*;

    #[test]
    fn everybody_with_a_listed_number_is_a_hit_with_an_outlet_of_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let customers =
            write("c.csv", "客户号,网点,手机号\nK0,W0,1\nK1,W1,2\nK2,W2,1\nK3,W3,3\nK4,W4,1\nK5,W5,2\n");
        let matched = write("m.csv", "客户号,网点,风险标签\nK0,W0,跑分\nK3,W3,\n");
        let duplicates = write("d.csv", "row,first_row\n4,0\n2,0\n5,1\n");
        let plan = ScreenPlan::parse(SAMPLE).unwrap();
        let read = |untagged, duplicates: &Path| {
            let (provider, words) = (&plan.providers[0], &TagWords::default());
            Matches { plan: &plan, provider, words, customers: &customers, untagged }
                .read(&matched, duplicates)
        };
        let text = |hits: Vec<Hit>| {
            let tags = |hit: &Hit| hit.tags.iter().cloned().collect::<Vec<_>>().join("|");
            hits.iter().map(|h| format!("{} {} {}", h.customer, h.outlet, tags(h))).collect::<Vec<_>>()
        };
        let listed = text(read(Untagged::Listed, &duplicates).unwrap());
        assert_eq!(listed, ["K0 W0 money_mule", "K3 W3 listed", "K2 W2 money_mule", "K4 W4 money_mule"]);
        assert_eq!(text(read(Untagged::Left, &duplicates).unwrap())[1], "K3 W3 ");
        let twice = write("m.csv", "客户号,网点,风险标签\nK0,W0,跑分\nK0,W3,\n");
        assert_eq!(twice, matched);
        assert_eq!(read(Untagged::Left, &duplicates).unwrap_err().code(), "CUSTOMER_REPEATED");
        write("m.csv", "客户号,网点,风险标签\n");
        let missing = read(Untagged::Left, &dir.path().join("absent.csv")).unwrap_err();
        assert_eq!(missing.code(), "DUPLICATES_MISSING");
    }
}
