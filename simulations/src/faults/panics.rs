//! Panics while a seed runs: whoever panics ends, and what is said to its callers looks like a fault of the network.

use std::cell::RefCell;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;

thread_local! {
    /// Of which seed this thread is.
    static OF: RefCell<Option<Panics>> = const { RefCell::new(None) };
}

/// The seeds that run in this process.
static RUNNING: Mutex<Vec<Panics>> = Mutex::new(Vec::new());

/// What panicked while a seed ran.
#[derive(Debug, Clone, Default)]
pub struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    /// Notes what panics from now on, which is printed as before. A thread of the seed is this one, and those of the
    /// runtimes that it makes ([`inherited`]). Nodes have threads of their own, of which nobody knows the seed: their
    /// panics count for every seed that runs.
    #[must_use]
    pub fn watch() -> Watch {
        static HOOKED: Once = Once::new();
        HOOKED.call_once(|| {
            let before = take_hook();
            set_hook(Box::new(move |info| {
                note(info);
                before(info);
            }));
        });
        let panics = Self::default();
        lock(&RUNNING).push(panics.clone());
        OF.set(Some(panics.clone()));
        Watch(panics)
    }

    /// What panicked since it was asked for last.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0))
    }
}

/// Panics are noted until this is dropped, on the thread that began it.
#[derive(Debug)]
pub struct Watch(Panics);

impl Watch {
    /// What is noted.
    pub const fn panics(&self) -> &Panics {
        &self.0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        OF.set(None);
        lock(&RUNNING).retain(|panics| !Arc::ptr_eq(&panics.0, &self.0.0));
    }
}

/// What makes a thread one of the seed of which this thread is, if it is of one.
pub fn inherited() -> impl Fn() + Send + Sync + 'static {
    let of = OF.with_borrow(Clone::clone);
    move || OF.set(of.clone())
}

fn note(info: &PanicHookInfo<'_>) {
    let text = info.to_string().replace('\n', " ");
    let of = OF.try_with(|of| of.borrow().clone()).ok().flatten();
    match of {
        Some(panics) => lock(&panics.0).push(text),
        None if may_be_a_node_s(thread::current().name()) => {
            lock(&RUNNING).iter().for_each(|panics| lock(&panics.0).push(text.clone()));
        }
        None => {}
    }
}

/// Whether a thread that is of no seed can be a node's own. Those of tests have the tests' paths as names.
fn may_be_a_node_s(name: Option<&str>) -> bool {
    !name.is_some_and(|name| name == "main" || name.contains("::"))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::time::virtual_time;
    use super::*;

    #[test]
    fn panics_of_a_seeds_tasks_and_threads_are_noted_and_those_of_others_are_not() {
        let watch = Panics::watch();
        virtual_time(&Arc::default()).unwrap().block_on(async {
            assert!(tokio::spawn(async { panic!("in a task") }).await.unwrap_err().is_panic());
            assert!(tokio::task::spawn_blocking(|| panic!("beside it")).await.unwrap_err().is_panic());
            let stopped = tokio::spawn(std::future::pending::<()>());
            stopped.abort();
            assert!(stopped.await.unwrap_err().is_cancelled());
        });
        let another = thread::Builder::new().name("another::test".into());
        assert!(another.spawn(|| panic!("elsewhere")).unwrap().join().is_err());
        let told = watch.panics().take();
        assert!(
            told.len() == 2 && told[0].contains("in a task") && told[1].contains("beside it"),
            "{told:?}"
        );
        assert!(watch.panics().take().is_empty());
    }

    #[test]
    fn threads_without_a_seed_are_nodes_unless_they_are_of_tests() {
        assert!(may_be_a_node_s(None) && may_be_a_node_s(Some("log-writer")));
        assert!(!may_be_a_node_s(Some("main")) && !may_be_a_node_s(Some("faults::tests::one")));
    }
}
