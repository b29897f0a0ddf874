//! Writes: one exchange, and what its end means for the command (invariant 4).

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::core::account::TroubleKind;
use crate::core::clock::Clock;
use crate::core::command::{Action, Command, Intent, NewCommand, Outcome};
use crate::core::fault::Class;
use crate::core::ids::{AccountName, CommandId, TeardownId};
use crate::core::key::ResourceKey;
use crate::partner_center::testing::{Bench, Reply, TENANT, fault, reply, tenant, with_header};
use crate::partner_center::transport::TransportError;
use crate::partner_center::{ApiError, Kind, PermitKind, Sent, bucket_of};

const ID: Uuid = Uuid::from_u128(0x1234);
const CORRELATION: Uuid = Uuid::from_u128(0x5678);

fn command(action: Action, resource: &str, body: Option<&str>) -> Command {
    let intent = Intent {
        action,
        reservation: false,
        resource: ResourceKey::parse(resource).unwrap(),
        body: body.map(str::to_owned),
        if_match: None,
    };
    let new = NewCommand { id: CommandId(ID), intent };
    let (account, id) = (AccountName::new("test"), TeardownId(1));
    let fresh = Command::fresh(new, account, tenant(), id, Timestamp::UNIX_EPOCH).unwrap();
    Command { sends: 1, ..fresh }
}

pub(super) fn delete() -> Command {
    command(Action::DeleteCustomer, "customer", None)
}

pub(super) async fn send_on(bench: &Bench, command: &Command) -> Sent {
    let bucket = bucket_of(command);
    let permit = bench.client.permit(PermitKind::Write, bucket).await.unwrap();
    bench.client.send(command, CORRELATION, permit, &|| true).await
}

async fn send(answer: Reply) -> Sent {
    let bench = Bench::new([answer]);
    let sent = send_on(&bench, &delete()).await;
    assert_eq!(bench.calls().len(), 1, "one exchange, whatever comes of it");
    sent
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_out_byte_for_byte_under_its_own_id() {
    let bench = Bench::new([Ok(reply(200, r#"{"id":"s"}"#))]);
    let path = format!("/v1/customers/{TENANT}/subscriptions/s");
    let body = r#"{ "Id":"s","Status":"suspended","n":1.50 }"#;
    let mut command = command(Action::SuspendSubscription, "subscription:s", Some(body));
    command.intent.if_match = Some("\"etag\"".to_owned());
    let sent = send_on(&bench, &command).await;
    assert_eq!(sent.answer.outcome, Some(Outcome::Accepted));
    assert_eq!(bench.calls(), [format!("PATCH {path}")]);
    assert_eq!(bench.script.requests.lock().unwrap()[0].body.as_deref(), Some(body.as_bytes()));
    for (name, value) in [
        ("MS-RequestId", ID.to_string()),
        ("MS-CorrelationId", CORRELATION.to_string()),
        ("If-Match", "\"etag\"".to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("Accept", "application/json".to_owned()),
        ("MS-Contract-Version", "v1".to_owned()),
        ("X-Locale", "en-US".to_owned()),
    ] {
        assert_eq!(bench.header(0, name), Some(value), "{name}");
    }
    assert!(bench.header(0, "Authorization").unwrap().starts_with("Bearer eyJ"));
}

#[tokio::test(start_paused = true)]
async fn a_delete_has_no_body_and_no_etag() {
    let bench = Bench::new([Ok(reply(204, ""))]);
    assert_eq!(send_on(&bench, &delete()).await.answer.outcome, Some(Outcome::Accepted));
    assert!(bench.script.requests.lock().unwrap()[0].body.is_none());
    assert_eq!((bench.header(0, "Content-Type"), bench.header(0, "If-Match")), (None, None));
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_2xx_settles() {
    for answer in [
        reply(204, ""),
        reply(200, "\u{feff}{\"id\":\"o\",\"status\":\"cancelled\"}"),
        reply(200, r#"{"Id":null,"RelationshipToPartner":"none"}"#),
        reply(200, ""),
        reply(201, "null"),
        with_header(reply(202, ""), "location", "/customers/x/subscriptions/y"),
    ] {
        let status = answer.status;
        let sent = send(Ok(answer)).await;
        assert_eq!(sent.answer.outcome, Some(Outcome::Accepted), "{status}");
        assert_eq!((sent.answer.http_status, sent.trouble), (Some(status), None));
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_2xx_that_is_damaged_or_an_error_does_not_settle() {
    for body in [
        r#"{"id":"o","status":"canc"#,
        "<html>please sign in</html>",
        "[]",
        "true",
        r#"{"code":400072,"description":"no"}"#,
        r#"{"statusCode":404,"message":"Resource not found"}"#,
        r#"{"error":"invalid_request"}"#,
    ] {
        let sent = send(Ok(reply(200, body))).await;
        assert_eq!(sent.answer.outcome, None, "{body}");
        assert_eq!(sent.answer.http_status, Some(200));
        assert!(sent.answer.text.is_some() && sent.trouble.is_some(), "{sent:?}");
    }
    let sent = send(Ok(reply(200, r#"{"code":400072,"description":"no"}"#))).await;
    assert_eq!(sent.answer.ms_code.as_deref(), Some("400072"));
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_structured_4xx_settles_with_its_class() {
    for (status, code, class) in [
        (400, 800_063, Class::OtherRoute),
        (403, 800_019, Class::SafetyStop),
        (404, 20000, Class::AlreadyDone),
        (409, 800_060, Class::Wait),
        (412, 4242, Class::Retry),
        (422, 4242, Class::Unknown),
        (404, 60003, Class::CustomerGone),
    ] {
        let sent = send(Ok(fault(status, code))).await;
        assert_eq!(sent.answer.outcome, Some(Outcome::Refused), "{status} {code}");
        assert_eq!(sent.answer.ms_code, Some(code.to_string()));
        assert_eq!((sent.class, sent.trouble), (Some(class), None));
        assert_eq!(sent.answer.text, Some(format!("fault {code}")));
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_everything_else_leaves_the_command_unsettled() {
    let html = "<html><h1>502 Bad Gateway</h1></html>";
    for (answer, class) in [
        (fault(408, 1), Class::Retry),
        (fault(500, 800_003), Class::Retry),
        (reply(502, html), Class::Retry),
        (reply(503, ""), Class::Retry),
        (reply(404, r#"{"statusCode":404,"message":"Resource not found"}"#), Class::Retry),
        (reply(403, html), Class::Retry),
        (reply(302, ""), Class::Retry),
        (fault(401, 900_420), Class::Unauthorized),
        (reply(401, ""), Class::Unauthorized),
    ] {
        let status = answer.status;
        let sent = send(Ok(answer)).await;
        assert_eq!(sent.answer.outcome, None, "{status}");
        assert_eq!((sent.answer.http_status, sent.class), (Some(status), Some(class)));
        let trouble = sent.trouble.expect("it says why");
        assert!(trouble.as_fault().is_some() && sent.answer.text.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_silence_leaves_the_command_unsettled() {
    for silence in [
        TransportError::Timeout(Duration::from_secs(60)),
        TransportError::Connect("refused".to_owned()),
        TransportError::Broken("reset".to_owned()),
    ] {
        let sent = send(Err(silence.clone())).await;
        assert_eq!((sent.answer.outcome, sent.answer.http_status), (None, None));
        assert!(sent.answer.text.unwrap().contains(&silence.to_string()));
        assert_eq!(sent.trouble.unwrap().kind(), Kind::Outage(TroubleKind::Unreachable));
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_429_to_a_write_closes_the_account_and_leaves_it_unsettled() {
    let bench = Bench::new([Ok(with_header(reply(429, ""), "retry-after", "9"))]);
    let until = bench.clock.now() + Duration::from_secs(9);
    let sent = send_on(&bench, &delete()).await;
    assert_eq!((sent.answer.outcome, sent.answer.http_status), (None, Some(429)));
    assert_eq!(sent.class, Some(Class::Throttled));
    assert_eq!(sent.trouble.unwrap().kind(), Kind::Throttled { until });
    assert_eq!(*bench.books.closed.lock().unwrap(), [until]);
}

#[tokio::test(start_paused = true)]
async fn a_401_to_a_write_takes_the_token_out_of_use_and_repeats_nothing() {
    let bench = Bench::new([Ok(fault(401, 800_001)), Ok(reply(204, ""))]);
    let sent = send_on(&bench, &delete()).await;
    assert!(matches!(sent.trouble, Some(ApiError::Unauthorized { .. })), "{sent:?}");
    assert_eq!((bench.calls().len(), bench.token_requests()), (1, 1));
    let sent = send_on(&bench, &delete()).await;
    assert_eq!(sent.answer.outcome, Some(Outcome::Accepted));
    assert_eq!(bench.token_requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_old_permit_is_replaced_without_waiting_or_nothing_is_sent() {
    let bench = Bench::new([Ok(reply(204, ""))]);
    let old = || async {
        *bench.books.left.lock().unwrap() = None;
        bench.clock.sleep(Duration::from_secs(60)).await;
        let permit = bench.client.permit(PermitKind::Write, bucket_of(&delete())).await.unwrap();
        bench.clock.sleep(Duration::from_millis(1001)).await;
        permit
    };
    let permit = old().await;
    let before = bench.books.asked.lock().unwrap().len();
    let sent = bench.client.send(&delete(), CORRELATION, permit, &|| true).await;
    assert_eq!(sent.answer.outcome, Some(Outcome::Accepted));
    assert_eq!(bench.books.asked.lock().unwrap().len(), before + 1);

    let permit = old().await;
    *bench.books.left.lock().unwrap() = Some(0);
    *bench.books.retry_after.lock().unwrap() = Duration::from_secs(20);
    let until = bench.clock.now() + Duration::from_secs(20);
    let sent = bench.client.send(&delete(), CORRELATION, permit, &|| true).await;
    assert_eq!(sent.trouble.unwrap().kind(), Kind::Throttled { until });
    assert_eq!(bench.calls().len(), 1, "the second was not sent");

    let permit = old().await;
    *bench.books.latency.lock().unwrap() = Duration::from_secs(30);
    let begun = bench.clock.uptime();
    let sent = bench.client.send(&delete(), CORRELATION, permit, &|| true).await;
    assert!(matches!(sent.trouble.unwrap().kind(), Kind::Throttled { .. }));
    assert_eq!(
        bench.clock.uptime() - begun,
        Duration::from_secs(1),
        "slow books are not waited for"
    );
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_command_that_differs_from_what_is_derived_is_not_sent() {
    let other = "/v1/customers/cccc0000-0000-4000-8000-000000000009";
    let cancel = || {
        let body = r#"{"id":"o","status":"cancelled"}"#;
        command(Action::CancelOrder, "order:o", Some(body))
    };
    let path = |path: &str| Command { path: path.to_owned(), ..cancel() };
    let method = |method: &str| Command { method: method.to_owned(), ..cancel() };
    let intent = |change: fn(&mut Intent)| {
        let mut command = cancel();
        change(&mut command.intent);
        command
    };
    for forged in [
        path(other),
        path(&format!("/v1/customers/{TENANT}")),
        path(&format!("/v1/customers/{TENANT}/orders/p")),
        path(&format!("/v1/customers/{TENANT}/orders/o?x=y")),
        path("https://evil.example/v1/x"),
        path(""),
        method("POST"),
        method("DELETE"),
        method("patch"),
        intent(|i| i.body = None),
        intent(|i| i.body = Some(r#"{"relationshipToPartner":"none"}"#.to_owned())),
        intent(|i| i.body = Some(r#"{"id":"p","status":"cancelled"}"#.to_owned())),
        intent(|i| i.resource = ResourceKey::order("p")),
        intent(|i| i.resource = ResourceKey::order("..")),
        intent(|i| i.resource = ResourceKey::Customer),
        intent(|i| i.action = Action::DeleteCustomer),
        Command { path: other.to_owned(), ..delete() },
        Command { tenant_id: crate::core::ids::TenantId::new(Uuid::from_u128(9)), ..delete() },
    ] {
        let bench = Bench::new([]);
        let sent = send_on(&bench, &forged).await;
        assert!(matches!(sent.trouble, Some(ApiError::Damaged { .. })), "{forged:?}");
        assert!(bench.calls().is_empty(), "{forged:?}");
    }
}
