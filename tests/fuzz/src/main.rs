//! Collects the seeds of the fuzz targets.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windvane_fuzz::seeds;

/// Takes seeds from the directory of a demonstration (`windvane demo --dir`)
#[derive(Debug, Parser)]
struct Cli {
    /// The demonstration's directory
    from: PathBuf,
    /// The folder of seeds
    #[arg(long, default_value = "tests/fuzz/seeds")]
    into: PathBuf,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the count is what this program prints")]
fn main() -> ExitCode {
    let Cli { from, into } = Cli::parse();
    match seeds::collect(&from, &into) {
        Ok(count) => {
            println!("{count} seeds");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
