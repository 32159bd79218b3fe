//! The numbers of both files, and which of them are in both.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use crate::demo::DemoError;

/// Numbers that there are.
const NUMBERS: u64 = 1_000_000_000;

/// With repetitions, one row in so many repeats a number.
const REPEAT_EVERY: u64 = 10;

/// How much of the smaller file is in the larger one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InCommon {
    /// Everything.
    All,
    /// Half of it, rounded down.
    Half,
    /// Nothing.
    None,
}

impl FromStr for InCommon {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "half" => Ok(Self::Half),
            "none" => Ok(Self::None),
            _ => Err(format!("{text} is none of all, half and none")),
        }
    }
}

/// Both files' numbers, by their indices: the bank's begin at 0, the list's where what is common does.
#[derive(Debug)]
pub(super) struct Numbers {
    rows: [u64; 2],
    distinct: [u64; 2],
    common: u64,
    seed: u64,
    /// What the seed adds to every index.
    shift: u64,
}

impl Numbers {
    /// Numbers for `rows` of the bank and of the list.
    pub(super) fn new(rows: [u64; 2], common: InCommon, duplicates: bool, seed: u64) -> Self {
        let distinct = rows.map(|rows| if duplicates { rows - rows / REPEAT_EVERY } else { rows });
        let smaller = distinct[0].min(distinct[1]);
        let common = match common {
            InCommon::All => smaller,
            InCommon::Half => smaller / 2,
            InCommon::None => 0,
        };
        let shift = ChaCha20Rng::seed_from_u64(seed).random_range(0..NUMBERS);
        Self { rows, distinct, common, seed, shift }
    }

    /// The size of the true intersection.
    pub(super) const fn common(&self) -> u64 {
        self.common
    }

    fn in_both(&self) -> Range<u64> {
        self.distinct[0] - self.common..self.distinct[0]
    }

    /// Writes the bank's file.
    pub(super) fn write_bank(&self, path: &Path) -> Result<(), DemoError> {
        self.write(path, 0, 0).map_err(DemoError::io(path.display().to_string()))
    }

    /// Writes the carrier's list.
    pub(super) fn write_list(&self, path: &Path) -> Result<(), DemoError> {
        self.write(path, 1, self.in_both().start).map_err(DemoError::io(path.display().to_string()))
    }

    /// Writes the numbers from index `first` on, in an order of the file's own, and repeated ones among them.
    fn write(&self, path: &Path, which: usize, first: u64) -> io::Result<()> {
        let (rows, distinct) = (self.rows[which], self.distinct[which]);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(b"phone\n")?;
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(which as u64 + 1);
        let (start, least) = (rng.random_range(0..rows.max(1)), rng.random_range(0..rows.max(1)));
        for at in scattered(rows, start, least) {
            // Places behind the different numbers repeat some from all over them.
            let index = if at < distinct { at } else { (at - distinct) * (REPEAT_EVERY - 1) };
            writeln!(file, "{}", self.number(first + index))?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    const fn number(&self, index: u64) -> u64 {
        number((index + self.shift) % NUMBERS)
    }

    /// Holds the result file against the true intersection.
    pub(super) fn compare(&self, path: &Path) -> Result<(), DemoError> {
        let failed = || DemoError::io(path.display().to_string());
        let mut found = Vec::new();
        for line in BufReader::new(File::open(path).map_err(failed())?).lines().skip(1) {
            found.push(line.map_err(failed())?.parse::<u64>().unwrap_or_default());
        }
        found.sort_unstable();
        let mut expected: Vec<_> = self.in_both().map(|index| self.number(index)).collect();
        expected.sort_unstable();
        if found == expected {
            return Ok(());
        }
        let text = format!("{} rows are in the result, {} expected, or others", found.len(), expected.len());
        Err(DemoError::Wrong(text))
    }
}

/// A mainland number for every index below 10^9: a one-to-one map that mixes.
pub(in crate::bench) const fn number(index: u64) -> u64 {
    // 10^9 has only the prime factors 2 and 5, and this factor neither.
    13_000_000_000 + index * 618_033_989 % NUMBERS
}

/// Every number below `count` once, from `start` on in strides of at least `least`.
pub(in crate::bench) fn scattered(count: u64, start: u64, least: u64) -> impl Iterator<Item = u64> {
    // A stride that shares no factor with the count visits every place once.
    let stride = (least..).find(|stride| coprime(*stride, count.max(1))).unwrap_or(1);
    (0..count).scan(start, move |at, _| {
        let here = *at;
        *at = (*at + stride) % count;
        Some(here)
    })
}

const fn coprime(mut a: u64, mut b: u64) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(path: &Path) -> Vec<u64> {
        std::fs::read_to_string(path).unwrap().lines().skip(1).map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn numbers_are_mainland_ones_and_all_different() {
        let numbers = Numbers::new([0, 0], InCommon::None, false, 7);
        let all: BTreeSet<_> = (0..100_000).map(|index| numbers.number(index)).collect();
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().all(|n| (13_000_000_000..14_000_000_000).contains(n)));
    }

    #[test]
    fn files_have_the_rows_the_repetitions_and_the_intersection_that_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (bank, list) = (dir.path().join("bank.csv"), dir.path().join("list.csv"));
        for rows in [[0, 0], [0, 5], [1, 1], [1, 30], [2, 10], [999, 1_024], [1_000, 1_000]] {
            for (common, duplicates) in [InCommon::All, InCommon::Half, InCommon::None]
                .into_iter()
                .flat_map(|c| [(c, false), (c, true)])
            {
                let numbers = Numbers::new(rows, common, duplicates, 3);
                numbers.write_bank(&bank).unwrap();
                numbers.write_list(&list).unwrap();
                let files = [read(&bank), read(&list)];
                let sets = files.clone().map(BTreeSet::from_iter);
                for (which, count) in rows.into_iter().enumerate() {
                    let repeated = if duplicates { count / REPEAT_EVERY } else { 0 };
                    assert_eq!(files[which].len() as u64, count);
                    assert_eq!(sets[which].len() as u64, count - repeated);
                }
                let both: Vec<u64> = sets[0].intersection(&sets[1]).copied().collect();
                assert_eq!(both.len() as u64, numbers.common(), "{rows:?} {common:?} {duplicates}");
                let smaller = sets[0].len().min(sets[1].len()) as u64;
                let expected = match common {
                    InCommon::All => smaller,
                    InCommon::Half => smaller / 2,
                    InCommon::None => 0,
                };
                assert_eq!(numbers.common(), expected);
                holds_only(&numbers, &bank, &both);
            }
        }
    }

    /// The true intersection passes for a result; one with a row more or less does not.
    fn holds_only(numbers: &Numbers, path: &Path, both: &[u64]) {
        let result = |rows: &[u64]| {
            let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
            std::fs::write(path, format!("phone\n{text}")).unwrap();
            numbers.compare(path)
        };
        result(both).unwrap();
        assert!(result(&[both, &[13_000_000_000]].concat()).is_err());
        if let Some((_, fewer)) = both.split_last() {
            assert!(result(fewer).is_err());
        }
    }

    #[test]
    fn a_seed_gives_its_own_files_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bank.csv");
        let file = |seed| {
            Numbers::new([100, 100], InCommon::Half, true, seed).write_bank(&path).unwrap();
            read(&path)
        };
        assert_eq!(file(1), file(1));
        let sets = [file(1), file(2)].map(BTreeSet::from_iter);
        assert_ne!(sets[0], sets[1]);
    }
}
