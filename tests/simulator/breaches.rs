//! Every breach the journal knows: once committed, and once almost.

use std::time::Duration;

use serde_json::{Value, json};
use teardownd::simulator::{
    Appears, BreachKind, ComesBack, Effect, Kind, Options, Purchase, Rule, Template, When,
};
use uuid::Uuid;

use crate::support::*;

fn reservation() -> [Purchase; 1] {
    [Purchase::new(Kind::Reservation)]
}

/// A bench on which one rule strikes the first PATCH of an order.
fn struck(effect: Effect) -> (Bench, String, Value) {
    let bench = Bench::with(reservation());
    bench.simulator.add_rule(Rule::new(When::First(1), effect).method("PATCH").on(Template::Order));
    let (path, body) = bench.cancellation(0);
    (bench, path, body)
}

#[test]
fn invariant_4_a_second_accepted_write_is_redundant() {
    let mut bench = Bench::with(reservation());
    bench.cancel_order(0);
    bench.cancel_order(0);
    assert_eq!(bench.breaches(), [BreachKind::RedundantWrite], "while it is under way");
    bench.pass(60);
    bench.cancel_order(0);
    assert_eq!(bench.breaches(), [BreachKind::RedundantWrite; 2], "and when it is done");
}

#[test]
fn a_write_on_the_other_name_of_a_purchase_is_redundant() {
    let mut bench = Bench::with([Purchase::new(Kind::SoftwareSubscription)]);
    bench.cancel_order(0);
    bench.set_status(0, 0, "deleted");
    assert_eq!(bench.breaches(), [BreachKind::RedundantWrite]);
}

#[test]
fn an_order_by_its_short_id_is_the_same_order() {
    let mut bench = Bench::with(reservation());
    bench.cancel_order(0);
    let short = bench.purchases()[0].alternate_id.clone().unwrap();
    let body = json!({ "id": short, "status": "cancelled" });
    let path = bench.own(&format!("/orders/{short}"));
    bench.write("PATCH", &path, Some(&body));
    assert_eq!(bench.breaches(), [BreachKind::RedundantWrite]);
}

#[test]
fn a_write_on_what_came_back_is_not_redundant() {
    let back = Purchase::new(Kind::Reservation).comes_back(ComesBack::After(seconds(1)));
    let mut bench = Bench::with([back]);
    bench.cancel_order(0);
    bench.pass(6);
    assert_eq!(bench.cancel_order(0).0, 200);
    assert!(bench.breaches().is_empty());
}

#[test]
fn invariant_4_a_write_accepted_in_vain_may_be_reissued_after_a_while() {
    let (mut bench, path, body) = struck(Effect::InVain);
    assert_eq!(bench.write("PATCH", &path, Some(&body)).0, 200);
    bench.pass(20 * 60 - 1);
    assert!(bench.purchases()[0].active);
    let early = bench.fresh_id();
    bench.send("PATCH", &path, early, Some(&body));
    assert_eq!(bench.breaches(), [BreachKind::RedundantWrite]);

    let (mut bench, path, body) = struck(Effect::InVain);
    bench.write("PATCH", &path, Some(&body));
    bench.pass(20 * 60);
    bench.write("PATCH", &path, Some(&body));
    bench.pass(5);
    assert!(!bench.purchases()[0].active);
    assert!(bench.breaches().is_empty());
}

#[test]
fn invariant_4_silence_and_its_like_leave_a_write_unsettled() {
    let unsettling = [
        Effect::DropBefore,
        Effect::DropAfter,
        Effect::CutOff,
        Effect::TruncatedJson,
        Effect::bad_gateway(),
        Effect::bad_gateway().though_applied(),
        Effect::unavailable(),
        Effect::fault(401, 400, "denied"),
        Effect::fault(408, 1, "timeout"),
        Effect::Answer {
            status: 404,
            headers: vec![],
            body: "{\"statusCode\":404}".into(),
            applied: false,
        },
    ];
    for effect in unsettling {
        let (mut bench, path, body) = struck(effect.clone());
        let id = bench.fresh_id();
        bench.send("PATCH", &path, id, Some(&body));
        bench.send("PATCH", &path, id, Some(&body));
        assert!(bench.breaches().is_empty(), "the same id again: {effect:?}");

        let (mut bench, path, body) = struck(effect.clone());
        let (first, second) = (bench.fresh_id(), bench.fresh_id());
        bench.send("PATCH", &path, first, Some(&body));
        bench.send("PATCH", &path, second, Some(&body));
        assert_eq!(bench.breaches(), [BreachKind::NewIdOnUnsettled], "{effect:?}");
    }
}

#[test]
fn a_throttled_write_is_unsettled_too() {
    let (mut bench, path, body) = struck(Effect::Throttle(seconds(3)));
    let (first, second) = (bench.fresh_id(), bench.fresh_id());
    bench.send("PATCH", &path, first, Some(&body));
    bench.pass(3);
    bench.send("PATCH", &path, second, Some(&body));
    assert_eq!(bench.breaches(), [BreachKind::NewIdOnUnsettled]);
}

#[test]
fn a_structured_refusal_settles() {
    let (mut bench, path, body) = struck(Effect::fault(409, 900278, "pending"));
    let (first, second) = (bench.fresh_id(), bench.fresh_id());
    bench.send("PATCH", &path, first, Some(&body));
    bench.send("PATCH", &path, second, Some(&body));
    assert!(bench.breaches().is_empty());
}

#[test]
fn invariant_4_a_read_that_shows_the_goal_settles() {
    let back = Purchase::new(Kind::Reservation).comes_back(ComesBack::After(seconds(60)));
    for look in [true, false] {
        let mut bench = Bench::with([back.clone()]);
        bench.simulator.add_rule(Rule::new(When::First(1), Effect::DropAfter).method("PATCH"));
        let (path, body) = bench.cancellation(0);
        let (first, second) = (bench.fresh_id(), bench.fresh_id());
        bench.send("PATCH", &path, first, Some(&body));
        bench.pass(5);
        if look {
            assert_eq!(bench.get(&path).1["status"], json!("cancelled"));
        }
        bench.pass(60);
        bench.send("PATCH", &path, second, Some(&body));
        assert_eq!(bench.breaches().is_empty(), look);
    }
}

#[test]
fn an_answer_that_nobody_waited_for_leaves_the_write_unsettled() {
    let mut bench = Bench::with(reservation());
    let (path, body) = bench.cancellation(0);
    let (first, second) = (bench.fresh_id(), bench.fresh_id());
    let reply = bench.send("PATCH", &path, first, Some(&body));
    bench.simulator.undelivered(reply.call);
    assert!(!bench.simulator.journal().entries().last().unwrap().delivered);
    bench.send("PATCH", &path, second, Some(&body));
    assert_eq!(bench.breaches(), [BreachKind::NewIdOnUnsettled]);
}

#[test]
fn invariant_4_an_id_stands_for_one_request() {
    let mut bench = Bench::with([Purchase::new(Kind::MixedOrder)]);
    let (path, body) = bench.cancellation(0);
    let mut other = body.clone();
    other["lineItems"] = json!([{ "lineItemNumber": 0 }]);
    let id = bench.fresh_id();
    bench.send("PATCH", &path, id, Some(&body));
    let (status, _) = read(&bench.send("PATCH", &path, id, Some(&other)));
    assert_eq!(status, 400);
    assert_eq!(bench.breaches(), [BreachKind::ReusedId]);
}

#[test]
fn two_writes_at_once_on_one_resource() {
    let latency = (seconds(1), seconds(1));
    let mut bench = Bench::new(Options { latency, ..plain() }, [customer(reservation())]);
    bench.simulator.add_rule(
        Rule::new(When::First(1), Effect::fault(409, 800060, "in progress")).method("PATCH"),
    );
    let (path, body) = bench.cancellation(0);
    let ids: [Uuid; 3] = std::array::from_fn(|_| bench.fresh_id());
    bench.send("PATCH", &path, ids[0], Some(&body));
    bench.send("PATCH", &path, ids[0], Some(&body));
    assert!(bench.breaches().is_empty(), "a repetition is none");
    bench.send("PATCH", &path, ids[1], Some(&body));
    assert!(bench.breaches().contains(&BreachKind::ConcurrentWrites));
    let before = bench.simulator.journal().count(BreachKind::ConcurrentWrites);
    bench.pass(1);
    bench.send("PATCH", &path, ids[2], Some(&body));
    assert_eq!(bench.simulator.journal().count(BreachKind::ConcurrentWrites), before);
}

#[test]
fn invariant_7_delete_while_something_known_is_active() {
    let mut bench = Bench::with(reservation());
    bench.look();
    assert_eq!(bench.delete().0, 400);
    assert_eq!(bench.breaches(), [BreachKind::DeleteWhileActive]);
}

#[test]
fn invariant_7_delete_without_a_look_is_two_breaches() {
    let mut bench = Bench::with(reservation());
    bench.delete();
    let both = [BreachKind::DeleteWithoutInventory, BreachKind::DeleteWhileActive];
    assert_eq!(bench.breaches(), both);
}

#[test]
fn delete_while_something_unknowable_is_active_is_no_breach() {
    let unknowable = [
        Purchase::new(Kind::Reservation).hidden(),
        Purchase::new(Kind::PerpetualSoftware).appears(Appears::AfterPolls(1)),
    ];
    for purchase in unknowable {
        let mut bench = Bench::with([purchase]);
        bench.look();
        assert_eq!(bench.delete().0, 400);
        assert!(bench.breaches().is_empty());
        bench.look();
        let path = bench.cancellation(0).0;
        bench.get(&path);
        bench.delete();
        assert_eq!(bench.breaches(), [BreachKind::DeleteWhileActive], "now it has been shown");
    }
}

#[test]
fn invariant_7_delete_wants_every_list_fresh() {
    let lists = ["/orders", "/subscriptions", "/entitlements", ""];
    let look_at = |bench: &mut Bench, list: &str| match list {
        "" => drop(bench.get("customers")),
        list => drop(bench.get(&bench.own(list))),
    };
    for missing in lists {
        let mut bench = Bench::with([]);
        lists.iter().filter(|list| **list != missing).for_each(|list| look_at(&mut bench, list));
        bench.delete();
        assert_eq!(bench.breaches(), [BreachKind::DeleteWithoutInventory], "without {missing:?}");
    }
    // 10 s, and 2 s for the latency between.
    for (age, expected) in [(12, 0), (13, 1)] {
        let mut bench = Bench::with([]);
        bench.look();
        bench.pass(age);
        bench.delete();
        assert_eq!(bench.breaches().len(), expected, "{age} s");
    }
}

#[test]
fn invariant_6_damaged_and_unfinished_lists_are_no_inventory() {
    let damage =
        [Effect::TruncatedJson, Effect::NullItems, Effect::MissingItems, Effect::unavailable()];
    for effect in damage {
        let mut bench = Bench::with([]);
        bench.simulator.add_rule(Rule::new(When::Always, effect).on(Template::Orders));
        for path in ["/orders", "/subscriptions", "/entitlements"] {
            let path = bench.own(path);
            let id = bench.fresh_id();
            bench.send("GET", &path, id, None);
        }
        bench.get("customers");
        bench.delete();
        assert_eq!(bench.breaches(), [BreachKind::DeleteWithoutInventory]);
    }
    let mut bench = Bench::new(
        Options { page_size: Some(1), ..plain() },
        [customer([Purchase::new(Kind::Reservation), Purchase::new(Kind::Reservation)])],
    );
    bench.cancel_order(0);
    bench.cancel_order(1);
    bench.pass(5);
    bench.look();
    bench.delete();
    assert_eq!(bench.breaches(), [BreachKind::DeleteWithoutInventory], "only the first page");
}

#[test]
fn invariant_6_a_filtered_list_is_no_inventory() {
    for filtered in ["/subscriptions?order_id=1", "/entitlements?entitlementType=software"] {
        let mut bench = Bench::with([]);
        let list = filtered.split('?').next().unwrap();
        for path in ["/orders", "/subscriptions", "/entitlements"] {
            let path = bench.own(if path == list { filtered } else { path });
            assert_eq!(bench.get(&path).0, 200);
        }
        bench.get("customers");
        bench.delete();
        assert_eq!(bench.breaches(), [BreachKind::DeleteWithoutInventory], "{filtered}");
    }
}

#[test]
fn repeating_a_delete_under_its_id_needs_no_new_look() {
    let mut bench = Bench::with([]);
    bench.look();
    bench.simulator.add_rule(Rule::new(When::First(1), Effect::DropBefore).method("DELETE"));
    let (path, id) = (bench.own(""), bench.fresh_id());
    bench.send("DELETE", &path, id, None);
    bench.pass(60);
    assert_eq!(read(&bench.send("DELETE", &path, id, None)).0, 204);
    assert!(bench.breaches().is_empty());
}

#[test]
fn a_second_delete_is_redundant() {
    let mut bench = Bench::with([]);
    bench.look();
    bench.delete();
    bench.delete();
    assert_eq!(bench.breaches(), [BreachKind::RedundantWrite]);
}

#[test]
fn invariant_9_a_retry_after_closes_the_whole_account() {
    let mut bench = Bench::with([]);
    bench
        .simulator
        .add_rule(Rule::new(When::First(1), Effect::Throttle(seconds(5))).on(Template::Orders));
    let orders = bench.own("/orders");
    assert_eq!(bench.get(&orders).0, 429);
    bench.pass(1);
    bench.get("customers");
    assert!(bench.breaches().is_empty(), "it may have been on the wire");
    bench.clock.pass(Duration::from_millis(1));
    bench.get("customers");
    assert_eq!(bench.breaches(), [BreachKind::InsideRetryAfter]);
    bench.clock.pass(Duration::from_millis(3948));
    bench.get("customers");
    assert_eq!(bench.breaches().len(), 2, "just before the end");
    bench.clock.pass(Duration::from_millis(1));
    bench.get("customers");
    assert_eq!(bench.breaches().len(), 2, "within the slack of two clocks");
}

#[test]
fn invariant_9_the_budget_counts_any_60_seconds() {
    let options = Options { limit_per_minute: None, budget_per_minute: Some(3), ..plain() };
    let mut bench = Bench::new(options, [customer([])]);
    for _ in 0..3 {
        bench.get("customers");
        bench.pass(10);
    }
    let orders = bench.own("/orders");
    assert_eq!(bench.get(&orders).0, 200, "another class");
    assert!(bench.breaches().is_empty());
    bench.get("customers");
    assert_eq!(bench.breaches(), [BreachKind::OverBudget]);
    bench.pass(40);
    bench.get("customers");
    assert_eq!(bench.breaches().len(), 1, "two have left the window");
}

#[test]
fn invariant_1_no_write_reaches_a_protected_customer() {
    let mut bench = Bench::with(reservation());
    bench.simulator.protect(CUSTOMER);
    bench.look();
    assert!(bench.breaches().is_empty(), "reading is allowed");
    bench.cancel_order(0);
    assert_eq!(bench.breaches(), [BreachKind::ProtectedCustomer]);

    let mut sandbox = sandbox();
    sandbox.add(customer(reservation())).unwrap().protect(CUSTOMER);
    let mut bench = Bench::of(plain(), sandbox);
    bench.cancel_order(0);
    assert_eq!(bench.breaches(), [BreachKind::ProtectedCustomer]);
}

#[test]
fn invariant_1_a_foreign_token_is_never_used() {
    let mut bench = Bench::with([]);
    bench.simulator.add_rule(Rule::new(When::Always, Effect::ForeignTid).on(Template::TokenV1));
    bench.sign_in();
    bench.get("customers");
    assert_eq!(bench.breaches(), [BreachKind::ForeignToken]);
}

#[test]
fn invariant_2_a_relationship_is_never_patched() {
    let mut bench = Bench::with([]);
    let path = bench.own("");
    let body = json!({ "relationshipToPartner": "none" });
    assert_eq!(bench.write("PATCH", &path, Some(&body)).0, 404);
    assert_eq!(bench.breaches(), [BreachKind::UnknownWrite]);
}

#[test]
fn writes_carry_guids_and_every_call_says_what_it_accepts() {
    let spoil: [(&str, Option<&str>); 5] = [
        ("MS-RequestId", None),
        ("MS-RequestId", Some("17")),
        ("MS-CorrelationId", None),
        ("Content-Type", Some("text/plain")),
        ("Accept", None),
    ];
    for (name, value) in spoil {
        let mut bench = Bench::with(reservation());
        let (path, body) = bench.cancellation(0);
        let id = bench.fresh_id();
        let mut call = bench.call("PATCH", &path, id, Some(&body));
        call.headers.retain(|(own, _)| own != name);
        call.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        bench.simulator.handle(&call);
        assert_eq!(bench.breaches(), [BreachKind::BadHeader], "{name}: {value:?}");
    }
}

#[test]
fn the_journal_counts_calls() {
    let mut bench = Bench::with(reservation());
    bench.look();
    bench.cancel_order(0);
    let journal = bench.simulator.journal();
    let calls = journal.calls_by_template();
    assert_eq!(calls[&("GET".to_owned(), Template::Orders)], 1);
    assert_eq!(calls[&("PATCH".to_owned(), Template::Order)], 1);
    assert_eq!(calls[&("POST".to_owned(), Template::TokenV1)], 1);
    assert_eq!(journal.calls_of(CUSTOMER), 4);
    assert_eq!(journal.entries().len(), 6);
    let order = &bench.purchases()[0].order_id;
    assert_eq!(journal.applied()[&format!("PATCH customers/{CUSTOMER}/orders/{order}")], 1);
    assert_eq!(bench.simulator.snapshot().calls, 6);
}
