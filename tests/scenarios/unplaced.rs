//! What is named somewhere and stands in no list: read by itself, and unknown where it cannot be.

use serde_json::{Value, json};
use teardownd::simulator::Entry;

use crate::harness::*;

fn listing(items: &[Value]) -> Effect {
    Effect::Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"totalCount": items.len(), "items": items}).to_string(),
        applied: false,
    }
}

fn empty(template: Template) -> Rule {
    Rule::new(When::Always, listing(&[])).method("GET").on(template)
}

fn entitled(order: &Value) -> Rule {
    let mut entitlement = json!({
        "quantity": 1, "productId": "DZH318Z0BQ4L", "entitlementType": "reservedinstance",
    });
    if !order.is_null() {
        entitlement["referenceOrder"] = order.clone();
    }
    Rule::new(When::Always, listing(&[entitlement])).method("GET").on(Template::Entitlements)
}

fn reads_of(scene: &Scene, template: Template) -> Vec<Entry> {
    let calls = scene.calls().into_iter();
    calls.filter(|call| call.method == "GET" && call.template == template).collect()
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_subscription_that_only_a_listed_order_names_is_read_and_cancelled() {
    for kind in [Kind::SoftwareSubscription, Kind::NewCommerce, Kind::LegacyLicence] {
        let mut scene = given([buy(kind)]).queued().await;
        scene.rule(empty(Template::Subscriptions));
        scene.start().await;
        scene.settle().await;
        let writes = scene.writes();
        assert!(!is_delete(&writes[0]), "{kind:?}: {writes:#?}");
        assert_eq!(writes.iter().filter(|write| is_delete(write)).count(), 1, "{kind:?}");
        assert_deleted(&scene.row(1).await);
        assert!(!reads_of(&scene, Template::Subscription).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_nothing_is_deleted_while_what_an_order_names_cannot_be_read() {
    let refused = Effect::fault(403, 987_654, "Nobody may read this.");
    let unavailable = Effect::unavailable();
    for (effect, ends) in [(refused, Reason::ApiRefused), (unavailable, Reason::AttemptsExhausted)]
    {
        let mut scene = given([buy(Kind::NewCommerce)]).queued().await;
        scene.rule(empty(Template::Subscriptions));
        scene.rule(Rule::new(When::Always, effect).method("GET").on(Template::Subscription));
        scene.start().await;
        scene.settle().await;
        assert_eq!(scene.writes().len(), 0);
        scene.assert_failed(1, ends).await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_an_entitlement_without_an_order_is_an_unknown_purchase() {
    let orders = [
        Value::Null,
        json!({}),
        json!({"id": null}),
        json!({"id": " "}),
        json!({"id": ".."}),
        json!({"id": ".", "alternateId": ""}),
        json!({"id": "8f3af3dea1ea", "alternateId": "000000000000"}),
    ];
    for order in orders {
        let mut scene = given([]).queued().await;
        scene.rule(entitled(&order));
        scene.start().await;
        scene.settle().await;
        let text = scene.assert_failed(1, Reason::UnknownProduct).await;
        assert!(text.contains("DZH318Z0BQ4L"), "{order}: {text}");
        assert_eq!(scene.writes().len(), 0, "{order}");
        // A person has looked after it.
        scene.simulator.clear_rules();
        assert!(scene.ask_about(Verb::Retry, 1).await.applied);
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_an_entitlement_is_found_by_the_other_form_of_its_orders_id() {
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    let bought = scene.simulator.purchases(tenant(1).as_uuid()).remove(0);
    let order = json!({"id": "0123456789ab", "alternateId": bought.alternate_id});
    scene.rule(empty(Template::Orders)).rule(entitled(&order));
    scene.start().await;
    scene.settle().await;
    assert_deleted(&scene.row(1).await);
    let writes = scene.writes();
    assert_eq!((writes.len(), is_delete(&writes[0])), (2, false), "{writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_subscription_that_a_refused_delete_names_is_read_and_cancelled() {
    let mut scene = given([buy(Kind::NewCommerce)]).queued().await;
    let bought = scene.simulator.purchases(tenant(1).as_uuid()).remove(0);
    let text = format!("Subscription {} is active.", bought.subscriptions[0].id);
    scene.rule(empty(Template::Orders)).rule(empty(Template::Subscriptions));
    let refusal = Rule::new(When::First(1), Effect::fault(400, 987_654, &text));
    scene.rule(refusal.method("DELETE"));
    scene.start().await;
    scene.settle().await;
    assert_deleted(&scene.row(1).await);
    let methods: Vec<String> = scene.writes().into_iter().map(|write| write.method).collect();
    assert_eq!(methods, ["DELETE", "PATCH", "DELETE"]);
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_purchase_that_a_later_list_lacks_is_read_by_itself() {
    // It was seen active, its cancellation has no answer, and then the list loses it.
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    scene.rule(Rule::new(When::First(3), Effect::DropBefore).method("PATCH"));
    scene.start().await;
    scene.until_call("a cancellation", |call| call.method == "PATCH").await;
    scene.rule(empty(Template::Orders)).rule(empty(Template::Entitlements));
    scene.settle().await;
    assert_deleted(&scene.row(1).await);
    let cancelled = scene.writes().iter().filter(|write| write.method == "PATCH").count();
    assert_eq!(cancelled, 4, "the cancellation was carried out");
    assert_eq!(scene.writes().len(), 5, "and no DELETE went before it");
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_look_beforehand_follows_what_is_named_to_its_end() {
    // Only an entitlement names the order, and only that order the subscription.
    let scene = given([buy(Kind::NewCommerce)]).queued().await;
    let bought = scene.simulator.purchases(tenant(1).as_uuid()).remove(0);
    scene.rule(empty(Template::Orders)).rule(empty(Template::Subscriptions));
    scene.rule(entitled(&json!({"id": bought.order_id})));
    let account = scene.beside().await;
    let seen = teardownd::runtime::preview::preview(&account, tenant(1)).await.unwrap();
    let assessment = seen.assessment.unwrap();
    let unfinished: Vec<String> = assessment.unfinished().map(|p| p.key.to_string()).collect();
    let subscription = format!("subscription:{}", bought.subscriptions[0].id);
    assert!(unfinished.contains(&subscription), "{unfinished:?}");
    assert!(assessment.complete);
}
