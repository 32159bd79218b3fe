//! What a provider signs of a training that its bank did not end, so that what it answered can be audited all the same.
//!
//! A receipt is made at the end, and a bank that wants none could ask what it likes and stay away. So a provider that
//! gives a session up signs a lapse in the receipt's place: the acceptance with the bank's request, the digests of what
//! came, and the hash over all steps that it answered. The last answer may have left without arriving, so the hash stands
//! there without it too: a bank's folder holds if it agrees with one of the two, and the question that was answered last is
//! named, so that a bank does not hide it by losing its answer.

use super::record::{StepHash, TrainAcceptance, TrainRequest, hashes, read_signed, short};
use super::step::Step;
use crate::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

/// The steps of a session that a provider answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// How many they are.
    pub count: u64,
    /// [`StepHash`] over all of them.
    pub steps: Hash,
    /// The same over all but the last; over none where there is none.
    pub before: Hash,
    /// [`Step::digest`] of the last; zero where there is none.
    pub last: Hash,
}

impl Answered {
    /// Of these steps, each with the digest of its last answer, from the hash over none.
    pub fn over<'a>(begun: StepHash, steps: impl IntoIterator<Item = (&'a Step, &'a Hash)>) -> Self {
        let (mut hash, mut before, mut count, mut last) = (begun.clone(), begun, 0, [0; 64]);
        for (step, returned) in steps {
            before = hash.clone();
            last = step.digest();
            hash.step(&last, returned);
            count += 1;
        }
        Self { count, steps: hash.finish(), before: before.finish(), last }
    }
}

/// A training that its bank did not end, as a provider signs it when it gives the session up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainLapse {
    /// The acceptance with the provider's signature, and in it the request with the bank's.
    pub acceptance: Signed<TrainAcceptance>,
    /// Protocol and version: [`super::PROTOCOL`].
    pub protocol: String,
    /// Digest of the provider's software.
    pub software: Hash,
    /// Digest of the provider's configuration.
    pub configuration: Hash,
    /// How often the session was opened.
    pub attempts: u64,
    /// [`super::record::announcements_digest`] of what the bank handed over; zero where it handed over nothing.
    pub announcements: Hash,
    /// Digest of the encrypted indicator, as it was uploaded; zero where it was not.
    pub indicator: Hash,
    /// Digest of the encrypted held-out rows, as they were uploaded; zero where they were not.
    pub held_out: Hash,
    /// By block, as far as they came, the digest of the encrypted residuals as they were uploaded.
    pub residuals: Vec<Hash>,
    /// What was answered.
    pub answered: Answered,
    /// When the provider gave the session up, milliseconds of Unix time.
    pub lapsed_at_ms: u64,
}

impl TrainLapse {
    /// The request.
    pub fn request(&self) -> &TrainRequest {
        self.acceptance.body().request.body()
    }

    /// Whether the bank had handed over what all providers announced.
    pub fn is_begun(&self) -> bool {
        self.announcements != [0; 64]
    }
}

impl Record for TrainLapse {
    const DOMAIN: &'static str = "windvane/train-lapse/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("acceptance", self.acceptance.as_bytes())
            .text("protocol", &self.protocol)
            .bytes("software", &self.software)
            .bytes("configuration", &self.configuration)
            .u64("attempts", self.attempts)
            .bytes("announcements", &self.announcements)
            .bytes("indicator", &self.indicator)
            .bytes("held out", &self.held_out)
            .list("residuals", self.residuals.iter())
            .u64("answered", self.answered.count)
            .bytes("steps", &self.answered.steps)
            .bytes("before", &self.answered.before)
            .bytes("last", &self.answered.last)
            .u64("lapsed at", self.lapsed_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let lapse = Self {
            acceptance: read_signed(r, "acceptance")?,
            protocol: short(r, "protocol")?,
            software: r.array("software")?,
            configuration: r.array("configuration")?,
            attempts: r.u64("attempts")?,
            announcements: r.array("announcements")?,
            indicator: r.array("indicator")?,
            held_out: r.array("held out")?,
            residuals: hashes(r, "residuals")?,
            answered: Answered {
                count: r.u64("answered")?,
                steps: r.array("steps")?,
                before: r.array("before")?,
                last: r.array("last")?,
            },
            lapsed_at_ms: r.u64("lapsed at")?,
        };
        let form = |label, expected| TranscriptError::Form { label, expected };
        let (blocks, answered) = (lapse.request().charter.hyperparameters.blocks, &lapse.answered);
        if lapse.residuals.len() > blocks.into() {
            return Err(form("residuals", "at most one for each block"));
        }
        if answered.count > 0 && lapse.residuals.is_empty() {
            return Err(form("answered", "nothing before residuals came"));
        }
        if (answered.count == 0) != (answered.last == [0; 64] && answered.before == answered.steps) {
            return Err(form("last", "the last step that was answered, if any was"));
        }
        if !lapse.is_begun() && !lapse.residuals.is_empty() {
            return Err(form("announcements", "those that came before residuals"));
        }
        Ok(lapse)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{acceptance, announcements};
    use super::super::step::Place;
    use super::*;
    use crate::limits::{MAX_ENTRY_BYTES, MAX_TRAIN_RECEIPT_BYTES};
    use crate::train::charter::tests::key;

    fn steps() -> Vec<(Step, Hash)> {
        let grow = |tree| Step::Grow { place: Place { block: 0, tree, level: 0 }, decisions: Vec::new() };
        vec![(grow(0), [1; 64]), (grow(1), [2; 64])]
    }

    fn answered(count: usize) -> Answered {
        let steps = steps();
        let begun = StepHash::new(&[7; 64], &announcements());
        Answered::over(begun, steps[..count].iter().map(|(step, returned)| (step, returned)))
    }

    fn lapse() -> TrainLapse {
        TrainLapse {
            acceptance: Signed::sign(acceptance(), &key(1)),
            protocol: super::super::PROTOCOL.into(),
            software: [1; 64],
            configuration: [2; 64],
            attempts: 2,
            announcements: [3; 64],
            indicator: [4; 64],
            held_out: [0; 64],
            residuals: vec![[5; 64]],
            answered: answered(2),
            lapsed_at_ms: 9,
        }
    }

    #[test]
    fn a_lapse_survives_its_encoding_and_refuses_every_truncation() {
        let bytes = lapse().encode().into_bytes();
        assert_eq!(TrainLapse::decode(&bytes), Ok(lapse()));
        assert!((0..bytes.len()).all(|end| TrainLapse::decode(&bytes[..end]).is_err()));
        let signed = Signed::sign(lapse(), &key(1));
        assert!(signed.as_bytes().len() <= MAX_TRAIN_RECEIPT_BYTES.min(MAX_ENTRY_BYTES));
    }

    #[test]
    fn a_lapse_of_nothing_and_one_of_everything_hold_and_contradictions_do_not() {
        let decode = |lapse: TrainLapse| TrainLapse::decode(lapse.encode().as_bytes());
        let nothing = TrainLapse {
            announcements: [0; 64],
            indicator: [0; 64],
            residuals: vec![],
            answered: answered(0),
            ..lapse()
        };
        assert!(decode(nothing.clone()).is_ok());
        assert!(decode(TrainLapse { residuals: vec![[5; 64]; 2], ..lapse() }).is_ok());
        for wrong in [
            TrainLapse { residuals: vec![[5; 64]; 3], ..lapse() },
            TrainLapse { residuals: vec![], ..lapse() },
            TrainLapse { announcements: [0; 64], ..lapse() },
            TrainLapse { answered: Answered { last: [0; 64], count: 0, ..answered(2) }, ..lapse() },
            TrainLapse { answered: Answered { count: 0, ..answered(2) }, ..lapse() },
            TrainLapse { answered: Answered { count: 1, ..answered(0) }, ..lapse() },
            TrainLapse { answered: answered(2), ..nothing },
        ] {
            assert!(decode(wrong).is_err());
        }
    }

    #[test]
    fn what_was_answered_is_told_with_the_last_step_and_without() {
        let (none, one, two) = (answered(0), answered(1), answered(2));
        assert_eq!((none.count, none.last, none.before), (0, [0; 64], none.steps));
        assert_eq!((one.count, one.before), (1, none.steps));
        assert_eq!((two.count, two.before), (2, one.steps));
        assert_eq!(two.last, steps()[1].0.digest());
        assert_ne!(two.steps, one.steps);
    }
}
