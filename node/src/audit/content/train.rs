//! The entries of trainings.

use windvane_protocols::party::PartyId;
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::transcript::Signed;

use super::{Check, Content, Signature, accepted_time, kept_time};
use crate::audit::report::Fault;

impl Content {
    pub(super) fn train_requested<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<TrainRequest>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (request, requester) = (signed.body(), &signed.body().charter.requester);
        let mut faults = self.signed(index, Signature::TrainRequest(signed), checks);
        faults.extend(self.ours(requester, &request.provider));
        faults.extend(self.made_by("request", requester));
        faults.extend(kept_time("request", at_ms, request.requested_at_ms));
        faults.extend(self.jobs.train_request(index, signed));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    pub(super) fn train_accepted<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<TrainAcceptance>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (acceptance, request) = (signed.body(), signed.body().request.body());
        let mut faults = self.signed(index, Signature::TrainAcceptance(signed), checks);
        faults.extend(self.signed(index, Signature::TrainRequest(&acceptance.request), checks));
        faults.extend(self.ours(&request.charter.requester, &request.provider));
        faults.extend(self.made_by("acceptance", &request.provider));
        faults.extend(kept_time("acceptance", at_ms, acceptance.accepted_at_ms));
        faults.extend(self.charge_train(acceptance, &request.provider));
        faults.extend(self.jobs.train_accept(index, signed));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    pub(super) fn train_completed<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<TrainReceipt>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (receipt, request) = (signed.body(), signed.body().request());
        let own = self.keyring.party().unwrap_or(&request.provider).clone();
        let mut faults = self.signed(index, Signature::TrainReceipt(signed), checks);
        faults.extend(self.signed(index, Signature::TrainAcceptance(&receipt.acceptance), checks));
        let asked = &receipt.acceptance.body().request;
        faults.extend(self.signed(index, Signature::TrainRequest(asked), checks));
        faults.extend(self.ours(&request.charter.requester, &request.provider));
        if own == request.provider {
            faults.extend(kept_time("receipt", at_ms, receipt.completed_at_ms));
        } else {
            // The acceptance stands in the provider's log alone, so the requester's counts by the receipt.
            faults.extend(self.charge_train(receipt.acceptance.body(), &own));
            faults.extend(self.jobs.train_accept(index, &receipt.acceptance));
        }
        faults.extend(self.jobs.train_complete(index, signed, &own));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    /// The record carries everything: a provider that was killed as it accepted may not have logged its acceptance.
    pub(super) fn train_lapsed<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<TrainLapse>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (lapse, request) = (signed.body(), signed.body().request());
        let mut faults = self.signed(index, Signature::TrainLapse(signed), checks);
        faults.extend(self.signed(index, Signature::TrainAcceptance(&lapse.acceptance), checks));
        let asked = &lapse.acceptance.body().request;
        faults.extend(self.signed(index, Signature::TrainRequest(asked), checks));
        faults.extend(self.ours(&request.charter.requester, &request.provider));
        faults.extend(self.made_by("lapse", &request.provider));
        faults.extend(kept_time("lapse", at_ms, lapse.lapsed_at_ms));
        if !self.jobs.is_accepted(&request.session) {
            faults.extend(self.charge_train(lapse.acceptance.body(), &request.provider));
        }
        faults.extend(self.jobs.train_accept(index, &lapse.acceptance));
        faults.extend(self.jobs.train_lapse(index, signed));
        faults.into_iter().map(|fault| fault.of(request.session)).collect()
    }

    fn charge_train(&self, acceptance: &TrainAcceptance, own: &PartyId) -> Vec<Fault> {
        let request = acceptance.request.body();
        let mut faults = self.grants.charge_train(acceptance, &self.jobs.trainings(&request.grant), own);
        faults.extend(accepted_time(request.requested_at_ms, acceptance.accepted_at_ms));
        faults
    }
}
