//! The interface's own description, made from the handlers.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi as _};

use super::{health, problem, verifications};

/// The OpenAPI 3.1 document that a running node serves at `GET /openapi.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Windvane",
        description = "Private verification of customers: do a name, an ID number and a phone number belong \
            together, and what is known of the number? Every failure is a Problem with a stable code.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        verifications::verify,
        verifications::verify_batch,
        verifications::report,
        health::healthz,
        health::readyz,
        health::openapi_json
    ),
    components(schemas(problem::Problem)),
    modifiers(&Bearer)
)]
struct Document;

/// Adds the token scheme, which the derive cannot express.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}
