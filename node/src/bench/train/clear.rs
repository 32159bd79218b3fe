//! The same engine in the clear: with all features in one place, and with the label holder's alone.

use windvane_protocols::train::binning::Binned;
use windvane_protocols::train::boosting::{Unit, train_clear};
use windvane_protocols::train::parameters::Hyperparameters;

use super::data::{Data, Side};
use super::files::{auc, edges, value};
use crate::demo::DemoError;

/// The area under the curve of a fold, pooled and of the label holder alone.
pub(super) fn train(data: &Data, fold: u8, numbers: &Hyperparameters) -> Result<(f64, f64), DemoError> {
    let pooled = Side::joined(&data.parties);
    Ok((one(data, fold, &pooled, numbers)?, one(data, fold, &data.parties[0], numbers)?))
}

fn one(data: &Data, fold: u8, side: &Side, numbers: &Hyperparameters) -> Result<f64, DemoError> {
    let (train, test) = data.split(fold);
    let edges = edges(side, &train);
    let columns = side.columns.iter().zip(&edges);
    let columns = columns.map(|(column, edges)| train.iter().map(|row| edges.bin(column[*row])).collect());
    let bins = edges.iter().map(|edges| edges.bins()).collect();
    let failed =
        |error: &dyn std::fmt::Display| DemoError::Wrong(format!("a training in the clear failed: {error}"));
    let binned = Binned::new(columns.collect(), bins).map_err(|error| failed(&error))?;
    let labels: Vec<_> = train.iter().map(|row| Some(data.labels[*row])).collect();
    let unit = Unit::label_holder(binned, numbers);
    let trained = train_clear(&unit, &[], &labels, numbers).map_err(|error| failed(&error))?;
    let scores: Vec<_> = test.iter().map(|row| value(&trained.trees[0], side, &edges, *row)).collect();
    auc(data, &test, &scores)
}
