//! Records of a build, `row ‖ check(8) ‖ line32`, and visits of them locator by locator.

use windvane_protocols::lookup::row::LOCATOR_BYTES;

use crate::dataset::sort::Sorted;
use crate::spill::SpillError;

/// Bytes behind the row: check and line.
pub(super) const EXTRA_BYTES: usize = 12;

/// A record of the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BuildRecord<'a>(&'a [u8]);

impl<'a> BuildRecord<'a> {
    /// The row as published.
    pub(super) fn row(&self) -> &'a [u8] {
        &self.0[..self.0.len() - EXTRA_BYTES]
    }

    /// What tells keys of one locator apart.
    pub(super) fn check(&self) -> &'a [u8] {
        &self.0[self.0.len() - EXTRA_BYTES..self.0.len() - 4]
    }

    /// Line of the operator's file.
    pub(super) fn line(&self) -> u32 {
        let line = self.0.last_chunk().expect("a record ends with its line");
        u32::from_be_bytes(*line)
    }
}

/// Appends what stands behind a row.
pub(super) fn extra(check: &[u8; 8], line: u32) -> [u8; EXTRA_BYTES] {
    let mut extra = [0; EXTRA_BYTES];
    extra[..8].copy_from_slice(check);
    extra[8..].copy_from_slice(&line.to_be_bytes());
    extra
}

/// Visits the records of every locator together, locators ascending; within one locator by check, then row, then
/// line.
///
/// # Errors
/// The visitor's, and [`SpillError`].
pub(super) fn visit<E: From<SpillError>>(
    sorted: &Sorted,
    mut visitor: impl FnMut(&[BuildRecord<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    let mut records = sorted.records()?;
    let (mut group, mut width) = (Vec::new(), 1);
    loop {
        let next = records.next()?;
        let ends =
            next.is_none_or(|record| !group.is_empty() && record[..LOCATOR_BYTES] != group[..LOCATOR_BYTES]);
        if ends && !group.is_empty() {
            if group.len() == width {
                visitor(&[BuildRecord(&group)])?;
            } else {
                let mut several: Vec<_> = group.chunks_exact(width).map(BuildRecord).collect();
                several.sort_unstable_by_key(|record| (record.check(), record.row(), record.line()));
                visitor(&several)?;
            }
            group.clear();
        }
        let Some(record) = next else { return Ok(()) };
        group.extend_from_slice(record);
        width = record.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sort::Sorter;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

    const SEED: u64 = 7;

    #[test]
    fn a_locator_is_visited_once_and_its_records_by_check_row_and_line() {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let mut sorter = Sorter::new(10 + EXTRA_BYTES, std::env::temp_dir().as_path(), &mut rng);
        let mut expected = Vec::new();
        for line in 0..1_000_u32 {
            let mut record = vec![0; 10 + EXTRA_BYTES];
            record[7] = rng.next_u32() as u8;
            record[8..18].iter_mut().for_each(|byte| *byte = rng.next_u32() as u8 & 1);
            record[18..].copy_from_slice(&line.to_be_bytes());
            sorter.push(&record).unwrap();
            expected.push(record);
        }
        let key = |r: &Vec<u8>| (r[..8].to_vec(), r[10..18].to_vec(), r[..10].to_vec(), r[18..].to_vec());
        expected.sort_by_key(key);
        let (mut found, mut last) = (Vec::new(), None);
        let visited: Result<(), SpillError> = visit(&sorter.finish().unwrap(), |group| {
            let locator = group[0].row()[..LOCATOR_BYTES].to_vec();
            assert!(group.iter().all(|record| record.row()[..LOCATOR_BYTES] == locator));
            assert!(last.replace(locator.clone()) < Some(locator), "a locator is visited once");
            found.extend(group.iter().map(|record| record.0.to_vec()));
            Ok(())
        });
        assert!(visited.is_ok());
        assert_eq!(found, expected, "seed {SEED}");
    }
}
