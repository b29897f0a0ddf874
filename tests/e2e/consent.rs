//! Arming, plans and approvals from the command line, beside the running daemon.

use serde_json::json;
use teardownd::simulator::{Customer, Effect, Kind, Purchase, Rule, Template, When};
use uuid::Uuid;

use crate::gate::until;
use crate::stage::{Stage, brisk};

/// A sandbox of customers with one licence each, and these guards.
async fn guarded(customers: u128, safety: &str) -> Stage {
    let mut sandbox = Stage::sandbox();
    for number in 1..=customers {
        let id = Uuid::from_u128(0xaaaaaaaa_0000_4000_8000_000000000000 + number);
        let customer = Customer::new(id, format!("c{number}.onmicrosoft.com"));
        sandbox.add(customer.with(Purchase::new(Kind::NewCommerce))).unwrap();
    }
    let stage = Stage::with(sandbox, brisk()).await;
    let path = stage.path("teardownd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[safety]\n", &format!("[safety]\n{safety}\n"))).unwrap();
    stage
}

/// Waits until a tenant is held, and returns its code.
async fn held(stage: &Stage, tenant: &str) -> String {
    let row = until("the tenant is held", async || {
        let row = stage.row(tenant).await;
        (row["status"] == "held").then_some(row)
    })
    .await;
    row["blocked_by"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_works_once_its_name_was_typed() {
    let stage = guarded(1, "require_arming = true").await;
    let daemon = stage.ready().await;
    let tenant = stage.tenants[0].to_string();
    stage.done(&["enqueue", &tenant]).await;
    assert_eq!(held(&stage, &tenant).await, "arming");
    let waited = stage.run(&["wait", &tenant, "--timeout", "1m"]).await;
    assert_eq!(waited.code, 7, "{waited:?}");
    let why = stage.run(&["why", &tenant]).await;
    assert!(why.out.contains("next: teardownd arm --account default"), "{why:?}");

    // What is shown is read from the API; without the name nothing comes of it.
    let shown = stage.run(&["arm", "--account", "default"]).await;
    assert_eq!(shown.code, 2, "{shown:?}");
    for part in
        ["Simulated partner", "bbbbbbbb-0000-4000-8000-000000000001", "global", "1 of at most 75"]
    {
        assert!(shown.err.contains(part), "{part}: {shown:?}");
    }
    let wrong = stage.run(&["arm", "--account", "default", "--confirm", "other"]).await;
    assert_eq!((wrong.code, stage.writes_since(0).len()), (2, 0), "{wrong:?}");
    assert_eq!(held(&stage, &tenant).await, "arming");

    let armed = stage.done(&["arm", "--account", "default", "--confirm", "DEFAULT"]).await;
    assert_eq!(
        (&armed["legal_name"], &armed["customers"]),
        (&json!("Simulated partner"), &json!(1))
    );
    stage.done(&["wait", &tenant]).await;
    let disarmed = stage.done(&["disarm", "--account", "default", "--reason", "lent out"]).await;
    assert_eq!(disarmed["applied"], true);
    assert_eq!(stage.run(&["disarm", "--account", "default"]).await.code, 1);
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_not_armed_blindly() {
    let stage = guarded(1, "require_arming = true").await;
    let path = stage.path("teardownd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let arm = ["arm", "--account", "default", "--confirm", "default"];
    std::fs::write(&path, text.replace("sandbox = true", "sandbox = false")).unwrap();
    assert_eq!(stage.run(&arm).await.code, 3, "not declared a sandbox");
    std::fs::write(&path, text.replace("sandbox = true", "sandbox = true\ncustomers_limit = 1"))
        .unwrap();
    assert_eq!(stage.run(&arm).await.code, 0);
    let nameless = Rule::new(When::Always, Effect::bad_gateway()).on(Template::LegalBusiness);
    stage.simulator.add_rule(nameless);
    let unread = stage.run(&arm).await;
    assert_eq!(unread.code, 1, "whose it is could not be read: {unread:?}");
    assert!(unread.err.contains("legal name could not be read"), "{unread:?}");
    stage.simulator.clear_rules();
    stage.write_secret("a secret that is none");
    assert_eq!(stage.run(&arm).await.code, 1, "nothing could be read");
    assert_eq!(stage.run(&["arm", "--account", "nowhere"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_plan_is_approved_for_what_it_says() {
    let stage = guarded(3, "require_approval = true").await;
    let daemon = stage.ready().await;
    let [first, second, third] = [0, 1, 2].map(|index| stage.tenants[index].to_string());
    stage.done(&["plan", &first, "--save", "plan.json"]).await;
    stage.done(&["enqueue", &first, &second, &third, "--batch", "b"]).await;
    for tenant in [&first, &second, &third] {
        assert_eq!(held(&stage, tenant).await, "approval");
    }
    assert_eq!(stage.writes_since(0).len(), 0);

    // Only the tenant of the plan is approved, and only if so many are meant.
    let other = stage.run(&["approve", "--plan", "plan.json", "--expect", "2"]).await;
    assert_eq!(other.code, 2, "{other:?}");
    assert!(
        other.err.contains("1 teardown matched, not 2")
            && other.err.contains("nothing was approved")
    );
    let done = stage.done(&["approve", "--plan", "plan.json", "--reason", "read it"]).await;
    assert_eq!((&done["matched"], &done["applied"]), (&json!(1), &json!(1)));
    stage.done(&["wait", &first]).await;
    let shown = stage.done(&["show", &first]).await.to_string();
    assert!(shown.contains("approved_by"), "{shown}");

    // A batch is approved with its number confirmed.
    let unsure = stage.run(&["approve", "--batch", "b"]).await;
    assert_eq!(unsure.code, 2, "{unsure:?}");
    assert!(unsure.err.contains("2 teardowns matched"), "{unsure:?}");
    let wrong = stage.run(&["approve", "--batch", "b", "--expect", "3"]).await;
    assert_eq!((wrong.code, stage.row(&second).await["status"].clone()), (2, json!("held")));
    stage.done(&["approve", "--batch", "b", "--expect", "2"]).await;
    stage.done(&["wait", "--batch", "b"]).await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_enqueued_cannot_approve_under_a_claimed_name() {
    let stage = guarded(1, "require_approval = true\napprove_by_other = true").await;
    let daemon = stage.ready().await;
    let tenant = stage.tenants[0].to_string();
    stage.done(&["enqueue", &tenant, "--actor", "anna"]).await;
    assert_eq!(held(&stage, &tenant).await, "approval");
    for actor in [&[][..], &["--actor", "bo"]] {
        let refused = stage.run(&[&["approve", &tenant], actor].concat()).await;
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(refused.err.contains("somebody else"), "{refused:?}");
    }
    assert_eq!(stage.writes_since(0).len(), 0);
    daemon.stop().await;
}
