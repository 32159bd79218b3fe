//! What a bank takes over while it runs: callers, contracts, the active scoring group.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use super::score::{Active, Restrictions};
use super::{Bank, Contract};
use crate::error::NodeError;

impl Bank {
    /// Forgets the grants that were ended, and takes no others over yet.
    ///
    /// # Errors
    /// [`NodeError`]; all stay as they were.
    pub(crate) fn withdraw(&self) -> Result<(), NodeError> {
        let stored = self.shared.store.grants()?;
        let ended: HashSet<_> =
            stored.iter().filter(|g| !g.issued && g.ended_at_ms.is_some()).map(|g| g.id).collect();
        let without = |contract: &Arc<Contract>| {
            let mut contract = Contract::clone(contract);
            contract.withdraw(&ended);
            Arc::new(contract)
        };
        self.put_contracts(self.contracts().iter().map(without).collect());
        Ok(())
    }

    /// Reads grants, snapshots and callers again, each contract by itself. A snapshot that cannot be opened is no error:
    /// its provider's other one stays, if there is one, and it is tried again.
    ///
    /// # Errors
    /// The first [`NodeError`]; what cannot be read stays as it was, and the rest is taken over all the same.
    pub fn reload(&self) -> Result<(), NodeError> {
        let active = Active::load(&self.shared, &self.score, &self.active()).map(|active| {
            *self.scoring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(active);
        });
        let callers = self.shared.store.callers().map(|callers| {
            *self.callers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(callers);
        });
        let restrictions = Restrictions::read(&self.shared).map(|restrictions| {
            *self.restrictions.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(restrictions);
        });
        let mut done = active.and(callers.map_err(NodeError::from)).and(restrictions);
        let mut renewed = Vec::new();
        for contract in self.contracts().iter() {
            let mut contract = Contract::clone(contract);
            done = done.and(contract.renew(&self.shared));
            renewed.push(Arc::new(contract));
        }
        self.put_contracts(renewed);
        done
    }

    /// Whether every contract has its newest snapshot, where it has one at all, and the active score its table.
    pub(crate) fn has_what_stands_there(&self) -> bool {
        self.contracts().iter().all(|contract| contract.unopened().is_none()) && self.active().is_whole()
    }

    /// Makes all channels anew: calls from now on connect with what TLS uses now, and those that run end on the
    /// connections that they have.
    pub(crate) fn connect_anew(&self) {
        let anew = |contract: &Arc<Contract>| Arc::new(contract.connected_anew(&self.shared.tls));
        self.put_contracts(self.contracts().iter().map(anew).collect());
    }

    fn put_contracts(&self, contracts: Vec<Arc<Contract>>) {
        *self.contracts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(contracts);
    }
}
