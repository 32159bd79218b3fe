//! The router: one table of routes, from which the interface's description and the routing both come.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use utoipa::Path;
use utoipa::openapi::HttpMethod;

use super::load::Places;
use super::problem::Problem;
use super::verifier::Verifier;
use super::{bearer, document, health, load, trace, verifications};
use crate::bank::Bank;
use crate::observe::health::Readiness;

/// A look at the node under way.
pub(super) type Look = Pin<Box<dyn Future<Output = Readiness> + Send>>;

/// Tells whether the node can answer, and what keeps it from it.
pub(super) type Ready = Arc<dyn Fn() -> Look + Send + Sync>;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct App {
    pub(super) bank: Arc<dyn Verifier>,
    pub(super) ready: Ready,
    pub(super) places: Places,
    pub(super) document: Bytes,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("places", &self.places).finish_non_exhaustive()
    }
}

/// The REST interface over `bank`, and the places of its calls: one whose caller hung up goes on in its place.
///
/// `ready` tells whether the node can answer, and what keeps it from it; it is asked on every `GET /readyz`.
pub fn router<F>(bank: Arc<Bank>, ready: impl Fn() -> F + Send + Sync + 'static) -> (Router, Places)
where
    F: Future<Output = Readiness> + Send + 'static,
{
    router_over(bank, Arc::new(move || -> Look { Box::pin(ready()) }))
}

/// Method and path of every route that [`router`] serves.
pub fn routes() -> Vec<(&'static str, String)> {
    let app_less = |routes: Vec<Route>| routes.into_iter().map(|route| (route.method, route.path));
    app_less(open()).chain(app_less(guarded())).map(|(method, path)| (name(&method), path)).collect()
}

pub(super) fn router_over(bank: Arc<dyn Verifier>, ready: Ready) -> (Router, Places) {
    let document = document::openapi().to_json().expect("the document is made of texts and maps");
    let places = Places::default();
    let app = App { bank, ready, places: places.clone(), document: document.into() };
    let guarded = guarded().into_iter().fold(Router::new(), |router, route| {
        let handler = match route.load {
            Load::Batch => route.handler.route_layer(from_fn_with_state(app.clone(), load::batch)),
            Load::Single => route.handler.route_layer(from_fn_with_state(app.clone(), load::single)),
        };
        router.route(&route.path, handler)
    });
    let guarded = guarded.route_layer(from_fn_with_state(app.clone(), bearer::admit));
    let router = open()
        .into_iter()
        .fold(guarded, |router, route| router.route(&route.path, route.handler))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn(trace::trace))
        .with_state(app);
    (router, places)
}

struct Route {
    method: HttpMethod,
    path: String,
    load: Load,
    handler: MethodRouter<App>,
}

/// Which places a route's calls take.
#[derive(Debug, Clone, Copy)]
enum Load {
    Single,
    Batch,
}

/// The route that the description `P` speaks of.
fn route<P: Path>(load: Load, handler: MethodRouter<App>) -> Route {
    let method = P::methods().pop().expect("every described handler has a method");
    Route { method, path: P::path(), load, handler }
}

fn guarded() -> Vec<Route> {
    use verifications::{__path_report, __path_verify, __path_verify_batch, report, verify, verify_batch};
    vec![
        route::<__path_verify>(Load::Single, post(verify)),
        route::<__path_verify_batch>(Load::Batch, post(verify_batch)),
        route::<__path_report>(Load::Single, get(report)),
    ]
}

fn open() -> Vec<Route> {
    use health::{__path_healthz, __path_openapi_json, __path_readyz, healthz, openapi_json, readyz};
    vec![
        route::<__path_healthz>(Load::Single, get(healthz)),
        route::<__path_readyz>(Load::Single, get(readyz)),
        route::<__path_openapi_json>(Load::Single, get(openapi_json)),
    ]
}

fn name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Delete => "delete",
        HttpMethod::Options => "options",
        HttpMethod::Head => "head",
        HttpMethod::Patch => "patch",
        HttpMethod::Trace => "trace",
    }
}

async fn no_route() -> Problem {
    Problem::new(404, "ROUTE_UNKNOWN", "nothing is served here", "see GET /openapi.json")
}

async fn no_method() -> Problem {
    Problem::new(405, "METHOD_NOT_ALLOWED", "the path does not serve this method", "see GET /openapi.json")
}
