//! One span a request: method, matched path, caller, status and duration. No query, no body, no identity.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
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
    let method = spelt(request.method());
    tracing::info_span!("http_request", method, path, caller = Empty, status = Empty, duration_ms = Empty)
}

/// A method of the standard; HTTP allows any word as one, so that others are not repeated either.
fn spelt(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
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
