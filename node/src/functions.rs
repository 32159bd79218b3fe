//! What a node does at all, and with whom: functions that are switched off, and partners that are suspended.
//!
//! Both can be changed while the node runs; the change and its log entry commit together, and each refusal has its own
//! code. What the configuration switches off cannot be switched on by a command.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use windvane_protocols::party::PartyId;

use crate::config::{Config, FunctionsConfig};
use crate::error::{NodeError, Refusal};
use crate::store::{Store, StoreError};

/// What stands before a function's name in the state file and the log.
const FUNCTION: &str = "function/";

/// What stands before a partner's name there.
const PARTNER: &str = "partner/";

/// What can be switched off by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// Verifications of customers.
    Verification,
    /// Sessions of more than one customer.
    Batches,
    /// Set intersections and screenings.
    Screening,
    /// Joint scores.
    Scoring,
    /// Joint trainings.
    Training,
}

/// No function of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is one of verification, batches, screening, scoring and training")]
pub struct UnknownFunction;

impl Function {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Verification, Self::Batches, Self::Screening, Self::Scoring, Self::Training];

    /// Its name, as in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verification => "verification",
            Self::Batches => "batches",
            Self::Screening => "screening",
            Self::Scoring => "scoring",
            Self::Training => "training",
        }
    }

    /// The stable code of a refusal because it is off.
    pub const fn off_code(self) -> &'static str {
        match self {
            Self::Verification => "VERIFICATION_OFF",
            Self::Batches => "BATCHES_OFF",
            Self::Screening => "SCREENING_OFF",
            Self::Scoring => "SCORING_OFF",
            Self::Training => "TRAINING_OFF",
        }
    }

    /// Its name in the state file and the log.
    pub(crate) fn subject(self) -> String {
        format!("{FUNCTION}{}", self.as_str())
    }
}

impl std::fmt::Display for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Function {
    type Err = UnknownFunction;

    fn from_str(text: &str) -> Result<Self, UnknownFunction> {
        Self::ALL.into_iter().find(|function| function.as_str() == text).ok_or(UnknownFunction)
    }
}

/// A partner's name in the state file and the log.
pub(crate) fn partner_subject(party: &PartyId) -> String {
    format!("{PARTNER}{party}")
}

/// Whether a job of the bank's may use a function and ask a partner now.
///
/// # Errors
/// [`NodeError`] with the code of what is off.
pub(crate) fn check_job(
    config: &Config,
    store: &Store,
    function: Function,
    partner: &PartyId,
) -> Result<(), NodeError> {
    let functions = Functions::open(config.functions.clone(), store)?;
    functions.check_asking(function, partner)
}

/// What is off, and who is suspended.
#[derive(Debug, Default)]
pub struct Functions {
    configured: FunctionsConfig,
    off: RwLock<Arc<BTreeSet<String>>>,
}

impl Functions {
    /// What the configuration and the state file say.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(configured: FunctionsConfig, store: &Store) -> Result<Self, StoreError> {
        let functions = Self { configured, off: RwLock::default() };
        functions.reload(store)?;
        Ok(functions)
    }

    /// Reads what commands changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let off = store.switched_off()?.into_iter().collect();
        *self.off.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(off);
        Ok(())
    }

    /// Whether a function is on.
    pub fn has(&self, function: Function) -> bool {
        self.configured.has(function) && !self.off().contains(&function.subject())
    }

    /// Whether the configuration leaves a function to the commands.
    pub(crate) const fn is_configured(&self, function: Function) -> bool {
        self.configured.has(function)
    }

    /// Whether a function is on.
    ///
    /// # Errors
    /// [`Refusal::FunctionOff`].
    pub fn check(&self, function: Function) -> Result<(), Refusal> {
        if self.has(function) { Ok(()) } else { Err(Refusal::FunctionOff(function)) }
    }

    /// Whether a partner is not suspended.
    ///
    /// # Errors
    /// [`Refusal::PartnerSuspended`].
    pub fn check_partner(&self, party: &PartyId) -> Result<(), Refusal> {
        let off = self.off();
        if off.is_empty() || !off.contains(&partner_subject(party)) {
            return Ok(());
        }
        Err(Refusal::PartnerSuspended)
    }

    /// Whether a job of the bank's may use a function and ask a partner.
    ///
    /// # Errors
    /// [`NodeError`] with the code of what is off.
    pub(crate) fn check_asking(&self, function: Function, partner: &PartyId) -> Result<(), NodeError> {
        self.check(function)?;
        self.check_partner(partner).map_err(|refusal| NodeError::Given {
            code: refusal.code(),
            message: format!("{partner} is suspended here; `windvane partner resume` ends that"),
        })
    }

    /// The functions that are off and the partners that are suspended, for health and metrics.
    pub fn off_now(&self) -> (Vec<Function>, Vec<String>) {
        let functions = Function::ALL.into_iter().filter(|function| !self.has(*function)).collect();
        let off = self.off();
        let partners = off.iter().filter_map(|subject| subject.strip_prefix(PARTNER)).map(str::to_owned);
        (functions, partners.collect())
    }

    fn off(&self) -> Arc<BTreeSet<String>> {
        self.off.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_refused_by_its_own_code_and_the_configuration_has_the_last_word() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let configured = FunctionsConfig { training: false, ..FunctionsConfig::default() };
        let functions = Functions::open(configured, &store).unwrap();
        assert_eq!(functions.check(Function::Training).unwrap_err().code(), "TRAINING_OFF");
        for function in [Function::Verification, Function::Batches, Function::Screening, Function::Scoring] {
            assert_eq!(functions.check(function), Ok(()));
            store.switch_off(&function.subject(), 1, b"entry").unwrap();
            functions.reload(&store).unwrap();
            assert_eq!(functions.check(function).unwrap_err().code(), function.off_code());
            store.switch_on(&function.subject(), b"entry").unwrap();
            functions.reload(&store).unwrap();
            assert_eq!(functions.check(function), Ok(()));
        }
        assert_eq!(functions.off_now(), (vec![Function::Training], Vec::new()));
    }

    #[test]
    fn a_suspended_partner_is_refused_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let functions = Functions::open(FunctionsConfig::default(), &store).unwrap();
        let (bank, other): (PartyId, PartyId) = ("bank".parse().unwrap(), "other".parse().unwrap());
        store.switch_off(&partner_subject(&bank), 1, b"entry").unwrap();
        assert!(matches!(
            store.switch_off(&partner_subject(&bank), 2, b"entry"),
            Err(StoreError::Exists { .. })
        ));
        functions.reload(&store).unwrap();
        assert_eq!(functions.check_partner(&bank), Err(Refusal::PartnerSuspended));
        assert_eq!(functions.check_partner(&other), Ok(()));
        assert_eq!(functions.off_now(), (Vec::new(), vec!["bank".to_owned()]));
    }
}
