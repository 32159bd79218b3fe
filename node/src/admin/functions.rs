//! Switching functions, and suspending partners.

use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::PartyId;

use super::{Admin, partner_missing};
use crate::error::NodeError;
use crate::functions::{Function, Functions, partner_subject};

impl Admin {
    /// What is off, and who is suspended.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn functions(&self) -> Result<Functions, NodeError> {
        Ok(Functions::open(self.config.functions.clone(), &self.store)?)
    }

    /// Switches a function; a running node follows within moments.
    ///
    /// # Errors
    /// [`NodeError`]; `FUNCTION_CONFIGURED_OFF` when the configuration keeps it off.
    pub fn switch(&self, function: Function, on: bool) -> Result<(), NodeError> {
        if on && !self.config.functions.has(function) {
            return Err(NodeError::Given {
                code: "FUNCTION_CONFIGURED_OFF",
                message: format!(
                    "{function} is off in [functions]; change it there and start the node again"
                ),
            });
        }
        self.switch_subject(&function.subject(), on, if on { "on" } else { "off" })
    }

    /// Refuses every call of a partner's, and asks it nothing.
    ///
    /// # Errors
    /// [`NodeError`]; `PARTNER_MISSING` when it is not enrolled here.
    pub fn suspend(&self, party: &PartyId) -> Result<(), NodeError> {
        // Also one whose newest enrolment does not hold: the one before may, and its calls are answered by that.
        if !self.store.has_partner(party.as_str())? {
            return Err(partner_missing(party.as_str()));
        }
        self.switch_subject(&partner_subject(party), false, "suspended")
    }

    /// Ends a partner's suspension.
    ///
    /// # Errors
    /// [`NodeError`]; `NOT_FOUND` when it is not suspended.
    pub fn resume(&self, party: &PartyId) -> Result<(), NodeError> {
        self.switch_subject(&partner_subject(party), true, "resumed")
    }

    fn switch_subject(&self, subject: &str, on: bool, action: &str) -> Result<(), NodeError> {
        let entry = self.entry(Event::Switched { subject: subject.to_owned(), action: action.to_owned() });
        if on {
            self.store.switch_on(subject, &entry)?;
        } else {
            self.store.switch_off(subject, self.clock.now_ms(), &entry)?;
        }
        self.flush()
    }
}
