//! `/healthz`, `/readyz` and `/metrics` on a loopback address, for whoever looks after the machine.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, http::StatusCode};
use http::header::CONTENT_TYPE;

use super::{health, look, metrics, sample};
use crate::http::Live;
use crate::provider::Shared;

/// The three routes.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(shared)
}

async fn healthz() -> Json<Live> {
    Json(Live { live: true })
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let readiness = health::readiness(&shared).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn text(State(shared): State<Shared>) -> Response {
    match look(&shared, sample::collect).await {
        Some(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
