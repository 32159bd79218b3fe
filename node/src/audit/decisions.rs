//! The bank's decisions: each names sessions of the log, and together they open every request's commitment.

use std::collections::{BTreeMap, HashMap};

use windvane_protocols::audit::entry::{Asked, Decided, Entry, Event};
use windvane_protocols::lookup::client::commitment_root;
use windvane_protocols::party::SessionId;
use windvane_protocols::transcript::{Hash, Record as _};

use super::code;
use super::report::{Fault, Finding, counted};
use super::sessions::{Session, Sessions};

/// A decision follows its answers within the longest deadline that a node can be given (60 s); after twice
/// that an answered customer without a decision is a failure, and before it a log that is being written.
const SETTLED_AFTER_MS: u64 = 120_000;

/// All decisions of a log.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// Digest of every decision, so that one that a killed node logged once more is told from another.
    decided: HashMap<[u8; 16], Hash>,
    leaves: HashMap<SessionId, Leaves>,
}

/// The commitments of one session.
#[derive(Debug)]
enum Leaves {
    /// By the customer's index.
    Collecting(BTreeMap<u64, [u8; 64]>),
    /// All were there and were compared.
    Complete,
}

impl Decisions {
    /// Takes a decision.
    pub(super) fn decide(&mut self, decided: &Decided, sessions: &Sessions) -> Vec<Fault> {
        let digest = Entry::new(0, Event::Decided(decided.clone())).encode().digest();
        match self.decided.insert(decided.verification, digest) {
            Some(first) if first == digest => return Vec::new(),
            Some(_) => {
                let text = "an entry before this one decides the same verification otherwise";
                return vec![Fault::new(code::DECISION_REPEATED, text)];
            }
            None => {}
        }
        let faults = decided.asked.iter().filter_map(|asked| {
            let session = sessions.find(&asked.session).filter(|session| session.requested.is_some());
            let fault = match session {
                Some(session) => self.collect(asked, session),
                None => {
                    Err(Fault::new(code::SESSION_UNKNOWN, "no entry before this one requests the session"))
                }
            };
            fault.err().map(|fault| fault.of(asked.session))
        });
        faults.collect()
    }

    fn collect(&mut self, asked: &Asked, session: &Session) -> Result<(), Fault> {
        let repeated = |text: &str| {
            Err(Fault::new(
                code::CUSTOMER_REPEATED,
                format!("customer {} of the session {text}", asked.index),
            ))
        };
        if asked.index >= session.customers {
            return repeated("was never asked about");
        }
        let leaves = self.leaves.entry(asked.session).or_insert_with(|| Leaves::Collecting(BTreeMap::new()));
        let Leaves::Collecting(found) = leaves else { return repeated("is decided twice") };
        if found.insert(asked.index, asked.leaf).is_some() {
            return repeated("is decided twice");
        }
        if (found.len() as u64) < session.customers {
            return Ok(());
        }
        let all: Vec<_> = found.values().copied().collect();
        *leaves = Leaves::Complete;
        if commitment_root(&all) == session.commitments {
            Ok(())
        } else {
            let text = "the decisions' commitments do not give the root that the request was signed over";
            Err(Fault::new(code::COMMITMENT_DIFFERS, text))
        }
    }

    /// Answered customers without a decision: failures, and how many more may still be decided.
    pub(super) fn missing(&self, sessions: &Sessions, last_ms: u64) -> (Vec<Finding>, u64) {
        let (mut findings, mut pending) = (Vec::new(), 0);
        for (id, session) in sessions.iter() {
            let (Some(_), Some(answered)) = (session.requested, session.answered) else { continue };
            let missing = session.customers - self.found(id, session);
            if missing > 0 && answered.at_ms.saturating_add(SETTLED_AFTER_MS) < last_ms {
                let text = format!("nothing was decided about {} of it", counted(missing, "customer"));
                findings.push(Fault::new(code::DECISION_MISSING, text).of(*id).at(answered.entry));
            } else {
                pending += missing;
            }
        }
        (findings, pending)
    }

    fn found(&self, id: &SessionId, session: &Session) -> u64 {
        match self.leaves.get(id) {
            Some(Leaves::Complete) => session.customers,
            Some(Leaves::Collecting(found)) => found.len() as u64,
            None => 0,
        }
    }
}
