//! A provider of a training as an auditor sees it: its receipt, and what the bank keeps of its answers.

use windvane_protocols::party::PartyId;
use windvane_protocols::train::record::{StepHash, TrainAnnouncement, TrainReceipt};
use windvane_protocols::train::step::Step;
use windvane_protocols::transcript::{Hash, Signed};

use crate::train::run::answers::{Answer, Answers};
use crate::train::run::{Document, TrainError, TrainFolder};

/// A provider, with its kept answers in the order in which it was asked.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) party: PartyId,
    pub(super) receipt: Signed<TrainReceipt>,
    answers: Answers,
    /// How many of them were looked at.
    at: usize,
}

impl Member {
    /// Opens what the bank keeps of a provider; the receipt that is audited is not the kept one.
    pub(super) fn open(
        folder: &TrainFolder,
        party: &PartyId,
        audited: &Signed<TrainReceipt>,
    ) -> Result<Self, TrainError> {
        let receipt = if audited.body().request().provider == *party {
            audited.clone()
        } else {
            let missing =
                TrainError::Folder { path: folder.of(party), what: "its receipt is not there".into() };
            folder.read::<TrainReceipt>(party, Document::Receipt)?.ok_or(missing)?
        };
        let answers = Answers::open_kept(&folder.of(party))?;
        Ok(Self { party: party.clone(), receipt, answers, at: 0 })
    }

    pub(super) fn announcement(&self) -> &Signed<TrainAnnouncement> {
        &self.receipt.body().acceptance.body().announcement
    }

    /// The next answer, if it is that of this step.
    pub(super) fn answer(&mut self, step: &Step) -> Result<Option<Answer>, TrainError> {
        if self.answers.steps().nth(self.at) != Some(step) {
            return Ok(None);
        }
        self.at += 1;
        self.answers.find(step)
    }

    /// Whether it was asked nothing beyond what was looked at.
    pub(super) fn is_through(&self) -> bool {
        self.answers.steps().count() == self.at
    }

    /// A block's contributions, to whichever question.
    pub(super) fn contributions(&mut self, block: u16) -> Result<Option<Answer>, TrainError> {
        self.answers.contributions(block)
    }

    /// The hash over all steps, and the digests of contributions by block.
    pub(super) fn hashes(
        &mut self,
        announcements: &[Signed<TrainAnnouncement>],
    ) -> Result<(Hash, Vec<Hash>), TrainError> {
        let acceptance = self.receipt.body().acceptance.digest();
        self.answers.hashes(StepHash::new(&acceptance, announcements))
    }
}
