//! A call: the bank blinds positions, providers evaluate, the bank combines, unblinds and decodes.
//!
//! One question serves all providers. It is at once the single call and the batch, up to 16,384 customers.

use std::collections::HashMap;
use std::sync::LazyLock;

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use windvane_kernels::ristretto::Points;

use super::epoch::{Epoch, Member};
use super::table::{Row, input};
use super::universe::Universe;
use crate::identity::Phone;
use crate::oprf::{
    Answered, Batch, Blinded, Context, ELEMENT_BYTES, Elements, OprfError, Proof, Weights, blind_evaluate,
};
use crate::party::PartyId;
use crate::transcript::{Hash, Transcript};

/// Sums that decode: every one that 16 parts can have.
const SUMS: u16 = 1 << 12;

/// The doubles of the generator's multiples, which a row's remainder is compared with.
static MULTIPLES: LazyLock<HashMap<[u8; ELEMENT_BYTES], u16>> = LazyLock::new(|| {
    let scalars: Vec<_> = (0..SUMS).map(Scalar::from).collect();
    Points::mul_base(&scalars).encode_doubled().into_iter().zip(0..).collect()
});

/// What every provider of the group is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// [`Epoch::context`].
    pub context: Hash,
    /// `b·H(ctx ‖ u)` for every customer, and a random element for one outside the universe.
    pub elements: Elements,
}

/// What one provider answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub provider: PartyId,
    /// [`Epoch::context`].
    pub context: Hash,
    /// The question's elements times the provider's share of the key.
    pub elements: Elements,
    /// That they are.
    pub proof: Proof,
}

/// The bank cannot ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The list of numbers is not the one that the epoch was set up with.
    #[error("the universe is not that of the epoch")]
    Universe,
    /// Too many customers, or none.
    #[error(transparent)]
    Oprf(#[from] OprfError),
}

/// The provider does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The question is of another epoch or group than these keys.
    #[error("the question is not of epoch {epoch}")]
    Context {
        /// The epoch of the keys.
        epoch: u64,
    },
    /// The batch is empty or too large.
    #[error(transparent)]
    Oprf(#[from] OprfError),
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Who answers is not of the group.
    Stranger,
    /// The provider answered before.
    Repeated,
    /// It is of another epoch.
    Context,
    /// It has another number of elements than the question.
    Count,
    /// Its proof does not hold: another key, another question, or changed elements.
    Proof,
}

/// A wrong answer and its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Who answered.
    pub provider: PartyId,
    /// What is wrong.
    pub kind: FaultKind,
}

/// There is no score, because too few answers are right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the score needs {needed} right answers, found {found}; missing: {missing:?}; wrong: {faults:?}")]
pub struct Unavailable {
    /// The group's threshold.
    pub needed: usize,
    /// Right answers.
    pub found: usize,
    /// Providers that did not answer.
    pub missing: Vec<PartyId>,
    /// Wrong answers.
    pub faults: Vec<Fault>,
}

/// A row that holds no sum of parts: planted by a provider, or damaged. It is never a score of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row of customer {customer} does not decode in epoch {epoch}")]
pub struct Undecodable {
    /// The epoch.
    pub epoch: u64,
    /// The customer's index in the question.
    pub customer: usize,
}

/// Waits for the providers' answers.
#[derive(Debug)]
pub struct AwaitAnswers {
    epoch: Epoch,
    positions: Vec<Option<u64>>,
    blinded: Blinded,
}

/// Combined and unblinded answers: with the rows, they give the sums.
#[derive(Debug)]
pub struct Unblinded {
    epoch: Epoch,
    positions: Vec<Option<u64>>,
    /// `K·H(ctx ‖ u)`.
    masks: Points,
    faults: Vec<Fault>,
}

/// Asks about 1 to 16,384 customers. A number that is missing, or outside the universe, is asked as a random
/// element, and has no score.
///
/// # Errors
/// [`AskError`].
pub fn ask(
    epoch: &Epoch,
    universe: &Universe,
    numbers: &[Option<&Phone>],
    rng: &mut impl CryptoRng,
) -> Result<(AwaitAnswers, Question), AskError> {
    if *universe.digest() != epoch.charter().terms().universe {
        return Err(AskError::Universe);
    }
    let positions = numbers.iter().map(|number| universe.position((*number)?)).collect();
    Ok(ask_positions(epoch, positions, rng)?)
}

/// [`ask`] for positions.
pub(super) fn ask_positions(
    epoch: &Epoch,
    positions: Vec<Option<u64>>,
    rng: &mut impl CryptoRng,
) -> Result<(AwaitAnswers, Question), OprfError> {
    let context = *epoch.context();
    let inputs: Vec<_> = positions.iter().map(|position| position.map(|u| input(&context, u))).collect();
    let batch = inputs.iter().map(|input| input.as_ref().map(<[u8; 72]>::as_slice)).collect();
    let blinded = Blinded::blind(&Context::SCORE, &[batch], rng)?.pop().expect("one batch gives one batch");
    let question = Question { context, elements: blinded.elements().clone() };
    Ok((AwaitAnswers { epoch: epoch.clone(), positions, blinded }, question))
}

impl Member {
    /// Answers a question. Grants, quotas, replay and the log are the caller's.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub fn answer(&self, question: &Question, rng: &mut impl CryptoRng) -> Result<Answer, QuestionError> {
        let mut answers = blind_evaluate(&[self.batch(question)?], rng)?;
        Ok(self.reply(answers.pop().expect("one batch gives one answer")))
    }

    /// What is to be evaluated, for a call that evaluates other batches too.
    pub(crate) fn batch<'a>(&'a self, question: &'a Question) -> Result<Batch<'a>, QuestionError> {
        if question.context != *self.epoch().context() {
            return Err(QuestionError::Context { epoch: self.epoch().number() });
        }
        Ok(Batch { context: &Context::SCORE, key: self.share(), blinded: &question.elements })
    }

    /// The answer that an evaluated batch makes.
    pub(crate) fn reply(&self, (elements, proof): (Elements, Proof)) -> Answer {
        Answer { provider: self.party().clone(), context: *self.epoch().context(), elements, proof }
    }
}

impl AwaitAnswers {
    /// Every customer's row; `None` outside the universe.
    pub fn positions(&self) -> &[Option<u64>] {
        &self.positions
    }

    /// Combines the first answers that suffice. Wrong ones are set aside, and others take their place; those that are
    /// not needed are checked too, so that a wrong answer has its sender's name on it wherever it stands.
    ///
    /// # Errors
    /// [`Unavailable`] when too few are right; it names who is missing and whose answer is wrong.
    pub fn on_answers(self, answers: &[Answer]) -> Result<Unblinded, Unavailable> {
        let (mut usable, mut faults) = self.sort(answers);
        let combined = self.combine(&usable);
        let checked = if combined.is_some() { self.epoch.charter().threshold() } else { 0 };
        let wrong =
            usable.extract_if(checked.., |(_, answer)| !self.blinded.verify(&Context::SCORE, *answer));
        faults
            .extend(wrong.map(|(index, _)| Fault { provider: self.provider(index), kind: FaultKind::Proof }));
        let combined = combined.or_else(|| self.combine(&usable));
        let Some(masks) = combined else { return Err(self.unavailable(usable.len(), answers, faults)) };
        let Self { epoch, positions, .. } = self;
        Ok(Unblinded { epoch, positions, masks, faults })
    }

    /// `None` when there are too few answers, or a proof among those that suffice does not hold.
    fn combine(&self, usable: &[(usize, Answered<'_>)]) -> Option<Points> {
        let quorum = usable.get(..self.epoch.charter().threshold())?;
        let places: Vec<_> = quorum.iter().map(|(index, _)| index + 1).collect();
        let answered: Vec<_> = quorum.iter().map(|(_, answered)| *answered).collect();
        self.blinded.combine(&Context::SCORE, &Weights::at_zero(&places), &answered)
    }

    fn unavailable(&self, found: usize, answers: &[Answer], faults: Vec<Fault>) -> Unavailable {
        let silent = |provider: &&PartyId| answers.iter().all(|answer| answer.provider != **provider);
        let providers = self.epoch.charter().providers().iter().map(|identity| &identity.party);
        let missing = providers.filter(silent).cloned().collect();
        Unavailable { needed: self.epoch.charter().threshold(), found, missing, faults }
    }

    /// The answers that may be of use, with their providers' indices, and what is plainly wrong with others.
    fn sort<'a>(&'a self, answers: &'a [Answer]) -> (Vec<(usize, Answered<'a>)>, Vec<Fault>) {
        let (mut usable, mut faults): (Vec<(usize, Answered<'_>)>, _) = (Vec::new(), Vec::new());
        for answer in answers {
            let index = self.epoch.charter().index(&answer.provider);
            let key = index.and_then(|index| Some((index, self.epoch.share_key(index)?)));
            let fault = match key {
                None => FaultKind::Stranger,
                Some((index, _)) if usable.iter().any(|(earlier, _)| *earlier == index) => {
                    FaultKind::Repeated
                }
                Some(_) if answer.context != *self.epoch.context() => FaultKind::Context,
                Some(_) if answer.elements.len() != self.positions.len() => FaultKind::Count,
                Some((index, public)) => {
                    let (evaluated, proof) = (&answer.elements, &answer.proof);
                    usable.push((index, Answered { public, evaluated, proof }));
                    continue;
                }
            };
            faults.push(Fault { provider: answer.provider.clone(), kind: fault });
        }
        (usable, faults)
    }

    fn provider(&self, index: usize) -> PartyId {
        self.epoch.charter().providers()[index].party.clone()
    }
}

impl Unblinded {
    /// Every customer's row; `None` outside the universe.
    pub fn positions(&self) -> &[Option<u64>] {
        &self.positions
    }

    /// Wrong answers that were set aside.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Decodes the sums of parts, with a row of the summed table for every position that is not `None`, in order.
    /// `None` stands for a customer outside the universe. Nothing that a provider sees depends on the result.
    ///
    /// # Panics
    /// When there are not as many rows as positions.
    pub fn open(self, rows: &[Row]) -> Vec<Option<Result<u16, Undecodable>>> {
        let present: Vec<_> = (0..self.positions.len()).filter(|i| self.positions[*i].is_some()).collect();
        assert_eq!(present.len(), rows.len(), "one row for each position");
        let sums = decode(rows, &self.masks.gather(&present), self.epoch.max_sum());
        let epoch = self.epoch.number();
        let mut opened = vec![None; self.positions.len()];
        for (customer, sum) in present.into_iter().zip(sums) {
            opened[customer] = Some(sum.ok_or(Undecodable { epoch, customer }));
        }
        opened
    }
}

/// Rows minus masks, as multiples of the generator up to `max`.
fn decode(rows: &[Row], masks: &Points, max: u16) -> Vec<Option<u16>> {
    let Ok(points) = Points::decode(rows) else {
        // A damaged row must not take the others along.
        let one = |i| match Points::decode(&rows[i..=i]) {
            Ok(_) => decode(&rows[i..=i], &masks.slice(i..i + 1), max)[0],
            Err(_) => None,
        };
        return (0..rows.len()).map(one).collect();
    };
    let sums = points.sub(masks).encode_doubled();
    sums.iter().map(|sum| MULTIPLES.get(sum).copied().filter(|sum| *sum <= max)).collect()
}

impl Question {
    /// What a signed request names.
    pub fn digest(&self) -> Hash {
        Transcript::new("windvane/score-question/v1")
            .bytes("context", &self.context)
            .bytes("elements", self.elements.as_bytes())
            .digest()
    }
}

impl Answer {
    /// What a receipt names, over the request's digest.
    pub fn digest(&self, request: &Hash) -> Hash {
        Transcript::new("windvane/score-answer/v1")
            .bytes("request", request)
            .text("provider", self.provider.as_str())
            .bytes("context", &self.context)
            .bytes("elements", self.elements.as_bytes())
            .bytes("proof", &self.proof.to_bytes())
            .digest()
    }
}
