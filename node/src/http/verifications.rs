//! Asking, asking in batches, and reading an answer again.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use http::HeaderMap;
use tokio::task::JoinError;
use tracing::Instrument as _;
use utoipa::IntoResponses;

use super::app::App;
use super::bearer::Caller;
use super::body::{Asker, BatchBody, BatchItem, BatchResult, BatchResults, VerificationBody};
use super::idempotency::{Begun, Claim, HEADER, Kept};
use super::load::Place;
use super::problem::Problem;
use super::receive;
use crate::bank::{BankError, Inquiry};
use crate::verification::VerificationReport;

/// A single question is well under 2 KiB.
const MAX_BODY_BYTES: usize = 64 << 10;

/// 4,096 items of 2 KiB.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// A verification's id is far shorter.
const MAX_ID_BYTES: usize = 64;

/// What the header is for. A quota counts what was asked, by a call that failed too.
const KEY: &str =
    "A call that was answered under its key is answered again, and not made again; one that failed may be";

/// What any call may meet.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only describes the responses")]
enum Refused {
    /// No token, or one that is not admitted.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// There are too many calls at once; Retry-After says when to ask again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The node failed.
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(Problem),
    /// The node cannot answer now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// What a question may meet besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only describes the responses")]
enum NotAsked {
    /// The body is not JSON, or broke off.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// A call under the same Idempotency-Key is under way.
    #[response(status = 409, content_type = "application/problem+json")]
    InProgress(Problem),
    /// The body came too slowly.
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not said to be JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    WrongType(Problem),
    /// A field breaks a rule, the body does not fit the schema, or its Idempotency-Key came with another body.
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(Problem),
}

/// Verifies one person against every contracted provider.
#[utoipa::path(
    post, path = "/v1/verifications", tag = "verifications",
    request_body = VerificationBody, security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = KEY)),
    responses(
        (status = 200, description = "The answer", body = VerificationReport),
        Refused, NotAsked,
    )
)]
pub(super) async fn verify(
    State(app): State<App>,
    request: Request,
) -> Result<Json<VerificationReport>, Problem> {
    let (place, under) = (Place::of(&request), Under::of(&request));
    let (body, bytes) = receive::json::<VerificationBody>(request, MAX_BODY_BYTES).await?;
    let (asker, item) = body.into_item();
    asker.check()?;
    let inquiry = item.inquiry(&asker)?;
    let claim = match under.begin(&app, &bytes).await? {
        Begun::Make(claim) => claim,
        Begun::Made(kept) => return again(&app, kept).await?.pop().and_then(single).ok_or_else(unknown),
    };
    let bank = Arc::clone(&app.bank);
    let call = async move {
        let keyed = claim.as_ref().map(|claim| claim.keyed(|reports| kept(&[None], reports)));
        bank.verify(inquiry, keyed).await
    };
    to_the_end(place, call).await.map(Json)
}

/// Verifies up to 4,096 people in one session, or scores them.
///
/// A body that does not fit the schema is refused as a whole; a value that breaks a rule gives only its own
/// item an error.
#[utoipa::path(
    post, path = "/v1/verifications:batch", tag = "verifications",
    request_body = BatchBody, security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = KEY)),
    responses(
        (status = 200, description = "One answer for every item, in order", body = BatchResults),
        Refused, NotAsked,
    )
)]
pub(super) async fn verify_batch(
    State(app): State<App>,
    request: Request,
) -> Result<Json<BatchResults>, Problem> {
    let (place, under) = (Place::of(&request), Under::of(&request));
    let (body, bytes) = receive::json::<BatchBody>(request, MAX_BATCH_BYTES).await?;
    let asker = Asker { purpose: body.purpose, operator: body.operator };
    asker.check()?;
    let score_only = body.score_only;
    if body.items.is_empty() {
        return Err(Problem::rule("items", "ITEMS_COUNT", "items: none, expected at least 1"));
    }
    let claim = match under.begin(&app, &bytes).await? {
        Begun::Make(claim) => claim,
        Begun::Made(kept) => return Ok(Json(BatchResults { results: again(&app, kept).await? })),
    };
    drop(bytes);
    let (inquiries, refused) = sorted(body.items, &asker);
    let bank = Arc::clone(&app.bank);
    let call = async move {
        let reports = if inquiries.is_empty() {
            keep(claim, &refused).await;
            Vec::new()
        } else {
            let keyed = claim.as_ref().map(|claim| {
                let refused = refused.clone();
                claim.keyed(move |reports| kept(&refused, reports))
            });
            let asked = if score_only {
                bank.score_batch(inquiries, keyed)
            } else {
                bank.verify_batch(inquiries, keyed)
            };
            asked.await?
        };
        joined(refused, reports).ok_or_else(BankError::internal)
    };
    to_the_end(place, call).await.map(|results| Json(BatchResults { results }))
}

/// Reads an answer again.
#[utoipa::path(
    get, path = "/v1/verifications/{id}", tag = "verifications", security(("bearer" = [])),
    params(("id" = String, Path, description = "The verification's id")),
    responses(
        (status = 200, description = "The answer", body = VerificationReport),
        (status = 404, description = "No such verification", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
pub(super) async fn report(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<VerificationReport>, Problem> {
    let Ok(Path(id)) = id else { return Err(unknown()) };
    let sensible = id.len() <= MAX_ID_BYTES && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !sensible {
        return Err(unknown());
    }
    app.bank.report(&id).await?.map(Json).ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(404, "VERIFICATION_UNKNOWN", "no verification has this id", "use the id of a report")
}

/// Good items as questions; for every item its error, if it has one.
fn sorted(items: Vec<BatchItem>, asker: &Asker) -> (Vec<Inquiry>, Vec<Option<Problem>>) {
    let mut inquiries = Vec::with_capacity(items.len());
    let refused = items.into_iter().map(|item| match item.inquiry(asker) {
        Ok(inquiry) => {
            inquiries.push(inquiry);
            None
        }
        Err(problem) => Some(problem),
    });
    let refused = refused.collect();
    (inquiries, refused)
}

/// What a call's key is looked up by, apart from its body.
struct Under {
    headers: HeaderMap,
    caller: String,
    path: String,
}

impl Under {
    fn of(request: &Request) -> Self {
        let caller = request.extensions().get::<Caller>().map_or_else(String::new, |caller| caller.0.clone());
        let mut headers = HeaderMap::new();
        for key in request.headers().get_all(HEADER) {
            headers.append(HEADER, key.clone());
        }
        Self { headers, caller, path: request.uri().path().to_owned() }
    }

    async fn begin(&self, app: &App, body: &[u8]) -> Result<Begun, Problem> {
        app.bank.idempotency().begin(&self.headers, &self.caller, &self.path, body).await
    }
}

/// Keeps an answer of refusals alone under its key. One that cannot be kept is an answer all the same: nobody was asked.
async fn keep(claim: Option<Claim>, refused: &[Option<Problem>]) {
    let Some(claim) = claim else { return };
    if let Err(error) = claim.finish(&kept(refused, &[])).await {
        tracing::error!(code = error.code, %error, "an answer could not be kept under its Idempotency-Key");
    }
}

/// What is kept of an answer: the reports, and between them the errors.
fn kept(refused: &[Option<Problem>], reports: &[VerificationReport]) -> Vec<Kept> {
    let mut reports = reports.iter();
    let item = |refusal: &Option<Problem>| match refusal {
        Some(problem) => Some(Kept::Error(problem.clone())),
        None => reports.next().map(|report| Kept::Report(report.id.clone())),
    };
    refused.iter().filter_map(item).collect()
}

/// What was answered under a key before.
async fn again(app: &App, kept: Vec<Kept>) -> Result<Vec<BatchResult>, Problem> {
    let mut results = Vec::with_capacity(kept.len());
    for kept in kept {
        results.push(match kept {
            Kept::Report(id) => {
                BatchResult::Report(Box::new(app.bank.report(&id).await?.ok_or_else(unknown)?))
            }
            Kept::Error(problem) => BatchResult::Error(problem),
        });
    }
    Ok(results)
}

fn single(result: BatchResult) -> Option<Json<VerificationReport>> {
    match result {
        BatchResult::Report(report) => Some(Json(*report)),
        BatchResult::Error(_) => None,
    }
}

/// Puts the reports back between the errors.
fn joined(refused: Vec<Option<Problem>>, reports: Vec<VerificationReport>) -> Option<Vec<BatchResult>> {
    let mut reports = reports.into_iter();
    let results = refused.into_iter().map(|refusal| match refusal {
        Some(problem) => Some(BatchResult::Error(problem)),
        None => reports.next().map(|report| BatchResult::Report(Box::new(report))),
    });
    results.collect()
}

/// Runs a call on its own task, which keeps the call's place: a caller that hangs up must not stop it between its log
/// entries, nor let another call in beside it.
async fn to_the_end<T: Send + 'static>(
    place: Option<Place>,
    call: impl Future<Output = Result<T, BankError>> + Send + 'static,
) -> Result<T, Problem> {
    let call = async move {
        let answer = call.await;
        drop(place);
        answer
    };
    let answer = tokio::spawn(call.in_current_span()).await;
    answer.map_err(|error: JoinError| stopped(&error))?.map_err(noted)
}

/// The caller only learns that the node failed; the log learns why.
fn noted(error: BankError) -> Problem {
    let code = error.code;
    let message = error.message.clone();
    let problem = Problem::from(error);
    if problem.status == 500 {
        tracing::error!(code, message, "verification failed");
    }
    problem
}

fn stopped(error: &JoinError) -> Problem {
    tracing::error!(panicked = error.is_panic(), "verification stopped");
    failed()
}

fn failed() -> Problem {
    Problem::new(500, "INTERNAL", "the node failed", "give the code and the time to the node's operator")
}
