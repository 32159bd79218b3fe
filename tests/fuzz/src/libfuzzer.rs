//! The targets under libFuzzer, which coverage guides: `.ci/fuzz` builds and runs it.
//!
//! The environment's `WINDVANE_FUZZ_TARGET` names the target, and `WINDVANE_FUZZ_SEEDS` a folder that gets its seeds; the
//! target `list` prints the names of all.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use windvane_fuzz::{TARGETS, Target, limit, seeds};

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(init: begin(), |input: &[u8]| limit::run(TARGET.get().expect("it is chosen"), input));

#[expect(clippy::print_stdout, reason = "the list is what was asked for")]
fn begin() {
    // libFuzzer's hook ends the process at a panic that the program catches, as it does those of the Parquet library.
    drop(std::panic::take_hook());
    let name =
        std::env::var("WINDVANE_FUZZ_TARGET").expect("WINDVANE_FUZZ_TARGET names a target, or is list");
    if name == "list" {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(0);
    }
    let target = TARGET.get_or_init(|| Target::find(&name).expect("a target of this name"));
    let Some(folder) = std::env::var_os("WINDVANE_FUZZ_SEEDS") else { return };
    for (number, seed) in seeds::of(target.name).iter().enumerate() {
        let file = Path::new(&folder).join(number.to_string());
        std::fs::write(file, seed).expect("the folder of seeds can be written");
    }
}
