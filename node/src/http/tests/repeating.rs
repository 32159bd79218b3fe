//! Calls that come again under their `Idempotency-Key`.

use super::*;

const SINGLE: &str = "/v1/verifications";
const BATCH: &str = "/v1/verifications:batch";

#[tokio::test]
async fn a_call_under_a_key_is_made_once_and_answered_alike() {
    let served = Served::start().await;
    let body = question(&json!({ "ticket": "once" }));
    let first = served.post_under("k-1", SINGLE, &body).await;
    let again = served.post_under("k-1", SINGLE, &body).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.json(), again.json());
    assert_eq!(served.script.asked.lock().unwrap().len(), 1);
    served.post_under("k-2", SINGLE, &body).await;
    served.post(SINGLE, body.to_string()).await;
    assert_eq!(served.script.asked.lock().unwrap().len(), 3, "another key, and none");
}

#[tokio::test]
async fn the_client_asks_once_under_a_key_and_every_time_without() {
    let served = Served::start().await;
    let body: VerificationBody = serde_json::from_value(question(&json!({ "ticket": "once" }))).unwrap();
    let client = served.client();
    let first = client.verify_once(&body, "k-1").await.unwrap();
    assert_eq!(client.verify_once(&body, "k-1").await.unwrap(), first);
    assert_eq!(served.script.asked.lock().unwrap().len(), 1);
    client.verify(&body).await.unwrap();
    client.verify(&body).await.unwrap();
    assert_eq!(served.script.asked.lock().unwrap().len(), 3);
    let problem = client.verify_once(&body, "two\nlines").await.unwrap_err();
    assert_eq!(problem.code, "IDEMPOTENCY_KEY_INVALID");
}

#[tokio::test]
async fn a_batch_under_a_key_keeps_its_errors_too() {
    let served = Served::start().await;
    let body = batch(&[item(&json!({ "ticket": "a" })), item(&json!({ "phone": "1" })), item(&json!({}))]);
    let first = served.post_under("k-1", BATCH, &body).await;
    let again = served.post_under("k-1", BATCH, &body).await;
    assert_eq!((first.status, first.json()), (200, again.json()));
    assert_eq!(*served.script.batches.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_key_with_another_body_or_path_is_refused() {
    let served = Served::start().await;
    served.post_under("k-1", SINGLE, &question(&json!({}))).await;
    let other = served.post_under("k-1", SINGLE, &question(&json!({ "ticket": "t-2" }))).await;
    assert_eq!(other.problem(), (422, "IDEMPOTENCY_MISMATCH".into(), None));
    let path = served.post_under("k-1", BATCH, &batch(&[item(&json!({}))])).await;
    assert_eq!(path.problem(), (422, "IDEMPOTENCY_MISMATCH".into(), None));
    let long = served.post_under(&"k".repeat(129), SINGLE, &question(&json!({}))).await;
    assert_eq!(long.problem(), (400, "IDEMPOTENCY_KEY_INVALID".into(), None));
}

#[tokio::test]
async fn a_call_that_failed_may_be_made_again_and_one_under_way_may_not() {
    let served = Served::start().await;
    let failing = question(&json!({ "ticket": "fail-unavailable" }));
    for _ in 0..2 {
        assert_eq!(served.post_under("k-1", SINGLE, &failing).await.status, 503);
    }
    assert_eq!(served.script.asked.lock().unwrap().len(), 2);
    let body = question(&json!({ "ticket": "wait" }));
    let first = async { served.post_under("k-2", SINGLE, &body).await };
    let second = async {
        served.script.waiting.subscribe().wait_for(|count| *count == 1).await.unwrap();
        let refused = served.post_under("k-2", SINGLE, &body).await;
        served.script.gate.send_replace(true);
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second.problem(), (409, "IDEMPOTENCY_IN_PROGRESS".into(), None));
    assert_eq!(second.headers["retry-after"], "1");
    assert_eq!(first.status, 200);
}
