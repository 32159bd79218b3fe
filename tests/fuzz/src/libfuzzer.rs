//! The targets under libFuzzer, which coverage guides: `.ci/fuzz` builds and runs it. The environment's
//! `WINDVANE_FUZZ_TARGET` names the target.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use windvane_fuzz::{Target, limit};

static TARGET: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var("WINDVANE_FUZZ_TARGET").expect("WINDVANE_FUZZ_TARGET names a target");
    Target::find(&name).expect("a target of this name")
}

fuzz_target!(|input: &[u8]| limit::run(TARGET.get_or_init(chosen), input));
