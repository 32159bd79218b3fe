//! The bank's side of a call: blind, sign, and open what comes back.

use ed25519_dalek::{SigningKey, VerifyingKey};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha512;

use super::manifest::Manifest;
use super::request::{
    GroupAnswer, GroupElements, Request, ScoreAsked, ScoreReply, digest_answer, digest_elements,
};
use super::row::{RowKeys, Table};
use super::{DataSet, KeyGroup, PROTOCOL};
use crate::audit::grant::GrantId;
use crate::audit::merkle;
use crate::audit::receipt::Receipt;
use crate::identity::{Encoded, Family, IDENTITY_VERSION, Person};
use crate::kdf;
use crate::oprf::{Answered, Blinded, Context, OprfError, PublicKey};
use crate::party::{PartyId, SessionId};
use crate::score::query;
use crate::secret::Secret;
use crate::transcript::{Hash, Signed, commit};

/// Under what a session runs.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Who asks.
    pub requester: &'a PartyId,
    /// Who is asked.
    pub provider: &'a PartyId,
    /// The grant that permits it.
    pub grant: GrantId,
    /// One of the grant's purposes.
    pub purpose: &'a str,
    /// Where to look the customers up, if at all.
    pub lookup: Option<LookupTerms<'a>>,
    /// The score to ask for, if any.
    pub score: Option<ScoreTerms<'a>>,
    /// The session, fresh for the provider and of the date of the question ([`SessionId::dated`]).
    pub session: SessionId,
    /// Fresh for the session and kept by the bank: [`salt`] derives from it what opens commitments.
    pub seed: &'a Secret<[u8; 32]>,
}

/// Where a session looks its customers up.
#[derive(Debug, Clone, Copy)]
pub struct LookupTerms<'a> {
    /// The provider's manifest.
    pub manifest: &'a Manifest,
    /// Families to ask: those that grant and manifest have in common.
    pub families: &'a [Family],
}

/// The score that a session asks for.
#[derive(Debug, Clone, Copy)]
pub struct ScoreTerms<'a> {
    /// The scoring group.
    pub group: &'a DataSet,
    /// Its epoch.
    pub epoch: u64,
    /// The question, the same for all providers of the group; an element for every customer.
    pub question: &'a query::Question,
}

/// One customer of a session.
#[derive(Debug, Clone, Copy)]
pub struct Customer<'a> {
    /// Whom it is about.
    pub person: &'a Person,
    /// The bank's own application number.
    pub ticket: &'a [u8],
    /// The customer's recorded authorisation.
    pub consent: &'a [u8],
}

/// What the bank logs and then sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The signed request.
    pub request: Signed<Request>,
    /// The blinded elements.
    pub groups: Vec<GroupElements>,
    /// The score's question.
    pub score: Option<query::Question>,
}

/// What the provider sends back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The evaluated elements.
    pub groups: Vec<GroupAnswer>,
    /// What became of the score, where one was asked for.
    pub score: Option<ScoreReply>,
    /// The signed receipt.
    pub receipt: Signed<Receipt>,
}

/// The bank cannot ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Grant and manifest have no family in common.
    #[error("the grant and the data set have no family in common")]
    NoFamily,
    /// Neither a lookup nor a score is asked for.
    #[error("a session asks for a lookup or a score")]
    Nothing,
    /// Too many customers, or none.
    #[error(transparent)]
    Oprf(#[from] OprfError),
}

/// The provider misbehaved, or something between changed its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Other key groups than asked, or another number of elements.
    #[error("the answer has other elements than were asked for")]
    Shape,
    /// Another key than the manifest's.
    #[error("the answer was made under another key than the manifest's")]
    KeyMismatch,
    /// The proof does not hold.
    #[error("the proof of an answer does not hold")]
    ProofInvalid,
    /// The receipt is not signed by the provider, or not over this run.
    #[error("the receipt does not cover this run")]
    ReceiptInvalid,
}

/// Waits for the provider's answer.
#[derive(Debug)]
pub struct AwaitAnswer {
    table: Option<Table>,
    families: Vec<Family>,
    customers: usize,
    request: Signed<Request>,
    groups: Vec<(KeyGroup, PublicKey, Blinded)>,
    leaves: Vec<[u8; 64]>,
}

/// An answer that was checked and unblinded.
#[derive(Debug)]
pub struct Opened {
    /// The provider's receipt.
    pub receipt: Signed<Receipt>,
    /// For every customer, in order: where to look and how to open, by family. A family whose fields the
    /// customer lacks is left out.
    pub customers: Vec<Vec<(Family, RowKeys)>>,
    /// For every customer, in order: the commitments to ticket and consent.
    pub leaves: Vec<[u8; 64]>,
    /// What became of the score; the receipt covers it, and its proof is not checked yet.
    pub score: Option<ScoreReply>,
}

/// Asks providers about the same 1 to 4,096 customers. The elements for all of them are blinded together, because
/// a kernel blinds eight in the time of one.
///
/// One result a provider, in order: that one cannot be asked keeps nobody from asking the others.
pub fn ask(
    terms: &[Terms<'_>],
    customers: &[Customer<'_>],
    now_ms: u64,
    key: &SigningKey,
    rng: &mut impl CryptoRng,
) -> Vec<Result<(AwaitAnswer, Question), AskError>> {
    let plans: Vec<_> = terms.iter().map(Plan::new).collect();
    let possible = plans.iter().filter_map(|plan| plan.as_ref().ok());
    let mut blinded = match blind(possible, customers, rng) {
        Ok(blinded) => blinded.into_iter(),
        Err(error) => return plans.into_iter().map(|plan| plan.and(Err(error.into()))).collect(),
    };
    let mut ask = |plan: Plan<'_>| plan.ask(blinded.by_ref(), customers, now_ms, key);
    plans.into_iter().map(|plan| plan.map(&mut ask)).collect()
}

/// One provider's session before anything is blinded.
struct Plan<'a> {
    terms: &'a Terms<'a>,
    groups: Vec<(KeyGroup, Vec<Family>, &'a PublicKey)>,
}

impl<'a> Plan<'a> {
    fn new(terms: &'a Terms<'a>) -> Result<Self, AskError> {
        let Some(LookupTerms { manifest, families }) = terms.lookup else {
            let groups = Vec::new();
            return if terms.score.is_some() { Ok(Self { terms, groups }) } else { Err(AskError::Nothing) };
        };
        let parts = KeyGroup::partition(families).into_iter();
        let known = |(group, families)| Some((group, families, manifest.key(group)?));
        let groups: Option<Vec<_>> = parts.map(known).collect();
        match groups {
            Some(groups) if !groups.is_empty() => Ok(Self { terms, groups }),
            _ => Err(AskError::NoFamily),
        }
    }

    /// Data set and epoch that the session is in.
    fn place(&self) -> (DataSet, u64) {
        let looked_up =
            self.terms.lookup.map(|lookup| (lookup.manifest.data_set.clone(), lookup.manifest.epoch));
        let scored = || self.terms.score.map(|score| (score.group.clone(), score.epoch));
        looked_up.or_else(scored).expect("a plan has a lookup or a score")
    }

    /// Takes its batches, one a group, and signs the request over them.
    fn ask(
        self,
        blinded: &mut impl Iterator<Item = Blinded>,
        customers: &[Customer<'_>],
        now_ms: u64,
        key: &SigningKey,
    ) -> (AwaitAnswer, Question) {
        let Terms { lookup, score, session, seed, .. } = *self.terms;
        let (data_set, epoch) = self.place();
        let seed = kdf::extract(seed.expose());
        let leaves: Vec<_> =
            (0..).zip(customers).map(|(i, customer)| leaf(&seed, session, i, customer)).collect();
        let families: Vec<_> = self.groups.iter().flat_map(|(_, families, _)| families).copied().collect();
        let groups: Vec<_> = self
            .groups
            .into_iter()
            .zip(blinded)
            .map(|((group, _, public), blinded)| (group, public.clone(), blinded))
            .collect();
        let elements: Vec<_> = groups
            .iter()
            .map(|(group, _, blinded)| GroupElements { group: *group, elements: blinded.elements().clone() })
            .collect();
        let request = Request {
            session,
            requester: self.terms.requester.clone(),
            provider: self.terms.provider.clone(),
            grant: self.terms.grant,
            purpose: self.terms.purpose.to_owned(),
            data_set,
            epoch,
            identity_version: IDENTITY_VERSION.to_owned(),
            families: families.clone(),
            customers: customers.len() as u64,
            commitments: commitment_root(&leaves),
            elements: digest_elements(&elements),
            score: score.map(|ScoreTerms { group, epoch, question }| ScoreAsked {
                group: group.clone(),
                epoch,
                question: question.digest(),
            }),
            requested_at_ms: now_ms,
        };
        let request = Signed::sign(request, key);
        let score = score.map(|score| score.question.clone());
        let question = Question { request: request.clone(), groups: elements, score };
        let table = lookup.map(|lookup| lookup.manifest.table());
        (AwaitAnswer { table, families, customers: customers.len(), request, groups, leaves }, question)
    }
}

impl AwaitAnswer {
    /// The commitments to ticket and consent of every customer, in order.
    pub fn leaves(&self) -> &[[u8; 64]] {
        &self.leaves
    }

    /// Checks shape, keys, proofs and receipt, and unblinds.
    ///
    /// # Errors
    /// [`AnswerError`]: the peer misbehaved.
    pub fn on_answer(self, answer: Answer, provider: &VerifyingKey) -> Result<Opened, AnswerError> {
        check_receipt(&self.request, &answer, provider)?;
        let scored = answer.score.is_some() == self.request.body().score.is_some();
        if answer.groups.len() != self.groups.len() || !scored {
            return Err(AnswerError::Shape);
        }
        for ((group, public, _), answered) in self.groups.iter().zip(&answer.groups) {
            if answered.group != *group {
                return Err(AnswerError::Shape);
            }
            if answered.key != public.id() {
                return Err(AnswerError::KeyMismatch);
            }
        }
        let mut rows: Vec<_> = (0..self.customers).map(|_| Vec::with_capacity(self.families.len())).collect();
        let Answer { groups: answered_groups, score, receipt } = answer;
        let Some(table) = self.table else {
            return Ok(Opened { receipt, customers: rows, leaves: self.leaves, score });
        };
        let (groups, batches): (Vec<_>, Vec<_>) =
            self.groups.into_iter().map(|(group, public, blinded)| ((group, public), blinded)).unzip();
        let answered = groups.iter().zip(&answered_groups).map(|((_, public), answered)| Answered {
            public,
            evaluated: &answered.elements,
            proof: &answered.proof,
        });
        let outputs = Blinded::finalize(&Context::LOOKUP, batches.into_iter().zip(answered).collect())?;
        let mut present = Vec::new();
        for ((group, _), outputs) in groups.iter().zip(outputs) {
            let families: Vec<_> = self.families.iter().filter(|f| KeyGroup::of(**f) == *group).collect();
            let place = |i: usize| (i / families.len(), *families[i % families.len()]);
            present
                .extend((0..).map(place).zip(outputs).filter_map(|(place, output)| Some((place, output?))));
        }
        let keys = RowKeys::each(&table, present.iter().map(|(_, output)| output));
        for (((customer, family), _), keys) in present.iter().zip(keys) {
            rows[*customer].push((*family, keys));
        }
        Ok(Opened { receipt, customers: rows, leaves: self.leaves, score })
    }
}

impl From<OprfError> for AnswerError {
    fn from(error: OprfError) -> Self {
        match error {
            OprfError::InvalidProof => Self::ProofInvalid,
            _ => Self::Shape,
        }
    }
}

/// What a commitment of a session is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The bank's application number.
    Ticket,
    /// The customer's authorisation.
    Consent,
}

/// The salt of one commitment: HKDF-SHA-512 of the session's seed, so that opening one tells nothing of
/// another.
pub fn salt(seed: &Secret<[u8; 32]>, session: SessionId, what: Committed, index: u64) -> [u8; 32] {
    expand_salt(&kdf::extract(seed.expose()), session, what, index)
}

fn expand_salt(seed: &Hkdf<Sha512>, session: SessionId, what: Committed, index: u64) -> [u8; 32] {
    let label: &[u8] = match what {
        Committed::Ticket => b"\x00\x06ticket",
        Committed::Consent => b"\x00\x07consent",
    };
    let info = [label, session.as_bytes(), &index.to_be_bytes()].concat();
    let mut salt = [0; 32];
    seed.expand(&info, &mut salt).expect("32 bytes are a valid length");
    salt
}

/// RFC 6962 root over the customers' leaves.
pub fn commitment_root(leaves: &[[u8; 64]]) -> [u8; 32] {
    let hashes: Vec<_> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
    merkle::root_of(&hashes)
}

fn leaf(seed: &Hkdf<Sha512>, session: SessionId, index: u64, customer: &Customer<'_>) -> [u8; 64] {
    let commitment = |what, item| commit(&expand_salt(seed, session, what, index), item);
    let mut leaf = [0; 64];
    leaf[..32].copy_from_slice(&commitment(Committed::Ticket, customer.ticket));
    leaf[32..].copy_from_slice(&commitment(Committed::Consent, customer.consent));
    leaf
}

/// One batch for every key group of every provider.
fn blind<'a>(
    plans: impl Iterator<Item = &'a Plan<'a>>,
    customers: &[Customer<'_>],
    rng: &mut impl CryptoRng,
) -> Result<Vec<Blinded>, OprfError> {
    let inputs: Vec<Vec<Option<Encoded>>> = plans
        .flat_map(|plan| {
            let data_set = plan.terms.lookup.map(|lookup| &lookup.manifest.data_set);
            plan.groups.iter().filter_map(move |(_, families, _)| Some((data_set?, families)))
        })
        .map(|(data_set, families)| {
            let each = |customer: &Customer<'_>| -> Vec<_> {
                families.iter().map(|f| f.encode(data_set.as_str(), customer.person)).collect()
            };
            customers.iter().flat_map(each).collect()
        })
        .collect();
    let inputs: Vec<Vec<_>> = inputs
        .iter()
        .map(|batch| batch.iter().map(|input| input.as_ref().map(Encoded::as_bytes)).collect())
        .collect();
    Blinded::blind(&Context::LOOKUP, &inputs, rng)
}

fn check_receipt(
    request: &Signed<Request>,
    answer: &Answer,
    provider: &VerifyingKey,
) -> Result<(), AnswerError> {
    let receipt = answer.receipt.body();
    let transcript: Hash = digest_answer(&request.digest(), &answer.groups, answer.score.as_ref());
    let counts = answer.groups.iter().map(|g| (g.group, g.elements.len() as u64));
    let covers = receipt.request == *request
        && receipt.protocol == PROTOCOL
        && receipt.transcript == transcript
        && receipt.elements.iter().copied().eq(counts)
        && receipt.scored == answer.score.as_ref().map_or(0, ScoreReply::answered)
        && answer.receipt.verify(provider);
    if covers { Ok(()) } else { Err(AnswerError::ReceiptInvalid) }
}
