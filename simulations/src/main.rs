//! The command line of the simulations.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use windvane_simulations::faults::command::{FaultsArgs, faults};

/// Simulations of Windvane: one seed in, one table out.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    simulation: Simulation,
}

#[derive(Debug, Subcommand)]
enum Simulation {
    /// Real nodes under virtual time, on a network, disks and clocks that fail; what must always hold is checked.
    ///
    /// Ends with 1 when something does not hold, and then says with which seed it is found again.
    Faults(FaultsArgs),
}

fn main() -> ExitCode {
    match Cli::parse().simulation {
        Simulation::Faults(args) => faults(&args),
    }
}
