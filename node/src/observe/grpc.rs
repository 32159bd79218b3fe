//! The health of each service, as other nodes and load balancers ask for it (`grpc.health.v1`).

use std::collections::BTreeMap;
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{health, look};
use crate::provider::Shared;

/// How often the health is looked at.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Tells each service's health as it is now. Where a look breaks or hangs none serves, as far as anybody knows; the next
/// one tells.
pub async fn refresh(reporter: &HealthReporter, shared: &Shared) {
    let services = look(shared, |shared| health::services(shared, &health::findings(shared))).await;
    tell(reporter, services).await;
}

async fn tell(reporter: &HealthReporter, services: Option<BTreeMap<&'static str, bool>>) {
    let services = services.unwrap_or_else(|| health::SERVICES.map(|service| (service, false)).into());
    for (service, serves) in services {
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status(service, status).await;
    }
}

#[cfg(test)]
mod tests {
    use tonic::Request;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus as Told;
    use tonic_health::pb::health_server::Health as _;
    use tonic_health::server::HealthService;

    use super::*;

    #[tokio::test]
    async fn where_nobody_can_say_it_in_time_no_service_serves() {
        let reporter = HealthReporter::new();
        let service = HealthService::from_health_reporter(reporter.clone());
        let told = async |service_name: &str| {
            let asked = HealthCheckRequest { service: service_name.to_owned() };
            service.check(Request::new(asked)).await.unwrap().into_inner().status()
        };
        tell(&reporter, Some(health::SERVICES.map(|service| (service, true)).into())).await;
        assert_eq!(told("windvane.lookup.v1.Lookup").await, Told::Serving);
        tell(&reporter, None).await;
        for service in health::SERVICES {
            assert_eq!(told(service).await, Told::NotServing, "{service}");
        }
    }
}
