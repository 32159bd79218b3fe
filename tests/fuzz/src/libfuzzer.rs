//! The targets under libFuzzer: the environment's `WINDVANE_FUZZ_TARGET` names one.

#![no_main]

use std::sync::OnceLock;

use cap::Cap;
use libfuzzer_sys::fuzz_target;
use windvane_fuzz::Target;

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

static TARGET: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var("WINDVANE_FUZZ_TARGET").expect("WINDVANE_FUZZ_TARGET names a target");
    Target::find(&name).expect("a target of this name")
}

fuzz_target!(|input: &[u8]| {
    let target = TARGET.get_or_init(chosen);
    // Coverage counters and the corpus grow by themselves: the limit counts from what is there now.
    let limit = ALLOCATOR.allocated() + target.allowance(input.len());
    ALLOCATOR.set_limit(limit).expect("the limit is above what is allocated");
    (target.run)(input);
    ALLOCATOR.set_limit(usize::MAX).expect("there is no larger limit");
});
