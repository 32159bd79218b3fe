//! A lean client of the REST interface, for the command line, the demonstration and the benchmark.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bearer::Token;
use super::body::{BatchBody, BatchResults, VerificationBody};
use super::idempotency;
use super::problem::Problem;
use crate::verification::VerificationReport;

/// The longest that a single call may take, connecting included.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// The longest that a batch may take.
const BATCH_DEADLINE: Duration = Duration::from_secs(300);

/// Shorter than the server's, so that a connection is not reused just as the server closes it.
const IDLE_LIMIT: Duration = Duration::from_secs(15);

/// A report has a few kilobytes.
const MAX_REPORT_BYTES: usize = 1 << 20;

/// 4,096 reports of 16 KiB.
const MAX_BATCH_RESPONSE_BYTES: usize = 64 << 20;

/// Asks a node over HTTP/1.1 with kept connections; clones share them.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: HeaderValue,
}

impl Client {
    /// A client of the node at `base_url`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// `URL_INVALID` where the text is not an `http` address with a host and without path or query.
    pub fn new(base_url: &str, token: &Token) -> Result<Self, Problem> {
        let base = base_url.trim_end_matches('/').to_owned();
        if !is_base(&base) {
            let message = "the node's address is not http://HOST:PORT";
            return Err(Problem::new(
                0,
                "URL_INVALID",
                message,
                "give the address of the node's REST listener",
            ));
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .expect("base64url is always a header's value");
        authorization.set_sensitive(true);
        Ok(Self { pool: pool(), base, authorization })
    }

    /// Asks about one person: `POST /v1/verifications`.
    ///
    /// # Errors
    /// The node's [`Problem`], or one of status 0 where no answer came: `NODE_UNREACHABLE`, `NODE_TIMEOUT`,
    /// `RESPONSE_INVALID`.
    pub async fn verify(&self, body: &VerificationBody) -> Result<VerificationReport, Problem> {
        let request = self.post("/v1/verifications", body);
        within(CALL_DEADLINE, self.call(request, MAX_REPORT_BYTES)).await
    }

    /// As [`Client::verify`]; once it was answered, it has the same answer however often it is repeated under the same
    /// `Idempotency-Key`.
    ///
    /// # Errors
    /// As [`Client::verify`]; `IDEMPOTENCY_KEY_INVALID` where the key is not 1 to 128 printable ASCII characters.
    pub async fn verify_once(
        &self,
        body: &VerificationBody,
        key: &str,
    ) -> Result<VerificationReport, Problem> {
        let mut request = self.post("/v1/verifications", body);
        let key = HeaderValue::from_str(key).map_err(|_| idempotency::invalid_key())?;
        request.headers_mut().insert(idempotency::HEADER, key);
        within(CALL_DEADLINE, self.call(request, MAX_REPORT_BYTES)).await
    }

    /// Asks about up to 4,096 people: `POST /v1/verifications:batch`. The answers are as many as the items.
    ///
    /// # Errors
    /// As [`Client::verify`].
    pub async fn verify_batch(&self, body: &BatchBody) -> Result<BatchResults, Problem> {
        let request = self.post("/v1/verifications:batch", body);
        let call = self.call(request, MAX_BATCH_RESPONSE_BYTES);
        let answer: BatchResults = within(BATCH_DEADLINE, call).await?;
        let (found, expected) = (answer.results.len(), body.items.len());
        if found != expected {
            return Err(invalid(format!("{found} results, expected {expected}")));
        }
        Ok(answer)
    }

    /// Reads an answer again: `GET /v1/verifications/{id}`.
    ///
    /// # Errors
    /// As [`Client::verify`]; `VERIFICATION_UNKNOWN` where the node has no such report.
    pub async fn report(&self, id: &str) -> Result<VerificationReport, Problem> {
        let sensible = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !sensible {
            let message = "an id consists of letters, digits and hyphens";
            return Err(Problem::new(0, "ID_INVALID", message, "use the id of a report"));
        }
        let request = self.request(Method::GET, &format!("/v1/verifications/{id}"), Bytes::new());
        within(CALL_DEADLINE, self.call(request, MAX_REPORT_BYTES)).await
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Request<Full<Bytes>> {
        let json = serde_json::to_vec(body).expect("bodies are made of texts and lists");
        self.request(Method::POST, path, json.into())
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .expect("the base was checked and the paths are ours")
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<T, Problem> {
        let response = self.pool.request(request).await.map_err(|error| unreachable_node(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await;
        let bytes = body.map_err(|_| invalid("the response broke off or is too large"))?.to_bytes();
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes).map_err(|_| invalid("the response does not parse"));
        }
        let problem = serde_json::from_slice::<Problem>(&bytes);
        Err(problem.unwrap_or_else(|_| invalid(format!("status {} without a problem", status.as_u16()))))
    }
}

fn is_base(base: &str) -> bool {
    base.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("http") && uri.host().is_some() && uri.path() == "/" && uri.query().is_none()
    })
}

fn pool() -> Pool<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    Pool::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(deadline, call).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s", deadline.as_secs());
        Err(Problem::new(0, "NODE_TIMEOUT", message, "look at the node's GET /readyz"))
    })
}

fn unreachable_node(error: &PoolError) -> Problem {
    let message = match error.is_connect() {
        true => "cannot connect to the node",
        false => "the connection to the node broke",
    };
    Problem::new(0, "NODE_UNREACHABLE", message, "check the address, and that the node runs")
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(0, "RESPONSE_INVALID", message, "check that the address is that of a node of this version")
}
