//! The `windvane` program: one binary for every party. What it does is in the library; this is its command
//! line.

mod cli;

use std::process::ExitCode;

use cli::Terminal;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &mut Terminal::standard())
}
