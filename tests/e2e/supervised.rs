//! The daemon under a service manager.

use std::time::Duration;

use rustix::process::Signal;

use crate::gate::until;
use crate::stage::{Settings, Stage, brisk};
use crate::supervisor::Supervisor;

const LEASED: &str = "SELECT count(*) FROM teardowns WHERE lease_owner IS NOT NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_is_told_when_it_is_and_not_before() {
    let stage = Stage::populated(2, brisk()).await;
    let supervisor = Supervisor::new(&stage);
    // More than any disk has.
    stage.reconfigure("min_free = \"1MB\"", "min_free = \"900PB\"");
    let daemon = supervisor.start(&stage);
    let status = supervisor.until_status("below database.min_free").await;
    assert!(status.starts_with("not ready: nothing new is claimed: "), "{status}");
    // It looks at its queue all the while.
    supervisor.until_told("WATCHDOG=1", 3).await;
    assert_eq!(supervisor.count("READY=1"), 0, "{:?}", supervisor.told());
    let (code, text) = daemon.get("/readyz").await.unwrap();
    assert_eq!(code, 503);
    assert!(text.contains("nothing new is claimed") && text.contains("min_free"), "{text}");
    stage.enqueue_all().await;
    stage.looked_twice().await;
    let mut database = stage.database().await;
    assert_eq!(database.number("SELECT count(*) FROM teardowns WHERE fence > 0").await, 0);
    database.close().await;
    daemon.stop().await;
    assert_eq!(supervisor.count("READY=1"), 0, "a daemon that was never ready never said so");

    stage.reconfigure("min_free = \"900PB\"", "min_free = \"1MB\"");
    let daemon = supervisor.start(&stage);
    supervisor.until_told("READY=1", 1).await;
    assert_eq!(daemon.get("/readyz").await, Some((200, "ready\n".to_owned())));
    stage.until_all_ended().await;
    let status = supervisor.until_status("0 moving, 0 waiting, 0 held").await;
    assert!(!status.contains(';'), "{status}");
    stage.done(&["pause", "--until", "2h"]).await;
    supervisor.until_status("; everything paused until ").await;
    daemon.stop().await;
    assert_eq!(supervisor.count("READY=1"), 1);
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watchdog_starves_while_the_scheduler_is_stuck() {
    let stage = Stage::populated(1, brisk()).await;
    let supervisor = Supervisor::new(&stage);
    let daemon = supervisor.start(&stage);
    supervisor.until_told("READY=1", 1).await;
    supervisor.until_told("WATCHDOG=1", 2).await;

    // Another process keeps the database to itself: the process lives, answers and ticks, and yet
    // nothing can be claimed. A timer would go on feeding.
    let mut database = stage.database().await;
    until("the database is locked", async || database.change("BEGIN EXCLUSIVE").await.ok()).await;
    supervisor.until_starved(Duration::from_secs(12)).await;
    assert_eq!(daemon.get("/healthz").await, Some((200, "alive\n".to_owned())));
    let (code, text) = daemon.get("/readyz").await.unwrap();
    assert_eq!(code, 503);
    assert!(text.contains("the database cannot be reached"), "{text}");
    supervisor.until_status("not ready: the database cannot be reached").await;

    let fed = supervisor.count("WATCHDOG=1");
    database.change("ROLLBACK").await.unwrap();
    database.close().await;
    supervisor.until_told("WATCHDOG=1", fed + 1).await;
    until("it is ready again", async || {
        daemon.get("/readyz").await.filter(|(code, _)| *code == 200)
    })
    .await;
    assert!(daemon.line("the queue cannot be read; it is tried again every few seconds").is_some());
    assert!(daemon.line("the queue is worked on again").is_some());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_told_and_ends_within_the_limit_with_fifty_in_flight() {
    const CUSTOMERS: usize = 50;
    let stage = Stage::populated(CUSTOMERS + 2, brisk()).await;
    let [first, second] = [0, 1].map(|index| stage.tenants[index].to_string());
    let supervisor = Supervisor::new(&stage);
    let daemon = supervisor.start(&stage);
    stage.done(&["enqueue", &first, &second, "--wait"]).await;
    daemon.stop().await;
    stage.configure(&Settings { drain_timeout: "500ms", ..Settings::default() });
    let mut database = stage.database().await;
    stage.enqueue_all().await;
    stage.hold_answers_to_writes();

    let daemon = supervisor.start(&stage);
    supervisor.until_told("READY=1", 2).await;
    let sent = "SELECT count(*) FROM commands WHERE outcome IS NULL AND sends > 0";
    until("50 tenants are in flight, each with a write that is not answered", async || {
        let in_flight = database.number(LEASED).await >= CUSTOMERS as i64;
        (in_flight && database.number(sent).await >= CUSTOMERS as i64).then_some(())
    })
    .await;
    assert_eq!(supervisor.count("STOPPING=1"), 1);
    daemon.signal(Signal::TERM);
    // No write is ever answered, so that it is the limit that ends it.
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(supervisor.count("STOPPING=1"), 2);
    database.close().await;
    stage.simulator.clear_rules();
    stage.gate.open();

    let daemon = supervisor.start(&stage);
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_within_the_limit_also_when_the_database_does_not_answer() {
    let stage = Stage::populated(1, brisk()).await;
    stage.configure(&Settings { drain_timeout: "100ms", ..Settings::default() });
    let daemon = stage.ready().await;
    let mut database = stage.database().await;
    until("the database is locked", async || database.change("BEGIN EXCLUSIVE").await.ok()).await;
    until("the daemon notices", async || {
        daemon.get("/readyz").await.filter(|(code, _)| *code == 503)
    })
    .await;
    daemon.signal(Signal::TERM);
    // It ends while the database is still locked.
    assert_eq!(daemon.ended().await.code(), Some(0));
    database.close().await;
}
