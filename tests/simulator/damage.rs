//! Throttling and faults by script.

use serde_json::json;
use teardownd::simulator::{
    Customer, Delivery, Effect, Kind, Options, Purchase, RetryAfterForm, Rule, Template, When,
};
use uuid::Uuid;

use crate::support::*;

fn rule(when: When, effect: Effect) -> Rule {
    Rule::new(when, effect).on(Template::Customers)
}

/// The statuses of this many readings of the customer list under a rule; 0 for none.
fn statuses(rule: Rule, count: usize) -> Vec<u16> {
    let mut bench = Bench::with([]);
    bench.simulator.add_rule(rule);
    (0..count)
        .map(|_| {
            let id = bench.fresh_id();
            bench.send("GET", "customers", id, None).answer().map_or(0, |answer| answer.status)
        })
        .collect()
}

#[test]
fn rules_strike_when_they_say() {
    let down = Effect::unavailable;
    assert_eq!(statuses(rule(When::Always, down()), 3), [503, 503, 503]);
    assert_eq!(statuses(rule(When::Nth(2), down()), 3), [200, 503, 200]);
    assert_eq!(statuses(rule(When::First(2), down()), 3), [503, 503, 200]);
    assert_eq!(statuses(rule(When::Every(2), down()), 5), [200, 503, 200, 503, 200]);
    assert_eq!(statuses(rule(When::Chance(0.0), down()), 2), [200, 200]);
    assert_eq!(statuses(rule(When::Chance(1.0), down()), 2), [503, 503]);
    let some = statuses(rule(When::Chance(0.5), down()), 100);
    assert!(some.contains(&200) && some.contains(&503));
    assert_eq!(some, statuses(rule(When::Chance(0.5), down()), 100), "from the seed");
    let later = rule(When::Between(seconds(10), seconds(20)), down());
    let mut bench = Bench::with([]);
    bench.simulator.add_rule(later);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(bench.get("customers").0);
        bench.pass(10);
    }
    assert_eq!(seen, [200, 503, 200]);
}

#[test]
fn rules_strike_only_what_they_match() {
    let mut bench = Bench::new(plain(), [customer([]), Customer::new(OTHER, "two.example")]);
    bench.simulator.add_rule(
        Rule::new(When::Always, Effect::unavailable())
            .method("GET")
            .on(Template::Orders)
            .customer(OTHER),
    );
    bench
        .simulator
        .add_rule(Rule::new(When::Always, Effect::unavailable()).path_contains("subscriptions"));
    assert_eq!(bench.get(&bench.own("/orders")).0, 200);
    assert_eq!(bench.get(&bench.own("/subscriptions")).0, 503);
    assert_eq!(bench.get(&format!("customers/{OTHER}/orders")).0, 503);
    assert_eq!(bench.get(&format!("customers/{OTHER}")).0, 200);
    bench.simulator.clear_rules();
    assert_eq!(bench.get(&bench.own("/subscriptions")).0, 200);
}

#[test]
fn a_drop_before_applies_nothing_and_a_drop_after_applies() {
    for (effect, active) in [(Effect::DropBefore, true), (Effect::DropAfter, false)] {
        let mut bench = Bench::with([Purchase::new(Kind::Reservation)]);
        bench.simulator.add_rule(Rule::new(When::First(1), effect).method("PATCH"));
        let (path, body) = bench.cancellation(0);
        let id = bench.fresh_id();
        let reply = bench.send("PATCH", &path, id, Some(&body));
        assert_eq!(reply.delivery, Delivery::Dropped);
        bench.pass(5);
        assert_eq!(bench.purchases()[0].active, active);
    }
}

#[test]
fn a_scripted_answer_may_hide_that_the_write_was_applied() {
    for (effect, active) in
        [(Effect::bad_gateway(), true), (Effect::bad_gateway().though_applied(), false)]
    {
        let mut bench = Bench::with([Purchase::new(Kind::Reservation)]);
        bench.simulator.add_rule(Rule::new(When::First(1), effect).method("PATCH"));
        let (path, body) = bench.cancellation(0);
        let id = bench.fresh_id();
        let reply = bench.send("PATCH", &path, id, Some(&body));
        let answer = reply.answer().unwrap();
        assert_eq!(answer.status, 502);
        assert!(answer.body.starts_with(b"<html>"));
        bench.pass(5);
        assert_eq!(bench.purchases()[0].active, active);
    }
}

#[test]
fn a_delayed_answer_is_late() {
    let mut bench = Bench::with([]);
    bench.simulator.add_rule(rule(When::First(1), Effect::Delay(seconds(9))));
    let id = bench.fresh_id();
    assert_eq!(bench.send("GET", "customers", id, None).delay, seconds(9));
    assert_eq!(bench.send("GET", "customers", id, None).delay, seconds(0));
}

#[test]
fn lists_are_damaged_in_every_way() {
    let mut bench = Bench::with([]);
    for effect in [
        Effect::NullItems,
        Effect::MissingItems,
        Effect::PascalCase,
        Effect::CodeInSuccess(400072),
        Effect::TruncatedJson,
        Effect::CutOff,
    ] {
        bench.simulator.add_rule(rule(When::Always, effect.clone()));
        let id = bench.fresh_id();
        let reply = bench.send("GET", "customers", id, None);
        bench.simulator.clear_rules();
        match effect {
            Effect::NullItems => {
                let (_, body) = read(&reply);
                assert!(body.get("items").unwrap().is_null());
            }
            Effect::MissingItems => assert!(read(&reply).1.get("items").is_none()),
            Effect::PascalCase => {
                assert_eq!(
                    read(&reply).1["Items"][0]["CompanyProfile"]["TenantId"],
                    json!(CUSTOMER)
                );
            }
            Effect::CodeInSuccess(_) => {
                let (status, body) = read(&reply);
                assert_eq!((status, code(&body)), (200, 400072));
            }
            Effect::TruncatedJson => {
                let body = &reply.answer().unwrap().body;
                assert!(serde_json::from_slice::<serde_json::Value>(&body[3..]).is_err());
            }
            _ => assert!(matches!(reply.delivery, Delivery::CutOff(_))),
        }
    }
}

#[test]
fn an_answer_without_a_body_is_dropped_rather_than_cut_off() {
    let mut bench = Bench::with([]);
    bench.look();
    bench.simulator.add_rule(Rule::new(When::Always, Effect::CutOff).method("DELETE"));
    let (path, id) = (bench.own(""), bench.fresh_id());
    assert_eq!(bench.send("DELETE", &path, id, None).delivery, Delivery::Dropped);
}

#[test]
fn a_duplicate_page_leads_back_to_itself() {
    let customers = (1..=4).map(|n| Customer::new(Uuid::from_u128(n), "x.example"));
    let mut bench = Bench::new(plain(), customers);
    bench.simulator.add_rule(rule(When::Nth(2), Effect::DuplicatePage));
    let id = bench.fresh_id();
    let mut call = bench.call("GET", "customers?size=2", id, None);
    let (_, first) = read(&bench.simulator.handle(&call));
    let token = first["links"]["next"]["headers"][0]["value"].clone();
    let header = ("MS-ContinuationToken".to_owned(), token.as_str().unwrap().to_owned());
    call.headers.push(header);
    let (_, second) = read(&bench.simulator.handle(&call));
    assert_eq!(second["items"], first["items"]);
    assert_eq!(second["links"]["next"]["headers"][0]["value"], token);
}

#[test]
fn throttling_counts_each_class_and_the_refused_calls_too() {
    let options = Options { limit_per_minute: Some(2), ..plain() };
    let mut bench = Bench::new(options, [customer([])]);
    assert_eq!(bench.get("customers").0, 200);
    bench.pass(3);
    assert_eq!(bench.get("customers").0, 200);
    bench.pass(3);
    let id = bench.fresh_id();
    let reply = bench.send("GET", "customers", id, None);
    let answer = reply.answer().unwrap();
    assert_eq!(answer.status, 429);
    let wait = answer.headers.iter().find(|(name, _)| name == "retry-after").unwrap();
    assert_eq!(wait.1, "57", "until the second call leaves the window");
    let message = "Rate limit is exceeded. Try again in 57 seconds.";
    assert_eq!(json_of(answer), json!({ "statusCode": 429, "message": message }));
    assert_eq!(bench.get(&bench.own("/orders")).0, 200, "another class");
    assert_eq!(bench.simulator.journal().throttled(), 1);
    bench.pass(55);
    assert_eq!(bench.get("customers").0, 429, "one and the refused one are still in the window");
    bench.pass(61);
    assert_eq!(bench.get("customers").0, 200);
}

#[test]
fn a_retry_after_may_be_a_date() {
    let options = Options { retry_after: RetryAfterForm::Date, ..plain() };
    let mut bench = Bench::new(options, [customer([])]);
    bench.simulator.add_rule(rule(When::Always, Effect::Throttle(seconds(30))));
    let id = bench.fresh_id();
    let reply = bench.send("GET", "customers", id, None);
    let header = |name: &str| {
        let headers = &reply.answer().unwrap().headers;
        headers.iter().find(|(own, _)| own == name).unwrap().1.clone()
    };
    assert_eq!(header("date"), "Sun, 22 Nov 2026 10:00:00 GMT");
    assert_eq!(header("retry-after"), "Sun, 22 Nov 2026 10:00:30 GMT");
}
