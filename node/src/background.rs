//! Long work of commands, which must not take the processors from the calls of a node beside it.

use rayon::ThreadPoolBuilder;

/// What the threads of such work add to their niceness: a waiting call goes first, and idle processors are used in full.
const NICENESS: i32 = 19;

/// Runs work, and what it hands to several threads, at low priority. Blocks.
///
/// Sessions and services share the processors among each other whatever the priorities within them: on Linux this helps
/// where the node and the command are in the same one.
pub(crate) fn at_low_priority<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let quiet = |_| {
        // Where the system refuses, work and calls are equals.
        let _ = rustix::process::nice(NICENESS);
    };
    match ThreadPoolBuilder::new().start_handler(quiet).build() {
        // Threads that these start are as nice as they are.
        Ok(pool) => pool.install(work),
        Err(error) => {
            tracing::warn!(%error, "no threads for the background, so this runs at the usual priority");
            work()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn work_and_its_threads_are_nice_and_others_stay_as_they_were() {
        let before = niceness();
        let threads = || std::thread::scope(|scope| scope.spawn(niceness).join().unwrap());
        let (inside, (left, right)) =
            at_low_priority(|| (niceness(), rayon::join(threads, || rayon::join(niceness, niceness).1)));
        let expected = (before + NICENESS).min(19);
        assert_eq!([inside, left, right], [expected; 3]);
        assert_eq!(niceness(), before);
    }
}
