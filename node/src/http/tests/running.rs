//! The listener itself: health, description, load, logs and the end.

use std::io::Write;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn health_and_description_are_open_to_everybody() {
    let served = Served::start().await;
    let open = |path: &str| {
        let request = Request::builder().uri(format!("{}{path}", served.base)).body(Full::default());
        served.send(request.unwrap())
    };
    assert_eq!(open("/healthz").await.json(), json!({ "live": true }));
    let ready = open("/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true, "failing": [], "findings": [] })));
    served.failing.send_replace(vec!["EPOCH_STALE".into()]);
    let failing = open("/readyz").await;
    assert_eq!(failing.status, 503);
    let finding =
        json!({ "code": "EPOCH_STALE", "severity": "problem", "what": "old", "advice": "renew it" });
    let told = json!({ "ready": false, "failing": ["EPOCH_STALE"], "findings": [finding] });
    assert_eq!(failing.json(), told);
    let document = open("/openapi.json").await;
    assert_eq!(document.json(), serde_json::to_value(openapi()).unwrap());
}

#[test]
fn the_description_has_every_route_and_no_other() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
        })
        .collect();
    let routes = routes().into_iter().map(|(method, path)| (method.to_owned(), path));
    assert_eq!(described, routes.collect());
    for (method, path) in &described {
        let secured = document["paths"][path][method].get("security").is_some();
        assert_eq!(secured, path.starts_with("/v1/"), "{method} {path}");
    }
}

fn waiting_batch() -> BatchBody {
    serde_json::from_value(batch(&[item(&json!({ "ticket": "wait" }))])).unwrap()
}

/// As many batches under way as there are places.
async fn fill_batches(served: &Served, body: &BatchBody) -> JoinSet<()> {
    let mut under_way = JoinSet::new();
    for _ in 0..8 {
        let (client, body) = (served.client(), body.clone());
        under_way.spawn(async move { drop(client.verify_batch(&body).await.unwrap()) });
    }
    served.script.waiting.subscribe().wait_for(|count| *count == 8).await.unwrap();
    under_way
}

#[tokio::test]
async fn more_batches_than_places_are_refused_at_once_while_single_calls_pass() {
    let served = Served::start().await;
    let waiting = waiting_batch();
    let under_way = fill_batches(&served, &waiting).await;
    let refused = served.client().verify_batch(&waiting).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (429, "OVERLOADED"));
    assert_eq!(refused.retry_after_ms, Some(1_000));
    assert_eq!(served.post("/v1/verifications", question(&json!({})).to_string()).await.status, 200);
    served.script.gate.send_replace(true);
    under_way.join_all().await;
    served.client().verify_batch(&waiting).await.unwrap();
}

#[tokio::test]
async fn a_call_keeps_its_place_until_its_end_though_its_caller_hung_up() {
    let served = Served::start().await;
    let waiting = waiting_batch();
    let mut under_way = fill_batches(&served, &waiting).await;
    under_way.shutdown().await;
    // A whole round trip later the listener has seen the end of the connections.
    served.client().report("known-1").await.unwrap();
    let refused = served.client().verify_batch(&waiting).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (429, "OVERLOADED"));
    let free = tokio::time::timeout(Duration::from_millis(10), served.places.all_free()).await;
    assert!(free.is_err(), "they are waited for");
    served.script.gate.send_replace(true);
    served.places.all_free().await;
    assert_eq!(*served.script.answered.borrow(), 8);
    served.client().verify_batch(&waiting).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_undo_its_verification() {
    let served = Served::start().await;
    let client = served.client();
    let body = serde_json::from_value(question(&json!({ "ticket": "wait" }))).unwrap();
    let call = tokio::spawn(async move { client.verify(&body).await });
    served.script.waiting.subscribe().wait_for(|count| *count == 1).await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // A whole round trip later the listener has seen the end of the connection.
    served.client().report("known-1").await.unwrap();
    served.script.gate.send_replace(true);
    let mut answered = served.script.answered.subscribe();
    let answered = answered.wait_for(|count| *count == 1);
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("it goes on").unwrap();
}

#[tokio::test]
async fn the_end_lets_a_request_under_way_finish_and_takes_no_other() {
    let served = Served::start().await;
    let client = served.client();
    let body: VerificationBody = serde_json::from_value(question(&json!({ "ticket": "wait" }))).unwrap();
    let call = tokio::spawn(async move { client.verify(&body).await });
    served.script.waiting.subscribe().wait_for(|count| *count == 1).await.unwrap();
    served.stop.send(()).unwrap();
    let late = loop {
        let late = Client::new(&served.base, &token()).unwrap().report("known-1").await;
        if let Err(problem) = late {
            break problem;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((late.status, late.code.as_str()), (0, "NODE_UNREACHABLE"));
    served.script.gate.send_replace(true);
    assert_eq!(call.await.unwrap().unwrap().id, "wait");
    served.server.await.unwrap();
}

#[tokio::test]
async fn a_listener_that_is_given_up_ends_its_connections() {
    let served = Served::start().await;
    let client = served.client();
    let body: VerificationBody = serde_json::from_value(question(&json!({ "ticket": "wait" }))).unwrap();
    let call = tokio::spawn(async move { client.verify(&body).await });
    served.script.waiting.subscribe().wait_for(|count| *count == 1).await.unwrap();
    served.server.abort();
    let ended = tokio::time::timeout(Duration::from_secs(10), call).await.expect("the connection ends");
    assert_eq!(ended.unwrap().unwrap_err().status, 0);
}

#[test]
fn a_client_needs_a_plain_http_address() {
    for base in ["", "127.0.0.1:1", "https://bank", "http://", "http://bank/path", "http://bank/?q"] {
        let problem = Client::new(base, &token()).unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (0, "URL_INVALID"), "{base}");
    }
    let client = Client::new("http://bank:8080/", &token()).unwrap();
    assert!(!format!("{client:?}").contains(token().expose()));
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_request_leaves_method_route_caller_status_and_duration_in_the_log_and_nothing_of_its_content() {
    let served = Served::start().await;
    // A span's place registers when it is first passed. In the same moment as the subscriber, by another test's thread, it
    // may be left off for good: so it is passed before.
    served.get("/v1/13800138000").await;
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    served.post("/v1/verifications?phone=13800138000", question(&json!({})).to_string()).await;
    served.post("/v1/verifications", question(&json!({ "phone": "1380013800" })).to_string()).await;
    served.get("/v1/13800138000").await;
    served.get("/v1/verifications/13800138000").await;
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let spans: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["span"]["name"] == "http_request")
        .map(|line| line["span"].clone())
        .collect();
    let seen: Vec<_> = spans.iter().map(|s| (&s["method"], &s["path"], &s["status"])).collect();
    let (get, post) = (json!("GET"), json!("POST"));
    let expected = [
        (&post, &json!("/v1/verifications"), &json!(200)),
        (&post, &json!("/v1/verifications"), &json!(422)),
        (&get, &json!("unmatched"), &json!(404)),
        (&get, &json!("/v1/verifications/{id}"), &json!(404)),
    ];
    assert_eq!(seen, expected, "{log}");
    assert_eq!(spans[0]["caller"], "counter-system");
    assert!(spans.iter().all(|span| span["duration_ms"].as_f64().unwrap() >= 0.0));
    for secret in ["1380013800", NAME, ID_NUMBER, token().expose()] {
        assert!(!log.contains(secret), "{log}");
    }
}
