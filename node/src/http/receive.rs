//! Reading a request's body: bounded in bytes and in time, and refused without repeating any of it.

use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use windvane_protocols::limits::MAX_CUSTOMERS_PER_SESSION;

use super::body::TOO_MANY_ITEMS;
use super::problem::Problem;

/// A body must be here in this time, so that slow senders cannot hold places.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The fields of our schemas: only these names are ever repeated to a caller, because a key of a malformed
/// body may itself be somebody's number.
const FIELDS: [&str; 13] = [
    "name",
    "id_number",
    "document_type",
    "phone",
    "customer_type",
    "purpose",
    "ticket",
    "consent",
    "id",
    "digest",
    "operator",
    "outlet",
    "branch",
];

const ADVICE: &str = "send JSON as GET /openapi.json describes it";

/// Reads and parses a JSON body of at most `limit` bytes; gives its bytes too.
pub(super) async fn json<T: DeserializeOwned>(request: Request, limit: usize) -> Result<(T, Bytes), Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(415, "BODY_TYPE", "Content-Type is not application/json", ADVICE));
    }
    let bytes = bytes_of(request, limit).await?;
    let body = serde_json::from_slice(&bytes).map_err(|error| misfit::<T>(&error, &bytes))?;
    Ok((body, bytes))
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn bytes_of(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_DEADLINE, body).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body has more than {limit} bytes");
            Err(Problem::new(413, "BODY_TOO_LARGE", message, "send less in one call"))
        }
        Ok(Err(_)) => Err(Problem::new(400, "BODY_INCOMPLETE", "the body broke off", "send it again")),
        Err(_) => Err(Problem::new(408, "BODY_TIMEOUT", "the body came too slowly", "send it again")),
    }
}

/// Names place and field of what does not fit the schema. The parser's own words would repeat values.
fn misfit<T: DeserializeOwned>(error: &serde_json::Error, bytes: &[u8]) -> Problem {
    let place = format!("at line {}, column {}", error.line(), error.column());
    if error.is_syntax() || error.is_eof() {
        return Problem::new(400, "BODY_SYNTAX", format!("no JSON {place}"), ADVICE);
    }
    let words = error.to_string();
    if words.starts_with(TOO_MANY_ITEMS) {
        let message = format!("items: more than {MAX_CUSTOMERS_PER_SESSION}");
        return Problem::rule("items", "ITEMS_COUNT", message);
    }
    if let Some(field) = FIELDS.into_iter().find(|f| words.starts_with(&format!("missing field `{f}`"))) {
        return Problem::rule(field, "FIELD_MISSING", format!("{field}: missing in the object {place}"));
    }
    let message = format!("the JSON does not fit the schema {place}");
    let problem = Problem::new(422, "BODY_SCHEMA", message, ADVICE);
    Problem { field: field_of::<T>(bytes), ..problem }
}

/// Parses again, slowly, to learn the innermost known field.
fn field_of<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let error = serde_path_to_error::deserialize::<_, T>(&mut parser).err()?;
    let mut innermost = error.path().iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        _ => None,
    });
    innermost.next_back().filter(|key| FIELDS.contains(key)).map(str::to_owned)
}
