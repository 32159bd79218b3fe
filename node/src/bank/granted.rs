//! Under which of the grants that it accepted a bank asks.

use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::lookup::DataSet;

/// Whether a grant names an operation and a data set.
pub(crate) fn permits(grant: &Grant, operation: Operation, data_set: &DataSet) -> bool {
    grant.operations.contains(&operation) && grant.data_sets.contains(data_set)
}

/// Whether a grant is for a purpose.
pub(crate) fn names(grant: &Grant, purpose: &str) -> bool {
    grant.purposes.iter().any(|granted| granted == purpose)
}

/// Of grants in the order in which they were accepted, the one to ask under: the newest that names the purpose and runs.
/// Where none runs, one that does not is used, and where none names the purpose, one for others: the provider decides, and
/// its refusal is evidence.
pub(crate) fn best<'a>(
    grants: impl IntoIterator<Item = &'a Grant>,
    purpose: Option<&str>,
    now_ms: u64,
) -> Option<&'a Grant> {
    let names = |grant: &Grant| purpose.is_none_or(|purpose| names(grant, purpose));
    // Of several that are alike the last one.
    grants.into_iter().max_by_key(|grant| (names(grant), grant.runs_at(now_ms)))
}

#[cfg(test)]
mod tests {
    use windvane_protocols::audit::grant::{GrantId, PsiTerms, TrainTerms};
    use windvane_protocols::identity::Family;

    use super::*;

    fn grant(id: u8, purpose: &str, not_after_ms: u64) -> Grant {
        Grant {
            id: GrantId::from_bytes([id; 16]),
            provider: "carrier-a".parse().unwrap(),
            requester: "bank".parse().unwrap(),
            data_sets: vec!["subscribers".parse().unwrap()],
            families: vec![Family::Phone],
            operations: vec![Operation::Verify],
            purposes: vec![purpose.to_owned()],
            columns: Vec::new(),
            minimum_result: 0,
            psi: PsiTerms::default(),
            train: TrainTerms::default(),
            score_bands: None,
            epoch_hours: 24,
            rate_per_s: 1,
            per_day: 1,
            total: 1,
            not_before_ms: 0,
            not_after_ms,
            issued_at_ms: 0,
        }
    }

    #[test]
    fn the_purpose_comes_before_the_time_and_the_newest_of_what_is_alike_is_chosen() {
        let grants =
            [(1, "opening", 90), (2, "opening", 9), (3, "review", 90), (4, "review", 90), (5, "audit", 9)]
                .map(|(id, purpose, until)| grant(id, purpose, until));
        let chosen = |purpose| best(&grants, purpose, 50).map(|grant| grant.id.as_bytes()[0]);
        assert_eq!(chosen(Some("opening")), Some(1));
        assert_eq!(chosen(Some("review")), Some(4));
        // The provider says whether it ended, or is not for this.
        assert_eq!(chosen(Some("audit")), Some(5));
        assert_eq!(chosen(Some("marketing")), Some(4));
        assert_eq!(chosen(None), Some(4));
        assert_eq!(best(&[], None, 50), None);
    }
}
