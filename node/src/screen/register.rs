//! The customer files, held against their rules before anybody is asked.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::Path;

use super::{ScreenError, ScreenPlan};
use crate::table::{TableOptions, TableReader};

/// What the customer files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Register {
    /// Rows of the customer file, in the full form.
    pub(super) customers: u64,
    /// The new customers' numbers.
    pub(super) new: Vec<String>,
}

impl Register {
    /// Reads the customer file for the full form.
    ///
    /// # Errors
    /// [`ScreenError`]: the file cannot be read, lacks a column, or has a customer twice or without a number.
    pub(super) fn full(plan: &ScreenPlan) -> Result<Self, ScreenError> {
        Ok(Self { customers: check(plan, &plan.customers, |_| ())?, new: Vec::new() })
    }

    /// Reads the new customers for the daily form. Of the customer file, which a full screening has checked, only
    /// the columns: reading it all would be a tenth of the day's work.
    ///
    /// # Errors
    /// As [`Self::full`], of the new customers' file.
    pub(super) fn daily(plan: &ScreenPlan) -> Result<Self, ScreenError> {
        open(plan, &plan.customers)?;
        let mut new = Vec::new();
        if let Some(path) = plan.new_customers() {
            check(plan, path, |customer| new.push(customer.to_owned()))?;
        }
        Ok(Self { customers: 0, new })
    }
}

/// Opens a customer file; its chosen columns are customer, outlet and the key's.
pub(super) fn open(plan: &ScreenPlan, path: &Path) -> Result<TableReader, ScreenError> {
    // A row of another length is no item for an intersection either, which reports it.
    let options = TableOptions { ragged: true, ..TableOptions::default() };
    let columns: Vec<_> =
        [&plan.customer_column, &plan.outlet_column].into_iter().chain(&plan.key_columns).collect();
    Ok(TableReader::open(path, options)?.choose(&columns)?)
}

/// Tells every customer of a file, each of which must be there once; gives the rows.
fn check(plan: &ScreenPlan, path: &Path, mut note: impl FnMut(&str)) -> Result<u64, ScreenError> {
    let mut reader = open(plan, path)?;
    let state = RandomState::new();
    let (mut rows, mut hashes) = (0, Vec::new());
    while reader.advance()? {
        let row = reader.row();
        rows += 1;
        if row.width() == 0 {
            continue;
        }
        if row.cell(0).is_empty() {
            let (path, column) = (path.to_owned(), plan.customer_column.clone());
            return Err(ScreenError::CustomerMissing { path, line: row.line(), column });
        }
        hashes.push(state.hash_one(row.cell(0)));
        note(row.text(0));
    }
    let repeated = repeated(hashes);
    if repeated.is_empty() { Ok(rows) } else { compare(plan, path, &state, &repeated).map(|()| rows) }
}

/// Hashes that came more than once, ascending.
fn repeated(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    let mut repeated: Vec<_> = hashes.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    repeated.dedup();
    repeated
}

/// Equal hashes are equal customers, but for a rare chance: a second look at those decides.
fn compare(plan: &ScreenPlan, path: &Path, state: &RandomState, repeated: &[u64]) -> Result<(), ScreenError> {
    let mut reader = open(plan, path)?;
    let mut lines = HashMap::new();
    while reader.advance()? {
        let row = reader.row();
        if row.width() == 0 || repeated.binary_search(&state.hash_one(row.cell(0))).is_err() {
            continue;
        }
        if let Some(first_line) = lines.insert(row.text(0).to_owned(), row.line()) {
            let (path, column) = (path.to_owned(), plan.customer_column.clone());
            return Err(ScreenError::CustomerRepeated { path, line: row.line(), first_line, column });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::SAMPLE;
    use super::*;

    fn read(text: &str) -> Result<Register, ScreenError> {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = ScreenPlan::parse(SAMPLE).unwrap();
        plan.customers = dir.path().join("customers.csv");
        std::fs::write(&plan.customers, text).unwrap();
        Register::full(&plan)
    }

    #[test]
    fn good_files_are_counted_and_ragged_rows_left_to_the_intersection() {
        let register = read("客户号,网点,手机号\nK1,W1,13800138000\nK2\nK3,W1,13800138000\n").unwrap();
        assert_eq!((register.customers, register.new.len()), (3, 0));
    }

    #[test]
    fn a_repeated_customer_is_named_by_both_lines() {
        let error = read("客户号,网点,手机号\nK1,W1,1\nK2,W1,2\nK3,W1,3\nK2,W2,4\n").unwrap_err();
        assert!(matches!(error, ScreenError::CustomerRepeated { line: 5, first_line: 3, .. }), "{error}");
        assert!(error.to_string().contains("客户号") && !error.to_string().contains("K2"));
    }

    #[test]
    fn a_missing_column_and_a_missing_number_are_named() {
        assert_eq!(read("客户号,手机号\nK1,1\n").unwrap_err().code(), "COLUMN_MISSING");
        let error = read("客户号,网点,手机号\nK1,W1,1\n,W1,2\n").unwrap_err();
        assert!(matches!(error, ScreenError::CustomerMissing { line: 3, .. }), "{error}");
    }
}
