//! The entries of set intersection jobs.

use windvane_protocols::party::PartyId;
use windvane_protocols::psi::{PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest};
use windvane_protocols::transcript::Signed;

use super::{Check, Content, Signature, accepted_time, kept_time, own_time};
use crate::audit::code;
use crate::audit::report::Fault;

impl Content {
    pub(super) fn psi_requested<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<PsiRequest>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let request = signed.body();
        let mut faults = self.signed(index, Signature::PsiRequest(signed), checks);
        faults.extend(self.ours(&request.requester, &request.provider));
        faults.extend(self.made_by("request", &request.requester));
        faults.extend(own_time("request", at_ms, request.requested_at_ms));
        faults.extend(self.jobs.request(index, signed));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    pub(super) fn psi_accepted<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<PsiAcceptance>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (acceptance, request) = (signed.body(), signed.body().request.body());
        let mut faults = self.signed(index, Signature::PsiAcceptance(signed), checks);
        faults.extend(self.signed(index, Signature::PsiRequest(&acceptance.request), checks));
        faults.extend(self.ours(&request.requester, &request.provider));
        faults.extend(self.made_by("acceptance", &request.provider));
        faults.extend(own_time("acceptance", at_ms, acceptance.accepted_at_ms));
        faults.extend(self.charge(acceptance, &request.provider));
        faults.extend(self.jobs.accept(index, signed));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    pub(super) fn psi_released<'a>(
        &mut self,
        index: u64,
        signed: &'a Signed<PsiRelease>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let session = signed.body().session;
        let faults = match self.jobs.release(signed) {
            Ok(requester) => self.signed(index, Signature::PsiRelease(signed, requester), checks),
            Err(fault) => vec![fault],
        };
        faults.into_iter().map(|fault| fault.of(session)).collect()
    }

    pub(super) fn psi_completed<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<PsiReceipt>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (receipt, request) = (signed.body(), signed.body().request());
        let own = self.keyring.party().unwrap_or(&request.provider).clone();
        let mut faults = self.signed(index, Signature::PsiReceipt(signed), checks);
        faults.extend(self.signed(index, Signature::PsiAcceptance(&receipt.acceptance), checks));
        faults.extend(self.signed(index, Signature::PsiRequest(&receipt.acceptance.body().request), checks));
        faults.extend(self.ours(&request.requester, &request.provider));
        if own == request.provider {
            faults.extend(kept_time("receipt", at_ms, receipt.finished_at_ms));
        } else {
            // The acceptance stands in the provider's log alone, so the requester's counts by the receipt.
            faults.extend(self.charge(receipt.acceptance.body(), &own));
            faults.extend(self.jobs.accept(index, &receipt.acceptance));
        }
        faults.extend(self.jobs.complete(index, signed, &own));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    fn charge(&self, acceptance: &PsiAcceptance, own: &PartyId) -> Vec<Fault> {
        let request = acceptance.request.body();
        let mut faults = self.grants.charge_psi(acceptance, &self.jobs.runs(&request.grant), own);
        faults.extend(accepted_time(request.requested_at_ms, acceptance.accepted_at_ms));
        if !acceptance.follows_its_request() {
            let text = "the acceptance is of other rows, or otherwise computed, than its request asks for";
            faults.push(Fault::new(code::COUNTS_DIFFER, text));
        }
        faults
    }

    pub(super) fn made_by(&self, what: &str, party: &PartyId) -> Option<Fault> {
        let other = self.keyring.party().is_some_and(|own| own != party);
        let text = || format!("the {what} is made by {party}, not by the log's party");
        other.then(|| Fault::new(code::FOREIGN_RECORD, text()))
    }
}
