//! The first look: `status`.

use crate::gate::until;
use crate::stage::{Stage, brisk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_who_works_how_the_accounts_are_and_what_needs_a_person() {
    let stage = Stage::populated(2, brisk()).await;
    let nobody = stage.run(&["status"]).await;
    assert_eq!(nobody.code, 0, "{nobody:?}");
    assert!(nobody.out.contains("no daemon has ever run on this database"), "{nobody:?}");

    let daemon = stage.ready().await;
    let tenant = stage.tenants[0].to_string();
    stage.done(&["enqueue", &tenant, &stage.tenants[1].to_string()]).await;
    stage.run(&["hold", &tenant, "--reason", "a talk"]).await;
    stage.until_state(&stage.tenants[1].to_string(), "deleted").await;
    let works = until("the daemon works", async || {
        let status = stage.done(&["status"]).await;
        (status["replicas"][0]["state"] == "working").then_some(status)
    })
    .await;
    assert_eq!(works["replicas"].as_array().unwrap().len(), 1, "{works}");
    assert_eq!(works["replicas"][0]["owner"], daemon.owner(), "{works}");
    assert_eq!(works["accounts"][0]["account"], "default", "{works}");
    let counts = &works["teardowns"];
    assert_eq!(counts["held"].as_i64().unwrap() + counts["done"].as_i64().unwrap(), 2, "{works}");

    daemon.stop().await;
    let stopped = stage.run(&["status"]).await;
    assert!(stopped.out.contains("was stopped"), "{stopped:?}");
    // Killed, it says no goodbye: the lock of the file tells at once.
    let daemon = stage.ready().await;
    until("it has ticked", async || {
        let status = stage.done(&["status"]).await;
        (status["replicas"][0]["state"] == "working").then_some(())
    })
    .await;
    daemon.kill().await;
    let killed = stage.run(&["status"]).await;
    assert!(killed.out.contains("does not work"), "{killed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_names_what_to_type_for_each_that_needs_a_person() {
    let stage = Stage::populated(1, brisk()).await;
    let tenant = stage.tenants[0].to_string();
    stage.done(&["enqueue", &tenant]).await;
    stage.done(&["hold", &tenant, "--reason", "a talk"]).await;
    let status = stage.run(&["status"]).await;
    assert!(status.out.contains("1 held"), "{status:?}");
    assert!(status.out.contains(&format!("teardownd why {tenant}")), "{status:?}");
    let json = stage.done(&["status"]).await;
    assert_eq!(json["needs_a_person"][0]["tenant_id"], tenant, "{json}");
    assert_eq!(json["needs_a_person"][0]["status"], "held", "{json}");
}
