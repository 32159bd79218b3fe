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
use crate::oprf::{Batch, Context, OprfError, PrivateKey, blind_evaluate};
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

    /// Evaluates every element under its group's key, with one proof per key, and the score's under the member's
    /// share. `member` is who answers for a score, or the code of why nobody does.
    ///
    /// # Errors
    /// [`QuestionError::NoKey`], [`QuestionError::Oprf`].
    pub fn evaluate(
        self,
        keys: &EpochKeys,
        member: Result<&Member, &'static str>,
        rng: &mut impl CryptoRng,
    ) -> Result<Evaluated, QuestionError> {
        let key = |asked: &GroupElements| keys.get(&asked.group).ok_or(QuestionError::NoKey);
        let keys = self.groups.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let score = self.score.as_ref().map(|question| {
            let member = member.map_err(str::to_owned)?;
            // The caller found the member by the question's context.
            let batch = member.batch(question).map_err(|_| "SCORE_QUESTION_INVALID".to_owned())?;
            Ok((member, batch))
        });
        let lookups = self.groups.iter().zip(&keys).map(|(asked, key)| Batch {
            context: &Context::LOOKUP,
            key,
            blinded: &asked.elements,
        });
        let scored = score.iter().flatten().map(|(_, batch)| *batch);
        // All of them together: a small call leaves lanes empty.
        let mut evaluated = blind_evaluate(&lookups.chain(scored).collect::<Vec<_>>(), rng)?;
        let own = evaluated.split_off(self.groups.len()).pop();
        let score = score.map(|score: Result<_, String>| match (score, own) {
            (Ok((member, _)), Some(own)) => ScoreReply::Answered(member.reply(own)),
            (Ok(_), None) => unreachable!("each batch has an answer"),
            (Err(code), _) => ScoreReply::Refused(code),
        });
        let answer = |((asked, key), (elements, proof)): ((&GroupElements, &PrivateKey), _)| GroupAnswer {
            group: asked.group,
            key: key.public().id(),
            elements,
            proof,
        };
        let groups = self.groups.iter().zip(keys).zip(evaluated).map(answer).collect();
        Ok(Evaluated { request: self.request, groups, score })
    }
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
