//! `windvane bench`: what a bank and its carriers do on this machine, all sharing its cores.
//!
//! **Promised**: real processes, real mutual TLS, durable logs on a real file system; every answer is compared
//! with the truth, and one wrong answer ends the benchmark without a figure. Where failures are what is measured
//! (`reload`, `hostile`), the figures say whether there were any, and the benchmark fails after they are printed. The load
//! of verifications comes through the bank's REST interface from this process, whose own CPU time is stated apart. **Not
//! promised**: that figures of a machine with more cores than nodes, or with other work, can be compared with these.

use std::path::Path;

use serde::Serialize;

use crate::demo::{DemoError, Place, Signals, note, print};

mod build;
mod command;
mod echo;
mod filesystem;
pub mod hostile;
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
pub use hostile::{HostileBench, HostileFigures};
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
    judged_in_place(dir, json, measure, |_| None).await
}

/// [`in_place`] for figures that may tell of something wrong: then that is the error, after they are printed.
async fn judged_in_place<T: Serialize>(
    dir: Option<&Path>,
    json: bool,
    measure: impl AsyncFnOnce(&Path) -> Result<T, DemoError>,
    wrong: impl FnOnce(&T) -> Option<String>,
) -> Result<T, DemoError> {
    let mut signals = Signals::new()?;
    let place = Place::new(dir, Path::new(BASE))?;
    let figures = tokio::select! {
        figures = measure(place.path()) => figures,
        () = signals.next() => Err(DemoError::Interrupted),
    };
    conclude(&place, json, figures, wrong)
}

/// Prints figures, and removes a temporary directory unless its files may explain what went wrong.
fn conclude<T: Serialize>(
    place: &Place,
    json: bool,
    figures: Result<T, DemoError>,
    wrong: impl FnOnce(&T) -> Option<String>,
) -> Result<T, DemoError> {
    let figures = figures.and_then(|figures| {
        show(&figures, json)?;
        wrong(&figures).map_or(Ok(figures), |text| Err(DemoError::Wrong(text)))
    });
    if matches!(figures, Ok(_) | Err(DemoError::Interrupted | DemoError::Unfit(_))) {
        place.remove();
    } else {
        note(&format!("what was written is in {}", place.path().display()));
    }
    figures
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_where_something_was_wrong_and_figures_that_tell_of_it_are_an_error() {
        let base = tempfile::tempdir().unwrap();
        let concluded = |figures, wrong: Option<&str>| {
            let place = Place::new(None, base.path()).unwrap();
            let ended = conclude(&place, true, figures, |_: &Vec<u8>| wrong.map(str::to_owned));
            (ended.map_err(|error| error.to_string()), place.path().exists())
        };
        let failed = |error: fn(String) -> DemoError| Err(error("why".to_owned()));
        assert_eq!(concluded(Ok(vec![1]), None), (Ok(vec![1]), false));
        assert_eq!(concluded(Ok(vec![1]), Some("two failed")), (Err("two failed".to_owned()), true));
        assert_eq!(concluded(failed(DemoError::Wrong), None), (Err("why".to_owned()), true));
        assert_eq!(concluded(failed(DemoError::Unfit), None), (Err("why".to_owned()), false));
    }
}
