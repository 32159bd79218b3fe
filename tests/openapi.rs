//! The served description of the REST interface against what the running node does.
//!
//! Requests go over a bare socket, and the `jsonschema` crate judges the answers: neither the product's
//! client nor its types take part.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use windvane::verification::MatchResult;

use crate::lab::{Lab, SUBSCRIBERS, terms};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_answers_as_its_own_description_says() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let provider = lab.start(&carrier).await;
    let (bank, node) = lab.bank(&[(&carrier, &provider)], &terms()).await;
    let token = bank.admin.admit_caller("counter-system").unwrap();
    bank.taken_over_by(&node).await;
    let base = format!("http://{}", node.http_address().unwrap());
    served_document_matches(&base, token.expose(), &sample_body()).await;
}

/// The interface's description, and an answer that fits it.
fn live() -> (Document, Reply) {
    let document = Document::new(serde_json::to_value(windvane::http::openapi()).unwrap());
    let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    (document, Reply { status: 200, headers, body: json!({ "live": true }) })
}

#[test]
fn an_answer_that_fits_is_accepted() {
    let (document, reply) = live();
    document.check("get", "/healthz", &reply);
}

#[test]
fn every_route_that_takes_a_place_describes_that_there_may_be_none() {
    let (document, _) = live();
    let secured: Vec<_> = document
        .routes()
        .into_iter()
        .filter(|(method, path)| document.operation(method, path).get("security").is_some())
        .collect();
    assert_eq!(secured.len(), 3);
    for (method, path) in secured {
        assert!(document.operation(&method, &path)["responses"]["429"].is_object(), "{method} {path}");
    }
}

#[test]
#[should_panic(expected = "does not fit")]
fn an_undescribed_property_is_found() {
    let (document, mut reply) = live();
    reply.body["extra"] = json!(1);
    document.check("get", "/healthz", &reply);
}

#[test]
#[should_panic(expected = "does not fit")]
fn a_missing_property_is_found() {
    let (document, reply) = live();
    document.check("get", "/healthz", &Reply { body: json!({}), ..reply });
}

#[test]
#[should_panic(expected = "which is not described")]
fn an_undescribed_status_is_found() {
    let (document, reply) = live();
    document.check("get", "/healthz", &Reply { status: 201, ..reply });
}

fn sample_body() -> Value {
    json!({
        "name": "张三", "id_number": "11010519491231002X", "phone": "13800138000",
        "purpose": "account_opening", "ticket": "T-1", "operator": "teller-1",
        "consent": { "id": "C-1", "digest": "0".repeat(64) }, "outlet": "o-1", "branch": "b-1"
    })
}

/// Asks the node at `base_url` for its description, then calls every route of it well and badly, and holds
/// every answer against the schema that the description gives for its status. `sample_body` is a
/// verification that this node's first provider knows.
///
/// # Panics
/// On the first difference.
pub(crate) async fn served_document_matches(base_url: &str, token: &str, sample_body: &Value) {
    let node = Caller { address: base_url.trim_start_matches("http://"), token };
    let described = node.get("/openapi.json", false).await;
    let document = Document::new(described.body.clone());
    assert_eq!(document.0["openapi"], "3.1.0");
    assert_eq!(document.routes(), served_routes());
    document.check("get", "/openapi.json", &described);

    let answered = check_good_calls(&node, &document, sample_body).await;
    check_refusals(&node, &document, sample_body).await;
    check_tokens(&node, &document, sample_body).await;
    let missing: Vec<_> = document.routes().into_iter().filter(|route| !answered.contains(route)).collect();
    assert!(missing.is_empty(), "described, but never answered well: {missing:?}");
}

type Route = (String, String);

fn served_routes() -> BTreeSet<Route> {
    windvane::http::routes().into_iter().map(|(method, path)| (method.to_owned(), path)).collect()
}

fn route(method: &str, path: &str) -> Route {
    (method.to_owned(), path.to_owned())
}

/// Calls every route so that it answers 200, and gives the routes that did.
async fn check_good_calls(node: &Caller<'_>, document: &Document, sample: &Value) -> BTreeSet<Route> {
    document.check_request("post", "/v1/verifications", sample);
    let verified = node.post("/v1/verifications", sample).await;
    let result = serde_json::from_value::<MatchResult>(verified.body["result"].clone());
    assert_eq!(result.unwrap(), MatchResult::Match, "the sample is known");
    let batch = batch_of(sample);
    document.check_request("post", "/v1/verifications:batch", &batch);
    let batched = node.post("/v1/verifications:batch", &batch).await;
    let kinds = [batched.body["results"][0].get("report"), batched.body["results"][1].get("error")];
    assert!(kinds.iter().all(Option::is_some), "a report, then an error");
    let id = verified.body["id"].as_str().unwrap();
    let again = node.get(&format!("/v1/verifications/{id}"), true).await;
    assert_eq!(again.body, verified.body, "the kept answer is the one given");
    let calls = [
        ("post", "/v1/verifications", verified),
        ("post", "/v1/verifications:batch", batched),
        ("get", "/v1/verifications/{id}", again),
        ("get", "/healthz", node.get("/healthz", false).await),
        ("get", "/readyz", node.get("/readyz", false).await),
        ("get", "/openapi.json", node.get("/openapi.json", false).await),
    ];
    for (method, path, reply) in &calls {
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.body);
        document.check(method, path, reply);
    }
    calls.iter().map(|(method, path, _)| route(method, path)).collect()
}

/// The sample, and the same with a phone number that is too short.
fn batch_of(sample: &Value) -> Value {
    let mut item = sample.clone();
    let fields = item.as_object_mut().unwrap();
    let (purpose, operator) = (fields.remove("purpose").unwrap(), fields.remove("operator").unwrap());
    let bad = with(&item, "phone", json!("138"));
    json!({ "purpose": purpose, "operator": operator, "items": [item, bad] })
}

fn with(body: &Value, field: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[field] = value;
    body
}

async fn check_refusals(node: &Caller<'_>, document: &Document, sample: &Value) {
    let single = "/v1/verifications";
    let long = " ".repeat((64 << 10) + 1);
    for (body, status, code) in [
        (with(sample, "phone", json!("1380013800")).to_string(), 422, "PHONE_LENGTH"),
        (with(sample, "unknown", json!(1)).to_string(), 422, "BODY_SCHEMA"),
        ("{".to_owned(), 400, "BODY_SYNTAX"),
        (long, 413, "BODY_TOO_LARGE"),
    ] {
        let reply = node.call("POST", single, Some(node.token), Some(("application/json", &body))).await;
        assert_eq!((reply.status, reply.body["code"].as_str()), (status, Some(code)));
        document.check("post", single, &reply);
    }
    let typed = node.call("POST", single, Some(node.token), Some(("text/plain", "x"))).await;
    assert_eq!(typed.status, 415);
    document.check("post", single, &typed);
    let unknown = node.get(&format!("{single}/{}", "0".repeat(32)), true).await;
    assert_eq!((unknown.status, unknown.body["code"].as_str()), (404, Some("VERIFICATION_UNKNOWN")));
    document.check("get", "/v1/verifications/{id}", &unknown);
}

/// Without a token, exactly the routes that the description secures are closed.
async fn check_tokens(node: &Caller<'_>, document: &Document, sample: &Value) {
    for (method, path) in document.routes() {
        let body = (method == "post").then(|| sample.to_string());
        let body = body.as_deref().map(|body| ("application/json", body));
        for token in [None, Some("A".repeat(43))] {
            let reply = node.call(&method.to_ascii_uppercase(), &path, token.as_deref(), body).await;
            let secured = document.operation(&method, &path).get("security").is_some();
            assert_eq!(reply.status == 401, secured, "{method} {path}: {}", reply.status);
            document.check(&method, &path, &reply);
        }
    }
}

/// An OpenAPI document whose objects may have no property that it does not name.
struct Document(Value);

impl Document {
    fn new(mut document: Value) -> Self {
        close(&mut document["components"]);
        Self(document)
    }

    fn routes(&self) -> BTreeSet<Route> {
        let paths = self.0["paths"].as_object().unwrap();
        let routes = paths.iter().flat_map(|(path, operations)| {
            operations.as_object().unwrap().keys().map(move |method| route(method, path))
        });
        routes.collect()
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        &self.0["paths"][path][method]
    }

    /// Holds an answer against the schema for its status and media type.
    fn check(&self, method: &str, path: &str, reply: &Reply) {
        let responses = &self.operation(method, path)["responses"];
        let status = reply.status.to_string();
        let media = &reply.headers["content-type"];
        let schema = &responses[&status]["content"][media]["schema"];
        assert!(schema.is_object(), "{method} {path} gives {status} {media}, which is not described");
        self.fits(schema, &reply.body, &format!("{method} {path} {status}"));
        if media == "application/problem+json" {
            assert_eq!(reply.body["status"], reply.status);
        }
    }

    fn check_request(&self, method: &str, path: &str, body: &Value) {
        let content = &self.operation(method, path)["requestBody"]["content"];
        self.fits(&content["application/json"]["schema"], body, &format!("the request of {method} {path}"));
    }

    fn fits(&self, schema: &Value, instance: &Value, what: &str) {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<_> =
            validator.iter_errors(instance).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{what} does not fit: {errors:#?}");
    }
}

/// Forbids undescribed properties, which JSON Schema allows where nothing is said.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let described = fields.get("properties").is_some_and(|p| p.is_object())
                && fields.get("type") == Some(&json!("object"));
            if described {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

struct Caller<'a> {
    address: &'a str,
    token: &'a str,
}

struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Caller<'_> {
    async fn get(&self, path: &str, with_token: bool) -> Reply {
        self.call("GET", path, with_token.then_some(self.token), None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path, Some(self.token), Some(("application/json", &body.to_string()))).await
    }

    async fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<(&str, &str)>) -> Reply {
        let authorization = token.map_or_else(String::new, |t| format!("Authorization: Bearer {t}\r\n"));
        let (media, body) = body.unwrap_or(("application/json", ""));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}\
             Content-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        Reply::parse(&String::from_utf8(reply).unwrap())
    }
}

impl Reply {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        assert_eq!(headers["content-length"], body.len().to_string());
        Self { status: status.parse().unwrap(), headers, body: serde_json::from_str(body).unwrap() }
    }
}
