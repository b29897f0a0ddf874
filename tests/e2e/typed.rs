//! Plain SQL, typed in beside the running daemon.

use std::path::Path;
use std::process::Command;

use crate::database::Database;
use crate::gate::until;
use crate::stage::{Settings, Stage, brisk};

/// Runs a statement in the `sqlite3` shell, or where that is not installed through a library, on a
/// connection that knows nothing of the program.
async fn type_in(path: &Path, sql: &str) -> Result<(), String> {
    match Command::new("sqlite3").arg("-cmd").arg(".timeout 5000").arg(path).arg(sql).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(_) => {
            let mut database = Database::open(path).await;
            let result = database.change(sql).await;
            database.close().await;
            result
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_insert_is_picked_up_without_a_restart() {
    let stage = Stage::populated(3, brisk()).await;
    let file = stage.path("t.db");
    let daemon = stage.ready().await;
    let insert = |id: &str| format!("INSERT INTO teardowns (tenant_id) VALUES ('{id}')");
    let [lower, upper, third] = [0, 1, 2].map(|index| stage.tenants[index].to_string());
    stage.looked_twice().await;

    type_in(&file, &insert(&lower)).await.unwrap();
    type_in(&file, &insert(&upper.to_uppercase())).await.unwrap();
    for tenant in [&lower, &upper] {
        let row = stage.until_state(tenant, "deleted").await;
        assert_eq!((&row["account"], &row["requested_by"]), (&"default".into(), &"sql".into()));
    }

    // What the table itself refuses, with the reason.
    for (statement, reason) in [
        (insert("1f2e3d4c-5b6a-4788-9900-aabbccddee"), "not a GUID"),
        (insert("tenant"), "not a GUID"),
        (
            format!("INSERT INTO teardowns (tenant_id, state) VALUES ('{third}', 'deleting')"),
            "starts as queued",
        ),
    ] {
        let error = type_in(&file, &statement).await.unwrap_err();
        assert!(error.contains(reason), "{statement}: {error}");
    }

    // A tenant is torn down once at a time (invariant 10), and operators are heard here as well.
    let request = "INSERT INTO operator_requests (verb) VALUES ('pause')";
    type_in(&file, request).await.unwrap();
    let mut database = stage.database().await;
    until("the pause is answered", async || {
        let open = "SELECT count(*) FROM operator_requests WHERE answered_at IS NULL";
        (database.number(open).await == 0).then_some(())
    })
    .await;
    type_in(&file, &insert(&third)).await.unwrap();
    let error = type_in(&file, &insert(&third.to_uppercase())).await.unwrap_err();
    assert!(error.contains("already has an active teardown"), "{error}");
    stage.looked_twice().await;
    let row = stage.row(&third).await;
    assert_eq!((&row["state"], &row["blocked_by"]), (&"queued".into(), &"paused".into()));
    type_in(&file, "INSERT INTO operator_requests (verb) VALUES ('resume')").await.unwrap();
    stage.until_state(&third, "deleted").await;
    let answers = "SELECT answer FROM operator_requests WHERE verb = 'resume'";
    assert_eq!(database.texts(answers).await.len(), 1);
    database.close().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

/// Four writes are out. The lease of the row that is ended goes with it, and those of the others are
/// renewed: nobody claims them anew beside the passes that still wait for an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_ended_by_sql_costs_no_other_its_lease() {
    let stage = Stage::populated(6, brisk()).await;
    let [first, second] = [0, 1].map(|index| stage.tenants[index].to_string());
    let daemon = stage.ready().await;
    stage.done(&["enqueue", &first, &second, "--wait"]).await;
    daemon.stop().await;
    stage.configure(&Settings { lease_ttl: "2s", ..Settings::default() });
    stage.hold_answers_to_writes();
    stage.enqueue_all().await;
    let daemon = stage.ready().await;
    let mut database = stage.database().await;
    let out = "SELECT count(DISTINCT tenant_id) FROM commands WHERE outcome IS NULL AND sends > 0";
    until("four tenants are written to", async || (database.number(out).await == 4).then_some(()))
        .await;

    let ended = "SELECT id FROM teardowns WHERE lease_owner IS NOT NULL AND state <> 'deleting'";
    let ended = database.number(ended).await;
    let abort = format!("UPDATE teardowns SET state = 'aborted' WHERE id = {ended}");
    type_in(&stage.path("t.db"), &abort).await.unwrap();
    let lease =
        format!("SELECT count(*) FROM teardowns WHERE id = {ended} AND lease_owner IS NULL");
    assert_eq!(database.number(&lease).await, 1);
    let others = "FROM teardowns WHERE lease_owner IS NOT NULL";
    let fences = database.texts(&format!("SELECT id || ' ' || fence {others} ORDER BY id")).await;
    assert_eq!(fences.len(), 3);
    let until_when = "strftime('%Y-%m-%dT%H:%M:%fZ', min(lease_until), '+6 seconds')";
    let later = database.texts(&format!("SELECT {until_when} {others}")).await.remove(0);
    until("three more lives of a lease have passed", async || {
        let renewed = format!("SELECT count(*) {others} AND lease_until > '{later}'");
        (database.number(&renewed).await == 3).then_some(())
    })
    .await;
    let now = database.texts(&format!("SELECT id || ' ' || fence {others} ORDER BY id")).await;
    assert_eq!(now, fences, "claimed anew while their passes lived");
    let sends = database.sends().await;
    assert!(sends.values().all(|sends| *sends == 1), "sent beside the first: {sends:?}");
    stage.simulator.clear_rules();
    stage.gate.open();
    stage.until_all_ended().await;
    database.close().await;
    daemon.stop().await;
    stage.assert_careful();
}
