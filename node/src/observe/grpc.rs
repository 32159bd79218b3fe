//! The health of each service, as other nodes and load balancers ask for it (`grpc.health.v1`).

use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{health, look};
use crate::provider::Shared;

/// How often the health is looked at.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Tells each service's health as it is now.
pub async fn refresh(reporter: &HealthReporter, shared: &Shared) {
    let services = look(shared, |shared| health::services(shared, &health::findings(shared))).await;
    // A look that breaks leaves what was told before; the next one tells.
    let Some(services) = services else { return };
    for (service, serves) in services {
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status(service, status).await;
    }
}
