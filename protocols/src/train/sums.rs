//! A provider's work on ciphertexts: sums by bin, residual updates, contributions.
//!
//! **Who sees what.** Bins, which row is in which node, and leaves are the provider's own data; they are computed with in
//! its own process, in variable time. Points are not, nor are masks and randomness. Everything that leaves is
//! randomised: each sum and each contribution carries a fresh encryption of zero or of a mask, so that nobody, not even
//! the label holder, learns from the bytes which ciphertexts were added.

use std::ops::Range;

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use windvane_kernels::ristretto::Addends;

use super::elgamal::{BATCH, Ciphertexts, EncodedCiphertext, LEAST, PublicKey};
use crate::limits::{MAX_CONTRIBUTION, MAX_NODE_CELLS};
use crate::parallel::in_ranges;
use crate::secret;

/// Why a provider cannot compute what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SumsError {
    /// Another number of ciphertexts, bins or leaves than there are rows.
    #[error("expected {expected} rows, found {found}")]
    Rows {
        /// Rows of the training.
        expected: usize,
        /// Found.
        found: usize,
    },
    /// A row beyond the listed ones.
    #[error("row {row} is not listed")]
    Row {
        /// The row.
        row: u32,
    },
    /// More cells than a node has.
    #[error("a node has at most {MAX_NODE_CELLS} cells, found {found}")]
    Cells {
        /// Cells asked for.
        found: usize,
    },
    /// A bin's group is not below the number of groups.
    #[error("a bin of feature {feature} belongs to group {group}, which there is not")]
    Group {
        /// The feature's place.
        feature: usize,
        /// The group.
        group: u8,
    },
    /// A leaf or a contribution that is too large.
    #[error("the value of row {row} is beyond {MAX_CONTRIBUTION}")]
    Value {
        /// The row.
        row: usize,
    },
    /// Another number of masks than of numbers to mask.
    #[error("expected {expected} masks, found {found}")]
    Masks {
        /// Numbers to mask.
        expected: usize,
        /// Found.
        found: usize,
    },
}

/// One feature in one node.
#[derive(Debug, Clone, Copy)]
pub struct Feature<'a> {
    /// The bin of every listed row.
    pub bins: &'a [u8],
    /// The group of each bin; rows of a bin beyond them, such as an absent row's, are in no group.
    pub group_of_bin: &'a [u8],
    /// How many groups there are.
    pub groups: usize,
}

impl Feature<'_> {
    fn group(&self, row: u32) -> Option<usize> {
        self.group_of_bin.get(usize::from(self.bins[row as usize])).map(|&group| usize::from(group))
    }
}

/// Of what sums are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The indicator: real rows.
    Indicator,
    /// The residual.
    Residual,
}

/// A provider's copy of the encrypted statistics of all listed rows.
#[derive(Debug)]
pub struct Statistics {
    public: PublicKey,
    indicator: Rows,
    residual: Rows,
    /// Rows whose contributions are told, where these are more than the indicator's.
    told: Option<Ciphertexts>,
}

/// A statistic, and the same made ready for sums.
#[derive(Debug)]
struct Rows {
    ciphertexts: Ciphertexts,
    addends: Addends,
}

impl Rows {
    fn new(ciphertexts: Ciphertexts) -> Self {
        Self { addends: Addends::new(&ciphertexts.a, &ciphertexts.b), ciphertexts }
    }
}

impl Statistics {
    /// The indicator, received once; residuals come with each block.
    pub fn new(public: PublicKey, indicator: Ciphertexts) -> Self {
        let residual = Rows::new(Ciphertexts::empty());
        Self { public, indicator: Rows::new(indicator), residual, told: None }
    }

    /// Rows that the label holder holds out: their contributions are told too, and they count for nothing in a sum or
    /// a count.
    ///
    /// # Errors
    /// [`SumsError::Rows`] when they are not as many as the indicator's.
    pub fn hold_out(&mut self, held_out: &Ciphertexts) -> Result<(), SumsError> {
        self.check_rows(held_out.len())?;
        let mut told = self.indicator.ciphertexts.clone();
        told.add_assign(held_out);
        self.told = Some(told);
        Ok(())
    }

    /// Listed rows.
    pub fn rows(&self) -> usize {
        self.indicator.addends.len()
    }

    /// The residuals as received at a block's beginning; what was made of the last block's is forgotten.
    ///
    /// # Errors
    /// [`SumsError::Rows`] when they are not as many as the indicator's.
    pub fn begin_block(&mut self, residual: Ciphertexts) -> Result<(), SumsError> {
        self.check_rows(residual.len())?;
        self.residual = Rows::new(residual);
        Ok(())
    }

    /// For one node, the sums of a statistic over the node's rows: feature by feature, and group by group within a
    /// feature. They are not randomised: [`Self::answer_sums`] comes next. Of residuals it takes those of the block
    /// that has begun, as updated since.
    ///
    /// Takes variable time in rows and bins.
    ///
    /// # Errors
    /// [`SumsError::Rows`], [`SumsError::Row`], [`SumsError::Cells`], [`SumsError::Group`].
    pub fn sums(
        &self,
        kind: Kind,
        rows: &[u32],
        features: &[Feature<'_>],
        threads: usize,
    ) -> Result<Ciphertexts, SumsError> {
        self.check_node(rows, features)?;
        let of = match kind {
            Kind::Indicator => &self.indicator,
            Kind::Residual => &self.residual,
        };
        self.check_rows(of.addends.len())?;
        let sums = |features: &[Feature<'_>]| {
            let (order, ends) = order(rows, features);
            let [a, b] = of.addends.vartime_sum_runs(&order, &ends);
            Ciphertexts { a, b }
        };
        let parts = in_ranges(threads, features.len(), 1, |range| sums(&features[range]));
        Ok(Ciphertexts::concat(&parts))
    }

    /// What the label holder gets for sums: each plus a fresh encryption of zero, or of its mask where several providers
    /// grow trees as one.
    ///
    /// # Errors
    /// [`SumsError::Masks`].
    pub fn answer_sums(
        &self,
        sums: &Ciphertexts,
        masks: Option<&[Scalar]>,
        threads: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<EncodedCiphertext>, SumsError> {
        let count = sums.len();
        self.answer(count, masks, threads, rng, |range| sums.slice(range))
    }

    /// Takes each row's leaf off its residual, Enc(r) − leaf·Enc(c), so that decoys stay zero. In place.
    ///
    /// # Errors
    /// [`SumsError::Rows`], [`SumsError::Value`].
    pub fn update(&mut self, leaves: &[i32], threads: usize) -> Result<(), SumsError> {
        self.check_rows(leaves.len())?;
        self.check_rows(self.residual.addends.len())?;
        check_values(0, leaves)?;
        let (residual, indicator) = (&self.residual.ciphertexts, &self.indicator.ciphertexts);
        let parts = in_ranges(threads, leaves.len(), LEAST, |range| {
            let minus: Vec<_> = leaves[range.clone()].iter().map(|leaf| -leaf).collect();
            let mut updated = indicator.slice(range.clone()).times(&minus);
            updated.add_assign(&residual.slice(range));
            updated
        });
        self.residual = Rows::new(Ciphertexts::concat(&parts));
        Ok(())
    }

    /// A block's contributions of rows from `first` on: Enc(c)·value + Enc(mask), fresh, where c is 1 for held-out rows
    /// too ([`Self::hold_out`]). Without masks, which is for a
    /// provider that is alone, Enc(0) is added.
    ///
    /// # Errors
    /// [`SumsError::Rows`], [`SumsError::Value`], [`SumsError::Masks`].
    pub fn contributions(
        &self,
        first: usize,
        values: &[i32],
        masks: Option<&[Scalar]>,
        threads: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<EncodedCiphertext>, SumsError> {
        let found = first.saturating_add(values.len());
        if found > self.rows() {
            return Err(SumsError::Rows { expected: self.rows(), found });
        }
        check_values(first, values)?;
        let products = |range: Range<usize>| {
            let told = self.told.as_ref().unwrap_or(&self.indicator.ciphertexts);
            let rows = told.slice(first + range.start..first + range.end);
            rows.times(&values[range])
        };
        self.answer(values.len(), masks, threads, rng, products)
    }

    /// Answers of what `made` makes for a range, each with its mask, or zero, freshly encrypted.
    fn answer(
        &self,
        count: usize,
        masks: Option<&[Scalar]>,
        threads: usize,
        rng: &mut impl CryptoRng,
        made: impl Fn(Range<usize>) -> Ciphertexts + Sync,
    ) -> Result<Vec<EncodedCiphertext>, SumsError> {
        let found = masks.map_or(count, <[Scalar]>::len);
        if found != count {
            return Err(SumsError::Masks { expected: count, found });
        }
        let random = secret::collect(count, (0..count).map(|_| Scalar::random(rng)));
        let batch = |range: Range<usize>| {
            let masks = masks.map(|masks| &masks[range.clone()]);
            let mut fresh = self.public.encryptions(&random[range.clone()], masks);
            fresh.add_assign(&made(range));
            fresh.answers()
        };
        let parts = in_ranges(threads, count, LEAST, |range| {
            let batches = range.clone().step_by(BATCH).map(|begin| begin..range.end.min(begin + BATCH));
            batches.flat_map(batch).collect::<Vec<_>>()
        });
        Ok(parts.concat())
    }

    fn check_rows(&self, found: usize) -> Result<(), SumsError> {
        let expected = self.rows();
        if expected == found { Ok(()) } else { Err(SumsError::Rows { expected, found }) }
    }

    fn check_node(&self, rows: &[u32], features: &[Feature<'_>]) -> Result<(), SumsError> {
        if let Some(&row) = rows.iter().find(|&&row| row as usize >= self.rows()) {
            return Err(SumsError::Row { row });
        }
        let found = features.iter().map(|feature| feature.groups).sum();
        if found > MAX_NODE_CELLS {
            return Err(SumsError::Cells { found });
        }
        for (place, feature) in features.iter().enumerate() {
            self.check_rows(feature.bins.len())?;
            let beyond = feature.group_of_bin.iter().find(|&&group| usize::from(group) >= feature.groups);
            if let Some(&group) = beyond {
                return Err(SumsError::Group { feature: place, group });
            }
        }
        Ok(())
    }
}

fn check_values(first: usize, values: &[i32]) -> Result<(), SumsError> {
    match values.iter().position(|value| value.unsigned_abs() > MAX_CONTRIBUTION.unsigned_abs()) {
        Some(row) => Err(SumsError::Value { row: first + row }),
        None => Ok(()),
    }
}

/// The rows by group of each feature, one feature after the other, and the ends of groups: a counting sort.
fn order(rows: &[u32], features: &[Feature<'_>]) -> (Vec<u32>, Vec<u32>) {
    let mut order = vec![0; rows.len() * features.len()];
    let mut ends = Vec::with_capacity(features.iter().map(|feature| feature.groups).sum());
    let mut at = 0;
    for feature in features {
        let groups = || rows.iter().filter_map(|&row| Some((row, feature.group(row)?)));
        let mut places = vec![0_u32; feature.groups];
        groups().for_each(|(_, group)| places[group] += 1);
        for place in &mut places {
            (*place, at) = (at, at + *place);
            ends.push(at);
        }
        for (row, group) in groups() {
            order[places[group] as usize] = row;
            places[group] += 1;
        }
    }
    order.truncate(at as usize);
    (order, ends)
}

#[cfg(test)]
mod tests;
