//! Shapes of answers: tokens, lists, resources.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use teardownd::simulator::{Call, Customer, Kind, Mix, Options, Purchase, SandboxFull};
use uuid::Uuid;

use crate::support::*;

fn claims(token: &str) -> Value {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap()
}

#[test]
fn version_1_tokens_count_in_strings_and_version_2_in_numbers() {
    let bench = Bench::with([]);
    let v1 = json_of(&token_answer(&bench.simulator, "oauth2/token", SECRET, "resource=https://a"));
    assert_eq!(v1["expires_in"], json!("3599"));
    assert_eq!(v1["resource"], json!("https://a"));
    let scope = "scope=https%3A%2F%2Fa%2F.default";
    let v2 = json_of(&token_answer(&bench.simulator, "oauth2/v2.0/token", SECRET, scope));
    assert_eq!(v2["expires_in"], json!(3599));
    for body in [v1, v2] {
        let claims = claims(body["access_token"].as_str().unwrap());
        assert_eq!(claims["tid"], json!(PARTNER));
        assert_eq!(claims["appid"], json!(CLIENT));
        assert_eq!(claims["aud"], json!("https://a"));
        assert!(claims["exp"].is_number());
    }
}

#[test]
fn a_wrong_secret_is_refused_as_entra_does() {
    let bench = Bench::with([]);
    let answer = token_answer(&bench.simulator, "oauth2/token", "wrong", "resource=https://a");
    assert_eq!(answer.status, 401);
    let body = json_of(&answer);
    assert_eq!(body["error"], json!("invalid_client"));
    assert_eq!(body["error_codes"], json!([7000215]));
    assert!(body["error_description"].as_str().unwrap().starts_with("AADSTS7000215: "));
}

#[test]
fn tokens_of_a_sandbox_may_name_another_tenant() {
    let mut sandbox = sandbox();
    sandbox.foreign_tokens(OTHER);
    let bench = Bench::of(plain(), sandbox);
    assert_eq!(claims(&bench.token)["tid"], json!(OTHER));
}

#[test]
fn calls_without_a_valid_token_are_refused() {
    let mut bench = Bench::new(Options { token_lifetime: seconds(60), ..plain() }, []);
    let bare = Call {
        method: "GET".to_owned(),
        path: "/v1/customers".to_owned(),
        headers: vec![("Accept".to_owned(), "application/json".to_owned())],
        ..Call::default()
    };
    let (status, body) = read(&bench.simulator.handle(&bare));
    assert_eq!((status, code(&body)), (401, 800001));

    bench.pass(60);
    let (status, body) = bench.get("customers");
    assert_eq!((status, code(&body)), (401, 400), "expired");

    bench.sign_in();
    bench.simulator.set_options(|options| options.audience = Some("https://other".to_owned()));
    let (status, body) = bench.get("customers");
    assert_eq!((status, code(&body)), (401, 900420));
}

#[test]
fn success_has_a_byte_order_mark_and_faults_have_none() {
    let mut bench = Bench::with([]);
    let id = bench.fresh_id();
    let found = bench.send("GET", "customers", id, None);
    assert!(found.answer().unwrap().body.starts_with(b"\xef\xbb\xbf{"));
    let missing = bench.send("GET", &format!("customers/{OTHER}"), id, None);
    assert!(missing.answer().unwrap().body.starts_with(b"{"));
}

#[test]
fn the_customer_list_is_cut_into_pages() {
    let customers = (1..=5).map(|number| {
        Customer::new(Uuid::from_u128(number), format!("tenant{number}.onmicrosoft.com"))
    });
    let mut bench = Bench::new(plain(), customers);
    let mut ids = Vec::new();
    let mut call = {
        let id = bench.fresh_id();
        bench.call("GET", "customers?size=2", id, None)
    };
    loop {
        let (status, body) = read(&bench.simulator.handle(&call));
        assert_eq!(status, 200);
        ids.extend(body["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        let next = &body["links"]["next"];
        if next.is_null() {
            break;
        }
        let uri = next["uri"].as_str().unwrap();
        let (path, query) = uri.split_once('?').unwrap();
        assert!(path.starts_with('/'), "relative: {uri}");
        call.path = path.to_owned();
        call.query = Some(query.to_owned());
        let header = &next["headers"][0];
        assert_eq!(header["key"], json!("MS-ContinuationToken"));
        call.headers.retain(|(name, _)| name != "MS-ContinuationToken");
        let token = header["value"].as_str().unwrap().to_owned();
        call.headers.push(("MS-ContinuationToken".to_owned(), token));
    }
    let expected: Vec<Value> = (1..=5).map(|number| json!(Uuid::from_u128(number))).collect();
    assert_eq!(ids, expected);
    assert_eq!(bench.items("customers?size=0").len(), 5, "size=0 is everything");
}

/// The names in `example`, with all nesting; of arrays the first item counts.
fn names(example: &Value, at: &str, found: &mut Vec<String>) {
    match example {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{at}/{name}");
                found.push(path.clone());
                names(value, &path, found);
            }
        }
        Value::Array(items) => items.iter().take(1).for_each(|item| names(item, at, found)),
        _ => {}
    }
}

fn assert_has(body: &Value, expected: &[&str]) {
    let mut found = Vec::new();
    names(body, "", &mut found);
    for name in expected {
        assert!(found.iter().any(|own| own == name), "{name} is missing in {body:#}");
    }
}

#[test]
fn an_order_looks_like_the_documented_one() {
    let mut bench = Bench::with([Purchase::new(Kind::PerpetualSoftware)]);
    let order = bench.items(&bench.own("/orders")).remove(0);
    let id = order["id"].as_str().unwrap();
    assert_eq!(id.len(), 33);
    assert_eq!(order["alternateId"].as_str().unwrap().len(), 12);
    assert_eq!(order["billingCycle"], json!("one_time"));
    assert_eq!(order["lineItems"][0]["lineItemNumber"], json!(0));
    assert_eq!(order["creationDate"], json!("2026-11-20T10:00:00.0000000Z"));
    assert_has(
        &order,
        &[
            "/referenceCustomerId",
            "/currencyCode",
            "/lineItems/offerId",
            "/lineItems/termDuration",
            "/lineItems/friendlyName",
            "/lineItems/quantity",
            "/lineItems/links/sku/uri",
            "/status",
            "/transactionType",
            "/links/provisioningStatus/headers",
            "/links/self/method",
            "/attributes/objectType",
        ],
    );
    let alternate = order["alternateId"].as_str().unwrap();
    let path = bench.own(&format!("/orders/{alternate}"));
    assert_eq!(bench.get(&path).1["id"], json!(id), "readable by alternateId");
}

#[test]
fn an_entitlement_nests_what_it_includes() {
    let mut bench =
        Bench::with([Purchase::new(Kind::PerpetualSoftware), Purchase::new(Kind::Reservation)]);
    let items = bench.items(&bench.own("/entitlements"));
    assert_eq!(items.len(), 3, "two lines of software and one reservation");
    let software = &items[0];
    assert_eq!(software["entitlementType"], json!("software"));
    assert_eq!(software["referenceOrder"]["lineItemId"], json!("0"), "a string");
    assert_eq!(software["includedEntitlements"].as_array().unwrap().len(), 2);
    let included = &software["includedEntitlements"][0];
    assert_eq!(included["referenceOrder"], software["referenceOrder"]);
    assert_eq!(items[2]["entitlementType"], json!("reservedinstance"));
    assert_has(&items[2], &["/entitledArtifacts/artifactType", "/entitledArtifacts/resourceId"]);
    let filtered = bench.own("/entitlements?entitlementtype=software&showExpiry=true");
    let items = bench.items(&filtered);
    assert_eq!(items.len(), 2);
    assert!(items[0]["expiryDate"].is_string());
}

#[test]
fn subscriptions_of_every_kind_can_be_told_apart() {
    let kinds = [
        Kind::SoftwareSubscription,
        Kind::NewCommerce,
        Kind::Marketplace,
        Kind::AzurePlan,
        Kind::LegacyLicence,
        Kind::LegacyAzure,
        Kind::SavingsPlan,
    ];
    let mut bench = Bench::with(kinds.map(Purchase::new));
    let items = bench.items(&bench.own("/subscriptions"));
    let [software, seat, marketplace, plan, legacy, azure, savings] = items.as_slice() else {
        panic!("{items:?}")
    };
    assert_eq!(software["productType"]["id"], json!("Software"));
    assert_eq!(seat["productType"]["id"], json!("OnlineServicesNCE"));
    assert!(seat["cancellationAllowedUntilDate"].is_string());
    assert_eq!(marketplace["isMicrosoftProduct"], json!(false));
    assert_eq!(marketplace["attributes"]["etag"], json!(""));
    assert!(plan["offerId"].as_str().unwrap().starts_with("DZH318Z0BPS6:"));
    assert!(legacy["productType"].is_null());
    assert!(legacy["offerId"].as_str().unwrap().parse::<Uuid>().is_ok());
    assert!(legacy["attributes"]["etag"].as_str().unwrap().len() > 20);
    assert!(azure["offerId"].as_str().unwrap().starts_with("MS-AZR-"));
    assert_eq!(azure["billingType"], json!("usage"));
    assert_eq!(savings["unitType"], json!("Benefit"));
    assert_eq!(software["orderId"].as_str().unwrap().len(), 12, "the alternateId");

    let order = software["orderId"].as_str().unwrap();
    let of_order = bench.items(&bench.own(&format!("/subscriptions?order_id={order}")));
    assert_eq!(of_order, std::slice::from_ref(software));
}

#[test]
fn profiles_and_unknown_routes() {
    let mut bench = Bench::with([]);
    assert_eq!(bench.get("profiles/legalbusiness").1["profileType"], json!("LegalBusinessProfile"));
    let (status, body) = bench.get("profiles/organization");
    assert_eq!((status, code(&body)), (403, 900329));
    let (status, body) = bench.get("auditrecords");
    assert_eq!((status, code(&body)), (400, 3000), "no start date");
    let (status, body) = bench.get("auditrecords?startDate=2026-11-01");
    assert_eq!((status, &body["totalCount"]), (200, &json!(0)));
    let (status, body) = bench.get("nothing");
    assert_eq!((status, &body["statusCode"]), (404, &json!(404)), "the gateway's shape");
    let (status, body) = bench.get("customers/not-a-guid");
    assert_eq!((status, code(&body)), (400, 2000));
}

#[test]
fn a_population_holds_every_kind_and_keeps_the_quotas() {
    for count in [2, 5, 75] {
        let mut sandbox = sandbox();
        let counts = sandbox.populate(count, 7, &Mix::default()).unwrap();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::SavingsPlan) {
            assert!(counts[&kind] > 0, "{kind:?} of {count}");
        }
        assert_eq!(counts[&Kind::SavingsPlan], 0, "only on request");
        assert!(counts[&Kind::AzurePlan] <= 10 && counts[&Kind::LegacyAzure] <= 10);
        assert_eq!(sandbox.customers().len(), count);
    }
    let mut full = sandbox();
    full.populate(75, 7, &Mix { savings_plans: 2, ..Mix::default() }).unwrap();
    assert_eq!(full.counts()[&Kind::SavingsPlan], 2);
    let refused = full.add(Customer::new(OTHER, "more.onmicrosoft.com")).unwrap_err();
    assert_eq!(refused, SandboxFull { limit: 75, present: 75, wanted: 1 });
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let world = |seed| {
        let mut sandbox = sandbox();
        sandbox.populate(10, seed, &Mix::default()).unwrap();
        let ids: Vec<Uuid> = sandbox.customers().iter().map(|customer| customer.id).collect();
        let bench = Bench::of(plain(), sandbox);
        let bought: Vec<_> = ids.iter().map(|id| bench.simulator.purchases(*id)).collect();
        (ids, bought)
    };
    assert_eq!(world(3), world(3));
    assert_ne!(world(3).0, world(4).0);
}

#[test]
fn a_snapshot_counts_what_is_left_and_the_critical_path_what_must_wait() {
    let mut bench = Bench::with([
        Purchase::new(Kind::Reservation).takes(seconds(7)),
        Purchase::new(Kind::AzurePlan).azure_subscriptions(2).takes(seconds(4)),
        Purchase::new(Kind::NewCommerce).takes(seconds(3)),
    ]);
    let before = bench.simulator.snapshot();
    assert_eq!(before.customers_left, 1);
    assert_eq!(before.active.values().sum::<usize>(), 3);
    assert_eq!(before.active[&Kind::AzurePlan], 1);
    // The reservation (7 s) before the plan (4 s), then the removal (2 s).
    assert_eq!(bench.simulator.critical_path(), seconds(13));
    bench.cancel_order(0);
    bench.pass(7);
    assert!(!bench.simulator.snapshot().active.contains_key(&Kind::Reservation));
    assert_eq!(bench.simulator.critical_path(), seconds(13), "what was done does not shorten it");
}

#[test]
fn latency_is_drawn_from_its_range() {
    let latency = (Duration::from_millis(40), Duration::from_millis(60));
    let mut bench = Bench::new(Options { latency, ..plain() }, [customer([])]);
    let id = bench.fresh_id();
    let delays: Vec<_> = (0..20).map(|_| bench.send("GET", "customers", id, None).delay).collect();
    assert!(delays.iter().all(|delay| (latency.0..=latency.1).contains(delay)), "{delays:?}");
    assert!(delays.windows(2).any(|pair| pair[0] != pair[1]), "jittered");
}
