//! What was due while no daemon ran.

use crate::daemon::Daemon;
use crate::gate::until;
use crate::stage::{Stage, brisk};

const MAINTENANCE: &str = "maintenance: finished teardowns removed";
const DISCOVERY: &str = "discovery: the customer list was looked at";

async fn seen(daemon: &Daemon) {
    for line in [MAINTENANCE, DISCOVERY] {
        until(line, async || daemon.line(line).map(|_| ())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_due_while_no_daemon_ran_is_made_up_for_once() {
    let stage = Stage::populated(2, brisk()).await;
    // Once a year, and not while this test runs but for one night.
    stage.reconfigure("[scheduler]", "[scheduler]\nmaintenance = \"0 0 0 1 1 * Europe/Amsterdam\"");
    let discovery =
        r#"discovery = { schedule = "0 0 0 1 1 *", allow_domains = ["*.onmicrosoft.com"] }"#;
    let budget = "requests_per_minute = 1000000";
    stage.reconfigure(budget, &format!("{budget}\n{discovery}"));
    let mut database = stage.database().await;
    // The first start has nothing to make up for.
    let first = stage.ready().await;
    stage.looked_twice().await;
    assert!(first.line(MAINTENANCE).is_none() && first.line(DISCOVERY).is_none());
    first.stop().await;
    let known = "SELECT count(*) FROM jobs WHERE name IN ('maintenance', 'discovery of default')";
    assert_eq!(database.number(known).await, 2);

    database.change("UPDATE jobs SET ran_at = '2020-06-01T00:00:00.000Z'").await.unwrap();
    let second = stage.ready().await;
    seen(&second).await;
    let noted = "SELECT count(*) FROM jobs WHERE ran_at > '2020-06-01T00:00:00.000Z'";
    until("both are noted", async || (database.number(noted).await == 2).then_some(())).await;
    second.stop().await;

    let third = stage.ready().await;
    stage.looked_twice().await;
    assert!(third.line(MAINTENANCE).is_none() && third.line(DISCOVERY).is_none(), "twice");
    third.stop().await;
    database.close().await;
}
