//! The `windvane` program: one binary for every party. What it does is in the library; this is its command
//! line.

mod cli;

use std::process::ExitCode;

use cli::Terminal;
use mimalloc::MiMalloc;

/// A verification allocates some thousand small things and a set intersection large ones again and again: the
/// system's allocator took a tenth of the one's time and gives the other's memory back too soon.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &mut Terminal::standard())
}
