//! The daemon on a PostgreSQL server of its own, which is killed, stopped and started under it.

use crate::cluster::Cluster;
use crate::gate::{pause, until};
use crate::stage::{Settings, Stage, brisk};

/// How often the server is killed.
const KILLS: usize = 20;
/// A sandbox is full with so many.
const CUSTOMERS: usize = 75;

async fn stage(cluster: &Cluster, customers: usize) -> Stage {
    let stage = Stage::populated(customers, brisk()).await;
    stage.configure(&Settings { max_in_flight: 16, ..Settings::default() });
    stage.reconfigure("sqlite:t.db", &cluster.url);
    stage.done(&["migrate"]).await;
    stage
}

async fn until_all_deleted(cluster: &Cluster, customers: usize) {
    until("every teardown has ended", async || {
        let open = "SELECT count(*) FROM teardowns
                    WHERE state NOT IN ('deleted', 'aborted', 'failed')";
        (cluster.number(open).await == 0).then_some(())
    })
    .await;
    let deleted = "SELECT count(*) FROM teardowns WHERE state = 'deleted'";
    assert_eq!(usize::try_from(cluster.number(deleted).await), Ok(customers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_4_and_10_a_server_that_is_killed_twenty_times_loses_and_repeats_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let stage = stage(&cluster, CUSTOMERS).await;
    stage.enqueue_all().await;
    let daemon = stage.ready().await;
    let mut struck = 0;
    for kill in 0..KILLS {
        // At another moment of its work each time.
        let from = stage.simulator.journal().entries().len();
        until("the daemon goes on", async || {
            let calls = stage.simulator.journal().entries().len();
            let left = stage.simulator.snapshot().customers_left;
            (calls >= from + 10 + 7 * (kill % 5) || left == 0).then_some(())
        })
        .await;
        let left = stage.simulator.snapshot().customers_left;
        struck += usize::from(left > 0);
        cluster.kill().await;
        pause(std::time::Duration::from_millis(20 * (kill as u64 % 4))).await;
        cluster.again().await;
        eprintln!("kill {kill}: {left} customers were left");
    }
    assert!(struck >= KILLS / 2, "{struck} kills struck at work");
    until_all_deleted(&cluster, CUSTOMERS).await;
    daemon.stop().await;
    stage.assert_all_torn_down();
    let open = "SELECT count(*) FROM commands WHERE outcome IS NULL";
    assert_eq!(cluster.number(open).await, 0);
    stage.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_a_second_process_of_one_name_is_refused_and_commands_work_beside_the_first() {
    let Some(cluster) = Cluster::start() else { return };
    let stage = stage(&cluster, 6).await;
    let daemon = stage.ready().await;
    let second = stage.run(&["run"]).await;
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.err.contains("already, at 127.0.0.1"), "{second:?}");
    let tenant = stage.tenants[0].to_string();
    stage.done(&["enqueue", &tenant]).await;
    stage.until_state(&tenant, "deleted").await;
    let copy = stage.run(&["backup", "copy"]).await;
    assert!(copy.code == 2 && copy.err.contains("pg_dump"), "{copy:?}");
    // Killed, it leaves no lock behind.
    daemon.kill().await;
    let next = stage.ready().await;
    let tenant = stage.tenants[1].to_string();
    stage.done(&["enqueue", &tenant]).await;
    stage.until_state(&tenant, "deleted").await;
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stays_away_is_told_by_readyz_and_waited_for() {
    let Some(cluster) = Cluster::start() else { return };
    let stage = stage(&cluster, 6).await;
    let daemon = stage.ready().await;
    cluster.kill().await;
    until("readyz says that the store does not answer", async || {
        let (status, body) = daemon.get("/readyz").await?;
        (status == 503 && body.contains("cannot be reached")).then_some(())
    })
    .await;
    let away = stage.run(&["list"]).await;
    assert!(away.code == 1 && away.err.contains("cannot be reached"), "{away:?}");
    cluster.again().await;
    stage.enqueue_all().await;
    until_all_deleted(&cluster, 6).await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_13_a_password_in_a_file_that_everybody_reads_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::populated(1, brisk()).await;
    stage.reconfigure("sqlite:t.db", "postgres://ann:hush@127.0.0.1:1/t");
    let file = stage.path("teardownd.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = stage.run(&["list"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("chmod 640") && !refused.err.contains("hush"), "{refused:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let away = stage.run(&["list"]).await;
    assert!(away.code == 1 && away.err.contains("postgres://ann@127.0.0.1:1/t"), "{away:?}");
    assert!(!away.err.contains("hush"), "{away:?}");
}
