//! Commands beside the running daemon: what they say, how they exit, and that the daemon heeds them.

use serde_json::{Value, json};
use teardownd::simulator::{Customer, Effect, Kind, Purchase, Rule, Sandbox, Template, When};
use uuid::Uuid;

use crate::gate::{HELD, until};
use crate::stage::{PROTECTED, Stage, brisk};

/// A sandbox of customers with one licence each.
fn licensed(customers: u128) -> Sandbox {
    let mut sandbox = Stage::sandbox();
    for number in 1..=customers {
        let id = Uuid::from_u128(0xaaaaaaaa_0000_4000_8000_000000000000 + number);
        let customer = Customer::new(id, format!("c{number}.onmicrosoft.com"));
        sandbox.add(customer.with(Purchase::new(Kind::NewCommerce))).unwrap();
    }
    sandbox
}

async fn stage(customers: u128) -> Stage {
    Stage::with(licensed(customers), brisk()).await
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The message of a failure, printed as JSON on standard error after any notices.
fn failure(err: &str) -> Value {
    let last = err.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {err}"));
    value["error"].clone()
}

/// Keeps a tenant's pass in flight: its list of orders is not answered before the gate opens.
async fn in_flight(stage: &Stage, tenant: &str) {
    let customer = tenant.parse().unwrap();
    let orders = Rule::new(When::First(1), Effect::Delay(HELD)).on(Template::Orders);
    stage.simulator.add_rule(orders.customer(customer));
    stage.done(&["enqueue", tenant]).await;
    until("the tenant is being read", async || {
        let journal = stage.simulator.journal();
        let orders = |entry: &&teardownd::simulator::Entry| entry.template == Template::Orders;
        let read = journal.entries().iter().filter(orders);
        read.into_iter().any(|entry| entry.tenant == Some(customer)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enqueue_waits_and_says_what_became_of_each_tenant() {
    let stage = stage(2).await;
    let daemon = stage.ready().await;
    let [first, second] = [0, 1].map(|index| stage.tenants[index].to_string());

    let done =
        stage.done(&["enqueue", &first, "--wait", "--batch", "b", "--reason", "quota"]).await;
    assert_eq!(keys(&done), ["results", "teardowns"]);
    assert_eq!(
        done["results"],
        json!([{"tenant_id": first, "id": 1, "outcome": "queued", "guard": null, "line": null}])
    );
    let row = &done["teardowns"][0];
    assert_eq!(
        keys(row),
        [
            "id",
            "account",
            "tenant_id",
            "domain",
            "batch",
            "state",
            "status",
            "reason",
            "blocked_by",
            "hold",
            "attempts",
            "since",
            "next_attempt_at",
            "deadline_at",
            "requested_by",
            "created_at",
            "updated_at",
            "finished_at"
        ]
    );
    assert_eq!((&row["state"], &row["status"]), (&json!("deleted"), &json!("done")));
    assert_eq!((&row["domain"], &row["batch"]), (&json!("c1.onmicrosoft.com"), &json!("b")));
    let ok = json!([{"account": "default", "state": "ok", "reason": null, "by": null, "since": null,
        "next_check": null}]);
    assert_eq!(stage.done(&["list"]).await, json!({"teardowns": [row], "accounts": ok}));
    let moving = stage.done(&["list", "--status", "moving,waiting"]).await;
    assert_eq!(moving, json!({"teardowns": [], "accounts": ok}));

    // What was deleted stays deleted, also if it is queued again: what follows is the proof alone.
    let again = stage.done(&["enqueue", &first.to_uppercase(), "--wait"]).await;
    assert_eq!(again["results"][0]["outcome"], "already_deleted");
    let again = stage.done(&["enqueue", &first, "--again", "--wait"]).await;
    assert_eq!(again["results"][0]["outcome"], "queued");
    assert_eq!(
        (&again["teardowns"][0]["id"], &again["teardowns"][0]["state"]),
        (&2.into(), &"deleted".into())
    );
    let deletes = stage.writes_since(0).into_iter().filter(|write| write.method == "DELETE");
    assert_eq!(deletes.count(), 1, "invariant 7: no second DELETE");

    // In a file: lines are named, what is named twice is queued once.
    let text = format!("\u{feff}tenant;batch\n{second};c\n\n{}\n", second.to_uppercase());
    std::fs::write(stage.path("tenants.csv"), text).unwrap();
    let filed = stage.done(&["enqueue", "--file", "tenants.csv", "--wait"]).await;
    let told: Vec<_> =
        filed["results"].as_array().unwrap().iter().map(|r| (&r["line"], &r["outcome"])).collect();
    assert_eq!(told, [(&json!(2), &json!("queued")), (&json!(4), &json!("already_active"))]);
    assert_eq!(filed["teardowns"].as_array().unwrap().len(), 1);
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_3_a_pause_stops_what_is_in_flight_before_its_first_write() {
    let stage = stage(2).await;
    let daemon = stage.ready().await;
    let [first, second] = [0, 1].map(|index| stage.tenants[index].to_string());
    in_flight(&stage, &first).await;
    let paused = stage.done(&["pause", "--reason", "audit", "--actor", "anna"]).await;
    assert_eq!(keys(&paused), ["verb", "account", "applied", "until", "results"]);
    assert_eq!((&paused["verb"], &paused["applied"]), (&json!("pause"), &json!(true)));
    stage.done(&["enqueue", &second]).await;
    stage.gate.open();
    stage.looked_twice().await;
    for tenant in [&first, &second] {
        let row = until("the pause is in effect", async || {
            let row = stage.row(tenant).await;
            (row["status"] == "waiting").then_some(row)
        })
        .await;
        assert_eq!(row["blocked_by"], "paused", "{row}");
    }
    let why = stage.run(&["why", &first]).await;
    assert!(why.out.contains("audit") && why.out.contains("teardownd resume"), "{why:?}");
    // While it is paused, a wait that has a limit ends by that.
    let ended = stage.run(&["wait", &first, "--timeout", "10ms", "--output", "json"]).await;
    assert_eq!((ended.code, &failure(&ended.err)["code"]), (6, &json!(6)), "{ended:?}");
    let ended = stage.run(&["enqueue", &second, "--wait", "--timeout", "10ms"]).await;
    assert_eq!(ended.code, 6, "{ended:?}");
    assert_eq!(stage.writes_since(0).len(), 0);

    stage.done(&["resume"]).await;
    stage.done(&["wait", "--all"]).await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_3_a_hold_stops_one_tenant_until_it_is_released() {
    let stage = stage(2).await;
    let daemon = stage.ready().await;
    let [held, other] = [0, 1].map(|index| stage.tenants[index].to_string());
    in_flight(&stage, &held).await;
    let asked = stage.done(&["hold", &held, "--reason", "ask Ann"]).await;
    assert_eq!(keys(&asked), ["matched", "applied", "results"]);
    assert_eq!((&asked["matched"], &asked["applied"]), (&json!(1), &json!(1)));
    assert_eq!(keys(&asked["results"][0]), ["id", "account", "tenant_id", "applied", "text"]);
    stage.gate.open();
    stage.done(&["enqueue", &other, "--wait"]).await;
    stage.looked_twice().await;
    let ended = stage.run(&["wait", &held, "--output", "json"]).await;
    assert_eq!((ended.code, &failure(&ended.err)["code"]), (7, &json!(7)), "{ended:?}");
    let row = stage.row(&held).await;
    assert_eq!((&row["status"], &row["hold"]), (&json!("held"), &json!("ask Ann")));
    assert_eq!(row["blocked_by"], "operator");
    let writes = stage.writes_since(0).into_iter();
    assert!(writes.into_iter().all(|write| write.tenant.unwrap().to_string() == other));

    // Nothing to do a second time, which is said and told by the exit code.
    let twice = stage.json(1, &["hold", &held]).await;
    assert_eq!((&twice["matched"], &twice["applied"]), (&json!(1), &json!(0)));
    stage.done(&["release", "--state", "queued,entitlements_fetched,orders_cancelling"]).await;
    stage.done(&["wait", &held]).await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_ends_a_teardown_unless_its_delete_is_out() {
    let stage = stage(2).await;
    let daemon = stage.ready().await;
    let [aborted, deleted] = [0, 1].map(|index| stage.tenants[index].to_string());
    in_flight(&stage, &aborted).await;
    stage.done(&["abort", &aborted, "--reason", "wrong one"]).await;
    stage.gate.open();
    stage.looked_twice().await;
    let row = stage.row(&aborted).await;
    assert_eq!((&row["state"], &row["status"]), (&json!("aborted"), &json!("done")), "{row}");
    let ended = stage.run(&["wait", &aborted]).await;
    assert_eq!(ended.code, 1, "it ended without a deletion: {ended:?}");
    assert_eq!(stage.json(1, &["abort", &aborted]).await["applied"], 0);
    assert_eq!(stage.writes_since(0).len(), 0, "nothing of it was touched");

    // A DELETE that is out can no longer be taken back (invariant 7).
    stage.gate.shut();
    let rule = Rule::new(When::Always, Effect::Delay(HELD)).method("DELETE");
    stage.simulator.add_rule(rule);
    stage.done(&["enqueue", &deleted]).await;
    until("a DELETE arrives", async || {
        let writes = stage.writes_since(0);
        writes.iter().any(|write| write.method == "DELETE").then_some(())
    })
    .await;
    let refused = stage.json(1, &["abort", &deleted]).await;
    assert_eq!(refused["applied"], 0);
    assert!(refused["results"][0]["text"].as_str().unwrap().contains("DELETE"), "{refused}");
    stage.gate.open();
    stage.done(&["wait", &deleted]).await;
    daemon.stop().await;
    stage.assert_careful();
    assert_eq!(stage.simulator.snapshot().customers_left, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_teardown_says_why_and_can_be_retried() {
    let stage = stage(1).await;
    let daemon = stage.ready().await;
    let tenant = stage.tenants[0].to_string();
    let effect = Effect::fault(400, 900277, "The subscription is about to expire.");
    stage.strike_writes(When::Always, &effect);
    let ended = stage.run(&["enqueue", &tenant, "--wait", "--output", "json"]).await;
    assert_eq!((ended.code, &failure(&ended.err)["code"]), (1, &json!(1)), "{ended:?}");
    let row = stage.row(&tenant).await;
    assert_eq!((&row["state"], &row["status"]), (&json!("failed"), &json!("failed")));
    assert!(row["reason"].as_str().unwrap().contains("about to expire"), "{row}");
    let history = stage.run(&["history", &tenant]).await;
    assert!(history.out.contains("900277"), "{history:?}");
    let why = stage.run(&["why", &tenant]).await;
    assert!(why.out.contains(&format!("teardownd retry {tenant}")), "{why:?}");

    stage.simulator.clear_rules();
    stage.done(&["retry", "--state", "failed"]).await;
    let waited = stage.done(&["wait", &tenant]).await;
    assert_eq!(keys(&waited), ["teardowns"]);
    assert_eq!(stage.json(1, &["retry", &tenant]).await["applied"], 0);
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_refuse_and_hold_and_nothing_is_written() {
    let mut sandbox = licensed(2);
    let id = Uuid::from_u128(0xaaaaaaaa_0000_4000_8000_000000000050);
    let saver = Customer::new(id, "saver.onmicrosoft.com");
    let saver = saver.with(Purchase::new(Kind::NewCommerce));
    sandbox.add(saver.with(Purchase::new(Kind::SavingsPlan))).unwrap();
    let stage = Stage::with(sandbox, brisk()).await;
    let daemon = stage.ready().await;
    let [mistaken, later, saver] = [0, 1, 2].map(|index| stage.tenants[index].to_string());

    // Refused before it is queued, and so is the rest of the call.
    let refused = stage.json(3, &["enqueue", &later, PROTECTED]).await;
    assert_eq!(
        refused["results"],
        json!([{
            "tenant_id": PROTECTED, "id": null, "outcome": "refused",
            "guard": "protected_tenant", "line": null
        }])
    );
    assert_eq!(stage.run(&["wait", &later]).await.code, 4);

    // Held by the daemon: the API says another domain than the operator.
    let arguments = ["enqueue", &mistaken, "--domain", "c9.onmicrosoft.com", "--wait"];
    let held = stage.json(7, &arguments).await;
    assert_eq!(held["teardowns"][0]["blocked_by"], "domain_mismatch", "{held}");
    // A release asks the guard again.
    stage.done(&["release", &mistaken]).await;
    let held = stage.json(7, &["wait", &mistaken]).await;
    assert_eq!(held["teardowns"][0]["blocked_by"], "domain_mismatch", "{held}");

    // Not its time yet.
    stage.done(&["enqueue", &later, "--not-before", "1h"]).await;
    stage.looked_twice().await;
    let row = stage.row(&later).await;
    assert_eq!((&row["state"], &row["blocked_by"]), (&json!("queued"), &json!("not_before")));
    assert_eq!(stage.simulator.journal().calls_of(stage.tenants[1]), 0);

    // Only a person can cancel a savings plan; nothing of the tenant is touched before that is known.
    let failed = stage.json(1, &["enqueue", &saver, "--wait"]).await;
    assert_eq!(failed["teardowns"][0]["state"], "failed");
    let why = stage.run(&["why", &saver]).await;
    assert!(why.out.to_lowercase().contains("savings plan"), "{why:?}");

    daemon.stop().await;
    assert_eq!(stage.writes_since(0).len(), 0);
    stage.assert_careful();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_not_found() {
    let stage = stage(1).await;
    let daemon = stage.ready().await;
    let tenant = stage.tenants[0].to_string();
    for command in ["show", "why", "history", "wait", "hold", "release", "abort", "retry"] {
        let ended = stage.run(&[command, &tenant, "--output", "json"]).await;
        assert_eq!((ended.code, ended.out.as_str()), (4, ""), "{command}: {ended:?}");
        assert_eq!(failure(&ended.err)["code"], 4, "{command}");
    }
    // A tenant that no account has is no success.
    let unknown = "aaaaaaaa-0000-4000-8000-000000000077";
    let failed = stage.json(1, &["enqueue", unknown, "--wait"]).await;
    assert_eq!(failed["teardowns"][0]["blocked_by"], "customer_not_found", "{failed}");
    daemon.stop().await;
    stage.assert_careful();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_2_a_safety_stop_halts_the_account_until_a_person_lifts_it() {
    let stage = stage(3).await;
    let effect = Effect::fault(403, 800019, "The operation is allowed in a sandbox only.");
    stage.strike_writes(When::First(1), &effect);
    stage.enqueue_all().await;
    let daemon = stage.ready().await;
    let ended = stage.json(7, &["wait", "--all"]).await;
    for row in ended["teardowns"].as_array().unwrap() {
        assert_eq!(row["blocked_by"], "halted", "{row}");
    }
    assert_eq!(stage.writes_since(0).len(), 1, "the first write goes out alone");

    // Durably: another process finds it halted.
    daemon.kill().await;
    let daemon = stage.ready().await;
    stage.looked_twice().await;
    assert_eq!(stage.row(&stage.tenants[2].to_string()).await["blocked_by"], "halted");
    assert_eq!(stage.writes_since(0).len(), 1);
    assert_eq!(stage.run(&["unhalt", "--account", "default"]).await.code, 2);
    assert_eq!(
        stage.run(&["unhalt", "--account", "default", "--confirm", "defautl"]).await.code,
        2
    );
    stage.looked_twice().await;
    assert_eq!(stage.writes_since(0).len(), 1);
    stage.simulator.clear_rules();
    stage.done(&["unhalt", "--account", "default", "--confirm", "default"]).await;
    stage.done(&["wait", "--all"]).await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}
