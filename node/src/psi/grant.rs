//! A request held against its grant, before anything moves.

use windvane_protocols::audit::grant::{Grant, Operation, Use};
use windvane_protocols::psi::{Mode, PsiRequest};

use super::PsiRefusal;
use crate::error::Refusal;

/// What must be so of a request and the provider's list.
///
/// # Errors
/// [`Refusal`] with the first rule that forbids it.
pub(crate) fn permit(
    grant: &Grant,
    request: &PsiRequest,
    list_rows: u64,
    now_ms: u64,
) -> Result<(), Refusal> {
    grant.permits(&Use {
        requester: &request.requester,
        provider: &grant.provider,
        operation: Operation::Psi,
        data_set: &request.data_set,
        families: &[],
        purpose: &request.purpose,
        epoch_hours: None,
        now_ms,
    })?;
    let terms = &grant.psi;
    let sizes = [
        ("requester", request.rows, terms.max_requester_rows),
        ("provider", list_rows, terms.max_provider_rows),
    ];
    for (party, found, limit) in sizes {
        if found > limit {
            return Err(PsiRefusal::Rows { party, found, limit }.into());
        }
    }
    let columns = &request.payload_columns;
    let unfit = |(place, column): &(usize, &String)| {
        !terms.payload_columns.contains(column) || columns[..*place].contains(column)
    };
    if let Some((_, column)) = columns.iter().enumerate().find(unfit) {
        return Err(PsiRefusal::Column { column: column.clone() }.into());
    }
    // A count is had below the minimum too, but not over fewer rows: it would say more of each. Rows that match nothing can be
    // added, so a minimum holds back whom a result names, and not what counts over chosen rows tell.
    let kept = match request.mode {
        Mode::Cardinality => true,
        Mode::MinimumThenRelease => request.minimum >= grant.minimum_result.max(1),
        _ => grant.minimum_result == 0,
    };
    if !kept || request.rows < grant.minimum_result {
        return Err(PsiRefusal::Minimum { minimum: grant.minimum_result }.into());
    }
    Ok(())
}

/// Runs and inputs under the grant so far, with this job's own left out.
///
/// # Errors
/// [`PsiRefusal::Runs`], [`PsiRefusal::RepeatedInput`].
pub(crate) fn count(
    grant: &Grant,
    request: &PsiRequest,
    runs: &[([u8; 16], [u8; 32])],
) -> Result<(), PsiRefusal> {
    let others = || runs.iter().filter(|(session, _)| session != request.session.as_bytes());
    if others().count() as u64 >= grant.psi.runs {
        return Err(PsiRefusal::Runs { permitted: grant.psi.runs });
    }
    if !grant.psi.repeated_input && others().any(|(_, input)| *input == request.input) {
        return Err(PsiRefusal::RepeatedInput);
    }
    Ok(())
}
