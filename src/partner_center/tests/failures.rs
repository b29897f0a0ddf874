//! What is to be stored of calls that fail: the request's ids, Microsoft's words, and no secret.

use std::time::Duration;

use uuid::Uuid;

use crate::core::clock::Clock;
use crate::core::fault::FailedCall;
use crate::partner_center::ApiError;
use crate::partner_center::testing::{Bench, Reply, SECRET, fault, ok, reply, tenant, with_header};
use crate::partner_center::transport::TransportError;

async fn fail(bench: &Bench) -> (ApiError, Option<FailedCall>) {
    let error = bench.client.orders(tenant()).await.unwrap_err();
    let failed = error.failed_call();
    (error, failed)
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_names_its_request_and_what_was_answered() {
    let lost: Reply = Err(TransportError::Timeout(Duration::from_secs(30)));
    let damaged = Ok(ok("{\"items\": null}"));
    let closed = Ok(with_header(fault(429, 800_002), "retry-after", "9"));
    for (answer, status, code, words) in [
        (Ok(fault(503, 900_192)), Some(503), Some("900192"), ""),
        (Ok(fault(403, 2032)), Some(403), Some("2032"), ""),
        (Ok(reply(502, "<html>Bad Gateway</html>")), Some(502), None, "Bad Gateway"),
        (closed, Some(429), Some("800002"), ""),
        (damaged, Some(200), None, "no items"),
        (lost, None, None, "no answer within 30s"),
    ] {
        let bench = Bench::new([answer]);
        bench.client.check_credential().await.unwrap();
        let begun = bench.clock.now();
        let (error, failed) = fail(&bench).await;
        let failed = failed.unwrap_or_else(|| panic!("{error}"));
        assert_eq!((failed.http_status, failed.ms_code.as_deref()), (status, code), "{error}");
        assert!(failed.text.contains(words), "{}", failed.text);
        assert_eq!((failed.method.as_str(), failed.at), ("GET", begun));
        assert_eq!(failed.route, "/v1/customers/{customer}/orders");
        let sent = |name: &str| bench.header(0, name).map(|id| id.parse::<Uuid>().unwrap());
        assert_eq!(failed.request_id, sent("MS-RequestId"));
        assert_eq!(failed.correlation_id, sent("MS-CorrelationId"));
        let damaged = status == Some(200);
        assert_eq!(
            failed.body.is_some(),
            damaged,
            "what is understood needs no more than its text"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_read_repeated_with_a_new_token_the_second_request_is_named() {
    let bench = Bench::new([Ok(fault(401, 900_420)), Ok(fault(401, 900_420))]);
    let (_, failed) = fail(&bench).await;
    let second = bench.header(1, "MS-RequestId").map(|id| id.parse::<Uuid>().unwrap());
    assert_eq!(failed.unwrap().request_id, second);
}

#[tokio::test(start_paused = true)]
async fn invariant_13_an_unknown_fault_keeps_its_whole_body_without_secrets() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJ0aWQiOiIxIn0.c2lnbmF0dXJl";
    let body = serde_json::json!({
        "code": 424_242, "description": format!("Bearer {token} is not welcome."),
        "parameters": {"client_secret": SECRET, "because": "of the moon"}, "data": ["x", "y"],
        "padding": "x ".repeat(2000), "last": "the end",
    });
    let answer = with_header(reply(400, &body.to_string()), "ms-cv", "c4");
    let bench = Bench::new([Ok(with_header(answer, "ms-requestid", "r1"))]);
    let (_, failed) = fail(&bench).await;
    let failed = failed.unwrap();
    let kept = failed.body.clone().unwrap();
    assert!(kept.contains("of the moon") && kept.contains("the end"), "{kept}");
    assert_eq!(failed.answer_ids.as_deref(), Some("MS-RequestId r1, MS-CV c4"));
    assert!(failed.to_string().len() < 600, "a line of it is short: {failed}");
    for secret in [token, SECRET, "eyJ"] {
        assert!(!format!("{failed:?} {failed}").contains(secret), "{failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_not_understood_are_kept_and_bounded() {
    let page = format!("<html>{}</html>", "blocked ".repeat(10_000));
    for (answer, kept) in [
        (reply(403, &page), true),
        (reply(404, r#"{"statusCode":404,"message":"Resource not found"}"#), true),
        (fault(409, 424_242), true),
        (ok(r#"{"items":[{"noId":1}]}"#), true),
        (fault(409, 900_278), false),
        (reply(503, &page), false),
    ] {
        let bench = Bench::new([Ok(answer)]);
        let (error, failed) = fail(&bench).await;
        let body = failed.unwrap().body;
        assert_eq!(body.is_some(), kept, "{error}");
        assert!(body.unwrap_or_default().len() < 17_000);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_no_failed_call() {
    let bench = Bench::new([]);
    *bench.books.broken.lock().unwrap() = Some("disk full".to_owned());
    let (error, failed) = fail(&bench).await;
    assert_eq!(error, ApiError::Ledger("disk full".to_owned()));
    assert_eq!(failed, None);
}
