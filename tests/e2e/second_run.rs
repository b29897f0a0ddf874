//! One daemon on one database file (invariant 10).

use crate::gate::until;
use crate::stage::{Stage, brisk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_on_the_same_file_is_refused() {
    let stage = Stage::populated(2, brisk()).await;
    let first = stage.ready().await;
    let owner = first.owner();

    let second = stage.run(&["run"]).await;
    assert_eq!((second.code, second.out.as_str()), (5, ""), "{second:?}");
    assert!(second.err.contains(&owner), "{owner}: {}", second.err);
    let second = stage.run(&["run", "--output", "json"]).await;
    let last = second.err.lines().last().unwrap();
    let error: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], 5, "{second:?}");
    assert!(error["error"]["message"].as_str().unwrap().contains(&owner), "{error}");

    // The first one goes on, and the other commands work beside it.
    assert_eq!(first.get("/readyz").await.unwrap().0, 200);
    let tenant = stage.tenants[0].to_string();
    stage.done(&["pause"]).await;
    stage.done(&["enqueue", &tenant]).await;
    assert_eq!(stage.row(&tenant).await["blocked_by"], "paused");
    stage.done(&["resume"]).await;
    stage.until_state(&tenant, "deleted").await;

    // The lock ends with its holder, however that ends.
    first.kill().await;
    let third = stage.ready().await;
    assert_ne!(third.owner(), owner);
    let mut database = stage.database().await;
    until("the new daemon has ticked", async || {
        let owners = database.texts("SELECT owner FROM replicas").await;
        (owners == [third.owner()]).then_some(())
    })
    .await;
    database.close().await;
    third.stop().await;
    stage.assert_careful();
}
