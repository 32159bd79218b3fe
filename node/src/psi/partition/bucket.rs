//! One bucket's items, each once.

/// A row that repeats an earlier row's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duplicate {
    /// The row, from 0.
    pub row: u32,
    /// The first row with the same item; it stays.
    pub first: u32,
}

/// The items of a bucket, in the table's order.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    /// The items' keys, all different.
    pub keys: Vec<u128>,
    /// The row of every key, from 0.
    pub rows: Vec<u32>,
    /// Rows that were left out.
    pub duplicates: Vec<Duplicate>,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("items", &self.keys.len()).finish_non_exhaustive()
    }
}

/// A place of the table that holds no item.
const FREE: u32 = u32::MAX;

impl Bucket {
    /// Room for about `items`; buckets differ by little.
    pub(super) fn with_capacity(items: usize) -> Self {
        let items = items + items / 8 + 64;
        Self { keys: Vec::with_capacity(items), rows: Vec::with_capacity(items), duplicates: Vec::new() }
    }

    pub(super) fn push(&mut self, key: u128, row: u32) {
        self.keys.push(key);
        self.rows.push(row);
    }

    /// Drops every key but its first, by a hash table with open addressing; a key's own bits are its hash.
    pub(super) fn without_repeats(mut self) -> Self {
        let slots = (self.keys.len() * 2).next_power_of_two().max(2);
        let mut table = vec![FREE; slots];
        let mut kept = 0;
        for index in 0..self.keys.len() {
            let (key, row) = (self.keys[index], self.rows[index]);
            let mut slot = key as usize & (slots - 1);
            while table[slot] != FREE && self.keys[table[slot] as usize] != key {
                slot = (slot + 1) & (slots - 1);
            }
            match table[slot] {
                FREE => {
                    table[slot] = u32::try_from(kept).expect("a table has at most 2^30 rows");
                    (self.keys[kept], self.rows[kept]) = (key, row);
                    kept += 1;
                }
                first => self.duplicates.push(Duplicate { row, first: self.rows[first as usize] }),
            }
        }
        self.keys.truncate(kept);
        self.rows.truncate(kept);
        self
    }
}
