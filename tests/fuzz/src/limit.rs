//! What a target may allocate: more fails, and ends the process.

use std::sync::{Mutex, Once, PoisonError};

use cap::Cap;

use crate::Target;

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

/// Runs a target within its allowance.
pub fn run(target: &Target, input: &[u8]) {
    within(target.allowance(input.len()), || (target.run)(input));
}

/// Runs `work`, in which what this process allocates further than `bytes` fails. One at a time: the limit is the process's.
fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    static ONE: Mutex<()> = Mutex::new(());
    static HOOK: Once = Once::new();
    HOOK.call_once(tell_panics_without_limit);
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    further(bytes, work)
}

/// The same for a part of a target, or where the target has less left.
pub(crate) fn further<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.limit();
    let limit = before.min(ALLOCATOR.allocated() + bytes);
    ALLOCATOR.set_limit(limit).expect("the limit is above what is allocated");
    let result = work();
    ALLOCATOR.set_limit(before).expect("what is allocated was below it before");
    result
}

/// A backtrace takes more memory than a target may.
fn tell_panics_without_limit() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        ALLOCATOR.set_limit(usize::MAX).expect("there is no larger limit");
        tell(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGETS;

    #[test]
    fn an_allocation_beyond_the_allowance_fails() {
        let allowance = TARGETS[0].allowance(0);
        let large = within(allowance, || Vec::<u8>::new().try_reserve_exact(2 * allowance));
        assert!(large.is_err());
    }
}
