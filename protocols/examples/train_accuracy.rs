//! How well jointly trained models rank, on real data: `cargo run --release -p windvane-protocols --example
//! train_accuracy [FOLDER [MINIMUM_COUNT [MINIMUM_ROWS [LAMBDA]]]]`.
//!
//! Five folds, two data sets, two models; the label holder alone, everybody with their own features, and all features
//! in one place. `../shared/data/README.md`, seen from the workspace's root, tells of the data.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;
use std::path::PathBuf;

use windvane_protocols::train::parameters::{Hyperparameters, Numbers};

use fold::{Outcome, Setting, run};

/// What the files that tests and this example share need of the engine.
mod engine {
    pub(crate) use windvane_protocols::train::binning::{Binned, Edges};
    pub(crate) use windvane_protocols::train::boosting::{Trained, TrainingError, Unit, train_clear};
    pub(crate) use windvane_protocols::train::parameters::Hyperparameters;
    pub(crate) use windvane_protocols::train::scale::{Scale, Span, Values};
    pub(crate) use windvane_protocols::train::tree::{ABSENT, Tree};
}

#[path = "../src/train/tests/data.rs"]
mod data;
#[path = "../src/train/tests/fold.rs"]
mod fold;

/// Decoys for every real row.
const DECOYS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(data::folder, PathBuf::from);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (minimum_count, minimum_rows, lambda) = (number(50)?, number(20)?, number(0)?);
    for data in [data::sichuan(&folder), data::default_credit(&folder)].into_iter().flatten() {
        for (model, depth, trees, rate_micros) in [("boosted", 3, 5, 100_000), ("scorecard", 1, 20, 150_000)]
        {
            println!(
                "{}, {model}: AUC (spread over folds), as parts, as coarse parts, seconds a fold",
                data.name
            );
            let parties = data.parties.len() as u16;
            for (setting, times, name) in [
                (Setting::Alone, 15 / 5, "label holder alone"),
                (Setting::Pooled, 15 / 5, "pooled"),
                (Setting::Parties(0), 1, "by party, no decoys"),
                (Setting::Parties(DECOYS), 1, "by party, decoys"),
                (Setting::Carriers(1, DECOYS), parties - 1, "one provider of all, decoys"),
                (Setting::Carriers(3, DECOYS), parties - 1, "three carriers, decoys"),
            ] {
                let numbers = Numbers {
                    blocks: 10,
                    trees: trees * times,
                    depth,
                    rate_micros,
                    lambda,
                    minimum_rows,
                    minimum_count,
                };
                let hyperparameters = Hyperparameters::new(numbers)?;
                let outcomes: Vec<_> = (0..5)
                    .map(|fold| run(&data, fold, setting, &hyperparameters))
                    .collect::<Result<_, _>>()?;
                println!("  {name:<28} {}", line(&outcomes));
            }
        }
    }
    Ok(())
}

fn line(outcomes: &[Outcome]) -> String {
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
    let auc = mean(|o| o.auc);
    let spread = (outcomes.iter().map(|o| (o.auc - auc).powi(2)).sum::<f64>() / outcomes.len() as f64).sqrt();
    let (fine, coarse, seconds) = (mean(|o| o.fine), mean(|o| o.coarse), mean(|o| o.seconds));
    format!("{auc:.4} ({spread:.4})  {fine:.4}  {coarse:.4}  {seconds:.2}")
}
