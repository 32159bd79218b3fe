//! `windvane function`: what the node does at all.

use serde::Serialize;
use windvane::functions::Function;

use super::Answer;
use super::failure::Failure;
use super::place::Place;
use super::terminal::table;

/// What to do with functions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum FunctionCommand {
    /// List the functions, and the partners that are suspended
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Switch a function off: every call for it is refused within moments
    Off {
        /// verification, batches, screening, scoring or training
        function: Function,
        #[command(flatten)]
        place: Place,
    },
    /// Switch a function on again
    On {
        /// verification, batches, screening, scoring or training
        function: Function,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Serialize)]
struct Listing {
    functions: Vec<FunctionView>,
    suspended: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FunctionView {
    function: &'static str,
    on: bool,
}

impl FunctionCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::List { place, json } => list(&place, json),
            Self::Off { function, place } => {
                place.admin()?.switch(function, false)?;
                Ok(Answer::text(format!("{function} is off; calls are refused with {}", function.off_code())))
            }
            Self::On { function, place } => {
                place.admin()?.switch(function, true)?;
                Ok(Answer::text(format!("{function} is on")))
            }
        }
    }
}

fn list(place: &Place, json: bool) -> Result<Answer, Failure> {
    let functions = place.admin()?.functions()?;
    let view = |function: Function| FunctionView { function: function.as_str(), on: functions.has(function) };
    let (_, suspended) = functions.off_now();
    let listing = Listing { functions: Function::ALL.map(view).into(), suspended };
    Ok(Answer::either(json, &listing, |listing| {
        let function = |v: &FunctionView| [v.function.to_owned(), if v.on { "on" } else { "off" }.to_owned()];
        let partner = |party: &String| [format!("partner {party}"), "suspended".to_owned()];
        let rows = listing.functions.iter().map(function).chain(listing.suspended.iter().map(partner));
        table(["WHAT", "STATE"], rows)
    }))
}
