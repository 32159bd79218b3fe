//! Calls over REST and gRPC as callers make them, right and wrong; responses are kept byte for byte.

use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Request;
use windvane::Node;
use windvane::http::{Client, Token};
use windvane::peer::channel;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::{EvaluateRequest, FetchManifestRequest, FetchPagesRequest, GroupElements};
use windvane_protocols::identity::DocumentKind;

use super::batches;
use super::marks::{Marked, REFUSED, STRANGERS, SUBSCRIBERS};
use super::operations::{PURPOSE, Stage};
use super::record::{DEBUG, ERRORS, RESPONSES};
use crate::lab::Party;

/// A question about a person, as JSON.
pub(crate) fn body(marked: &Marked) -> Value {
    let kind = match marked.kind {
        DocumentKind::ResidentId => "resident_id",
        DocumentKind::Passport => "passport",
        DocumentKind::SocialCredit => "social_credit",
    };
    json!({
        "name": marked.names.last(),
        "id_number": marked.documents.last(),
        "document_type": kind,
        "phone": marked.phones.last(),
        "purpose": PURPOSE,
        "ticket": "KH-0002",
        "consent": { "id": "SQ-0002" },
        "operator": "teller-2",
    })
}

struct Caller<'a> {
    stage: &'a Stage,
    address: String,
    token: &'a Token,
}

/// Everything that a caller may send.
pub(crate) async fn calls(stage: &Stage, node: &Node, token: &Token, id: &str) {
    let caller = Caller { stage, address: node.http_address().unwrap().to_string(), token };
    caller.good(id).await;
    caller.broken_bodies().await;
    caller.strange_requests().await;
    caller.client().await;
    batches::run(stage, &caller.address, token).await;
}

impl Caller<'_> {
    async fn good(&self, id: &str) {
        for marked in SUBSCRIBERS.iter().chain(&STRANGERS) {
            self.post("/v1/verifications", &body(marked).to_string(), 200).await;
        }
        for marked in &REFUSED {
            self.post("/v1/verifications", &body(marked).to_string(), 422).await;
        }
        self.post("/v1/verifications:batch", &batch().to_string(), 200).await;
        self.send(&format!("GET /v1/verifications/{id}"), "", "", 200).await;
        for path in ["/healthz", "/readyz", "/openapi.json"] {
            self.send(&format!("GET {path}"), "", "", 200).await;
        }
    }

    async fn broken_bodies(&self) {
        for body in &broken_bodies(&SUBSCRIBERS[0]) {
            self.post("/v1/verifications", body, 400).await;
            self.post("/v1/verifications:batch", body, 400).await;
            let batch = format!("{{\"purpose\":\"{PURPOSE}\",\"operator\":\"t\",\"items\":[{body}]}}");
            self.post("/v1/verifications:batch", &batch, 400).await;
        }
    }

    /// Identities where no identity belongs: paths, queries, headers, methods, tokens.
    async fn strange_requests(&self) {
        let (name, phone) = (url(SUBSCRIBERS[0].names[0]), SUBSCRIBERS[0].phones[0]);
        let body = body(&SUBSCRIBERS[0]).to_string();
        for line in [
            format!("GET /v1/verifications/{phone}"),
            format!("GET /v1/verifications/{name}"),
            format!("GET /v1/verifications?phone={phone}&name={name}"),
            format!("GET /{name}/{phone}"),
            format!("DELETE /v1/verifications/{phone}"),
            format!("{phone} /v1/verifications"),
        ] {
            self.send(&line, "", "", 400).await;
        }
        let post = format!("POST /v1/verifications?phone={phone}");
        let json = "Content-Type: application/json\r\n";
        self.send(&post, &format!("X-Customer: {phone}\r\nUser-Agent: {name}\r\n{json}"), &body, 200).await;
        self.send(&post, &format!("Content-Type: text/{phone}\r\n"), &body, 400).await;
        for token in [phone, &name, SUBSCRIBERS[0].documents[0]] {
            self.raw(&post, &format!("Authorization: Bearer {token}\r\n{json}"), &body, 401).await;
            self.raw(&post, &format!("Authorization: {token}\r\n{json}"), &body, 401).await;
        }
        self.raw(&post, json, &body, 401).await;
        self.raw(&format!("GET /{phone} HTTP/9.9\r\n{name}"), "", "", 0).await;
    }

    /// The product's own client, whose errors a command line prints.
    async fn client(&self) {
        let client = Client::new(&format!("http://{}", self.address), self.token).unwrap();
        let good = serde_json::from_value(body(&SUBSCRIBERS[2])).unwrap();
        client.verify(&good).await.unwrap();
        let record = &self.stage.record;
        for marked in &REFUSED {
            let bad = serde_json::from_value(body(marked)).unwrap();
            record.error("client", client.verify(&bad).await);
            record.debug("client", &(&client, &bad));
        }
        let results = client.verify_batch(&serde_json::from_value(batch()).unwrap()).await.unwrap();
        record.debug("client", &results);
        record.error("client", client.report(SUBSCRIBERS[0].phones[0]).await);
        let nobody = Client::new("http://127.0.0.1:1", self.token).unwrap();
        record.error("client", nobody.verify(&good).await);
        let url = format!("http://{}/{}", self.address, SUBSCRIBERS[0].phones[0]);
        record.error("client", Client::new(&url, self.token));
    }

    async fn post(&self, path: &str, body: &str, status: u16) {
        self.send(&format!("POST {path}"), "Content-Type: application/json\r\n", body, status).await;
    }

    async fn send(&self, line: &str, headers: &str, body: &str, status: u16) {
        let authorization = format!("Authorization: Bearer {}\r\n{headers}", self.token.expose());
        self.raw(line, &authorization, body, status).await;
    }

    /// Sends and keeps the whole response. A status of 400 stands for every refusal, 0 for anything.
    async fn raw(&self, line: &str, headers: &str, body: &str, status: u16) {
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{headers}");
        let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        self.stage.record.keep(RESPONSES, "all", &response);
        let found = String::from_utf8_lossy(&response);
        let found: u16 = found.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        let right = match status {
            0 => true,
            // A batch answers its good items and names what is wrong with the others.
            400 => (400..500).contains(&found) || line.ends_with(":batch"),
            status => found == status,
        };
        assert!(right, "status {found}, expected {status}, to {length} bytes behind {line}");
    }
}

/// Bodies that do not parse, or not as the schema has it, each with an identity where it hurts.
fn broken_bodies(marked: &Marked) -> Vec<String> {
    let number: u64 = marked.phones[0].parse().unwrap();
    let with = |field: &str, value: Value| {
        let mut body = body(marked);
        body[field] = value;
        body.to_string()
    };
    let syntax = body(marked).to_string().replace(['{', '}'], "\"");
    let cut = body(marked).to_string();
    vec![
        with("phone", number.into()),
        with("name", json!([marked.names[0]])),
        with("id_number", json!({ marked.documents[0]: marked.names[0] })),
        with("document_type", marked.documents[0].into()),
        with("purpose", json!({ "name": marked.names[0] })),
        with("consent", marked.phones[0].into()),
        with(marked.phones[0], marked.names[0].into()),
        with(marked.names[0], marked.documents[0].into()),
        with("name", marked.names[0].repeat(200).into()),
        with("name", format!("{}\u{7}", marked.names[0]).into()),
        with("phone", format!("{}x", marked.phones[0]).into()),
        with("id_number", marked.documents[0].repeat(3).into()),
        with("operator", "x".repeat(200).into()),
        json!([marked.names, marked.documents, marked.phones]).to_string(),
        json!(marked.names[0]).to_string(),
        syntax,
        cut[..cut.len() - 9].to_owned(),
        marked.names[0].to_owned(),
    ]
}

pub(crate) fn batch() -> Value {
    let item = |marked: &Marked| {
        let mut item = body(marked);
        let fields = item.as_object_mut().unwrap();
        fields.remove("purpose");
        fields.remove("operator");
        item
    };
    let items: Vec<_> = SUBSCRIBERS.iter().chain(&REFUSED).chain(&STRANGERS).map(item).collect();
    json!({ "purpose": PURPOSE, "operator": "teller-3", "items": items })
}

fn url(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A peer that sends identities where none belong: the node must not repeat or keep them.
pub(crate) async fn hostile_peer(stage: &Stage, bank: &Party, carrier: &Party, node: &Node) {
    let address = node.grpc_address().unwrap().to_string();
    let channel = channel(&bank.certificate(), &carrier.config.party(), &address).unwrap();
    let mut client = LookupClient::new(channel);
    let mut refusals = Vec::new();
    for marked in SUBSCRIBERS.iter().chain(&STRANGERS) {
        for text in [marked.names[0], marked.documents[0], marked.phones[0]] {
            let data_set = text.to_owned();
            refusals.push(client.fetch_manifest(FetchManifestRequest { data_set }).await.unwrap_err());
            let pages = FetchPagesRequest {
                data_set: text.into(),
                epoch: 1,
                publication: vec![1; 16].into(),
                from: 0,
            };
            refusals.push(client.fetch_pages(pages).await.unwrap_err());
            let groups = vec![GroupElements { group: 1, elements: text.as_bytes().to_vec().into() }];
            let request = EvaluateRequest { request: text.as_bytes().to_vec().into(), groups, score: None };
            stage.record.keep(DEBUG, "sizes", request.encoded_len().to_string().as_bytes());
            refusals.push(client.evaluate(Request::new(request)).await.unwrap_err());
        }
    }
    for refusal in refusals {
        stage.record.keep(ERRORS, "refused peer", format!("{refusal}\n{refusal:?}").as_bytes());
    }
}
