//! A provider of a training as an auditor sees it: what it signed, and what the bank keeps of its answers.

use windvane_protocols::party::PartyId;
use windvane_protocols::train::lapse::Answered;
use windvane_protocols::train::record::{StepHash, TrainAcceptance, TrainAnnouncement, TrainRequest};
use windvane_protocols::train::step::Step;
use windvane_protocols::transcript::{Hash, Signed};

use super::evidence::Evidence;
use crate::train::run::answers::{Answer, Answers};
use crate::train::run::{Document, TrainError, TrainFolder};

/// A provider, with its kept answers in the order in which it was asked.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) party: PartyId,
    /// Its receipt or lapse; none where the auditor has neither.
    pub(super) evidence: Option<Evidence>,
    /// Whether it signed something else of the training too.
    pub(super) contradicts_itself: bool,
    /// The request that the bank keeps, which is the last one that it signed for this provider.
    request: Option<Signed<TrainRequest>>,
    /// The acceptance in the evidence, or else the bank's; none where nothing was accepted.
    acceptance: Option<Signed<TrainAcceptance>>,
    answers: Option<Answers>,
    /// How many of them were looked at.
    at: usize,
}

/// What a provider was asked where a step is due.
#[derive(Debug)]
pub(super) enum Next {
    /// The step, and this was its answer.
    Answered(Answer),
    /// Something else.
    Otherwise,
    /// Nothing that the auditor could see: the training was not gone on with, or the answer did not arrive.
    Nothing,
}

impl Member {
    /// Opens what the bank keeps of a provider. What the auditor brought along comes before a receipt that is kept; a
    /// session that the bank replaced before it knew that it was accepted says nothing.
    pub(super) fn open(
        folder: &TrainFolder,
        party: &PartyId,
        brought: &[Evidence],
    ) -> Result<Self, TrainError> {
        let request = folder.read::<TrainRequest>(party, Document::Request)?;
        let kept = folder.read(party, Document::Receipt)?.map(Evidence::Receipt);
        let brought = brought.iter().filter(|evidence| evidence.request().provider == *party).cloned();
        let mut signed = brought.chain(kept).filter(|evidence| !is_replaced(evidence, request.as_ref()));
        let evidence = signed.next();
        let contradicts_itself = signed.any(|other| Some(&other) != evidence.as_ref());
        let acceptance = match &evidence {
            Some(evidence) => Some(evidence.acceptance().clone()),
            None => folder.read(party, Document::Acceptance)?,
        };
        let answers = Answers::open_kept(&folder.of(party))?;
        Ok(Self { party: party.clone(), evidence, contradicts_itself, request, acceptance, answers, at: 0 })
    }

    /// Whether what it signed is of another session than the bank's.
    pub(super) fn is_of_another_session(&self) -> bool {
        let differs =
            |evidence: &Evidence| self.request.as_ref() != Some(&evidence.acceptance().body().request);
        self.evidence.as_ref().is_some_and(differs)
    }

    pub(super) fn announcement(&self) -> Option<&Signed<TrainAnnouncement>> {
        Some(&self.acceptance.as_ref()?.body().announcement)
    }

    /// How many bins each of its features has, if it accepted the training.
    pub(super) fn bins(&self) -> Option<&[u8]> {
        Some(&self.acceptance.as_ref()?.body().bins)
    }

    /// What is kept where this step is due.
    pub(super) fn next(&mut self, step: &Step) -> Result<Next, TrainError> {
        let kept = self.answers.as_ref().and_then(|answers| answers.steps().nth(self.at));
        match kept.map(|kept| kept == step) {
            Some(true) => self.at += 1,
            Some(false) => return Ok(Next::Otherwise),
            None if self.may_end_before(step) => return Ok(Next::Nothing),
            None => return Ok(Next::Otherwise),
        }
        let answer = self.answers.as_mut().map_or(Ok(None), |answers| answers.find(step))?;
        Ok(answer.map_or(Next::Otherwise, Next::Answered))
    }

    /// Whether no answer may be kept from here on, where this step is due. A provider that answered one more step says
    /// which it was.
    fn may_end_before(&self, step: &Step) -> bool {
        match &self.evidence {
            Some(Evidence::Receipt(_)) => false,
            Some(Evidence::Lapse(lapse)) => {
                let Answered { count, last, .. } = lapse.body().answered;
                count <= self.at as u64 || last == step.digest()
            }
            None => true,
        }
    }

    /// How many answers are kept.
    fn kept(&self) -> usize {
        self.answers.as_ref().map_or(0, |answers| answers.steps().count())
    }

    /// Whether it was asked more than what was looked at; of a last question the answer may be lost.
    pub(super) fn was_asked_more(&self) -> bool {
        let lapse = self.evidence.as_ref().and_then(Evidence::lapse);
        let signed = lapse.map_or(0, |lapse| lapse.answered.count);
        signed.max(self.kept() as u64) > self.at as u64
    }

    /// A block's contributions, to whichever question.
    pub(super) fn contributions(&mut self, block: u16) -> Result<Option<Answer>, TrainError> {
        self.answers.as_mut().map_or(Ok(None), |answers| answers.contributions(block))
    }

    /// Whether the kept answers are those of which the provider's evidence has the hash; a lapse has it with the last one
    /// and without, which may not have arrived.
    pub(super) fn is_as_signed(
        &mut self,
        announcements: &[Signed<TrainAnnouncement>],
    ) -> Result<bool, TrainError> {
        let (kept, evidence) = (self.kept() as u64, self.evidence.clone());
        let Some(evidence) = evidence else { return Ok(true) };
        let told = if evidence.is_begun() { announcements } else { &[] };
        let hash = StepHash::new(&evidence.acceptance().digest(), told);
        let (steps, contributions) = match &mut self.answers {
            Some(answers) => answers.hashes(hash)?,
            None => (hash.finish(), Vec::<Hash>::new()),
        };
        Ok(match &evidence {
            Evidence::Receipt(receipt) => {
                (steps, &contributions) == (receipt.body().steps, &receipt.body().contributions)
            }
            Evidence::Lapse(lapse) => {
                let answered = &lapse.body().answered;
                (kept == answered.count && steps == answered.steps)
                    || (kept + 1 == answered.count && steps == answered.before)
            }
        })
    }
}

/// Whether evidence is of a session that the bank, which keeps this request, replaced by another one, and in which nothing
/// happened: its acceptance was lost on the way, and by then the request was too old or its grant at an end.
pub(super) fn is_replaced(evidence: &Evidence, request: Option<&Signed<TrainRequest>>) -> bool {
    evidence.is_void() && request.is_some_and(|kept| *kept != evidence.acceptance().body().request)
}
