//! Calls that must not be answered.

use super::*;

const VERIFY: &str = "/v1/verifications";
const BATCH: &str = "/v1/verifications:batch";

#[tokio::test]
async fn only_one_admitted_bearer_token_opens_the_door() {
    let served = Served::start().await;
    let known = token().expose().to_owned();
    let unknown = Token::from_bytes([8; 32]).expose().to_owned();
    for (values, code) in [
        (vec![], "TOKEN_MISSING"),
        (vec![known.clone()], "TOKEN_INVALID"),
        (vec![format!("Basic {known}")], "TOKEN_INVALID"),
        (vec![format!("Bearer {unknown}")], "TOKEN_INVALID"),
        (vec![format!("Bearer {known}x")], "TOKEN_INVALID"),
        (vec![format!("Bearer  {known}")], "TOKEN_INVALID"),
        (vec![format!("Bearer {known}"), format!("Bearer {known}")], "TOKEN_INVALID"),
    ] {
        for (method, path) in [("POST", VERIFY), ("POST", BATCH), ("GET", "/v1/verifications/known-1")] {
            let request = Request::builder().method(method).uri(format!("{}{path}", served.base));
            let request = values.iter().fold(request, |request, v| request.header("authorization", v));
            let reply = served.send(request.body(Full::default()).unwrap()).await;
            assert_eq!(reply.problem(), (401, code.to_owned(), None));
            let challenge = reply.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with(r#"Bearer realm="windvane""#), "{challenge}");
            assert_eq!(challenge.contains("invalid_token"), code == "TOKEN_INVALID");
        }
    }
    assert!(served.script.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_scheme_is_read_without_case() {
    let served = Served::start().await;
    let request = Request::builder()
        .uri(format!("{}/v1/verifications/known-1", served.base))
        .header("authorization", format!("bearer {}", token().expose()));
    assert_eq!(served.send(request.body(Full::default()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn every_broken_rule_is_named_with_its_field_and_without_its_value() {
    let served = Served::start().await;
    let long = "q".repeat(129);
    for (changes, code, field) in [
        (json!({ "phone": "1380013800" }), "PHONE_LENGTH", "phone"),
        (json!({ "phone": "23800138000" }), "PHONE_PREFIX", "phone"),
        (json!({ "phone": "1380013800a" }), "PHONE_CHARACTER", "phone"),
        (json!({ "phone": "" }), "PHONE_EMPTY", "phone"),
        (json!({ "phone": "+1234567" }), "PHONE_PLAN", "phone"),
        (json!({ "phone": null }), "FIELD_MISSING", "phone"),
        (json!({ "id_number": "" }), "DOCUMENT_EMPTY", "id_number"),
        (json!({ "id_number": "110105194912310021" }), "DOCUMENT_CHECK", "id_number"),
        (json!({ "id_number": "11010519491331002X" }), "DOCUMENT_BIRTH_DATE", "id_number"),
        (json!({ "id_number": "1101051949123100" }), "DOCUMENT_LENGTH", "id_number"),
        (json!({ "id_number": "A1010519491231002X" }), "DOCUMENT_CHARACTER", "id_number"),
        (json!({ "document_type": "passport" }), "", ""),
        (json!({ "document_type": "passport", "id_number": "E123-678" }), "DOCUMENT_CHARACTER", "id_number"),
        (json!({ "name": " " }), "NAME_EMPTY", "name"),
        (json!({ "name": "王\u{7}" }), "NAME_CHARACTER", "name"),
        (json!({ "name": "王".repeat(86) }), "NAME_LENGTH", "name"),
        (json!({ "ticket": " " }), "TICKET_EMPTY", "ticket"),
        (json!({ "ticket": long }), "TICKET_LENGTH", "ticket"),
        (json!({ "ticket": "a\nb" }), "TICKET_CHARACTER", "ticket"),
        (json!({ "ticket": null }), "FIELD_MISSING", "ticket"),
        (json!({ "consent": { "id": "" } }), "CONSENT_ID_EMPTY", "consent.id"),
        (json!({ "consent": { "id": "a b" } }), "CONSENT_ID_CHARACTER", "consent.id"),
        (json!({ "consent": { "id": "a", "digest": "AB" } }), "CONSENT_DIGEST_FORMAT", "consent.digest"),
        (json!({ "consent": {} }), "FIELD_MISSING", "id"),
        (json!({ "purpose": "p".repeat(65) }), "PURPOSE_LENGTH", "purpose"),
        (json!({ "operator": "" }), "OPERATOR_EMPTY", "operator"),
        (json!({ "outlet": "" }), "OUTLET_EMPTY", "outlet"),
        (json!({ "branch": "" }), "BRANCH_EMPTY", "branch"),
        (json!({ "customer_type": "" }), "CUSTOMER_TYPE_EMPTY", "customer_type"),
        (json!({ "phone": 13_800_138_000_u64 }), "BODY_SCHEMA", "phone"),
        (json!({ "document_type": ID_NUMBER }), "BODY_SCHEMA", "document_type"),
        (json!({ "consent": "c-1" }), "BODY_SCHEMA", "consent"),
    ] {
        let reply = served.post(VERIFY, question(&changes).to_string()).await;
        if code.is_empty() {
            // An 18-character resident number is a possible passport number: the kind decides.
            assert_eq!(reply.status, 200);
            continue;
        }
        assert_eq!(reply.problem(), (422, code.to_owned(), Some(field.to_owned())), "{changes}");
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        for value in ["13800", "194912", "qqq", "王"] {
            assert!(!text.contains(value), "{text}");
        }
    }
}

#[tokio::test]
async fn keys_that_no_schema_has_are_refused_and_not_repeated() {
    let served = Served::start().await;
    for changes in [json!({ PHONE: "x" }), json!({ "consent": { "id": "c", PHONE: "x" } })] {
        let reply = served.post(VERIFY, question(&changes).to_string()).await;
        let (status, code, _) = reply.problem();
        assert_eq!((status, code.as_str()), (422, "BODY_SCHEMA"));
        assert!(!String::from_utf8_lossy(&reply.body).contains(PHONE));
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_large_are_refused_before_they_are_read() {
    let served = Served::start().await;
    for (path, body, expected) in [
        (VERIFY, "{\"phone\":\"13800138000\"".to_owned(), (400, "BODY_SYNTAX")),
        (VERIFY, "phone=13800138000".to_owned(), (400, "BODY_SYNTAX")),
        (VERIFY, String::new(), (400, "BODY_SYNTAX")),
        (VERIFY, " ".repeat((64 << 10) + 1), (413, "BODY_TOO_LARGE")),
        (BATCH, " ".repeat((8 << 20) + 1), (413, "BODY_TOO_LARGE")),
    ] {
        let (status, code, _) = served.post(path, body).await.problem();
        assert_eq!((status, code.as_str()), expected);
    }
    let typed = served.request("POST", VERIFY).header("content-type", "text/plain");
    let reply = served.send(typed.body(Full::from(question(&json!({})).to_string())).unwrap()).await;
    assert_eq!(reply.problem(), (415, "BODY_TYPE".into(), None));
    let typed = served.request("POST", VERIFY).header("content-type", "Application/JSON; charset=utf-8");
    let reply = served.send(typed.body(Full::from(question(&json!({})).to_string())).unwrap()).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_batch_has_one_to_4096_items_that_fit_the_schema() {
    let served = Served::start().await;
    let many = vec![item(&json!({})); 4_097];
    for (items, code, field) in [
        (vec![], "ITEMS_COUNT", "items"),
        (many, "ITEMS_COUNT", "items"),
        (vec![item(&json!({})), item(&json!({ "phone": null }))], "FIELD_MISSING", "phone"),
        (vec![item(&json!({})), item(&json!({ "phone": 1 }))], "BODY_SCHEMA", "phone"),
    ] {
        let reply = served.post(BATCH, batch(&items).to_string()).await;
        assert_eq!(reply.problem(), (422, code.to_owned(), Some(field.to_owned())));
    }
    let mut unnamed = batch(&[item(&json!({}))]);
    unnamed["operator"] = json!("");
    let reply = served.post(BATCH, unnamed.to_string()).await;
    assert_eq!(reply.problem(), (422, "OPERATOR_EMPTY".into(), Some("operator".into())));
    assert_eq!(*served.script.batches.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_failure_of_the_bank_has_its_status_code_and_time_to_wait() {
    let served = Served::start().await;
    for (kind, status, retry_after) in
        [("input", 422, None), ("unavailable", 503, Some("1")), ("internal", 500, None)]
    {
        let ticket = json!({ "ticket": format!("fail-{kind}") });
        let single = (VERIFY, question(&ticket));
        let batched = (BATCH, batch(&[item(&json!({})), item(&ticket)]));
        for (path, body) in [single, batched] {
            let reply = served.post(path, body.to_string()).await;
            assert_eq!(reply.problem(), (status, "FROM_THE_BANK".into(), None));
            let wait = reply.headers.get("retry-after").map(|value| value.to_str().unwrap());
            assert_eq!(wait, retry_after);
            let tells = String::from_utf8_lossy(&reply.body).contains("/secret/path");
            assert_eq!(tells, kind != "internal", "what failed inside stays inside");
        }
    }
}

#[tokio::test]
async fn what_is_not_served_is_a_problem_too() {
    let served = Served::start().await;
    for path in ["/", "/v1", "/v1/verifications/a/b", "/v1/verifications:other"] {
        assert_eq!(served.get(path).await.problem(), (404, "ROUTE_UNKNOWN".into(), None), "{path}");
    }
    assert_eq!(served.get(VERIFY).await.problem(), (405, "METHOD_NOT_ALLOWED".into(), None));
}
