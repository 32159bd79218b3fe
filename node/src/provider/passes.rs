//! Small sessions that wait together are evaluated together.
//!
//! A single call leaves lanes of the processor empty. So one pass runs at a time; what arrives meanwhile waits for its
//! end, and the next pass takes all of it, up to a limit. There is no timer: a session that finds nothing running
//! starts at once, and one that has to wait waits for passes of [`PASS_CUSTOMERS`] customers, each well under a
//! millisecond a core, of which there is more than one only when more is waiting than one pass takes. Then requesters
//! take turns, so that one with many sessions does not hold up another's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use windvane_protocols::lookup::provider::{
    Checked, Due, EpochKeys, Evaluated, QuestionError, evaluate_each,
};
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Member;

use super::Published;
use crate::error::Refusal;

/// Customers of a pass: enough to fill the lanes, few enough that nobody waits long for its end.
const PASS_CUSTOMERS: u64 = 32;

/// What can share a pass.
pub(super) trait Shareable: std::fmt::Debug + Sized + Send + 'static {
    /// What becomes of it.
    type Outcome: std::fmt::Debug + Send + 'static;

    fn customers(&self) -> u64;

    /// Who asks: requesters take turns.
    fn requester(&self) -> &PartyId;

    /// An outcome for each, in order.
    fn pass(together: Vec<Self>) -> Vec<Self::Outcome>;
}

/// A session that was admitted, with what it is answered by.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub checked: Checked,
    /// None where nothing is looked up.
    pub published: Option<Arc<Published>>,
    /// Who answers for a score, or the code of why nobody does.
    pub member: Result<Arc<Member>, &'static str>,
}

impl Shareable for Admitted {
    type Outcome = Result<Evaluated, QuestionError>;

    fn customers(&self) -> u64 {
        self.checked.request().body().customers
    }

    fn requester(&self) -> &PartyId {
        &self.checked.request().body().requester
    }

    fn pass(together: Vec<Self>) -> Vec<Self::Outcome> {
        let none = EpochKeys::new();
        let (checked, answering): (Vec<_>, Vec<_>) = together
            .into_iter()
            .map(|session| (session.checked, (session.published, session.member)))
            .unzip();
        let due = checked.into_iter().zip(&answering).map(|(checked, (published, member))| Due {
            checked,
            keys: published.as_ref().map_or(&none, |published| &published.keys),
            member: member.as_deref().map_err(|code| *code),
        });
        evaluate_each(due.collect(), &mut rand::rng())
    }
}

/// Who waits for the next pass.
#[derive(Debug)]
pub(super) struct Passes<S: Shareable>(Arc<Mutex<State<S>>>);

#[derive(Debug)]
struct State<S: Shareable> {
    running: bool,
    waiting: VecDeque<Waiting<S>>,
}

#[derive(Debug)]
struct Waiting<S: Shareable> {
    shares: S,
    reply: oneshot::Sender<S::Outcome>,
}

/// Whoever finds nothing running, with its turn.
type First<S> = (Turn<S>, Waiting<S>);

impl<S: Shareable> Default for Passes<S> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { running: false, waiting: VecDeque::new() })))
    }
}

impl<S: Shareable> Passes<S> {
    /// What becomes of one, with others where it has to wait.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when its pass did not end.
    pub(super) async fn share(&self, shares: S) -> Result<S::Outcome, Refusal> {
        let (reply, outcome) = oneshot::channel();
        if let Some((turn, alone)) = self.enter(Waiting { shares, reply }) {
            turn.run(vec![alone]);
        }
        outcome.await.map_err(|_| Refusal::Internal)
    }

    /// How many wait for the next pass.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.0).waiting.len()
    }

    /// The turn of whoever finds nothing running.
    fn enter(&self, arrived: Waiting<S>) -> Option<First<S>> {
        let mut state = lock(&self.0);
        if state.running {
            state.waiting.push_back(arrived);
            return None;
        }
        state.running = true;
        Some((Turn(Arc::clone(&self.0)), arrived))
    }
}

/// The right to run the one pass. When it ends, however it does, those that wait get the next.
#[derive(Debug)]
struct Turn<S: Shareable>(Arc<Mutex<State<S>>>);

impl<S: Shareable> Turn<S> {
    fn run(self, waiting: Vec<Waiting<S>>) {
        let (together, replies): (Vec<_>, Vec<_>) = waiting.into_iter().map(|w| (w.shares, w.reply)).unzip();
        for (reply, outcome) in replies.into_iter().zip(S::pass(together)) {
            // Who hung up meanwhile needs no answer.
            let _ = reply.send(outcome);
        }
    }
}

impl<S: Shareable> Drop for Turn<S> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        // Whoever hung up meanwhile is not computed for.
        state.waiting.retain(|waiting| !waiting.reply.is_closed());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !state.waiting.is_empty() => {
                let next = next_pass(&mut state.waiting);
                // A runtime that is shutting down drops the task at once, and with it the next turn.
                drop(state);
                let turn = Self(Arc::clone(&self.0));
                runtime.spawn(async move { turn.run(next) });
            }
            // Nobody waits; nor does anybody where the node has no runtime any more.
            _ => state.running = false,
        }
    }
}

/// As many as one pass takes, and one in any case: each requester's first, then each one's second, and so on.
fn next_pass<S: Shareable>(waiting: &mut VecDeque<Waiting<S>>) -> Vec<Waiting<S>> {
    let mut rounds: HashMap<&PartyId, usize> = HashMap::new();
    let in_turn = waiting.iter().enumerate().map(|(place, waiting)| {
        let round = rounds.entry(waiting.shares.requester()).or_default();
        *round += 1;
        (*round, place)
    });
    let mut order: Vec<_> = in_turn.collect();
    order.sort_unstable();
    let mut customers = 0;
    let fits = |&&(_, place): &&(usize, usize)| {
        customers += waiting[place].shares.customers();
        customers <= PASS_CUSTOMERS
    };
    let count = order.iter().take_while(fits).count().max(1);
    let mut chosen: Vec<_> = order.into_iter().take(count).map(|(_, place)| place).collect();
    chosen.sort_unstable();
    let (next, rest): (Vec<_>, Vec<_>) =
        waiting.drain(..).enumerate().partition(|(place, _)| chosen.binary_search(place).is_ok());
    waiting.extend(rest.into_iter().map(|(_, waiting)| waiting));
    next.into_iter().map(|(_, waiting)| waiting).collect()
}

fn lock<S: Shareable>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells how many customers were in its pass; one with none breaks it.
    #[derive(Debug)]
    struct Counted(u64, PartyId);

    fn counted(customers: u64, requester: &str) -> Counted {
        Counted(customers, requester.parse().unwrap())
    }

    impl Shareable for Counted {
        type Outcome = u64;

        fn customers(&self) -> u64 {
            self.0
        }

        fn requester(&self) -> &PartyId {
            &self.1
        }

        fn pass(together: Vec<Self>) -> Vec<u64> {
            assert!(together.iter().all(|one| one.0 > 0), "one without customers");
            let sum = together.iter().map(|one| one.0).sum();
            vec![sum; together.len()]
        }
    }

    type Arrived = oneshot::Receiver<u64>;

    fn arrive(passes: &Passes<Counted>, customers: u64) -> (Option<First<Counted>>, Arrived) {
        let (reply, outcome) = oneshot::channel();
        (passes.enter(Waiting { shares: counted(customers, "bank"), reply }), outcome)
    }

    #[test]
    fn a_requester_with_many_sessions_does_not_hold_up_another() {
        let waiting = |requester| Waiting { shares: counted(8, requester), reply: oneshot::channel().0 };
        let mut queue: VecDeque<_> = (0..9).map(|_| waiting("greedy")).collect();
        queue.extend([waiting("modest"), waiting("other")]);
        let who = |pass: Vec<Waiting<Counted>>| -> Vec<String> {
            pass.into_iter().map(|waiting| waiting.shares.1.to_string()).collect()
        };
        assert_eq!(who(next_pass(&mut queue)), ["greedy", "greedy", "modest", "other"]);
        assert_eq!(who(next_pass(&mut queue)), ["greedy"; 4]);
        assert_eq!(queue.len(), 3);
    }

    #[tokio::test]
    async fn what_arrives_during_a_pass_shares_the_next_up_to_its_limit() {
        let passes = Passes::default();
        let (first, outcome) = arrive(&passes, 8);
        let (turn, alone) = first.expect("nothing is running");
        let waiting = [8, 16, 8, 1, 40, 2].map(|customers| arrive(&passes, customers));
        assert!(waiting.iter().all(|(turn, _)| turn.is_none()), "one pass at a time");
        turn.run(vec![alone]);
        assert_eq!(outcome.await, Ok(8));
        let mut sums = Vec::new();
        for (_, outcome) in waiting {
            sums.push(outcome.await.unwrap());
        }
        assert_eq!(sums, [32, 32, 32, 1, 40, 2]);
        assert_eq!(passes.share(counted(3, "bank")).await.unwrap(), 3, "nothing is left running");
    }

    #[tokio::test]
    async fn a_pass_that_breaks_fails_its_own_and_nobody_else() {
        let passes = Passes::default();
        let (first, outcome) = arrive(&passes, 5);
        let (turn, alone) = first.expect("nothing is running");
        let (_, broken) = arrive(&passes, 0);
        let (_, with_it) = arrive(&passes, 32);
        let (_, after) = arrive(&passes, 1);
        turn.run(vec![alone]);
        assert_eq!(outcome.await, Ok(5));
        assert!(broken.await.is_err() && with_it.await.is_err());
        assert_eq!(after.await, Ok(1));
        assert_eq!(passes.share(counted(3, "bank")).await.unwrap(), 3);
    }
}
