//! `backup` and `restore` with the real program.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use crate::gate::{pause, until};
use crate::stage::{Stage, brisk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_made_while_the_daemon_works() {
    let stage = Stage::populated(12, brisk()).await;
    let daemon = stage.ready().await;
    stage.enqueue_all().await;
    let mut database = stage.database().await;
    until("writes were sent", async || {
        let sent = database.number("SELECT count(*) FROM commands WHERE sends > 0").await;
        (sent > 3).then_some(())
    })
    .await;
    database.close().await;
    let made = stage.done(&["backup", "copy.db"]).await;
    let made = &made["backup"];
    let copy = stage.path("copy.db");
    assert_eq!(made["bytes"], std::fs::metadata(&copy).unwrap().len(), "{made}");
    assert_eq!((&made["teardowns"], &made["verified"]), (&12.into(), &true.into()), "{made}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!stage.path("copy.db.partial").exists());

    let again = stage.run(&["backup", "copy.db"]).await;
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.err.contains("exists already and is not overwritten"), "{again:?}");
    let nowhere = stage.run(&["backup", "no/such/folder/copy.db"]).await;
    assert_eq!(nowhere.code, 5, "{nowhere:?}");
    let text = stage.run(&["backup", "second.db"]).await;
    assert!(
        text.out.contains("written and verified: ") && text.out.contains("12 teardowns"),
        "{text:?}"
    );

    // Not while the daemon runs, whose name is told.
    let refused = stage.run(&["restore", "copy.db"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains(&daemon.owner()), "{refused:?}");
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

/// The backup knows of cancellations that are under way, and of nothing that came later: the rest of
/// the teardown, the DELETE among it, and an abort. Nothing is deleted twice, and who was saved by the
/// abort stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_knowledge_deletes_nobody() {
    let stage = Stage::populated(4, brisk()).await;
    let [first, spared] = [0, 3].map(|index| stage.tenants[index].to_string());
    let daemon = stage.ready().await;
    stage.done(&["enqueue", &first, "--wait"]).await;
    stage.done(&["enqueue", &spared, "--not-before", "10h"]).await;
    stage.hold_answers_to_writes();
    for tenant in [1, 2].map(|index| stage.tenants[index].to_string()) {
        stage.done(&["enqueue", &tenant]).await;
    }
    let sent = "SELECT count(*) FROM commands WHERE outcome IS NULL AND sends > 0";
    let mut database = stage.database().await;
    until("a write is out", async || (database.number(sent).await > 0).then_some(())).await;
    // Both are known: one that was never seen ends with another reason.
    let seen = "SELECT count(*) FROM teardowns WHERE domain IS NOT NULL";
    until("both were read", async || (database.number(seen).await == 3).then_some(())).await;
    stage.done(&["backup", "copy.db"]).await;
    stage.simulator.clear_rules();
    stage.gate.open();
    stage.done(&["abort", &spared, "--reason", "it is the demo of tomorrow"]).await;
    stage.until_all_ended().await;
    database.close().await;
    daemon.stop().await;
    assert_eq!(stage.simulator.snapshot().customers_left, 1);

    let restored = stage.done(&["restore", "copy.db"]).await;
    assert_eq!(restored["paused"], true, "{restored}");
    let carried = &restored["restore"]["carried"];
    assert_eq!((&carried["held"], &carried["missing"]), (&1.into(), &0.into()), "{restored}");
    let kept = restored["restore"]["kept"].as_str().unwrap();
    assert!(std::fs::exists(kept).unwrap());

    // Paused: it reads nothing and writes nothing until somebody resumes.
    let calls = stage.calls();
    let daemon = stage.ready().await;
    stage.looked_twice().await;
    assert_eq!(stage.calls(), calls);
    let row = stage.row(&spared).await;
    assert_eq!((&row["status"], &row["blocked_by"]), (&"held".into(), &"operator".into()), "{row}");
    let why = stage.run(&["why", &spared]).await;
    assert!(why.out.contains("it is the demo of tomorrow"), "{why:?}");
    let mut database = stage.database().await;
    let reason = database.texts("SELECT paused_reason FROM accounts WHERE name = '*'").await;
    assert!(reason[0].starts_with("restored from ") && reason[0].contains("copy.db"), "{reason:?}");

    stage.done(&["resume"]).await;
    let open = "SELECT count(*) FROM teardowns
                WHERE state NOT IN ('deleted', 'aborted', 'failed') AND NOT held";
    until("all but the spared have ended", async || {
        (database.number(open).await == 0).then_some(())
    })
    .await;
    // The backup holds writes without an answer; what they were for is gone by now, so that nothing is
    // sent again, and no DELETE either.
    let ended = database
        .texts("SELECT reason || ': ' || reason_text FROM teardowns WHERE state <> 'queued'")
        .await;
    let vanished = ended.iter().filter(|why| why.starts_with("customer_vanished"));
    assert_eq!(vanished.count(), 2, "{ended:#?}");
    assert_eq!(stage.writes_since(calls).len(), 0);
    database.close().await;
    daemon.stop().await;
    assert_eq!(stage.simulator.snapshot().customers_left, 1, "the one that was aborted");
    stage.assert_careful();
}

/// A kill may strike before, within and after each step: what was denied since the backup stays denied,
/// and the next restore goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_loses_no_deny_entry() {
    let stage = Stage::populated(2, brisk()).await;
    let daemon = stage.ready().await;
    stage.enqueue_all().await;
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.done(&["backup", "copy.db"]).await;
    for turn in 0..20_u32 {
        let domain = format!("denied-{turn}.onmicrosoft.com");
        stage.done(&["protect", &domain, "--reason", "it is in use"]).await;
        let mut restore = stage.command(&["restore", "copy.db"]);
        let mut restore = restore.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        pause(Duration::from_millis(15) * turn).await;
        restore.kill().await.unwrap();

        stage.done(&["restore", "copy.db"]).await;
        let listed = stage.run(&["protect", "--list"]).await;
        for earlier in 0..=turn {
            let domain = format!("denied-{earlier}.onmicrosoft.com");
            assert!(listed.out.contains(&domain), "{turn}: {domain}: {listed:?}");
        }
    }
}
