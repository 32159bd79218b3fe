//! What the parties of a training have seen alike so far, as one hash, to which every mask is bound: providers that
//! were told different things make masks that do not cancel, and what the bank adds up then decrypts to nothing.

use super::elgamal::Statistic;
use super::record::{TrainAnnouncement, announcements_digest};
use super::step::Step;
use crate::transcript::{Hash, Signed, Transcript};

/// A running hash: of the charter and all announcements, then of what is uploaded and, within a unit, of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context(Hash);

impl Context {
    /// Of a training whose announcements everybody has.
    pub fn new(charter: &Hash, announcements: &[Signed<TrainAnnouncement>]) -> Self {
        let begun = Transcript::new("windvane/train-context/v1").bytes("charter", charter);
        Self(begun.bytes("announcements", &announcements_digest(announcements)).digest())
    }

    /// After an upload, which is the same for all providers.
    #[must_use]
    pub fn uploaded(self, statistic: Statistic, digest: &Hash) -> Self {
        let uploaded = Transcript::new("windvane/train-context-uploaded/v1").bytes("before", &self.0);
        Self(uploaded.u64("statistic", statistic.number()).bytes("digest", digest).digest())
    }

    /// After a step, which is the same for all members of a unit.
    #[must_use]
    pub fn stepped(self, step: &Step) -> Self {
        let stepped = Transcript::new("windvane/train-context-step/v1").bytes("before", &self.0);
        Self(stepped.bytes("step", &step.digest()).digest())
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &Hash {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::Place;
    use super::*;

    #[test]
    fn whatever_differs_makes_another_context() {
        let begun = Context::new(&[1; 64], &[]);
        let [indicator, residual] = [Statistic::Indicator, Statistic::Residual { block: 0 }];
        let sum = |agreed| Step::Sum { place: Place::first(0), agreed };
        let all = [
            begun,
            Context::new(&[2; 64], &[]),
            begun.uploaded(indicator, &[3; 64]),
            begun.uploaded(indicator, &[4; 64]),
            begun.uploaded(residual, &[3; 64]),
            begun.uploaded(indicator, &[3; 64]).uploaded(residual, &[3; 64]),
            begun.uploaded(residual, &[3; 64]).uploaded(indicator, &[3; 64]),
            begun.stepped(&sum(vec![])),
            begun.stepped(&Step::Grow { place: Place::first(0), decisions: vec![] }),
            begun.stepped(&sum(vec![])).stepped(&sum(vec![])),
        ];
        assert!((0..all.len()).all(|i| all[..i].iter().all(|other| *other != all[i])));
    }
}
