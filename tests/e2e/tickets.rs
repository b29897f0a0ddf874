//! What is shown of calls that fail, and the ticket that names them.

use serde_json::Value;
use teardownd::simulator::{Customer, Effect, Entry, Kind, Purchase, Rule, Template, When};
use uuid::Uuid;

use crate::stage::{Stage, brisk};

const CUSTOMER: Uuid = Uuid::from_u128(0xaaaaaaaa_0000_4000_8000_000000000001);
const TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJ0aWQiOiJ4In0.c2ln";

fn answered(stage: &Stage, status: u16) -> Entry {
    let journal = stage.simulator.journal();
    journal.entries().iter().rfind(|entry| entry.status == Some(status)).unwrap().clone()
}

fn assert_names(fault: &Value, entry: &Entry) {
    assert_eq!(fault["request_id"].as_str(), entry.request_id.as_deref(), "{fault}");
    assert_eq!(fault["correlation_id"].as_str(), entry.correlation_id.as_deref(), "{fault}");
    assert_eq!(fault["http_status"].as_u64(), entry.status.map(u64::from), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_names_every_call_and_failure_without_a_secret() {
    let mut sandbox = Stage::sandbox();
    let customer = Customer::new(CUSTOMER, "c1.onmicrosoft.com");
    sandbox.add(customer.with(Purchase::new(Kind::Reservation))).unwrap();
    let stage = Stage::with(sandbox, brisk()).await;
    stage.gate.open();
    let down = Effect::fault(503, 900_192, &format!("Down. Bearer {TOKEN} was seen."));
    stage.simulator.add_rule(Rule::new(When::Nth(1), down).on(Template::Orders));
    let odd = Effect::fault(400, 424_242, "Odd.");
    stage.simulator.add_rule(Rule::new(When::Always, odd).on(Template::Order).method("PATCH"));
    let daemon = stage.ready().await;
    let tenant = CUSTOMER.to_string();
    stage.done(&["enqueue", &tenant]).await;
    stage.until_state(&tenant, "failed").await;
    let (read, write) = (answered(&stage, 503), answered(&stage, 400));

    let shown = &stage.done(&["show", &tenant]).await["teardowns"][0];
    assert_names(&shown["last_fault"], &write);
    assert_eq!(shown["last_fault"]["reason"], "api_refused");
    assert!(shown["last_fault"]["remedy"].as_str().unwrap().contains("teardownd retry"));
    assert_eq!(shown["cross_checked"], true);
    let why = &stage.done(&["why", &tenant]).await["why"][0];
    assert_names(&why["last_fault"], &write);
    for command in ["show", "why"] {
        let text = stage.run(&[command, &tenant]).await.out;
        assert!(text.contains("424242") && text.contains("last fault"), "{text}");
        assert!(text.contains(write.request_id.as_deref().unwrap()), "{text}");
        assert!(text.contains("Read Microsoft's text"), "{text}");
    }
    let history = &stage.done(&["history", &tenant]).await["history"][0];
    assert_names(&history["faults"][0], &read);
    let text = stage.run(&["history", &tenant]).await.out;
    assert!(text.contains(read.request_id.as_deref().unwrap()), "{text}");
    let write_id = write.request_id.as_deref().unwrap();
    assert_eq!(text.matches(write_id).count(), 1, "a command tells its answer once: {text}");
    // The fields of a list are a contract.
    assert!(stage.row(&tenant).await.get("last_fault").is_none());

    let ticket = &stage.done(&["support", &tenant]).await["support"][0];
    assert_eq!(ticket["domain"], "c1.onmicrosoft.com");
    assert_eq!(ticket["teardown"]["reason"], "api_refused");
    let call = &ticket["calls"][0];
    assert_names(call, &write);
    assert_eq!((&call["method"], &call["outcome"]), (&"PATCH".into(), &"refused".into()));
    assert_eq!((&call["ms_code"], &call["text"]), (&"424242".into(), &"Odd.".into()));
    assert!(call["route"].as_str().unwrap().contains("/orders/"), "{call}");
    assert!(call["first_sent_at"].as_str().unwrap().ends_with('Z'), "{call}");
    assert_names(&ticket["failures"][0], &read);
    assert_eq!(ticket["failures"][0]["route"], "/v1/customers/{customer}/orders");
    assert_names(&ticket["last_fault"], &write);
    assert_eq!(ticket["timeline"].as_array().unwrap().last().unwrap()["to"], "failed");
    let text = stage.run(&["support", &tenant]).await.out;
    for id in [&read.request_id, &read.correlation_id, &write.request_id, &write.correlation_id] {
        assert!(text.contains(id.as_deref().unwrap()), "{text}");
    }
    daemon.stop().await;
    stage.assert_no_secret();
    stage.assert_absent(TOKEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_after_a_failure_still_tells_of_it() {
    let mut sandbox = Stage::sandbox();
    sandbox.add(Customer::new(CUSTOMER, "c1.onmicrosoft.com")).unwrap();
    let stage = Stage::with(sandbox, brisk()).await;
    stage.gate.open();
    let rule = Rule::new(When::Nth(1), Effect::unavailable()).on(Template::Customer);
    stage.simulator.add_rule(rule);
    let daemon = stage.ready().await;
    let tenant = CUSTOMER.to_string();
    stage.done(&["enqueue", &tenant, "--wait"]).await;
    let shown = &stage.done(&["show", &tenant]).await["teardowns"][0];
    assert_eq!(
        (&shown["state"], &shown["last_fault"]["http_status"]),
        (&"deleted".into(), &503.into())
    );
    assert!(!stage.run(&["why", &tenant]).await.out.contains("last fault"), "it is over");
    daemon.stop().await;
    stage.assert_careful();
}
