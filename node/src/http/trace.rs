//! One span a request: method, matched path, caller, status and duration. No query, no body, no identity.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// Runs a request inside its span.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let span = span_of(&request);
    let started = Instant::now();
    async move {
        let response = next.run(request).await;
        report(response.status().as_u16(), started);
        response
    }
    .instrument(span)
    .await
}

/// The path as the route spells it; one that no route has is not repeated, because a caller may have put
/// anything there.
fn span_of(request: &Request) -> Span {
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    let method = request.method().as_str();
    tracing::info_span!("http_request", method, path, caller = Empty, status = Empty, duration_ms = Empty)
}

fn report(status: u16, started: Instant) {
    let span = Span::current();
    span.record("status", status);
    span.record("duration_ms", started.elapsed().as_secs_f64() * 1e3);
    match status {
        500.. => tracing::warn!("request failed"),
        400.. => tracing::info!("request refused"),
        _ => tracing::debug!("request answered"),
    }
}
