//! Issuing, accepting and ending grants.

use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::{Grant, GrantId, Operation, PsiTerms, TrainTerms};
use windvane_protocols::identity::Family;
use windvane_protocols::limits::{MAX_GRANT_ITEMS, MAX_PURPOSE_BYTES};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::calibration::Bands;
use windvane_protocols::transcript::Signed;

use super::Admin;
use crate::error::NodeError;

/// Label of a grant's text form.
const PEM_LABEL: &str = "WINDVANE GRANT";

const DAY_MS: u64 = 86_400_000;

/// What a provider decides when it issues a grant.
#[derive(Debug, Clone)]
pub struct GrantTerms {
    /// Who may ask.
    pub requester: PartyId,
    /// In which data sets.
    pub data_sets: Vec<DataSet>,
    /// Which families.
    pub families: Vec<Family>,
    /// For which purposes.
    pub purposes: Vec<String>,
    /// Which label fields; empty means all.
    pub columns: Vec<String>,
    /// Longest life of an epoch.
    pub epoch_hours: u64,
    /// Elements per key and second.
    pub rate_per_s: u64,
    /// Elements per key and day.
    pub per_day: u64,
    /// Elements per key in all.
    pub total: u64,
    /// How long it runs.
    pub days: u64,
    /// Smallest set result that may be released; 0 means no minimum.
    pub minimum_result: u64,
    /// What set intersections it permits; `None` permits none, and then it is for verification.
    pub psi: Option<PsiTerms>,
    /// Whether it permits joint scores of groups among the data sets, and in which bands alone.
    pub score: Option<ScoreOutput>,
    /// What trainings of a joint model it permits; `None` permits none.
    pub train: Option<TrainTerms>,
}

/// What a requester may keep of a joint score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoreOutput {
    /// Sum, probability and the model's band.
    Everything,
    /// Only the band among these.
    Bands(Bands),
}

impl Admin {
    /// Signs a grant; gives its text form, to be handed to the requester.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn issue_grant(&self, terms: &GrantTerms) -> Result<String, NodeError> {
        self.partner(terms.requester.as_str())?;
        let lists = [terms.data_sets.len(), terms.families.len(), terms.purposes.len()];
        // Set intersections, scores and trainings have no families.
        let others = terms.psi.is_some() || terms.score.is_some() || terms.train.is_some();
        let needed = if others { [1, 0, 1] } else { [1, 1, 1] };
        let within = |(len, least): (&usize, usize)| (least..=MAX_GRANT_ITEMS).contains(len);
        if !lists.iter().zip(needed).all(within) {
            return Err(given("GRANT_INVALID", "a grant names at least one data set, family and purpose"));
        }
        check_texts(terms)?;
        let now_ms = self.clock.now_ms();
        let mut families = terms.families.clone();
        families.sort_unstable();
        families.dedup();
        let grant = Grant {
            id: GrantId::random(&mut rand::rng()),
            provider: self.keys.party.clone(),
            requester: terms.requester.clone(),
            data_sets: terms.data_sets.clone(),
            families,
            operations: operations(terms),
            purposes: terms.purposes.clone(),
            columns: terms.columns.clone(),
            minimum_result: terms.minimum_result,
            psi: terms.psi.clone().unwrap_or_default(),
            train: terms.train.unwrap_or_default(),
            score_bands: match &terms.score {
                Some(ScoreOutput::Bands(bands)) => Some(bands.clone()),
                _ => None,
            },
            epoch_hours: terms.epoch_hours,
            rate_per_s: terms.rate_per_s,
            per_day: terms.per_day,
            total: terms.total,
            not_before_ms: now_ms,
            not_after_ms: now_ms.saturating_add(terms.days.saturating_mul(DAY_MS)),
            issued_at_ms: now_ms,
        };
        let id = grant.id;
        let signed = Signed::sign(grant, self.keys.signing_key());
        // What nobody could read would keep this node from its other grants.
        Signed::<Grant>::from_bytes_unverified(signed.as_bytes().to_vec())?;
        let entry = self.entry(Event::Granted(signed.clone()));
        self.store.put_grant(id.as_bytes(), true, signed.as_bytes(), &entry)?;
        self.flush()?;
        Ok(pem::encode(&pem::Pem::new(PEM_LABEL, signed.as_bytes())))
    }

    /// Accepts a grant that a provider issued to this node.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn accept_grant(&self, text: &str) -> Result<Grant, NodeError> {
        let block =
            pem::parse(text).map_err(|error| given("GRANT_INVALID", &format!("not a grant: {error}")))?;
        if block.tag() != PEM_LABEL {
            return Err(given("GRANT_INVALID", "the document is not a grant"));
        }
        let signed = Signed::<Grant>::from_bytes_unverified(block.into_contents())?;
        let grant = signed.body().clone();
        if grant.requester != self.keys.party {
            return Err(given("GRANT_INVALID", "the grant is for another party"));
        }
        if !signed.verify(&self.partner(grant.provider.as_str())?.receipt_key) {
            return Err(windvane_protocols::transcript::SignedError::Signature.into());
        }
        let entry = self.entry(Event::Granted(signed.clone()));
        self.store.put_grant(grant.id.as_bytes(), false, signed.as_bytes(), &entry)?;
        self.flush()?;
        Ok(grant)
    }

    /// Ends a grant before its time, on either side.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn end_grant(&self, id: &str) -> Result<(), NodeError> {
        let bytes = hex::decode(id).ok().and_then(|bytes| bytes.try_into().ok());
        let id = GrantId::from_bytes(bytes.ok_or_else(|| given("GRANT_INVALID", "an id has 32 hex digits"))?);
        let entry = self.entry(Event::GrantEnded(id));
        self.store.end_grant(id.as_bytes(), self.clock.now_ms(), &entry)?;
        self.flush()
    }

    /// All grants, issued and accepted, with the time of their early end.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn grants(&self) -> Result<Vec<(Grant, Option<u64>)>, NodeError> {
        let read = |stored: crate::store::StoredGrant| {
            let signed = Signed::<Grant>::from_bytes_unverified(stored.signed)?;
            Ok((signed.body().clone(), stored.ended_at_ms))
        };
        self.store.grants()?.into_iter().map(read).collect()
    }
}

/// Holds what an operator wrote against the rule by which every reader of the grant reads it.
fn check_texts(terms: &GrantTerms) -> Result<(), NodeError> {
    let none = Vec::new();
    let payload = terms.psi.as_ref().map_or(&none, |psi| &psi.payload_columns);
    for (what, texts) in [("purpose", &terms.purposes), ("column", &terms.columns), ("psi column", payload)] {
        if texts.len() > MAX_GRANT_ITEMS {
            let message = format!("{} {what}s: a grant names at most {MAX_GRANT_ITEMS}", texts.len());
            return Err(given("GRANT_INVALID", &message));
        }
        for (index, text) in texts.iter().enumerate() {
            let bytes = text.len();
            if !(1..=MAX_PURPOSE_BYTES).contains(&bytes) {
                let message = format!(
                    "{what} {} has {bytes} bytes in UTF-8; it has 1 to {MAX_PURPOSE_BYTES}",
                    index + 1
                );
                return Err(given("GRANT_INVALID", &message));
            }
        }
    }
    Ok(())
}

/// Families are what verification asks for; a grant may permit several operations.
fn operations(terms: &GrantTerms) -> Vec<Operation> {
    let verify = (!terms.families.is_empty()).then_some(Operation::Verify);
    let psi = terms.psi.is_some().then_some(Operation::Psi);
    let score = terms.score.is_some().then_some(Operation::Score);
    let train = terms.train.is_some().then_some(Operation::Train);
    verify.into_iter().chain(psi).chain(score).chain(train).collect()
}

fn given(code: &'static str, message: &str) -> NodeError {
    NodeError::Given { code, message: message.to_owned() }
}
