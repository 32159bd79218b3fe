//! Pages of a published table: 4,096 bytes of whole rows, sorted by (locator, publication index), zero tail.
//!
//! Rows of one locator never cross a page, and the first locator of every page stays in the reader's memory,
//! so a lookup is one positioned read.

use super::row::{LOCATOR_BYTES, Locator, Table};
use crate::limits::PAGE_BYTES;

/// One page.
pub type Page = Box<[u8; PAGE_BYTES]>;

/// Rows of one locator are more than a lookup tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} rows share one locator")]
pub struct CrowdedLocator {
    /// How many.
    pub found: usize,
}

/// Lays sorted rows out into pages.
#[derive(Debug)]
pub struct PageBuilder {
    row_bytes: usize,
    page: Page,
    used: usize,
}

impl PageBuilder {
    /// Begins an empty page for a table's rows.
    pub fn new(table: &Table) -> Self {
        Self { row_bytes: table.row_bytes(), page: empty(), used: 0 }
    }

    /// Adds all rows of one locator, concatenated; gives the page that became full, if one did.
    ///
    /// # Errors
    /// [`CrowdedLocator`] when they are more than a lookup tries.
    pub fn push(&mut self, rows: &[u8]) -> Result<Option<Page>, CrowdedLocator> {
        let count = rows.len() / self.row_bytes;
        if Table::is_crowded(count) {
            return Err(CrowdedLocator { found: count });
        }
        let full = (self.used + rows.len() > PAGE_BYTES).then(|| self.turn());
        self.page[self.used..self.used + rows.len()].copy_from_slice(rows);
        self.used += rows.len();
        Ok(full)
    }

    /// The last page, if it holds a row.
    pub fn finish(mut self) -> Option<Page> {
        (self.used > 0).then(|| self.turn())
    }

    fn turn(&mut self) -> Page {
        self.used = 0;
        std::mem::replace(&mut self.page, empty())
    }
}

/// The locator of a page's first row.
pub fn first_locator(page: &[u8; PAGE_BYTES]) -> Locator {
    *page.first_chunk().expect("a page is longer than a locator")
}

/// Rows a page holds.
pub fn count_rows(page: &[u8; PAGE_BYTES], table: &Table) -> usize {
    rows(page, table).count()
}

/// A page's rows of one locator.
pub fn find<'a>(page: &'a [u8; PAGE_BYTES], table: &Table, locator: &Locator) -> Vec<&'a [u8]> {
    rows(page, table).filter(|row| row[..LOCATOR_BYTES] == *locator).collect()
}

/// A page's rows, those of equal locator together: each group's bytes.
pub fn groups<'a>(page: &'a [u8; PAGE_BYTES], table: &Table) -> Vec<&'a [u8]> {
    let row_bytes = table.row_bytes();
    let locator = |at: usize| &page[at * row_bytes..at * row_bytes + LOCATOR_BYTES];
    let places: Vec<usize> = (0..count_rows(page, table)).collect();
    let groups = places.chunk_by(|a, b| locator(*a) == locator(*b));
    groups.map(|group| &page[group[0] * row_bytes..][..group.len() * row_bytes]).collect()
}

/// Whether a page's rows are sorted by (locator, publication index), few of one locator, with a zero tail. Two
/// keys may share locator and index: pairs are expected at 10^9 rows.
pub fn is_well_formed(page: &[u8; PAGE_BYTES], table: &Table) -> bool {
    let keys: Vec<_> = rows(page, table).map(|row| &row[..LOCATOR_BYTES + 2]).collect();
    let crowded =
        keys.chunk_by(|a, b| a[..LOCATOR_BYTES] == b[..LOCATOR_BYTES]).any(|c| Table::is_crowded(c.len()));
    let tail = &page[keys.len() * table.row_bytes()..];
    !keys.is_empty() && keys.is_sorted() && !crowded && tail.iter().all(|&byte| byte == 0)
}

/// A row of zeros is the tail: its tag would have to be zero, which has probability 2^-128.
fn rows<'a>(page: &'a [u8; PAGE_BYTES], table: &Table) -> impl Iterator<Item = &'a [u8]> {
    page.chunks_exact(table.row_bytes()).take_while(|row| row.iter().any(|&byte| byte != 0))
}

fn empty() -> Page {
    Box::new([0; PAGE_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table { data_set: "d".parse().unwrap(), epoch: 1, schema_version: 1, label_bytes: 14 }
    }

    fn row(locator: u64) -> Vec<u8> {
        let mut row = vec![0xee; 40];
        row[..8].copy_from_slice(&locator.to_be_bytes());
        row
    }

    #[test]
    fn a_page_holds_102_rows_of_40_bytes_and_finds_them() {
        let mut builder = PageBuilder::new(&table());
        let pages: Vec<_> = (0..103).filter_map(|i| builder.push(&row(i)).unwrap()).collect();
        let last = builder.finish().unwrap();
        assert_eq!(pages.len(), 1);
        assert_eq!(count_rows(&pages[0], &table()), 102);
        assert_eq!(find(&pages[0], &table(), &101_u64.to_be_bytes()), [row(101)]);
        assert!(find(&pages[0], &table(), &102_u64.to_be_bytes()).is_empty());
        assert_eq!(first_locator(&last), 102_u64.to_be_bytes());
        assert!(is_well_formed(&pages[0], &table()) && is_well_formed(&last, &table()));
    }

    #[test]
    fn rows_of_one_locator_never_cross_a_page() {
        let mut builder = PageBuilder::new(&table());
        (0..101).for_each(|i| drop(builder.push(&row(i)).unwrap()));
        let mut second = row(200);
        second[9] = 1;
        let pair = [row(200), second].concat();
        let full = builder.push(&pair).unwrap().unwrap();
        assert_eq!(count_rows(&full, &table()), 101);
        assert_eq!(find(&builder.finish().unwrap(), &table(), &200_u64.to_be_bytes()).len(), 2);
    }

    #[test]
    fn five_rows_of_one_locator_are_refused() {
        let rows = row(1).repeat(5);
        assert_eq!(PageBuilder::new(&table()).push(&rows), Err(CrowdedLocator { found: 5 }));
    }

    #[test]
    fn a_collision_of_two_keys_is_well_formed_and_five_are_not() {
        let mut page = empty();
        for (i, place) in page.chunks_exact_mut(40).take(5).enumerate() {
            place.copy_from_slice(&row(7));
            place[8] = 0;
            place[20] = i as u8;
        }
        assert!(!is_well_formed(&page, &table()));
        page[160..200].fill(0);
        assert!(is_well_formed(&page, &table()));
        assert_eq!(find(&page, &table(), &7_u64.to_be_bytes()).len(), 4);
    }

    #[test]
    fn an_unsorted_page_is_not_well_formed() {
        let mut builder = PageBuilder::new(&table());
        builder.push(&row(2)).unwrap();
        builder.push(&row(1)).unwrap();
        assert!(!is_well_formed(&builder.finish().unwrap(), &table()));
    }
}
