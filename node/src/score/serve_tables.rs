//! A provider's tables on the wire: to the bank of their group.

use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::TableWanted;
use windvane_proto::score::v1::FetchTableResponse;
use windvane_protocols::lookup::DataSet;

use super::refusal::ScoreRefusal;
use crate::error::Refusal;
use crate::provider::Provider;

/// The signed manifest of an epoch's table.
///
/// # Errors
/// [`ScoreRefusal::TableUnknown`].
pub fn manifest(
    _provider: &Provider,
    _partner: &Partner,
    _group: &DataSet,
    _epoch: u64,
) -> Result<Vec<u8>, Refusal> {
    Err(ScoreRefusal::TableUnknown.into())
}

/// The rows of a table, from a segment on.
///
/// # Errors
/// [`ScoreRefusal::TableUnknown`].
pub fn stream(
    _provider: &Provider,
    _partner: &Partner,
    _wanted: &TableWanted,
) -> Result<ReceiverStream<Result<FetchTableResponse, Status>>, Refusal> {
    Err(ScoreRefusal::TableUnknown.into())
}
