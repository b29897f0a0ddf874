//! The operator's hand from another process: stopping fifty tenants or one of them, waiting in a
//! pipeline, room, discovery and the record.

use serde_json::{Value, json};
use teardownd::simulator::{Customer, Kind, Purchase, Sandbox};
use uuid::Uuid;

use crate::gate::until;
use crate::stage::{PROTECTED, Stage, brisk};

/// Customers with one licence each, and one with a savings plan at the end.
fn sandbox(licensed: u128, savings_plan: bool) -> Sandbox {
    let mut sandbox = Stage::sandbox();
    let mut add = |number: u128, kind| {
        let id = Uuid::from_u128(0xaaaaaaaa_0000_4000_8000_000000000000 + number);
        let customer = Customer::new(id, format!("c{number}.onmicrosoft.com"));
        sandbox.add(customer.with(Purchase::new(kind))).unwrap();
    };
    (1..=licensed).for_each(|number| add(number, Kind::NewCommerce));
    if savings_plan {
        add(licensed + 1, Kind::SavingsPlan);
    }
    sandbox
}

/// How many sends the daemon has begun.
async fn sends(stage: &Stage) -> i64 {
    let mut database = stage.database().await;
    let sends = database.number("SELECT coalesce(sum(sends), 0) FROM commands").await;
    database.close().await;
    sends
}

/// Fifty tenants that are being driven: the account's first write has arrived and is not answered,
/// and everybody else waits for that.
async fn fifty_behind_the_first_write(stage: &Stage) {
    let first = stage.hold_answers_to_writes();
    stage.enqueue_all().await;
    stage.until_written(first).await;
    let mut database = stage.database().await;
    until("all the others are about to write", async || {
        let about_to = "SELECT count(*) FROM teardowns
                        WHERE state IN ('entitlements_fetched', 'orders_cancelling')
                          AND lease_owner IS NOT NULL";
        (database.number(about_to).await == 50).then_some(())
    })
    .await;
    database.close().await;
    assert_eq!(stage.writes_since(0).len(), 1, "the first write goes out alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_3_a_pause_from_another_process_stops_fifty_and_a_resume_repeats_nothing() {
    let stage = Stage::with(sandbox(50, false), brisk()).await;
    let daemon = stage.ready().await;
    fifty_behind_the_first_write(&stage).await;
    stage.done(&["pause", "--reason", "lunch"]).await;
    // Stored is in force: no send begins in a transaction after that of the pause.
    let begun = sends(&stage).await;
    stage.simulator.clear_rules();
    stage.gate.open();
    // The first write is answered; without the pause all the others would go out now.
    let mut database = stage.database().await;
    until("the first write is settled", async || {
        let settled = "SELECT count(*) FROM commands WHERE outcome IS NOT NULL";
        (database.number(settled).await == 1).then_some(())
    })
    .await;
    database.close().await;
    until("everybody waits for the end of the pause", async || {
        let listed = stage.done(&["list", "--status", "waiting"]).await;
        let rows = listed["teardowns"].as_array().unwrap();
        (rows.iter().filter(|row| row["blocked_by"] == "paused").count() == 50).then_some(())
    })
    .await;
    assert_eq!(sends(&stage).await, begun);
    stage.done(&["resume"]).await;
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_3_a_protection_from_another_process_keeps_every_write_from_one_of_fifty() {
    let stage = Stage::with(sandbox(50, false), brisk()).await;
    let daemon = stage.ready().await;
    fifty_behind_the_first_write(&stage).await;
    let first = stage.writes_since(0)[0].tenant;
    let chosen = *stage.tenants.iter().find(|tenant| Some(**tenant) != first).unwrap();
    let tenant = chosen.to_string();
    let done = stage.done(&["protect", &tenant, "--reason", "in use"]).await;
    assert_eq!((&done["matched"], &done["applied"]), (&json!(1), &json!(1)), "{done}");
    stage.simulator.clear_rules();
    stage.gate.open();
    stage.until_all_ended().await;
    let to_it = |entry: &teardownd::simulator::Entry| entry.tenant == Some(chosen);
    assert!(!stage.writes_since(0).iter().any(to_it));
    assert_eq!(stage.row(&tenant).await["state"], "aborted");
    assert_eq!(stage.simulator.snapshot().customers_left, 1);

    // It stays so, by every way in.
    let refused = stage.json(3, &["enqueue", &tenant, "--again"]).await;
    assert_eq!(refused["results"][0]["guard"], "protected_tenant", "{refused}");
    let mut database = stage.database().await;
    let insert = format!("INSERT INTO teardowns (tenant_id) VALUES ('{}')", tenant.to_uppercase());
    let error = database.change(&insert).await.unwrap_err();
    assert!(error.contains("protected"), "{error}");
    // By SQL it works as well.
    let typed = "INSERT INTO operator_requests (verb, domain, actor)
                 VALUES ('protect', '*.Prod.example', 'anna')";
    database.change(typed).await.unwrap();
    stage.looked_twice().await;
    database.close().await;
    let listed = stage.done(&["protect", "--list"]).await;
    let subjects: Vec<_> = listed["protections"].as_array().unwrap().iter().collect();
    assert_eq!(subjects.len(), 2, "{listed}");
    assert_eq!(
        (&subjects[0]["subject"], &subjects[0]["actor"]),
        (&json!("*.prod.example"), &json!("anna"))
    );
    assert_eq!(subjects[1]["reason"], "in use");
    assert_eq!(stage.run(&["unprotect", &tenant]).await.code, 2, "it is to be typed once more");
    stage.done(&["unprotect", &tenant, "--confirm", &tenant]).await;
    assert_eq!(stage.run(&["unprotect", &tenant, "--confirm", &tenant]).await.code, 4);
    stage.done(&["enqueue", &tenant, "--wait"]).await;
    daemon.stop().await;
    stage.assert_careful();
    assert_eq!(stage.simulator.snapshot().customers_left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enqueue_wait_exits_with_0_1_3_6_and_7() {
    let stage = Stage::with(sandbox(3, true), brisk()).await;
    let daemon = stage.ready().await;
    let [plain, mistaken, slow, saver] = [0, 1, 2, 3].map(|index| stage.tenants[index].to_string());
    let enqueue = async |code: i32, more: &[&str]| {
        stage.json(code, &[&["enqueue"], more, &["--wait"]].concat()).await
    };
    let deleted = enqueue(0, &[&plain]).await;
    assert_eq!(deleted["teardowns"][0]["state"], "deleted", "{deleted}");
    // A savings plan is a person's.
    let failed = enqueue(1, &[&saver]).await;
    assert_eq!(failed["teardowns"][0]["blocked_by"], "blocked_uncancellable", "{failed}");
    let refused = enqueue(3, &[PROTECTED]).await;
    assert_eq!(refused["results"][0]["guard"], "protected_tenant", "{refused}");
    let held = enqueue(7, &[&mistaken, "--domain", "c9.onmicrosoft.com"]).await;
    assert_eq!(held["teardowns"][0]["blocked_by"], "domain_mismatch", "{held}");
    // The answer to its first write is held back, so it cannot have ended.
    stage.hold_answers_to_writes();
    let moving = enqueue(6, &[&slow, "--timeout", "100ms"]).await;
    assert_ne!(moving["teardowns"][0]["status"], "done", "{moving}");
    stage.simulator.clear_rules();
    stage.gate.open();
    stage.until_state(&slow, "deleted").await;
    daemon.stop().await;
    stage.assert_careful();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_discovery_queues_what_it_may_and_nothing_else() {
    let stage = Stage::with(sandbox(3, false), brisk()).await;
    let config = stage.path("teardownd.toml");
    let discovery = "discovery = { schedule = \"* * * * * *\", allow_domains = [\"*.onmicrosoft.com\"], \
                     exclude = [\"c2.onmicrosoft.com\"], min_age = \"0s\", max_per_run = 1 }\n";
    let text = std::fs::read_to_string(&config).unwrap() + discovery;
    std::fs::write(&config, text).unwrap();
    let daemon = stage.ready().await;
    let found = [0, 2].map(|index| stage.tenants[index].to_string());
    let mut database = stage.database().await;
    until("both are found and torn down", async || {
        let deleted = "SELECT count(*) FROM teardowns WHERE state = 'deleted'";
        (database.number(deleted).await == 2).then_some(())
    })
    .await;
    stage.looked_twice().await;
    let queued = database.texts("SELECT tenant_id FROM teardowns ORDER BY id").await;
    assert_eq!(queued, found, "the longest known first, one in a run");
    let by = database.texts("SELECT DISTINCT requested_by FROM teardowns").await;
    assert_eq!(by, ["discovery"]);
    database.close().await;
    daemon.stop().await;
    stage.assert_careful();
    assert_eq!(stage.simulator.snapshot().customers_left, 1);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_counted_found_and_waited_for() {
    let stage = Stage::with(sandbox(3, false), brisk()).await;
    // Nobody is known before the first look.
    let first = stage.run(&["discover", "--enqueue", "--expect", "3"]).await;
    assert_eq!(first.code, 3, "{first:?}");
    assert!(first.err.contains("recorded who is there"), "{first:?}");
    assert_eq!(stage.done(&["list"]).await["teardowns"], json!([]));
    let quota = stage.done(&["quota"]).await;
    let quota = &quota["quota"][0];
    assert_eq!(
        [&quota["used"], &quota["limit"], &quota["free"], &quota["source"]],
        [&json!(3), &json!(75), &json!(72), &json!("api")]
    );
    assert_eq!(stage.run(&["quota", "--need", "73"]).await.code, 1);
    assert_eq!(stage.run(&["quota", "--need", "76"]).await.code, 2);
    let arguments = ["quota", "--need", "73", "--wait", "--timeout", "100ms"];
    assert_eq!(stage.run(&arguments).await.code, 6);

    // Nobody is known for a week, and nobody is queued by mistake.
    let young = stage.done(&["discover", "--min-age", "7d"]).await;
    assert_eq!((&young["used"], &young["qualify"]), (&json!(3), &json!(0)), "{young}");
    let found = stage.done(&["discover", "--exclude", "c2.onmicrosoft.com"]).await;
    assert_eq!(found["qualify"], 2, "{found}");
    let config = stage.path("teardownd.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let excluding = format!("{text}discovery = {{ exclude = [\"c3.onmicrosoft.com\"] }}\n");
    std::fs::write(&config, excluding).unwrap();
    let fewer = stage.done(&["discover", "--exclude", "c2.onmicrosoft.com"]).await;
    assert_eq!(fewer["qualify"], 1, "what the configuration excludes is joined: {fewer}");
    std::fs::write(&config, text).unwrap();
    let told = |customer: &Value| (customer["qualifies"].clone(), customer["purchases"].clone());
    let told: Vec<_> = found["customers"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(told.iter().filter(|told| **told == (json!(true), json!(1))).count(), 2);
    let ask = ["discover", "--exclude", "c2.onmicrosoft.com", "--batch", "found", "--enqueue"];
    assert_eq!(stage.run(&ask).await.code, 2, "nobody typed the account's name");
    assert_eq!(stage.run(&[&ask[..], &["--expect", "3"]].concat()).await.code, 3);
    assert_eq!(stage.done(&["list"]).await["teardowns"], json!([]));
    let queued = stage.done(&[&ask[..], &["--expect", "2"]].concat()).await;
    assert_eq!(queued["results"][1]["outcome"], "queued", "{queued}");

    let daemon = stage.ready().await;
    let watched = stage.run(&["watch", "--batch", "found"]).await;
    assert_eq!(watched.code, 0, "{watched:?}");
    let last: Vec<_> =
        lines(&watched.out).into_iter().filter(|l| l["state"] == "deleted").collect();
    assert_eq!(last.len(), 2, "{watched:?}");
    stage.done(&["quota", "--need", "74", "--wait"]).await;

    // What the daemon read last, where the API cannot be asked.
    stage.write_secret("another secret");
    let stored = stage.done(&["quota"]).await;
    assert_eq!(
        (&stored["quota"][0]["source"], &stored["quota"][0]["used"]),
        (&json!("stored"), &json!(1))
    );
    let blind = stage.run(&["quota", "--need", "1"]).await;
    assert_eq!(blind.code, 1, "a stored count is no answer: {blind:?}");
    assert!(blind.err.contains("is stale"), "{blind:?}");
    stage.write_secret(crate::stage::SECRET);
    daemon.stop().await;
    stage.assert_careful();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_and_done_stands_in_the_record() {
    let stage = Stage::with(sandbox(1, true), brisk()).await;
    let [plain, saver] = [0, 1].map(|index| stage.tenants[index].to_string());
    let daemon = stage.ready().await;
    stage.json(1, &["enqueue", &plain, &saver, "--batch", "b", "--wait"]).await;

    let ringing = stage.done(&["list", "--ringing"]).await;
    assert_eq!(ringing["teardowns"].as_array().unwrap().len(), 1, "{ringing}");
    let acked = stage.done(&["ack", "--batch", "b", "--reason", "a ticket is open"]).await;
    assert_eq!((&acked["matched"], &acked["applied"]), (&json!(1), &json!(1)), "{acked}");
    assert_eq!(stage.done(&["list", "--ringing"]).await["teardowns"], json!([]));
    let listed = stage.run(&["list"]).await;
    assert!(listed.out.contains("failed, acked"), "{listed:?}");
    let why = stage.run(&["why", &saver]).await;
    assert!(why.out.contains("acknowledged by") && why.out.contains("a ticket is open"), "{why:?}");
    stage.done(&["retry", &saver, "--actor", "ops"]).await;
    stage.json(1, &["wait", &saver]).await;
    let ringing = stage.done(&["list", "--ringing"]).await;
    assert_eq!(ringing["teardowns"].as_array().unwrap().len(), 1, "it rings anew");

    let exported = stage.run(&["audit", "export", "--account", "default"]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    let record = lines(&exported.out);
    let times: Vec<_> = record.iter().map(|line| line["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let of = |kind: &str| record.iter().filter(|line| line["entry"] == kind).collect::<Vec<_>>();
    let asked: Vec<_> = of("request").iter().map(|line| line["verb"].clone()).collect();
    assert_eq!(asked, ["ack", "retry"]);
    let claimed = of("request")[1]["actor"].as_str().unwrap().to_owned();
    assert!(claimed.starts_with("ops (claimed by "), "{claimed}");
    let writes = of("command");
    assert!(writes.iter().any(|line| line["action"] == "delete_customer"), "{writes:?}");
    for write in writes {
        for field in ["request_id", "correlation_id", "http_status", "last_sent_at", "actor"] {
            assert!(!write[field].is_null(), "{field}: {write}");
        }
        assert_eq!(write["tenant_id"], plain);
    }
    let changes = of("transition");
    assert!(changes.iter().any(|line| line["to"] == "deleted" && line["tenant_id"] == plain));
    assert_eq!(changes.iter().filter(|line| line["from"].is_null()).count(), 2);
    let none = ["audit", "export", "--until", times[0]];
    assert_eq!(stage.run(&none).await.out, "");
    daemon.stop().await;
    stage.assert_careful();
}
