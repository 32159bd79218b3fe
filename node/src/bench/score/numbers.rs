//! The numbers of a benchmark, the parts of each, and the customers.

use std::path::{Path, PathBuf};

use windvane_world::World;

use crate::batch;
use crate::demo::DemoError;
use crate::fleet::scoring::Scoring;

const PER_SEGMENT: u64 = 10_000;

/// The only band: a score is to be measured, and to change no colour.
pub(super) const BAND: &str = "any";

const CARD: &str = "name = \"bench\"\n\n[[knot]]\nsum = 0\nprobability = 0.001\n\n\
                    [[knot]]\nsum = 765\nprobability = 0.9\n\n\
                    [[band]]\nname = \"any\"\nfrom = 0\nshare = 1.0\n";

/// A carrier's part of a number: 1 to 255, so that it never is the default.
fn part(carrier: u64, number: u64) -> u8 {
    let mixed = (number * 4 + carrier).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    1 + ((mixed >> 32) % 255) as u8
}

pub(super) fn sum(number: u64) -> u16 {
    (0..3).map(|carrier| u16::from(part(carrier, number))).sum()
}

/// All numbers of the carriers' segments.
pub(super) struct Numbers {
    segments: Vec<u64>,
}

impl Numbers {
    pub(super) fn of(world: &World) -> Self {
        let mut segments: Vec<_> =
            world.carriers.iter().flat_map(|carrier| &carrier.segments).map(|s| u64::from(*s)).collect();
        segments.sort_unstable();
        Self { segments }
    }

    pub(super) fn count(&self) -> u64 {
        self.segments.len() as u64 * PER_SEGMENT
    }

    fn nth(&self, nth: u64) -> u64 {
        self.segments[(nth / PER_SEGMENT) as usize] * PER_SEGMENT + nth % PER_SEGMENT
    }

    /// The number of a customer; they are scattered over all numbers, and repeat after the last.
    fn customer(&self, nth: u64) -> u64 {
        // A prime that divides no count of numbers that is met here.
        self.nth((nth % self.count()) * 1_000_003 % self.count())
    }

    /// Writes segments, card and parts.
    pub(super) fn write(&self, dir: &Path, carriers: &[(String, PathBuf)]) -> Result<Scoring, DemoError> {
        let write = || {
            let lines = |header: &str, rows: &mut dyn Iterator<Item = String>| {
                std::iter::once(header.to_owned()).chain(rows).collect::<Vec<_>>().join("\n") + "\n"
            };
            let (segments, model) = (dir.join("segments.csv"), dir.join("model.toml"));
            std::fs::write(&segments, lines("segment", &mut self.segments.iter().map(u64::to_string)))?;
            std::fs::write(&model, CARD)?;
            let mut parts = Vec::new();
            for (carrier, (party, _)) in (0..).zip(carriers) {
                let path = dir.join(format!("parts-{party}.csv"));
                let mut rows = (0..self.count()).map(|nth| {
                    let number = self.nth(nth);
                    format!("{number},{}", part(carrier, number))
                });
                std::fs::write(&path, lines("number,part", &mut rows))?;
                parts.push((party.clone(), path, 0));
            }
            Ok(Scoring { threads: Some(1), ..Scoring::overlapped(segments, model, parts) })
        };
        write().map_err(DemoError::io(dir.display().to_string()))
    }

    pub(super) fn write_customers(&self, customers: u64, path: &Path) -> std::io::Result<()> {
        let rows = (0..customers).map(|nth| format!("{}\n", self.customer(nth)));
        std::fs::write(path, std::iter::once("手机号\n".to_owned()).chain(rows).collect::<String>())
    }

    /// Compares the sum of every row.
    pub(super) fn compare(&self, customers: u64, results: &Path) -> Result<(), DemoError> {
        let unreadable = |error: csv::Error| DemoError::Wrong(format!("the scores cannot be read: {error}"));
        let column = batch::HEADER.iter().position(|name| *name == "评分合计");
        let column = column.expect("the header of a batch has the sum");
        let mut reader = csv::Reader::from_path(results).map_err(unreadable)?;
        let mut nth = 0;
        for row in reader.records() {
            let (row, expected) = (row.map_err(unreadable)?, sum(self.customer(nth)).to_string());
            if row.get(column) != Some(&expected) {
                return Err(DemoError::Wrong(format!("the score of customer {nth} is not {expected}")));
            }
            nth += 1;
        }
        if nth == customers {
            Ok(())
        } else {
            Err(DemoError::Wrong(format!("the file has {nth} scores, expected {customers}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_never_the_default_and_take_every_other_value() {
        let parts: std::collections::BTreeSet<_> = (0..10_000).map(|number| part(1, number)).collect();
        assert_eq!(parts.len(), 255);
        assert!(!parts.contains(&0));
    }

    #[test]
    fn customers_are_different_numbers_until_all_were_had() {
        let numbers = Numbers { segments: vec![1_300_000, 1_380_013, 1_990_000] };
        let all: std::collections::HashSet<_> = (0..30_000).map(|nth| numbers.customer(nth)).collect();
        assert_eq!(all.len(), 30_000);
        assert!(all.contains(&13_800_138_000) && numbers.customer(30_000) == numbers.customer(0));
    }

    #[test]
    fn a_wrong_or_missing_sum_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let numbers = Numbers { segments: vec![1_380_013] };
        let path = dir.path().join("scores.csv");
        let write = |sums: &[u16]| {
            let row = |sum: &u16| {
                let mut cells = [""; batch::HEADER.len()].map(str::to_owned);
                cells[15] = sum.to_string();
                cells.join(",")
            };
            let rows = std::iter::once(batch::HEADER.join(",")).chain(sums.iter().map(row));
            std::fs::write(&path, rows.collect::<Vec<_>>().join("\n")).unwrap();
        };
        let right: Vec<_> = (0..5).map(|nth| sum(numbers.customer(nth))).collect();
        write(&right);
        assert!(numbers.compare(5, &path).is_ok());
        assert!(numbers.compare(6, &path).is_err());
        let mut wrong = right;
        wrong[3] += 1;
        write(&wrong);
        assert!(numbers.compare(5, &path).is_err());
    }
}
