//! The provider's side of a call: check, evaluate, sign.
//!
//! Grants, quotas and replay are the node's, between [`Question::check`] and [`Checked::evaluate`]; logging
//! is the node's too, before the answer leaves.

use std::collections::BTreeMap;

use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::CryptoRng;

use super::client::{Answer, Question};
use super::request::{GroupAnswer, GroupElements, Request, ScoreReply, digest_answer, digest_elements};
use super::{KeyGroup, PROTOCOL};
use crate::audit::receipt::Receipt;
use crate::identity::IDENTITY_VERSION;
use crate::oprf::{Batch, Context, Elements, OprfError, PrivateKey, Proof, blind_evaluate};
use crate::score::epoch::Member;
use crate::score::query;
use crate::transcript::{Hash, Signed};

/// The secret keys of an epoch, one per key group.
pub type EpochKeys = BTreeMap<KeyGroup, PrivateKey>;

/// The requester misbehaved, or its clock is off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The signature is not the requester's.
    #[error("the request is not signed by its requester")]
    Signature,
    /// The elements are not those that the request names, or of another number.
    #[error("the elements are not those that the signed request names")]
    Elements,
    /// The request was made too long ago, or in the future.
    #[error("the request was made {off_ms} ms away from this clock; {tolerance_ms} ms are tolerated")]
    Clock {
        /// How far the two clocks, or the request's age, are apart.
        off_ms: u64,
        /// How much is tolerated.
        tolerance_ms: u64,
    },
    /// The session does not begin with the request's date.
    #[error(
        "the session is of another date than the request; begin each session with the date of its request"
    )]
    SessionDate,
    /// Other identity rules than ours.
    #[error("the request follows other identity rules than {IDENTITY_VERSION}")]
    IdentityVersion,
    /// A family that this epoch has no key for.
    #[error("the epoch has no key for a family of the request")]
    NoKey,
    /// The batch is empty or too large.
    #[error(transparent)]
    Oprf(#[from] OprfError),
}

/// A question whose signature, elements and time were checked.
#[derive(Debug)]
pub struct Checked {
    request: Signed<Request>,
    groups: Vec<GroupElements>,
    score: Option<query::Question>,
}

/// A session that may be answered, with what it is answered by.
#[derive(Debug)]
pub struct Due<'a> {
    /// The session.
    pub checked: Checked,
    /// The keys of its data set's epoch.
    pub keys: &'a EpochKeys,
    /// Who answers for a score, or the code of why nobody does.
    pub member: Result<&'a Member, &'static str>,
}

/// What is evaluated for a session.
struct Plan<'a> {
    /// Group after group, and then the score's.
    batches: Vec<Batch<'a>>,
    /// One for each group.
    keys: Vec<&'a PrivateKey>,
    /// Where a score is asked.
    member: Option<Result<&'a Member, String>>,
}

/// An answer that is not signed yet.
#[derive(Debug)]
pub struct Evaluated {
    request: Signed<Request>,
    groups: Vec<GroupAnswer>,
    score: Option<ScoreReply>,
}

/// What the receipt says about the provider besides the run.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Digest of the software.
    pub software: Hash,
    /// Digest of the configuration.
    pub configuration: Hash,
    /// When the request arrived, milliseconds of Unix time.
    pub received_at_ms: u64,
    /// When the answer was ready, milliseconds of Unix time.
    pub answered_at_ms: u64,
}

impl Question {
    /// Checks everything that needs no state.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub fn check(
        self,
        requester: &VerifyingKey,
        now_ms: u64,
        tolerance_ms: u64,
    ) -> Result<Checked, QuestionError> {
        let request = self.request.body();
        if !self.request.verify(requester) {
            return Err(QuestionError::Signature);
        }
        let counts = self.groups.iter().map(|g| (g.group, g.elements.len()));
        if !counts.eq(request.expected()) || digest_elements(&self.groups) != request.elements {
            return Err(QuestionError::Elements);
        }
        let named = request.score.as_ref().map(|asked| (asked.question, request.customers as usize));
        if named != self.score.as_ref().map(|score| (score.digest(), score.elements.len())) {
            return Err(QuestionError::Elements);
        }
        if !request.session.is_dated(request.requested_at_ms) {
            return Err(QuestionError::SessionDate);
        }
        let off_ms = now_ms.abs_diff(request.requested_at_ms);
        if off_ms > tolerance_ms {
            return Err(QuestionError::Clock { off_ms, tolerance_ms });
        }
        if request.identity_version != IDENTITY_VERSION {
            return Err(QuestionError::IdentityVersion);
        }
        Ok(Checked { request: self.request, groups: self.groups, score: self.score })
    }
}

impl Checked {
    /// The request, for grant, quota and replay.
    pub const fn request(&self) -> &Signed<Request> {
        &self.request
    }

    /// The score's question, where one is asked.
    pub const fn score(&self) -> Option<&query::Question> {
        self.score.as_ref()
    }

    /// [`evaluate_each`] of this session alone.
    ///
    /// # Errors
    /// As there.
    pub fn evaluate(
        self,
        keys: &EpochKeys,
        member: Result<&Member, &'static str>,
        rng: &mut impl CryptoRng,
    ) -> Result<Evaluated, QuestionError> {
        let due = Due { checked: self, keys, member };
        evaluate_each(vec![due], rng).pop().expect("an outcome for each session")
    }
}

impl<'a> Due<'a> {
    /// Each group's key, and whose share answers for the score.
    fn plan(&'a self) -> Result<Plan<'a>, QuestionError> {
        let key = |asked: &GroupElements| self.keys.get(&asked.group).ok_or(QuestionError::NoKey);
        let keys = self.checked.groups.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let score = self.checked.score.as_ref().map(|question| {
            let member = self.member.map_err(str::to_owned)?;
            // The caller found the member by the question's context.
            let batch = member.batch(question).map_err(|_| "SCORE_QUESTION_INVALID".to_owned())?;
            Ok((member, batch))
        });
        let lookups = self.checked.groups.iter().zip(&keys).map(|(asked, key)| Batch {
            context: &Context::LOOKUP,
            key,
            blinded: &asked.elements,
        });
        let scored = score.iter().flatten().map(|(_, batch)| *batch);
        let batches: Vec<_> = lookups.chain(scored).collect();
        batches.iter().try_for_each(Batch::check)?;
        Ok(Plan { batches, keys, member: score.map(|score| score.map(|(member, _)| member)) })
    }
}

impl Plan<'_> {
    /// The reply from what this plan's batches evaluated to.
    fn reply(
        &self,
        checked: &Checked,
        mut evaluated: Vec<(Elements, Proof)>,
    ) -> (Vec<GroupAnswer>, Option<ScoreReply>) {
        let own = evaluated.split_off(checked.groups.len()).pop();
        let score = self.member.as_ref().map(|member| match (member, own) {
            (Ok(member), Some(own)) => ScoreReply::Answered(member.reply(own)),
            (Ok(_), None) => unreachable!("each batch has an answer"),
            (Err(code), _) => ScoreReply::Refused(code.clone()),
        });
        let answer = |((asked, key), (elements, proof)): ((&GroupElements, &&PrivateKey), _)| GroupAnswer {
            group: asked.group,
            key: key.public().id(),
            elements,
            proof,
        };
        (checked.groups.iter().zip(&self.keys).zip(evaluated).map(answer).collect(), score)
    }
}

/// Evaluates every element of every session under its group's key, with one proof for each key and session, and the
/// scores' under the members' shares: all of them together, since a single call leaves lanes empty. What becomes of
/// one session does not touch the others. An outcome for each session, in order.
///
/// # Errors
/// Of each session its own: [`QuestionError::NoKey`], [`QuestionError::Oprf`].
pub fn evaluate_each(
    sessions: Vec<Due<'_>>,
    rng: &mut impl CryptoRng,
) -> Vec<Result<Evaluated, QuestionError>> {
    let plans: Vec<_> = sessions.iter().map(Due::plan).collect();
    let batches: Vec<_> = plans.iter().flatten().flat_map(|plan| &plan.batches).copied().collect();
    let mut evaluated = match blind_evaluate(&batches, rng) {
        Ok(evaluated) => evaluated.into_iter(),
        Err(error) => unreachable!("each batch was checked: {error}"),
    };
    let replies: Vec<_> = plans
        .into_iter()
        .zip(&sessions)
        .map(|(plan, due)| {
            plan.map(|plan| plan.reply(&due.checked, evaluated.by_ref().take(plan.batches.len()).collect()))
        })
        .collect();
    let finish = |(due, reply): (Due<'_>, Result<(_, _), _>)| {
        reply.map(|(groups, score)| Evaluated { request: due.checked.request, groups, score })
    };
    sessions.into_iter().zip(replies).map(finish).collect()
}

impl Evaluated {
    /// Signs the receipt of the run. The node logs it before it replies.
    pub fn sign(self, circumstances: Circumstances, key: &SigningKey) -> Answer {
        let receipt = Receipt {
            protocol: PROTOCOL.to_owned(),
            software: circumstances.software,
            configuration: circumstances.configuration,
            elements: self.groups.iter().map(|g| (g.group, g.elements.len() as u64)).collect(),
            scored: self.score.as_ref().map_or(0, ScoreReply::answered),
            transcript: digest_answer(&self.request.digest(), &self.groups, self.score.as_ref()),
            received_at_ms: circumstances.received_at_ms,
            answered_at_ms: circumstances.answered_at_ms,
            witnessed_size: 0,
            witnessed_root: Vec::new(),
            request: self.request,
        };
        Answer { groups: self.groups, score: self.score, receipt: Signed::sign(receipt, key) }
    }
}
