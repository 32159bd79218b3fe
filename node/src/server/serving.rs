//! What a node serves, and on what: the services of a provider, and the REST interface of a bank.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Layer as _;
use windvane_proto::audit::v1::audit_server::AuditServer;
use windvane_proto::common::v1::peer_server::PeerServer;
use windvane_proto::lookup::v1::lookup_server::LookupServer;
use windvane_proto::psi::v1::psi_server::PsiServer;
use windvane_proto::score::v1::score_server::ScoreServer;
use windvane_proto::train::v1::train_server::TrainServer;
use windvane_protocols::limits::MAX_MESSAGE_BYTES;

use crate::bank::Bank;
use crate::http;
use crate::limits::{self, Limits};
use crate::observe;
use crate::observe::calls::CallLayer;
use crate::peer::Incoming;
use crate::provider::{Provider, Shared};
use crate::psi::serve::PsiProvider;
use crate::score::rounds::Rounds;
use crate::service::{
    audit::AuditService, common::PeerService, lookup::LookupService, psi::PsiService, score::ScoreService,
    train::TrainService,
};
use crate::train::serve::TrainProvider;

/// What a provider's node serves.
pub(super) struct Services {
    pub(super) provider: Arc<Provider>,
    pub(super) psi: Arc<PsiProvider>,
    pub(super) train: Arc<TrainProvider>,
    pub(super) health: HealthReporter,
}

pub(super) async fn serve_grpc(
    Services { provider, psi, train, health }: Services,
    incoming: Incoming,
    limits: Arc<Limits>,
    mut stopped: watch::Receiver<bool>,
) {
    let shared = provider.shared().clone();
    let health_service = HealthServer::new(HealthService::from_health_reporter(health.clone()));
    let (calls, functions) = (CallLayer::new(&shared), shared.functions.clone());
    let stop = async move {
        // The sender lives as long as the node; either way it is time to stop.
        let _ = stopped.changed().await;
        observe::grpc::refresh(&health, &shared).await;
    };
    let routes = Routes::new(health_service)
        .add_service(PeerServer::new(PeerService(provider.clone())))
        .add_service(
            AuditServer::new(AuditService(provider.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            PsiServer::new(PsiService(psi))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            ScoreServer::new(ScoreService(Arc::new(Rounds::new(provider.clone()))))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            TrainServer::new(TrainService(train))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            LookupServer::new(LookupService(provider))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        );
    limits::serve(incoming, calls.layer(routes.prepare()), limits, functions, stop).await;
}

pub(super) async fn serve_http(
    bank: Arc<Bank>,
    shared: Shared,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    let looked = shared.clone();
    let ready = move || {
        let shared = looked.clone();
        async move { observe::health::readiness(&shared).await }
    };
    let (router, places) = http::router(bank, ready);
    let router = router.layer(from_fn_with_state(shared, observe::rest::observe));
    let stop = async move {
        // The sender lives as long as the node; either way it is time to stop.
        let _ = stopped.changed().await;
    };
    http::serve(listener, router, stop).await;
    // Calls whose callers hung up have no connection any more.
    places.all_free().await;
}
