//! A training held against its grant, before anything moves; an auditor does the same with both logs.

use windvane_protocols::audit::grant::{Grant, GrantError, GrantId, Operation, TrainTerms, Use};
use windvane_protocols::train::record::TrainRequest;

use super::TrainRefusal;
use crate::bank::granted::best;
use crate::error::Refusal;

/// What must be so of a request.
///
/// # Errors
/// [`Refusal`] with the first rule that forbids it.
pub(crate) fn permit(grant: &Grant, request: &TrainRequest, now_ms: u64) -> Result<(), Refusal> {
    grant.permits(&Use {
        requester: &request.charter.requester,
        provider: &request.provider,
        operation: Operation::Train,
        data_set: &request.data_set,
        families: &[],
        purpose: &request.purpose,
        epoch_hours: None,
        now_ms,
    })?;
    let (terms, charter) = (&grant.train, &request.charter);
    if !fits(terms, charter.providers().count()) {
        return Err(GrantError::Scope { what: "training without another provider" }.into());
    }
    let numbers = &charter.hyperparameters;
    let at_most = [
        ("the number of listed rows", charter.rows, terms.max_rows),
        ("the number of blocks", numbers.blocks.into(), terms.max_blocks),
        ("the number of a block's trees", numbers.trees.into(), terms.max_trees),
        ("the depth of trees", numbers.depth.into(), terms.max_depth),
    ];
    let at_least = [
        ("the decoy factor", charter.decoy_factor, terms.decoy_factor),
        ("the minimum count", numbers.minimum_count.into(), terms.minimum_count),
    ];
    let above = at_most.into_iter().find(|(_, found, limit)| found > limit);
    let below = at_least.into_iter().find(|(_, found, limit)| found < limit);
    match above.or(below) {
        Some((what, found, limit)) => Err(TrainRefusal::Terms { what, found, limit }.into()),
        None => Ok(()),
    }
}

/// The request under the newest grant that permits it; the newest comes last. Those that are `used_up` are asked under no
/// more. Where none permits it and none is used up, it is made under the newest running grant, or the newest at all: the
/// provider decides, and its refusal is evidence.
pub(crate) fn choose(
    grants: &[Grant],
    used_up: &[GrantId],
    now_ms: u64,
    request: impl Fn(&Grant) -> TrainRequest,
) -> Option<TrainRequest> {
    let left = grants.iter().rev().filter(|grant| !used_up.contains(&grant.id));
    let mut requests = left.map(|grant| (grant, request(grant)));
    let permitted = requests.find(|(grant, request)| permit(grant, request, now_ms).is_ok());
    let newest = || best(grants, None, now_ms).filter(|_| used_up.is_empty()).map(&request);
    permitted.map(|(_, request)| request).or_else(newest)
}

/// Whether a training with so many providers may be under these terms: with one, no masks hide what it contributes.
pub(crate) const fn fits(terms: &TrainTerms, providers: usize) -> bool {
    providers > 1 || terms.alone
}

/// Trainings under the grant so far, with this session's own left out.
///
/// # Errors
/// [`TrainRefusal::Runs`].
pub(crate) fn count(grant: &Grant, request: &TrainRequest, runs: &[[u8; 16]]) -> Result<(), TrainRefusal> {
    let others = runs.iter().filter(|session| *session != request.session.as_bytes()).count() as u64;
    if others < grant.train.runs {
        return Ok(());
    }
    Err(TrainRefusal::Runs { permitted: grant.train.runs })
}
