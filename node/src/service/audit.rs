//! `windvane.audit.v1.Audit`: countersignatures.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windvane_proto::audit::v1::{CountersignRequest, CountersignResponse, audit_server::Audit};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::transcript::Signed;

use crate::provider::Provider;

/// The service.
#[derive(Debug, Clone)]
pub struct AuditService(pub Arc<Provider>);

#[tonic::async_trait]
impl Audit for AuditService {
    async fn countersign(
        &self,
        request: Request<CountersignRequest>,
    ) -> Result<Response<CountersignResponse>, Status> {
        let partner = self.0.partners().authenticate(&request)?;
        let result = async {
            let signed = Signed::<Countersignature>::try_from(request.into_inner())?;
            self.0.countersigned(&partner, signed).await
        };
        match result.await {
            Ok(()) => Ok(Response::new(CountersignResponse {})),
            Err(refusal) => Err(self.0.refuse(&partner.party, None, refusal).await),
        }
    }
}
