//! One shape for everything that goes wrong.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windvane_protocols::identity::IdentityError;

use crate::bank::{BankError, BankErrorKind};

/// The media type of a [`Problem`] (RFC 9457; `code`, `field`, `message`, `advice` and `retry_after_ms` are
/// extension members).
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Why there is no answer: a stable code, what was wrong, and what to do. It never holds a value from the
/// request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{code}: {message}; {advice}")]
pub struct Problem {
    /// The HTTP status; 0 where no response came.
    pub status: u16,
    /// The stable code, such as `PHONE_LENGTH`.
    #[schema(example = "PHONE_LENGTH")]
    pub code: String,
    /// The field of the request that broke a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "phone")]
    pub field: Option<String>,
    /// What was wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// How long to wait before asking again, in milliseconds, where waiting can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem without a field and without a time to wait.
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>, advice: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            field: None,
            message: message.into(),
            advice: advice.to_owned(),
            retry_after_ms: None,
        }
    }

    /// A value in `field` that breaks the rule `code`: status 422.
    pub(crate) fn rule(field: &str, code: &str, message: impl Into<String>) -> Self {
        let advice = "correct the field and send it again";
        Self { field: Some(field.to_owned()), ..Self::new(422, code, message, advice) }
    }

    /// The same problem with a time to wait.
    pub(crate) fn after(self, milliseconds: u64) -> Self {
        Self { retry_after_ms: Some(milliseconds), ..self }
    }

    /// An identity's field by the name that it has in a request.
    pub(crate) fn identity(error: IdentityError) -> Self {
        let field = match error.field() {
            "document" => "id_number",
            field => field,
        };
        Self::rule(field, error.rule(), error.to_string())
    }

    /// No token, or none that is admitted.
    pub(super) fn unauthenticated(code: &str, message: &str) -> Self {
        let advice = "send `Authorization: Bearer <token>` with a token that this node admitted";
        Self::new(401, code, message, advice)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(wait) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000).max(1)));
        }
        if self.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge()));
        }
        headers
    }

    /// RFC 6750, section 3: no error code where the request carries no token at all.
    fn challenge(&self) -> &'static str {
        match self.code.as_str() {
            "TOKEN_MISSING" => r#"Bearer realm="windvane""#,
            _ => r#"Bearer realm="windvane", error="invalid_token""#,
        }
    }
}

impl From<BankError> for Problem {
    fn from(error: BankError) -> Self {
        let (status, advice) = match error.kind {
            BankErrorKind::BadInput => (422, "correct the request and send it again"),
            BankErrorKind::Unavailable => (503, "try again later; if it stays, look at GET /readyz"),
            BankErrorKind::Internal => (500, "give the code and the time to the node's operator"),
        };
        let message = match error.kind {
            // What failed inside is for the node's log, not for a caller.
            BankErrorKind::Internal => "the node failed".to_owned(),
            _ => error.message,
        };
        let problem = Self::new(status, error.code, message, advice);
        Self { retry_after_ms: error.retry_after_ms, ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a struct of texts and numbers always serialises");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().extend(self.headers());
        response
    }
}
