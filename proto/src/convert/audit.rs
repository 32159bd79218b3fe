//! `windvane.audit.v1`.

use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::transcript::Signed;

use super::{WireError, signed};
use crate::audit::v1::CountersignRequest;

impl TryFrom<CountersignRequest> for Signed<Countersignature> {
    type Error = WireError;

    fn try_from(message: CountersignRequest) -> Result<Self, WireError> {
        signed("countersignature", &message.countersignature)
    }
}

impl From<&Signed<Countersignature>> for CountersignRequest {
    fn from(signed: &Signed<Countersignature>) -> Self {
        Self { countersignature: signed.as_bytes().to_vec().into() }
    }
}
