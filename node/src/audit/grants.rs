//! Grants as a log has them, and what was used of each.

use std::collections::BTreeMap;

use windvane_protocols::audit::grant::{Grant, GrantId, Operation, Use};
use windvane_protocols::audit::receipt::Receipt;
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::party::PartyId;
use windvane_protocols::psi::PsiAcceptance;
use windvane_protocols::train::record::TrainAcceptance;
use windvane_protocols::transcript::{Hash, Signed};

use super::code;
use super::content::TIME_TOLERANCE_MS;
use super::report::{Fault, Finding, GrantUse};
use crate::psi::PsiRefusal;

const DAY_MS: u64 = 86_400_000;

/// All grants of a log.
#[derive(Debug, Default)]
pub(super) struct Grants {
    by_id: BTreeMap<GrantId, Known>,
}

/// One grant.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) grant: Grant,
    pub(super) digest: Hash,
    pub(super) entry: u64,
    /// Entry and time of its end.
    pub(super) ended: Option<(u64, u64)>,
    /// By key group; `None` for scores.
    used: BTreeMap<Option<KeyGroup>, Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: Count,
    days: BTreeMap<u64, Count>,
}

/// Elements, and the first entry that went beyond what is permitted.
#[derive(Debug, Default)]
struct Count {
    elements: u64,
    beyond: Option<u64>,
}

impl Count {
    fn add(&mut self, entry: u64, elements: u64, permitted: u64) {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > permitted {
            self.beyond.get_or_insert(entry);
        }
    }
}

impl Grants {
    /// Takes a grant. The same grant once more, as a node logs it that was killed in between, says nothing new.
    pub(super) fn add(&mut self, entry: u64, signed: &Signed<Grant>) -> Result<(), Fault> {
        let (grant, digest) = (signed.body().clone(), signed.digest());
        match self.by_id.get(&grant.id) {
            Some(known) if known.digest != digest => {
                let text = format!("grant {} stands with other content in entry {}", grant.id, known.entry);
                Err(Fault::new(code::GRANT_DIFFERS, text))
            }
            Some(_) => Ok(()),
            None => {
                let known = Known { grant, digest, entry, ended: None, used: BTreeMap::new() };
                self.by_id.insert(known.grant.id, known);
                Ok(())
            }
        }
    }

    /// Ends a grant.
    pub(super) fn end(&mut self, entry: u64, at_ms: u64, id: GrantId) -> Result<(), Fault> {
        let known = self.by_id.get_mut(&id).ok_or_else(|| unknown(id))?;
        known.ended.get_or_insert((entry, at_ms));
        Ok(())
    }

    /// Holds an answer, in an epoch of so many hours, against its grant, and counts it. Whether the grant permits
    /// it is judged, like the day that it counts for, by the moment when the provider received it: the provider decides,
    /// and so both logs judge alike. The end of a grant is compared in the clock of the log's own party
    /// ([`Known::after_its_end`]).
    pub(super) fn charge(
        &mut self,
        entry: u64,
        receipt: &Receipt,
        epoch_hours: Option<u64>,
        party: &PartyId,
    ) -> Vec<Fault> {
        let request = receipt.request.body();
        let Some(known) = self.by_id.get_mut(&request.grant) else { return vec![unknown(request.grant)] };
        let asked = |operation, data_set, families, epoch_hours| Use {
            requester: &request.requester,
            provider: &request.provider,
            operation,
            data_set,
            families,
            purpose: &request.purpose,
            epoch_hours,
            now_ms: receipt.received_at_ms,
        };
        let looked_up = (!request.families.is_empty())
            .then(|| asked(Operation::Verify, &request.data_set, request.families.as_slice(), epoch_hours));
        // A score that was refused was not permitted to begin with.
        let scored = request.score.as_ref().filter(|_| receipt.scored > 0);
        let scored = scored.map(|score| asked(Operation::Score, &score.group, &[], None));
        let outside = looked_up.iter().chain(&scored).find_map(|asked| known.grant.permits(asked).err());
        let own_ms =
            if *party == request.provider { receipt.received_at_ms } else { request.requested_at_ms };
        let ended = known.after_its_end(own_ms);
        known.count(entry, receipt);
        let outside = outside.map(|error| Fault::new(code::OUTSIDE_GRANT, error));
        outside.into_iter().chain(ended).collect()
    }

    /// Holds an accepted set intersection against its grant, by the moment when the provider accepted it.
    pub(super) fn charge_psi(
        &self,
        acceptance: &PsiAcceptance,
        runs: &[([u8; 16], [u8; 32])],
        party: &PartyId,
    ) -> Vec<Fault> {
        let request = acceptance.request.body();
        let Some(known) = self.by_id.get(&request.grant) else { return vec![unknown(request.grant)] };
        let rows = acceptance.parameters.sizes().sender_rows;
        let permitted = crate::psi::grant::permit(&known.grant, request, rows, acceptance.accepted_at_ms);
        let outside = permitted.err().map(|error| Fault::new(code::OUTSIDE_GRANT, error));
        let counted = match crate::psi::grant::count(&known.grant, request, runs) {
            Ok(()) => None,
            Err(error @ PsiRefusal::RepeatedInput) => Some(Fault::new(code::INPUT_REPEATED, error)),
            Err(error) => Some(Fault::new(code::QUOTA_TOTAL, error)),
        };
        let own_ms =
            if *party == request.provider { acceptance.accepted_at_ms } else { request.requested_at_ms };
        outside.into_iter().chain(counted).chain(known.after_its_end(own_ms)).collect()
    }

    /// Holds an accepted training against its grant, by the moment when the provider accepted it.
    pub(super) fn charge_train(
        &self,
        acceptance: &TrainAcceptance,
        runs: &[[u8; 16]],
        party: &PartyId,
    ) -> Vec<Fault> {
        let request = acceptance.request.body();
        let Some(known) = self.by_id.get(&request.grant) else { return vec![unknown(request.grant)] };
        let permitted = crate::train::grant::permit(&known.grant, request, acceptance.accepted_at_ms);
        let named = !acceptance.names.is_empty() && !known.grant.train.named_features;
        let named = named.then_some("the acceptance names features, and the grant does not permit it");
        let outside = permitted.err().map(|error| Fault::new(code::OUTSIDE_GRANT, error));
        let outside = outside.or(named.map(|text| Fault::new(code::OUTSIDE_GRANT, text)));
        let counted = crate::train::grant::count(&known.grant, request, runs).err();
        let counted = counted.map(|error| Fault::new(code::QUOTA_TOTAL, error));
        let own_ms =
            if *party == request.provider { acceptance.accepted_at_ms } else { request.requested_at_ms };
        outside.into_iter().chain(counted).chain(known.after_its_end(own_ms)).collect()
    }

    /// Quotas that were exceeded, each named once, where it was.
    pub(super) fn exceeded(&self) -> Vec<Finding> {
        self.by_id.values().flat_map(Known::exceeded).collect()
    }

    /// What was used of every grant and key group.
    pub(super) fn usage(&self) -> Vec<GrantUse> {
        self.by_id.values().flat_map(Known::usage).collect()
    }

    /// The grants that one party gave another.
    pub(super) fn between<'a>(
        &'a self,
        requester: &'a PartyId,
        provider: &'a PartyId,
    ) -> impl Iterator<Item = &'a Known> {
        let ours =
            move |known: &&Known| known.grant.requester == *requester && known.grant.provider == *provider;
        self.by_id.values().filter(ours)
    }

    /// A grant by its name.
    pub(super) fn find(&self, id: &GrantId) -> Option<&Known> {
        self.by_id.get(id)
    }
}

/// What elements are called in findings and reports.
fn name(group: Option<KeyGroup>) -> &'static str {
    group.map_or("score", KeyGroup::name)
}

fn unknown(id: GrantId) -> Fault {
    Fault::new(code::GRANT_UNKNOWN, format!("no entry before this one grants {id}"))
}

impl Known {
    /// The fault of a use at `own_ms` that came after the grant's end. The end is logged with the moment of the command, and
    /// a node takes it over a moment later, or later still where its state cannot be read: what it does meanwhile, and what
    /// is under way then, stands behind the end without a fault.
    fn after_its_end(&self, own_ms: u64) -> Option<Fault> {
        let (end, at_ms) = self.ended?;
        let text = || format!("grant {} was ended by entry {end}", self.grant.id);
        (own_ms > at_ms.saturating_add(TIME_TOLERANCE_MS)).then(|| Fault::new(code::GRANT_ENDED, text()))
    }

    fn count(&mut self, entry: u64, receipt: &Receipt) {
        let day = receipt.received_at_ms / DAY_MS;
        let looked_up = receipt.elements.iter().map(|(group, elements)| (Some(*group), elements));
        let scored = (receipt.scored > 0).then_some((None, &receipt.scored));
        for (group, elements) in looked_up.chain(scored) {
            let used = self.used.entry(group).or_default();
            used.total.add(entry, *elements, self.grant.total);
            used.days.entry(day).or_default().add(entry, *elements, self.grant.per_day);
        }
    }

    fn exceeded(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (group, used) in &self.used {
            let mut find = |code, count: &Count, permitted: u64, when: &str| {
                let Some(entry) = count.beyond else { return };
                let (id, group, elements) = (self.grant.id, name(*group), count.elements);
                let text = format!("grant {id} permits {permitted} {group} elements {when}, used {elements}");
                findings.push(Fault::new(code, text).at(entry));
            };
            find(code::QUOTA_TOTAL, &used.total, self.grant.total, "in all");
            for (day, count) in &used.days {
                let day = crate::clock::rfc3339(day * DAY_MS);
                find(code::QUOTA_DAY, count, self.grant.per_day, &format!("in the day from {day}"));
            }
        }
        findings
    }

    fn usage(&self) -> Vec<GrantUse> {
        let report = |(group, used): (&Option<KeyGroup>, &Used)| GrantUse {
            grant: self.grant.id.to_string(),
            requester: self.grant.requester.to_string(),
            provider: self.grant.provider.to_string(),
            group: name(*group),
            used: used.total.elements,
            total: self.grant.total,
            busiest_day: used.days.values().map(|day| day.elements).max().unwrap_or(0),
            per_day: self.grant.per_day,
        };
        self.used.iter().map(report).collect()
    }
}
