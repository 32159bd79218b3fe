//! `windvane bench`: what a bank and its carriers do on this machine, all sharing its cores.
//!
//! **Promised**: real processes, real mutual TLS, durable logs on a real file system; every answer is compared
//! with the truth, and one wrong answer ends the benchmark without a figure. The load of verifications comes
//! through the bank's REST interface from this process, whose own CPU time is stated apart. **Not promised**: that
//! figures of a machine with more cores than nodes, or with other work, can be compared with these.

use std::path::Path;

use serde::Serialize;

use crate::demo::{DemoError, Place, Signals, print};

mod build;
mod command;
mod echo;
mod filesystem;
mod kernels;
mod load;
mod process;
mod psi;
mod reload;
mod score;
mod screen;
mod train;
mod verify;

pub use build::{BuildBench, BuildFigures};
pub use kernels::{KernelsBench, KernelsFigures, OperationFigures};
pub use process::peak_mib;
pub use psi::{InCommon, PsiBench, PsiFigures};
pub use reload::{ReloadBench, ReloadFigures};
pub use score::{ScoreBench, ScoreFigures};
pub use screen::{ScreenBench, ScreenFigures};
pub use train::{TrainBench, TrainFigures, TrainSet};
pub use verify::{VerifyBench, VerifyFigures};

/// Where benchmarks write unless told otherwise: on disk on most systems, where `/tmp` often is not.
const BASE: &str = "/var/tmp";

/// Measures in a directory and prints the figures. A temporary directory stays when its files may explain what went
/// wrong.
async fn in_place<T: Serialize>(
    dir: Option<&Path>,
    json: bool,
    measure: impl AsyncFnOnce(&Path) -> Result<T, DemoError>,
) -> Result<T, DemoError> {
    let mut signals = Signals::new()?;
    let place = Place::new(dir, Path::new(BASE))?;
    let figures = tokio::select! {
        figures = measure(place.path()) => figures,
        () = signals.next() => Err(DemoError::Interrupted),
    };
    if matches!(figures, Ok(_) | Err(DemoError::Interrupted | DemoError::Unfit(_))) {
        place.remove();
    }
    let figures = figures?;
    show(&figures, json)?;
    Ok(figures)
}

/// Prints figures: one JSON object, or a line for each.
fn show(figures: &impl Serialize, json: bool) -> Result<(), DemoError> {
    let value = serde_json::to_value(figures).expect("a struct of numbers and texts always serialises");
    if json {
        return print(&value.to_string());
    }
    let lines = value.as_object().into_iter().flatten();
    let lines: Vec<_> = lines.map(|(name, value)| format!("{name:<24}{value:>14}")).collect();
    print(&lines.join("\n"))
}
