//! What may be cancelled how, when it takes effect, and what DELETE wants.

use serde_json::json;
use teardownd::simulator::{
    Appears, ComesBack, Customer, Effect, Kind, Options, Purchase, Rule, When,
};

use crate::support::*;

#[test]
fn a_cancelled_order_is_pending_until_its_time() {
    let mut bench = Bench::with([Purchase::new(Kind::Reservation).takes(seconds(5))]);
    let (status, body) = bench.cancel_order(0);
    assert_eq!((status, &body["status"]), (200, &json!("pending")));
    let path = bench.cancellation(0).0;
    bench.pass(4);
    assert_eq!(bench.get(&path).1["status"], json!("pending"));
    assert_eq!(bench.items(&bench.own("/entitlements")).len(), 1);
    bench.pass(1);
    assert_eq!(bench.get(&path).1["status"], json!("cancelled"));
    assert_eq!(bench.items(&bench.own("/entitlements")).len(), 0, "nothing is entitled any more");
    assert!(bench.breaches().is_empty());
}

#[test]
fn a_pending_order_cannot_be_cancelled_yet() {
    let mut bench = Bench::with([Purchase::new(Kind::PerpetualSoftware).pending_for(seconds(30))]);
    let (status, body) = bench.cancel_order(0);
    assert_eq!((status, code(&body)), (409, 800060));
    bench.pass(30);
    assert_eq!(bench.cancel_order(0).0, 200);
    assert!(bench.breaches().is_empty(), "a refusal settles; the new id is right");
}

#[test]
fn part_of_an_order_can_be_cancelled() {
    let mut bench = Bench::with([Purchase::new(Kind::MixedOrder)]);
    let (path, mut body) = bench.cancellation(0);
    body["lineItems"] = json!([{ "lineItemNumber": 0 }]);
    assert_eq!(bench.write("PATCH", &path, Some(&body)).0, 200);
    bench.pass(5);
    let (_, order) = bench.get(&path);
    assert_eq!(order["status"], json!("completed"));
    assert_eq!(order["lineItems"][0]["quantity"], json!(0));
    assert_eq!(order["lineItems"][1]["quantity"], json!(1));
    assert_eq!(bench.items(&bench.own("/entitlements")).len(), 1);
    assert!(bench.purchases()[0].active);
}

#[test]
fn orders_of_subscriptions_take_another_route() {
    let cases = [
        (Kind::NewCommerce, 400, 800061),
        (Kind::Marketplace, 403, 800077),
        (Kind::AzurePlan, 400, 800063),
        (Kind::LegacyLicence, 400, 800063),
        (Kind::SavingsPlan, 403, 900321),
    ];
    let mut bench = Bench::with(cases.map(|(kind, ..)| Purchase::new(kind)));
    for (index, (kind, status, expected)) in cases.into_iter().enumerate() {
        let (answered, body) = bench.cancel_order(index);
        assert_eq!((answered, code(&body)), (status, expected), "{kind:?}");
    }
}

#[test]
fn each_kind_of_subscription_has_its_goal() {
    let cases = [
        (Kind::NewCommerce, "deleted", 200),
        (Kind::Marketplace, "suspended", 400),
        (Kind::Marketplace, "deleted", 200),
        (Kind::SoftwareSubscription, "suspended", 400),
        (Kind::SoftwareSubscription, "deleted", 200),
        (Kind::LegacyLicence, "deleted", 400),
        (Kind::LegacyLicence, "suspended", 200),
        (Kind::LegacyAzure, "suspended", 200),
        (Kind::SavingsPlan, "deleted", 403),
    ];
    for (kind, goal, expected) in cases {
        let mut bench = Bench::with([Purchase::new(kind)]);
        assert_eq!(bench.set_status(0, 0, goal).0, expected, "{kind:?} {goal}");
        bench.pass(5);
        let reached = bench.purchases()[0].subscriptions[0].status == goal;
        assert_eq!(reached, expected == 200, "{kind:?} {goal}");
        assert!(bench.breaches().is_empty());
    }
}

#[test]
fn a_software_subscription_is_one_purchase_under_two_names() {
    let mut bench = Bench::with([Purchase::new(Kind::SoftwareSubscription)]);
    assert_eq!(bench.cancel_order(0).0, 200);
    bench.pass(5);
    assert_eq!(bench.purchases()[0].subscriptions[0].status, "deleted");
    assert!(!bench.purchases()[0].active);
}

#[test]
fn a_patch_wants_the_whole_resource_and_a_current_etag() {
    let mut bench = Bench::with([Purchase::new(Kind::LegacyLicence)]);
    let path = bench.subscription_path(0, 0);
    let (_, mut resource) = bench.get(&path);
    let etag = resource["attributes"]["etag"].as_str().unwrap().to_owned();
    let id = bench.purchases()[0].subscriptions[0].id.clone();
    let bare = json!({ "id": id, "status": "suspended" });
    let (status, body) = bench.write("PATCH", &path, Some(&bare));
    assert_eq!((status, code(&body)), (400, 3000));

    resource["status"] = json!("suspended");
    let patch = |bench: &mut Bench, etag: &str| {
        let id = bench.fresh_id();
        let mut call = bench.call("PATCH", &path, id, Some(&resource));
        call.headers.push(("If-Match".to_owned(), format!("\"{etag}\"")));
        read(&bench.simulator.handle(&call))
    };
    let (status, body) = patch(&mut bench, "stale");
    assert_eq!((status, code(&body)), (412, 2055));
    let (status, body) = patch(&mut bench, &etag);
    assert_eq!((status, &body["Id"]), (200, &json!(id)), "the documented answer is in PascalCase");
    bench.pass(5);
    assert_ne!(bench.get(&path).1["attributes"]["etag"], json!(etag), "the etag has moved on");
}

#[test]
fn a_patch_may_answer_202_with_a_place_to_read() {
    let options = Options { subscription_patch_is_deferred: true, ..plain() };
    let mut bench = Bench::new(options, [customer([Purchase::new(Kind::NewCommerce)])]);
    let path = bench.subscription_path(0, 0);
    let (_, mut resource) = bench.get(&path);
    resource["status"] = json!("deleted");
    let id = bench.fresh_id();
    let reply = bench.send("PATCH", &path, id, Some(&resource));
    let answer = reply.answer().unwrap();
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    let place = answer.headers.iter().find(|(name, _)| name == "location");
    assert_eq!(place.unwrap().1, format!("/{path}"));
}

#[test]
fn windows_and_activation_stand_before_a_cancellation() {
    let mut bench = Bench::with([
        Purchase::new(Kind::NewCommerce).window_passed(),
        Purchase::new(Kind::SoftwareSubscription).needs_activation(),
        Purchase::new(Kind::PerpetualSoftware).window_passed(),
    ]);
    let (status, body) = bench.set_status(0, 0, "deleted");
    assert_eq!((status, code(&body)), (400, 900117));
    assert_eq!(bench.set_status(0, 0, "suspended").0, 200, "the other route");

    let (status, body) = bench.set_status(1, 0, "deleted");
    assert_eq!((status, code(&body)), (400, 800081));
    let activate = format!("{}/activate", bench.subscription_path(1, 0));
    assert_eq!(bench.write("POST", &activate, None).0, 200);
    assert_eq!(bench.set_status(1, 0, "deleted").0, 200);

    let (status, body) = bench.cancel_order(2);
    assert_eq!((status, code(&body)), (400, 900213));
    assert!(bench.breaches().is_empty());
}

#[test]
fn add_ons_go_before_their_parent_unless_switched_off() {
    let purchase = || Purchase::new(Kind::NewCommerce).add_ons(1);
    let mut bench = Bench::with([purchase()]);
    let (status, body) = bench.set_status(0, 0, "deleted");
    assert_eq!((status, code(&body)), (400, 800096));
    let add_on = bench.items(&bench.own("/subscriptions")).remove(1);
    assert_eq!(add_on["parentSubscriptionId"], json!(bench.purchases()[0].subscriptions[0].id));
    assert_eq!(bench.set_status(0, 1, "deleted").0, 200);
    bench.pass(5);
    assert_eq!(bench.set_status(0, 0, "deleted").0, 200);

    let options = Options { add_ons_first: false, ..plain() };
    let mut lax = Bench::new(options, [customer([purchase()])]);
    assert_eq!(lax.set_status(0, 0, "deleted").0, 200);
}

#[test]
fn an_azure_plan_waits_for_reservations_and_azure_subscriptions() {
    let mut bench = Bench::with([
        Purchase::new(Kind::AzurePlan).azure_subscriptions(2),
        Purchase::new(Kind::Reservation),
    ]);
    let refused = |bench: &mut Bench| {
        let (status, body) = bench.set_status(0, 0, "suspended");
        assert_eq!((status, code(&body)), (403, 900115));
    };
    refused(&mut bench);
    bench.cancel_order(1);
    bench.pass(5);
    refused(&mut bench);

    let list = format!("{}/azureEntitlements", bench.subscription_path(0, 0));
    let reason = json!({ "cancellationReason": "compromise" });
    for azure in bench.items(&list) {
        let one = format!("{list}/{}", azure["id"].as_str().unwrap());
        let (status, body) = bench.write(
            "POST",
            &format!("{one}/cancel"),
            Some(&json!({ "cancellationReason": "" })),
        );
        assert_eq!((status, code(&body)), (400, 900307));
        assert_eq!(bench.write("POST", &format!("{one}/cancel"), Some(&reason)).0, 200);
        assert_eq!(bench.get(&one).1["status"], json!("active"), "not yet");
    }
    refused(&mut bench);
    bench.pass(5);
    assert!(bench.items(&list).iter().all(|azure| azure["status"] == json!("inactive")));
    assert_eq!(bench.set_status(0, 0, "suspended").0, 200);
    assert!(bench.breaches().is_empty(), "{:?}", bench.breaches());
}

#[test]
fn a_reservation_alone_keeps_an_azure_plan() {
    let plan = Purchase::new(Kind::AzurePlan).azure_subscriptions(0);
    let mut bench = Bench::with([plan, Purchase::new(Kind::MixedOrder)]);
    let (status, body) = bench.set_status(0, 0, "suspended");
    assert_eq!((status, code(&body)), (403, 900115));
    bench.cancel_order(1);
    bench.pass(5);
    assert_eq!(bench.set_status(0, 0, "suspended").0, 200);
}

#[test]
fn delete_names_the_orders_that_block_it() {
    let options = Options { blocked_delete: (403, Some(4711)), ..plain() };
    let bought = [Purchase::new(Kind::Reservation).hidden(), Purchase::new(Kind::NewCommerce)];
    let mut bench = Bench::new(options, [customer(bought)]);
    assert_eq!(bench.items(&bench.own("/orders")).len(), 1, "the hidden one is in no list");
    let (status, body) = bench.delete();
    assert_eq!((status, code(&body)), (403, 4711));
    let text = body["description"].as_str().unwrap();
    assert!(text.starts_with("Customer relationship cannot be removed due to active Azure"));
    for purchase in bench.purchases() {
        let id = purchase.alternate_id.unwrap_or(purchase.order_id);
        assert!(text.contains(&id), "{text}");
        assert_eq!(bench.get(&bench.own(&format!("/orders/{id}"))).0, 200, "readable by id");
    }
}

#[test]
fn a_refused_delete_has_no_code_unless_told() {
    let mut bench = Bench::with([Purchase::new(Kind::LegacyLicence)]);
    let (status, body) = bench.delete();
    assert_eq!(status, 400);
    assert!(body.get("code").is_none());
}

#[test]
fn a_deleted_customer_goes_after_a_while() {
    for gone in [(404, 60003), (404, 1000), (403, 20002)] {
        let options = Options { gone: vec![gone], ..plain() };
        let other = Customer::new(OTHER, "two.onmicrosoft.com");
        let mut bench = Bench::new(options, [customer([]), other]);
        bench.look();
        assert_eq!(bench.delete().0, 204);
        assert_eq!(bench.get(&bench.own("")).0, 200, "still there");
        assert_eq!(bench.items("customers").len(), 2);
        bench.pass(2);
        let (status, body) = bench.get(&bench.own(""));
        assert_eq!((status, code(&body)), (gone.0, gone.1.into()));
        assert_eq!(bench.get(&bench.own("/orders")).0, gone.0);
        assert_eq!(bench.items("customers").len(), 1);
        assert!(bench.breaches().is_empty());
    }
}

#[test]
fn a_customer_with_a_bad_address_cannot_be_deleted() {
    let mut bench = Bench::new(plain(), [customer([]).cannot_be_deleted()]);
    bench.look();
    assert_eq!(bench.delete().0, 400);
    bench.pass(60);
    assert_eq!(bench.get(&bench.own("")).0, 200);
}

#[test]
fn an_id_that_was_applied_is_not_applied_again() {
    let mut bench = Bench::with([Purchase::new(Kind::Reservation)]);
    let (path, body) = bench.cancellation(0);
    let id = bench.fresh_id();
    let first = bench.send("PATCH", &path, id, Some(&body));
    bench.pass(60);
    let second = bench.send("PATCH", &path, id, Some(&body));
    assert_eq!(first.answer(), second.answer());
    let journal = bench.simulator.journal();
    assert_eq!(journal.applied().values().copied().collect::<Vec<_>>(), [1]);
    assert!(journal.entries().last().unwrap().replayed);
    assert!(journal.breaches().is_empty());
}

#[test]
fn lists_may_lag_while_reads_by_id_do_not() {
    let options = Options { list_lag: seconds(60), ..plain() };
    let mut bench = Bench::new(options, [customer([Purchase::new(Kind::Reservation)])]);
    bench.pass(100);
    bench.cancel_order(0);
    bench.pass(10);
    assert_eq!(bench.items(&bench.own("/orders"))[0]["status"], json!("completed"));
    assert_eq!(bench.get(&bench.cancellation(0).0).1["status"], json!("cancelled"));
    bench.pass(60);
    assert_eq!(bench.items(&bench.own("/orders"))[0]["status"], json!("cancelled"));
}

#[test]
fn a_purchase_comes_back_at_its_time_or_after_some_looks() {
    let mut bench = Bench::with([
        Purchase::new(Kind::Reservation).comes_back(ComesBack::After(seconds(20))),
        Purchase::new(Kind::NewCommerce).comes_back(ComesBack::AfterLooks(2)),
    ]);
    bench.cancel_order(0);
    bench.set_status(1, 0, "deleted");
    bench.pass(5);
    let subscriptions = bench.own("/subscriptions");
    assert_eq!(bench.items(&subscriptions)[0]["status"], json!("deleted"));
    assert!(!bench.purchases()[1].active);
    assert_eq!(bench.items(&subscriptions)[0]["status"], json!("deleted"), "the second look");
    assert_eq!(bench.items(&subscriptions)[0]["status"], json!("active"));
    bench.pass(19);
    assert!(!bench.purchases()[0].active);
    bench.pass(1);
    assert!(bench.purchases()[0].active);
    assert_eq!(bench.cancel_order(0).0, 200, "and can be cancelled again");
    bench.pass(300);
    assert!(!bench.purchases()[0].active, "once only");
    assert!(bench.breaches().is_empty(), "a write on what came back is right");
}

#[test]
fn an_azure_subscription_can_be_revived() {
    let plan = Purchase::new(Kind::AzurePlan).azure_comes_back(ComesBack::After(seconds(10)));
    let mut bench = Bench::with([plan]);
    let azure = bench.purchases()[0].subscriptions[0].azure[0].id;
    let one = format!("{}/azureEntitlements/{azure}", bench.subscription_path(0, 0));
    let reason = json!({ "cancellationReason": "compromise" });
    for expected in ["active", "inactive"] {
        assert_eq!(bench.write("POST", &format!("{one}/cancel"), Some(&reason)).0, 200);
        bench.pass(5);
        assert_eq!(bench.get(&one).1["status"], json!("inactive"));
        bench.pass(10);
        assert_eq!(bench.get(&one).1["status"], json!(expected));
    }
    assert!(bench.breaches().is_empty());
}

#[test]
fn a_resource_read_in_another_case_may_be_sent_back() {
    let mut bench = Bench::with([Purchase::new(Kind::NewCommerce)]);
    let path = bench.subscription_path(0, 0);
    bench.simulator.add_rule(Rule::new(When::First(1), Effect::PascalCase));
    let (_, mut resource) = bench.get(&path);
    assert_eq!(resource["Status"], json!("active"));
    resource["Status"] = json!("deleted");
    let (status, answer) = bench.write("PATCH", &path, Some(&resource));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_purchase_appears_late() {
    let mut bench = Bench::with([
        Purchase::new(Kind::Reservation).appears(Appears::After(seconds(30))),
        Purchase::new(Kind::NewCommerce).appears(Appears::AfterPolls(2)),
    ]);
    let orders = bench.own("/orders");
    assert_eq!(bench.items(&orders).len(), 0);
    assert_eq!(bench.items(&orders).len(), 0, "the second poll");
    assert_eq!(bench.items(&orders).len(), 1);
    assert_eq!(bench.items(&bench.own("/subscriptions")).len(), 1);
    assert_eq!(bench.get(&bench.cancellation(0).0).0, 404);
    bench.pass(30);
    assert_eq!(bench.items(&orders).len(), 2);
}

#[test]
fn entitlements_may_be_closed_to_app_only() {
    let options = Options { entitlements_app_only: false, ..plain() };
    let mut bench = Bench::new(options, [customer([])]);
    let (status, body) = bench.get(&bench.own("/entitlements"));
    assert_eq!((status, code(&body)), (403, 900329));
    bench.look();
    assert_eq!(bench.delete().0, 204);
    assert!(bench.breaches().is_empty(), "what is refused need not be read");
}
