//! Reads: 401, paging, lists that are none, resources that are gone.

use std::time::Duration;

use crate::core::account::TroubleKind;
use crate::core::clock::Clock;
use crate::core::ids::TenantId;
use crate::core::observation::CustomerSeen;
use crate::partner_center::testing::{
    Bench, PARTNER, Reply, TENANT, fault, ok, reply, tenant, token_body, with_header,
};
use crate::partner_center::transport::TransportError;
use crate::partner_center::{ApiError, Kind};

const ORDERS: &str = "/v1/customers/2a3b4c5d-6e7f-4081-9293-a4b5c6d7e8f9/orders";

fn page(ids: &[&str], next: Option<(&str, Option<&str>)>) -> Reply {
    let items: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id })).collect();
    let mut body = serde_json::json!({ "totalCount": 99, "items": items });
    if let Some((uri, token)) = next {
        let headers: Vec<_> = token
            .iter()
            .map(|t| serde_json::json!({"key": "MS-ContinuationToken", "value": t}))
            .collect();
        body["links"] =
            serde_json::json!({"next": {"uri": uri, "method": "GET", "headers": headers}});
    }
    Ok(ok(&format!("\u{feff}{body}")))
}

#[tokio::test(start_paused = true)]
async fn a_read_answered_with_401_is_repeated_once_with_a_new_token() {
    let bench = Bench::new([Ok(fault(401, 900420)), page(&["a"], None)]);
    *bench.script.latency.lock().unwrap() = Duration::from_secs(1);
    let begun = bench.clock.now();
    let seen = bench.client.orders(tenant()).await.unwrap();
    assert_eq!(seen.fact.len(), 1);
    assert_eq!(seen.at, begun + Duration::from_secs(1), "from when the first request was sent");
    assert_eq!(bench.calls(), [format!("GET {ORDERS}"), format!("GET {ORDERS}")]);
    assert_eq!(bench.token_requests(), 2);
    assert_ne!(bench.header(0, "Authorization"), bench.header(1, "Authorization"));
    assert_ne!(bench.header(0, "MS-RequestId"), bench.header(1, "MS-RequestId"));
}

#[tokio::test(start_paused = true)]
async fn a_second_401_is_the_credential_s_trouble() {
    let bench = Bench::new([Ok(fault(401, 800001)), Ok(fault(401, 800001))]);
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unauthorized { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Outage(TroubleKind::CredentialRefused));
    assert_eq!(bench.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_connection_was_closed_is_repeated_once_on_a_new_one() {
    let closed = || Err(TransportError::Closed("the server closed it".to_owned()));
    let bench = Bench::new([closed(), page(&["a"], None)]);
    assert_eq!(bench.client.orders(tenant()).await.unwrap().fact.len(), 1);
    let fresh = |bench: &Bench| {
        let requests = bench.script.requests.lock().unwrap();
        requests.iter().map(|request| request.fresh).collect::<Vec<_>>()
    };
    assert_eq!(fresh(&bench), [false, true]);
    assert_ne!(bench.header(0, "MS-RequestId"), bench.header(1, "MS-RequestId"));
    let permits: u32 = bench.books.asked.lock().unwrap().iter().flatten().map(|a| a.reads).sum();
    assert_eq!(permits, 2, "invariant 9: it counts");

    let bench = Bench::new([closed(), closed()]);
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Outage(TroubleKind::Unreachable));
    assert_eq!(fresh(&bench), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn reads_repeat_nothing_else() {
    for trouble in [
        Err(TransportError::Timeout(Duration::from_secs(30))),
        Err(TransportError::Broken("cut off".to_owned())),
        Ok(reply(500, "")),
        Ok(reply(408, "")),
        Ok(reply(503, "<html>")),
        Ok(fault(400, 2055)),
    ] {
        let bench = Bench::new([trouble]);
        bench.client.orders(tenant()).await.unwrap_err();
        assert_eq!(bench.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_page_is_followed_with_its_headers() {
    let (next, last) = (format!("{ORDERS}?seek=Next"), format!("{ORDERS}?seek=Last"));
    let bare = next.strip_prefix("/v1").unwrap();
    let bench = Bench::new([
        page(&["a", "b"], Some((bare, Some("t1")))),
        page(&["c"], Some((bare, Some("t2")))),
        page(&[], Some((&last, None))),
        page(&["d"], None),
    ]);
    let orders = bench.client.orders(tenant()).await.unwrap().fact;
    let ids: Vec<_> = orders.iter().map(|order| order.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
    assert_eq!(
        bench.calls()[1..],
        [format!("GET {next}"), format!("GET {next}"), format!("GET {last}")]
    );
    let tokens: Vec<_> = (0..4).map(|n| bench.header(n, "MS-ContinuationToken")).collect();
    assert_eq!(tokens, [None, Some("t1".to_owned()), Some("t2".to_owned()), None]);
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_page_that_comes_twice_is_damage() {
    let link = |n: u32| format!("{ORDERS}?page={n}");
    for replies in [
        // The same continuation under another address.
        vec![
            page(&["a"], Some((&link(1), Some("t")))),
            page(&["b"], Some((&link(2), Some("t")))),
            page(&["c"], None),
        ],
        // The same address.
        vec![
            page(&["a"], Some((&link(1), None))),
            page(&["b"], Some((&link(1), None))),
            page(&[], None),
        ],
        // Back to the first address.
        vec![page(&["a"], Some((ORDERS, None))), page(&["b"], None)],
        // The same items under another address.
        vec![page(&["a", "b"], Some((&link(1), None))), page(&["A", "b"], None)],
    ] {
        let bench = Bench::new(replies);
        let error = bench.client.orders(tenant()).await.unwrap_err();
        assert!(matches!(error, ApiError::Damaged { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Transient);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_the_number_of_pages_is_bounded() {
    let pages = (0..500)
        .map(|n| page(&[&format!("order-{n}")], Some((&format!("{ORDERS}?page={n}"), None))));
    let bench = Bench::new(pages);
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert!(error.to_string().contains("200 pages"), "{error}");
    assert_eq!(bench.calls().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn invariant_6_next_links_lead_only_to_the_list_that_was_asked_for() {
    for uri in [
        "https://evil.example/v1/customers",
        "//evil.example/v1/customers",
        "/v1/../x",
        // Another customer's list, and another list of this one.
        "/customers/cccc0000-0000-4000-8000-000000000009/orders?seek=Next",
        "/customers",
    ] {
        let bench = Bench::new([page(&["a"], Some((uri, None)))]);
        let error = bench.client.orders(tenant()).await.unwrap_err();
        assert!(matches!(error, ApiError::Damaged { .. }), "{error}");
        assert_eq!(bench.calls().len(), 1, "the token went nowhere else");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_the_items_and_the_bytes_of_a_list_are_bounded() {
    let link = |n: usize| format!("/customers/{}/orders?page={n}", tenant());
    let long = (0..200).map(|n| {
        let ids: Vec<String> = (0..1000).map(|item| format!("{n}-{item}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        page(&ids, Some((&link(n), None)))
    });
    let bench = Bench::new(long);
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert!(error.to_string().contains("more than 5000 items"), "{error}");
    assert_eq!(bench.calls().len(), 6, "nothing is asked for any more");

    let large = (0..200).map(|n| {
        let id = format!("{n}-{}", "x".repeat(10 * 1024 * 1024));
        page(&[&id], Some((&link(n), None)))
    });
    let bench = Bench::new(large.take(6));
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert!(error.to_string().contains("larger than 33554432 bytes"), "{error}");
    assert_eq!(bench.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_list_that_is_none_is_never_empty() {
    for (status, body) in [
        (200, ""),
        (200, "null"),
        (200, "[]"),
        (200, "{}"),
        (200, r#"{"items":null}"#),
        (200, r#"{"items":[{"id":"a"},"#),
        (200, r#"{"items":[{"status":"active"}]}"#),
        (200, r#"{"items":[null]}"#),
        (200, r#"{"items":[],"code":400072,"description":"no"}"#),
        (200, "<html>sign in</html>"),
        (201, r#"{"items":[]}"#),
        (204, ""),
        (206, r#"{"items":[]}"#),
        (302, r#"{"items":[]}"#),
        (404, r#"{"items":[]}"#),
    ] {
        let bench = Bench::new([Ok(reply(status, body))]);
        let result = bench.client.orders(tenant()).await;
        assert!(result.is_err(), "{status} {body}: {result:?}");
    }
    let bench = Bench::new([Ok(ok(r#"{"items":[]}"#))]);
    assert!(bench.client.orders(tenant()).await.unwrap().fact.is_empty());
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_customer_is_gone_only_by_a_structured_fault() {
    for (status, code) in [(404, 60003), (404, 1000), (403, 20002), (403, 900_159)] {
        let bench = Bench::new([Ok(fault(status, code))]);
        let seen = bench.client.customer(tenant()).await.unwrap();
        assert!(matches!(seen.fact, CustomerSeen::Gone { by_code: true, .. }), "{status} {code}");
    }
    // Partner Center's own answers are told by their headers.
    for (answer, code, told) in [
        (fault(404, 3000), "404/3000", true),
        (fault(404, 424_242), "404/424242", false),
        (reply(404, r#"{"description":"There is no such thing."}"#), "404/no code", false),
    ] {
        let bench = Bench::new([Ok(with_header(answer.clone(), "ms-cv", "c")), Ok(answer)]);
        let CustomerSeen::Gone { code: answered, by_code, .. } =
            bench.client.customer(tenant()).await.unwrap().fact
        else {
            panic!("{code} reads as gone");
        };
        assert_eq!((answered.as_str(), by_code), (code, told));
        bench.client.customer(tenant()).await.expect_err("a gateway's answer has no such header");
    }
    let own = |response| with_header(response, "ms-cv", "c");
    for other in [
        own(reply(404, r#"{"statusCode":404,"message":"Resource not found"}"#)),
        own(reply(404, "")),
        own(reply(404, r#"{"code":3000,"data":["property_name: Subscription"]}"#)),
        own(fault(400, 3000)),
        reply(404, r#"{"statusCode":404,"message":"Resource not found"}"#),
        reply(404, ""),
        reply(410, "<html>"),
        fault(404, 3000),
        fault(404, 20000),
        reply(200, r#"{"code":60003,"description":"gone"}"#),
        reply(200, "{}"),
        reply(204, ""),
    ] {
        let bench = Bench::new([Ok(other)]);
        bench.client.customer(tenant()).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn single_orders_and_subscriptions_may_be_gone() {
    let bench = Bench::new([
        Ok(fault(404, 20000)),
        Ok(fault(404, 20003)),
        Ok(ok(r#"{"id":"long","alternateId":"0123456789AB","status":"Completed"}"#)),
        Ok(ok(r#"{"id":"other"}"#)),
        Ok(fault(404, 20003)),
        Ok(ok(r#"{"code":400072,"description":"catalogue"}"#)),
    ]);
    assert_eq!(bench.client.order(tenant(), "o").await.unwrap().fact, None);
    assert_eq!(bench.client.subscription(tenant(), "s").await.unwrap().fact, None);
    let order = bench.client.order(tenant(), "0123456789ab").await.unwrap().fact.unwrap();
    assert_eq!(order.status.as_deref(), Some("completed"));
    let error = bench.client.subscription(tenant(), "s").await.unwrap_err();
    assert!(matches!(error, ApiError::Damaged { .. }), "another resource came: {error}");
    let error = bench.client.order(tenant(), "o").await.unwrap_err();
    assert!(matches!(error, ApiError::Fault { .. }), "a code of subscriptions: {error}");
    let error = bench.client.order(tenant(), "o").await.unwrap_err();
    assert_eq!(error.as_fault().and_then(|f| f.code.as_deref()), Some("400072"));
}

fn other_tenant() -> TenantId {
    "3b4c5d6e-7f80-4192-a3a4-b5c6d7e8f90a".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_by_3000_and_the_name_of_the_thing() {
    let named = |thing: &str| {
        reply(404, &format!(r#"{{"code":3000,"data":["property_name: {thing}"],"source":"x"}}"#))
    };
    let bench = Bench::new([
        Ok(named("Subscription")),
        Ok(named("Order")),
        Ok(fault(404, 3000)),
        Ok(named("Customer")),
        Ok(named("Customer")),
        Ok(named("Subscription")),
    ]);
    assert_eq!(bench.client.subscription(tenant(), "s").await.unwrap().fact, None);
    assert_eq!(bench.client.order(tenant(), "o").await.unwrap().fact, None);
    assert_eq!(bench.client.order(tenant(), "o").await.unwrap().fact, None);
    bench.client.order(tenant(), "o").await.expect_err("the customer is another thing");
    // A list below the customer is missing because the customer is, unless the fault names another thing.
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CustomerGone);
    let error = bench.client.azure_entitlements(tenant(), "s").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_403_that_blames_the_token_is_asked_again_with_a_new_one() {
    let bench = Bench::new([Ok(fault(403, 90_000)), Ok(ok(r#"{"items":[]}"#))]);
    bench.client.orders(tenant()).await.unwrap_err();
    bench.client.orders(tenant()).await.unwrap();
    assert_eq!(bench.token_requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn entitlements_that_are_refused_to_an_app_are_not_asked_for_again_for_a_day() {
    let bench = Bench::new([
        Ok(fault(403, 900_329)),
        Ok(ok(r#"{"items":[{"referenceOrder":{"id":"o"},"includedEntitlements":[{}]}]}"#)),
    ]);
    let asked = || bench.client.entitlements(tenant());
    assert_eq!(asked().await.unwrap().fact, None);
    bench.clock.sleep(Duration::from_secs(24 * 3600 - 1)).await;
    assert_eq!(asked().await.unwrap().fact, None);
    assert_eq!(bench.calls(), [format!("GET /v1/customers/{TENANT}/entitlements")]);
    bench.clock.sleep(Duration::from_secs(2)).await;
    let entitlements = asked().await.unwrap().fact.unwrap();
    assert_eq!(entitlements.len(), 2, "included ones are listed too");
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_refusal_of_entitlements_is_the_apps_where_two_tenants_meet_the_same() {
    for refusal in [fault(403, 2032), fault(403, 424_242), fault(401, 400)] {
        let times = if refusal.status == 401 { 2 } else { 1 };
        let refused = || std::iter::repeat_n(Ok(refusal.clone()), times);
        let bench = Bench::new(refused().chain(refused()).chain(refused()));
        let asked = |tenant| bench.client.entitlements(tenant);
        let error = asked(tenant()).await.unwrap_err();
        assert!(!matches!(error.kind(), Kind::Refused(_)), "it is tried again: {error}");
        asked(tenant()).await.unwrap_err();
        assert_eq!(asked(other_tenant()).await.unwrap().fact, None);
        assert_eq!(asked(tenant()).await.unwrap().fact, None, "that is known of all now");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_403_for_one_customer_does_not_cost_all_others_their_cross_check() {
    let list = || page(&["a"], None);
    // Other refusals of other tenants say nothing, nor does one that others were given after.
    let refusals = [fault(403, 2032), fault(403, 900_308)].map(Ok);
    let bench = Bench::new(refusals.into_iter().chain([
        list(),
        Ok(fault(403, 2032)),
        list(),
        Ok(fault(403, 2032)),
        Ok(fault(403, 2032)),
        Ok(fault(403, 900_329)),
    ]));
    let asked = |tenant| bench.client.entitlements(tenant);
    let later = || bench.clock.sleep(Duration::from_millis(1));
    asked(tenant()).await.unwrap_err();
    asked(other_tenant()).await.unwrap_err();
    assert!(asked(other_tenant()).await.unwrap().fact.is_some());
    later().await;
    asked(tenant()).await.unwrap_err();
    later().await;
    assert!(asked(other_tenant()).await.unwrap().fact.is_some());
    // These were sent when others were given: the answers overtook each other.
    asked(tenant()).await.unwrap_err();
    asked(other_tenant()).await.unwrap_err();
    // This code says that it is the app.
    assert_eq!(asked(tenant()).await.unwrap().fact, None);
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_401_is_no_refusal_of_entitlements_to_a_credential_that_has_had_them() {
    let list = || page(&["a"], None);
    let bench = Bench::new([list(), Ok(fault(401, 400)), Ok(fault(401, 400)), list()]);
    bench.client.entitlements(tenant()).await.unwrap();
    let error = bench.client.entitlements(tenant()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Outage(TroubleKind::CredentialRefused));
    // They are asked for again, and the cross-check is not lost for an hour.
    assert!(bench.client.entitlements(tenant()).await.unwrap().fact.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_waited_for_longer_than_its_token_lives_goes_out_with_a_new_one() {
    let bench = Bench::new([page(&["a"], None)]);
    let short = token_body(PARTNER, 0).replace("3600", "3");
    bench.script.tokens.lock().unwrap().push_back(Ok(ok(&short)));
    *bench.books.left.lock().unwrap() = Some(0);
    *bench.books.refill.lock().unwrap() = 1;
    *bench.books.retry_after.lock().unwrap() = Duration::from_secs(30);
    bench.client.orders(tenant()).await.unwrap();
    assert_eq!((bench.token_requests(), bench.calls().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn other_faults_on_entitlements_are_faults() {
    for (status, code) in [(403, 800_019), (403, 20002), (403, 800_073), (404, 3000), (500, 1)] {
        let bench = Bench::new([Ok(fault(status, code))]);
        let error = bench.client.entitlements(tenant()).await.unwrap_err();
        assert!(matches!(error, ApiError::Fault { .. }), "{error}");
    }
    let bench = Bench::new([Ok(reply(403, "<html>"))]);
    bench.client.entitlements(tenant()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn azure_entitlements_and_the_profile_have_their_addresses() {
    let bench = Bench::new([
        Ok(ok(r#"{"items":[{"id":"e","status":"Active"}]}"#)),
        Ok(ok(r#"{"companyName":"Lantern Row","vettingStatus":"Authorized"}"#)),
    ]);
    let azure = bench.client.azure_entitlements(tenant(), "plan").await.unwrap().fact;
    assert_eq!(azure[0].status.as_deref(), Some("active"));
    let profile = bench.client.legal_business_profile().await.unwrap().fact;
    assert_eq!(profile.company_name.as_deref(), Some("Lantern Row"));
    assert_eq!(
        bench.calls(),
        [
            format!("GET /v1/customers/{TENANT}/subscriptions/plan/azureEntitlements"),
            "GET /v1/profiles/legalbusiness".to_owned(),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_azure_subscription_that_cannot_be_read_by_itself_is_no_fault() {
    let bench = Bench::new([
        Ok(ok(r#"{"id":"E","status":"Active"}"#)),
        Ok(reply(405, "")),
        Ok(reply(404, r#"{"statusCode":404,"message":"Resource not found"}"#)),
        Ok(fault(404, 60_003)),
        Ok(ok(r#"{"id":"other","status":"Active"}"#)),
    ]);
    let read = || bench.client.azure_entitlement(tenant(), "plan", "e");
    assert_eq!(read().await.unwrap().fact.unwrap().status.as_deref(), Some("active"));
    for _ in 0..2 {
        assert_eq!(read().await.unwrap().fact, None);
    }
    assert_eq!(read().await.unwrap_err().kind(), Kind::CustomerGone);
    assert_eq!(read().await.unwrap_err().kind(), Kind::Transient, "about another one");
    let address = format!("GET /v1/customers/{TENANT}/subscriptions/plan/azureEntitlements/e");
    assert_eq!(bench.calls()[0], address);
}
