//! SIGTERM: stop claiming, finish or park what is in flight, give the leases back, exit 0.

use rustix::process::Signal;
use teardownd::simulator::{Effect, Rule, Template, When};

use crate::database::Database;
use crate::gate::{HELD, until};
use crate::stage::{Settings, Stage, brisk};

const LEASED: &str = "SELECT count(*) FROM teardowns WHERE lease_owner IS NOT NULL";
const SENT: &str = "SELECT count(*) FROM commands WHERE outcome IS NULL AND sends > 0";

async fn until_number(database: &mut Database, what: &str, sql: &str, least: i64) {
    until(what, async || (database.number(sql).await >= least).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains() {
    const CUSTOMERS: usize = 50;
    let stage = Stage::populated(CUSTOMERS + 2, brisk()).await;
    // The account's first steps go out alone. They are done before, so that all others go together.
    let [first, second] = [0, 1].map(|index| stage.tenants[index].to_string());
    let daemon = stage.ready().await;
    stage.done(&["enqueue", &first, &second, "--wait"]).await;
    daemon.stop().await;
    let mut database = stage.database().await;
    let proven = "SELECT proven_write + proven_reservation + proven_delete FROM accounts";
    assert_eq!(database.number(proven).await, 3);
    let before = stage.calls();
    stage.enqueue_all().await;

    // Reads in flight are given up. None of them is answered here, so nothing else can end it.
    let reads = Rule::new(When::Always, Effect::Delay(HELD)).method("GET").on(Template::Orders);
    stage.simulator.add_rule(reads);
    let daemon = stage.ready().await;
    until_number(&mut database, "50 tenants are in flight", LEASED, CUSTOMERS as i64).await;
    daemon.stop().await;
    assert_eq!(database.number(LEASED).await, 0, "every lease is given back");
    assert_eq!(stage.writes_since(before).len(), 0);
    stage.simulator.clear_rules();

    // Writes that have begun are waited for, and what they answer is stored.
    stage.hold_answers_to_writes();
    let daemon = stage.ready().await;
    until_number(&mut database, "writes are unanswered", SENT, 10).await;
    daemon.signal(Signal::TERM);
    let (status, text) = until("readyz says that it is shutting down", async || {
        daemon.get("/readyz").await.filter(|(status, _)| *status != 200)
    })
    .await;
    assert_eq!((status, text.as_str()), (503, "not ready: the daemon is shutting down\n"));
    assert_eq!(daemon.get("/healthz").await, Some((200, "alive\n".to_owned())));
    let held = database.number(SENT).await;
    assert!(held >= 10, "the daemon waits for {held} answers");
    stage.simulator.clear_rules();
    stage.gate.open();
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(database.number(SENT).await, 0, "every answer is stored");
    assert_eq!(database.number(LEASED).await, 0, "every lease is given back");
    database.close().await;

    let daemon = stage.ready().await;
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
    stage.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drain_limit_ends_what_is_never_answered_and_the_next_start_settles_it() {
    let stage = Stage::populated(3, brisk()).await;
    stage.configure(&Settings { drain_timeout: "200ms", ..Settings::default() });
    stage.enqueue_all().await;
    let held = stage.hold_answers_to_writes();
    let daemon = stage.ready().await;
    stage.until_written(held).await;
    daemon.signal(Signal::INT);
    assert_eq!(daemon.ended().await.code(), Some(0));
    let mut database = stage.database().await;
    assert_eq!(database.number(SENT).await, 1, "its effect is unknown and stays so");
    database.close().await;
    stage.simulator.clear_rules();

    let daemon = stage.ready().await;
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_while_it_starts_ends_it_in_good_order() {
    let stage = Stage::populated(1, brisk()).await;
    let daemon = stage.start();
    // The lock is taken before anything else is done with the database.
    let lock = stage.path("t.db.lock");
    until("the lock is taken", async || {
        std::fs::read(&lock).is_ok_and(|owner| !owner.is_empty()).then_some(())
    })
    .await;
    daemon.stop().await;
}
