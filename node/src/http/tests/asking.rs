//! Good calls.

use super::*;

fn body(changes: &Value) -> VerificationBody {
    serde_json::from_value(question(changes)).unwrap()
}

#[tokio::test]
async fn a_question_reaches_the_bank_in_canonical_form_and_its_report_comes_back() {
    let served = Served::start().await;
    let body = body(&json!({
        "phone": "+86 138-0013-8000", "name": "王　小明", "id_number": "11010519491231002x",
        "customer_type": "personal", "outlet": "o-7", "branch": "b-1",
        "consent": { "id": "c-1", "digest": "ab".repeat(32) }
    }));
    assert_eq!(served.client().verify(&body).await.unwrap(), report("t-1"));
    let asked = served.script.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked.person.phone.as_ref().unwrap().as_str(), "+8613800138000");
    assert_eq!(asked.person.name.as_ref().unwrap().as_str(), NAME);
    assert_eq!(asked.person.document.as_ref().unwrap().number(), ID_NUMBER);
    assert_eq!(asked.consent, format!("c-1 sha256:{}", "ab".repeat(32)));
    let texts = [&asked.purpose, &asked.ticket, &asked.operator];
    assert_eq!(texts, ["account_opening", "t-1", "teller-1"]);
    let options = [asked.customer_type, asked.document_type, asked.outlet, asked.branch];
    assert_eq!(options.map(Option::unwrap), ["personal", "resident_id", "o-7", "b-1"]);
}

#[tokio::test]
async fn a_phone_number_alone_is_a_question() {
    let served = Served::start().await;
    served.client().verify(&body(&json!({ "name": null, "id_number": null }))).await.unwrap();
    let asked = served.script.asked.lock().unwrap().pop().unwrap();
    assert_eq!((asked.person.name, asked.person.document, asked.document_type), (None, None, None));
    assert_eq!(asked.consent, "c-1");
}

#[tokio::test]
async fn every_kind_of_document_is_read_by_its_own_rule() {
    let served = Served::start().await;
    for (kind, number) in
        [("resident_id", ID_NUMBER), ("passport", "E12345678"), ("social_credit", "91350100M000100Y43")]
    {
        let body = body(&json!({ "document_type": kind, "id_number": number }));
        served.client().verify(&body).await.unwrap();
        let asked = served.script.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.document_type.as_deref(), Some(kind));
        assert_eq!(asked.person.document.unwrap().kind(), body.document_type.kind());
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_bad_items_only_fail_themselves() {
    let served = Served::start().await;
    let items: Vec<_> = (0..6)
        .map(|i| match i {
            1 => item(&json!({ "phone": "1380013800" })),
            4 => item(&json!({ "id_number": "110105194912310021" })),
            _ => item(&json!({ "ticket": format!("t-{i}") })),
        })
        .collect();
    let body: BatchBody = serde_json::from_value(batch(&items)).unwrap();
    let results = served.client().verify_batch(&body).await.unwrap().results;
    let answers: Vec<String> = results
        .into_iter()
        .map(|result| match result {
            BatchResult::Report(report) => report.id,
            BatchResult::Error(problem) => format!("{} {}", problem.code, problem.field.unwrap()),
        })
        .collect();
    let expected = ["t-0", "PHONE_LENGTH phone", "t-2", "t-3", "DOCUMENT_CHECK id_number", "t-5"];
    assert_eq!(answers, expected);
    assert_eq!(*served.script.batches.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_batch_without_a_good_item_is_not_asked() {
    let served = Served::start().await;
    let reply =
        served.post("/v1/verifications:batch", batch(&[item(&json!({ "phone": "1" }))]).to_string()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["results"][0]["error"]["code"], "PHONE_LENGTH");
    assert_eq!(*served.script.batches.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_full_batch_of_4096_is_answered() {
    let served = Served::start().await;
    let items: Vec<_> = (0..4_096).map(|i| item(&json!({ "ticket": format!("t-{i}") }))).collect();
    let body: BatchBody = serde_json::from_value(batch(&items)).unwrap();
    let results = served.client().verify_batch(&body).await.unwrap().results;
    for (i, result) in results.into_iter().enumerate() {
        assert_eq!(result, BatchResult::Report(Box::new(report(&format!("t-{i}")))));
    }
}

#[tokio::test]
async fn a_report_is_read_again_by_its_id() {
    let served = Served::start().await;
    assert_eq!(served.client().report("known-1").await.unwrap(), report("known-1"));
    let problem = served.client().report("unknown-1").await.unwrap_err();
    assert_eq!((problem.status, problem.code.as_str()), (404, "VERIFICATION_UNKNOWN"));
    let long = "a".repeat(65);
    for id in ["%2e%2e", "%ff", "known_1", long.as_str()] {
        let reply = served.get(&format!("/v1/verifications/{id}")).await;
        assert_eq!(reply.problem(), (404, "VERIFICATION_UNKNOWN".into(), None), "{id}");
    }
}

#[test]
fn a_token_is_43_characters_of_base64url_and_is_known_by_the_sha256_of_its_text() {
    let token = Token::from_bytes([0; 32]);
    assert_eq!(token.expose(), "A".repeat(43));
    // printf %s AAAA…A | sha256sum
    let digest = "0f007385b6f9d4b7eeb2748605afe1a984a0a3bfa3f014d09e2a784ce9e5cd1a";
    assert_eq!(hex::encode(token.digest()), digest);
    assert_eq!(Token::parse(token.expose()), Ok(token.clone()));
    assert_eq!(format!("{token:?}"), "Token(Secret(…))");
    let (short, long, tail) = ("A".repeat(42), "A".repeat(44), format!("{}B", "A".repeat(42)));
    for text in ["", &short, &long, &tail, &format!("{short}=")] {
        assert_eq!(Token::parse(text), Err(MalformedToken), "{text}");
    }
}
