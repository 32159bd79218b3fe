//! The real listener, router and client over a scripted bank.

mod asking;
mod refusing;
mod repeating;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use windvane_protocols::secret::Secret;

use super::app::{Look, router_over};
use super::verifier::{Answer, Verifier};
use super::*;
use crate::bank::{BankError, BankErrorKind, Inquiry, Keyed};
use crate::clock::SystemClock;
use crate::observe::Finding;
use crate::store::Store;
use crate::verification::{Colour, Decision, MatchResult, VerificationReport};

const PHONE: &str = "13800138000";
const ID_NUMBER: &str = "11010519491231002X";
const NAME: &str = "王小明";

fn token() -> Token {
    Token::from_bytes([7; 32])
}

/// Answers by the ticket: `fail-<kind>` fails, `wait…` waits for the gate, everything else is a match whose
/// id is the ticket.
struct Script {
    asked: Mutex<Vec<Inquiry>>,
    batches: Mutex<usize>,
    waiting: watch::Sender<usize>,
    answered: watch::Sender<usize>,
    gate: watch::Sender<bool>,
    store: Arc<Store>,
    idempotency: Idempotency,
    _dir: tempfile::TempDir,
}

impl Script {
    fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("state.db")).unwrap());
        let secret = Secret::new([9; 32]);
        let idempotency = Idempotency::new(store.clone(), Arc::new(SystemClock), &secret, 60_000);
        Arc::new(Self {
            asked: Mutex::default(),
            batches: Mutex::default(),
            waiting: watch::Sender::new(0),
            answered: watch::Sender::new(0),
            gate: watch::Sender::new(false),
            store,
            idempotency,
            _dir: dir,
        })
    }

    async fn answer(&self, inquiry: Inquiry) -> Result<VerificationReport, BankError> {
        let ticket = inquiry.ticket.clone();
        self.asked.lock().unwrap().push(inquiry);
        if ticket.starts_with("wait") {
            self.waiting.send_modify(|count| *count += 1);
            self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        }
        self.answered.send_modify(|count| *count += 1);
        match ticket.strip_prefix("fail-") {
            Some(kind) => Err(failure(kind)),
            None => Ok(report(&ticket)),
        }
    }

    /// Keeps an answer, as the bank does with its records.
    fn keep(&self, keyed: Option<Keyed>, reports: &[VerificationReport]) -> Result<(), BankError> {
        let Some(keyed) = keyed else { return Ok(()) };
        let (key, answer) = keyed.of(reports)?;
        Ok(self.store.keep_answer(&key, &answer)?)
    }
}

fn failure(kind: &str) -> BankError {
    let (kind, retry_after_ms) = match kind {
        "input" => (BankErrorKind::BadInput, None),
        "unavailable" => (BankErrorKind::Unavailable, Some(5)),
        "internal" => (BankErrorKind::Internal, None),
        other => panic!("no kind {other}"),
    };
    BankError { code: "FROM_THE_BANK", message: "the disk /secret/path is full".into(), retry_after_ms, kind }
}

fn report(id: &str) -> VerificationReport {
    VerificationReport {
        id: id.to_owned(),
        result: MatchResult::Match,
        mismatch: None,
        attributes: BTreeMap::from([("status".into(), "active".into())]),
        tags: BTreeSet::new(),
        providers: Vec::new(),
        score: None,
        decision: Decision {
            colour: Colour::Green,
            reasons: Vec::new(),
            advice: Vec::new(),
            restriction: None,
            missing_sources: Vec::new(),
        },
        elapsed_ms: 1.5,
        at: "2025-01-31T08:00:00Z".into(),
    }
}

impl Verifier for Script {
    fn verify(&self, inquiry: Inquiry, keyed: Option<Keyed>) -> Answer<'_, VerificationReport> {
        Box::pin(async move {
            let report = self.answer(inquiry).await?;
            self.keep(keyed, std::slice::from_ref(&report))?;
            Ok(report)
        })
    }

    fn score_batch(
        &self,
        inquiries: Vec<Inquiry>,
        keyed: Option<Keyed>,
    ) -> Answer<'_, Vec<VerificationReport>> {
        self.verify_batch(inquiries, keyed)
    }

    fn verify_batch(
        &self,
        inquiries: Vec<Inquiry>,
        keyed: Option<Keyed>,
    ) -> Answer<'_, Vec<VerificationReport>> {
        *self.batches.lock().unwrap() += 1;
        Box::pin(async move {
            let mut reports = Vec::new();
            for inquiry in inquiries {
                reports.push(self.answer(inquiry).await?);
            }
            self.keep(keyed, &reports)?;
            Ok(reports)
        })
    }

    fn report<'a>(&'a self, id: &'a str) -> Answer<'a, Option<VerificationReport>> {
        Box::pin(async move {
            {
                let known =
                    id == "known-1" || self.asked.lock().unwrap().iter().any(|asked| asked.ticket == id);
                Ok(known.then(|| report(id)))
            }
        })
    }

    fn idempotency(&self) -> &Idempotency {
        &self.idempotency
    }

    fn user_of_token(&self, token_sha256: [u8; 32]) -> Answer<'_, Option<String>> {
        Box::pin(async move { Ok((token_sha256 == token().digest()).then(|| "counter-system".to_owned())) })
    }
}

/// Findings with these codes.
fn found(codes: &[String]) -> Vec<Finding> {
    codes.iter().map(|code| Finding::problem(code, "old", "renew it")).collect()
}

/// A running listener.
struct Served {
    script: Arc<Script>,
    base: String,
    failing: watch::Sender<Vec<String>>,
    places: Places,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let script = Script::new();
        let failing = watch::Sender::new(Vec::new());
        let seen = failing.subscribe();
        let ready = move || -> Look {
            let readiness = Readiness::of(found(&seen.borrow()));
            Box::pin(async move { readiness })
        };
        let (router, places) = router_over(script.clone(), Arc::new(ready));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let server = tokio::spawn(serve(listener, router, shutdown));
        Self { script, base, failing, places, stop, server }
    }

    fn client(&self) -> Client {
        Client::new(&self.base, &token()).unwrap()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let pool: Pool<_, Full<Bytes>> = Pool::builder(TokioExecutor::new()).build_http();
        let response = pool.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path).body(Full::default()).unwrap()).await
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = self.request("POST", path).header("content-type", "application/json");
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    async fn post_under(&self, key: &str, path: &str, body: &Value) -> Reply {
        let request = self.request("POST", path).header("content-type", "application/json");
        let request = request.header("idempotency-key", key);
        self.send(request.body(Full::new(body.to_string().into())).unwrap()).await
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let bearer = format!("Bearer {}", token().expose());
        Request::builder().method(method).uri(format!("{}{path}", self.base)).header("authorization", bearer)
    }
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status, code and field of a problem, which must be typed as one.
    fn problem(&self) -> (u16, String, Option<String>) {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem.status, self.status);
        assert!(!problem.message.is_empty() && !problem.advice.is_empty(), "{problem:?}");
        (self.status, problem.code, problem.field)
    }
}

/// A good question; `changes` overwrite fields of it, and `null` removes them.
fn question(changes: &Value) -> Value {
    let mut body = json!({
        "name": NAME, "id_number": ID_NUMBER, "phone": PHONE, "purpose": "account_opening",
        "ticket": "t-1", "consent": { "id": "c-1" }, "operator": "teller-1"
    });
    changed(&mut body, changes);
    body
}

/// A good item of a batch.
fn item(changes: &Value) -> Value {
    let mut body = question(changes);
    changed(&mut body, &json!({ "purpose": null, "operator": null }));
    body
}

fn changed(body: &mut Value, changes: &Value) {
    let fields = body.as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => fields.remove(key),
            value => fields.insert(key.clone(), value.clone()),
        };
    }
}

fn batch(items: &[Value]) -> Value {
    json!({ "purpose": "account_opening", "operator": "teller-1", "items": items })
}
