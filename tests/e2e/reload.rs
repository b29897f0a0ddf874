//! SIGHUP and `reload`: what is taken up, what is refused, and who is told.

use rustix::process::Signal;

use crate::gate::until;
use crate::stage::{Stage, brisk};
use crate::supervisor::Supervisor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_takes_up_what_is_fit_and_refuses_what_is_not() {
    let stage = Stage::populated(2, brisk()).await;
    let [tenant, other] = [0, 1].map(|index| stage.tenants[index].to_string());
    stage.reconfigure("[safety]\n", "[safety]\ndry_run = true\n");
    let supervisor = Supervisor::new(&stage);
    let daemon = supervisor.start(&stage);
    supervisor.until_told("READY=1", 1).await;
    stage.done(&["enqueue", &tenant]).await;
    until("the dry run stops it", async || {
        (stage.row(&tenant).await["blocked_by"] == "dry_run").then_some(())
    })
    .await;

    // A broken file changes nothing, and everybody is told.
    stage.reconfigure("dry_run = true", "dry_rum = false");
    daemon.signal(Signal::HUP);
    supervisor.until_told("READY=1", 2).await;
    let refused = daemon.line("configuration refused; the former one stays in force").unwrap();
    assert_eq!(refused["level"], "ERROR");
    assert!(
        refused["error"].as_str().unwrap().contains("safety.dry_rum: unknown key"),
        "{refused}"
    );
    let (code, text) = daemon.get("/readyz").await.unwrap();
    assert_eq!(code, 200, "it works on with what it had");
    assert!(text.contains("note: the latest reload was refused"), "{text}");
    supervisor.until_status("the latest reload was refused").await;
    assert_eq!(stage.writes_since(0).len(), 0);

    stage.reconfigure("dry_rum = false", "dry_run = false");
    daemon.signal(Signal::HUP);
    supervisor.until_told("READY=1", 3).await;
    assert_eq!(daemon.get("/readyz").await, Some((200, "ready\n".to_owned())));
    // The one that waits asks again within a minute; another need not wait for that.
    stage.done(&["enqueue", &other]).await;
    stage.until_state(&other, "deleted").await;

    // Each time it said when it began, by the clock that the service manager compares with.
    let begun: Vec<u64> = supervisor
        .told()
        .iter()
        .filter(|text| text.contains("RELOADING=1"))
        .map(|text| {
            let usec = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
            usec.unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(begun.len(), 2);
    assert!(begun[0] > 0 && begun[0] < begun[1], "{begun:?}");
    let mut database = stage.database().await;
    let noted = database
        .texts(
            "SELECT actor || a.taken_up FROM reloads JOIN reload_answers AS a ON reload = id ORDER BY id",
        )
        .await;
    assert_eq!(noted, ["SIGHUP0", "SIGHUP1"]);
    database.close().await;
    daemon.stop().await;
    stage.assert_careful();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_tells_the_daemons_answer() {
    let stage = Stage::populated(1, brisk()).await;
    let nobody = stage.run(&["reload"]).await;
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.err.contains("no daemon"), "{nobody:?}");
    let daemon = stage.ready().await;
    until("it has ticked", async || {
        let mut database = stage.database().await;
        let ticks = database.number("SELECT count(*) FROM replicas").await;
        database.close().await;
        (ticks == 1).then_some(())
    })
    .await;
    let nothing = stage.done(&["reload"]).await;
    assert_eq!(nothing["reload"]["taken_up"], true, "{nothing}");
    assert_eq!(nothing["reload"]["changed"].as_array().unwrap().len(), 0, "{nothing}");

    stage.reconfigure("filter = \"info\"", "filter = \"warn,teardownd=debug\"");
    stage.reconfigure("max_in_flight = 64", "max_in_flight = 8");
    stage.reconfigure("requests_per_minute = 1000000", "requests_per_minute = 1000");
    let answer = stage.done(&["reload"]).await;
    let changed = ["accounts.default.requests_per_minute", "log.filter"];
    assert_eq!(answer["reload"]["changed"], serde_json::json!(changed), "{answer}");
    assert_eq!(
        answer["reload"]["restart"],
        serde_json::json!(["engine.max_in_flight"]),
        "{answer}"
    );
    let text = stage.run(&["reload"]).await;
    assert_eq!(text.code, 0);
    assert!(text.out.contains("from the next start only: engine.max_in_flight"), "{text:?}");

    // What only the daemon can know: here, that its secret is open to everybody.
    use std::os::unix::fs::PermissionsExt as _;
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(stage.secret_file(), open).unwrap();
    let refused = stage.run(&["reload"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("open to every user (mode 0644)"), "{refused:?}");
    assert!(refused.err.contains("former configuration stays in force"), "{refused:?}");
    let open = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(stage.secret_file(), open).unwrap();

    // A file that the command itself cannot read never reaches the daemon, which is said.
    stage.reconfigure("max_in_flight = 8", "max_in_flight = -8");
    let broken = stage.run(&["reload"]).await;
    assert_eq!(broken.code, 5, "{broken:?}");
    assert!(broken.err.contains("engine.max_in_flight"), "{broken:?}");
    assert!(broken.err.contains("runs on with what it had"), "{broken:?}");
    daemon.stop().await;
    stage.assert_no_secret();
}
