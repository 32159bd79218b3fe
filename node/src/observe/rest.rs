//! Every request to the REST interface, counted and timed, with its span.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use super::labels::{HttpLabels, RouteLabels};
use super::trace::TRACEPARENT;
use crate::provider::Shared;

/// Counts a request by the route as it is spelt in the interface: a path that no route has may hold anything.
pub async fn observe(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let observer = &shared.observer;
    let method = spelt(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let begun = Instant::now();
    let theirs = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let work = observer.serving("http_request", theirs);
    work.tell("http.request.method", method);
    work.tell("http.route", route.clone());
    let response = work.within(next.run(request)).await;
    let status = response.status().as_u16();
    work.tell("http.response.status_code", i64::from(status));
    if status >= 500 {
        work.fail("SERVER_ERROR");
    }
    let metrics = &observer.metrics;
    let labels = RouteLabels { route: route.clone() };
    metrics.http_request_seconds.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
    metrics.http_requests.get_or_create(&HttpLabels { method, route, status }).inc();
    response
}

/// A method of the interface; HTTP allows any word as one.
fn spelt(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        _ => "other",
    }
}
