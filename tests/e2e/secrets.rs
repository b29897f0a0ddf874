//! No secret in a log, in the database or in an answer (invariant 13).

use crate::gate::until;
use crate::stage::{Settings, Stage, brisk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_13_no_secret_is_told_however_much_is_logged() {
    let stage = Stage::populated(4, brisk()).await;
    stage.configure(&Settings { log: "trace", ..Settings::default() });
    let daemon = stage.ready().await;
    stage.enqueue_all().await;
    stage.until_all_ended().await;
    let tenant = stage.tenants[0].to_string();
    for command in ["show", "history", "why", "support"] {
        stage.done(&[command, &tenant]).await;
        assert_eq!(stage.run(&[command, &tenant]).await.code, 0);
    }
    let (_, metrics) = daemon.get("/metrics").await.unwrap();
    std::fs::write(stage.path("metrics"), metrics).unwrap();
    assert!(daemon.said().contains("TRACE"), "the log holds what there is to hold");
    daemon.stop().await;
    stage.assert_all_torn_down();
    stage.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_13_a_refused_credential_is_told_without_its_secret() {
    const WRONG: &str = "not~the.secret-that_was-given";
    let stage = Stage::populated(1, brisk()).await;
    stage.configure(&Settings { log: "trace", ..Settings::default() });
    stage.write_secret(WRONG);
    let daemon = stage.ready().await;
    stage.enqueue_all().await;
    let tenant = stage.tenants[0].to_string();
    let row = until("the refusal is shown", async || {
        let row = stage.row(&tenant).await;
        (row["blocked_by"] == "credential_refused").then_some(row)
    })
    .await;
    assert_eq!((&row["status"], &row["attempts"]), (&"waiting".into(), &0.into()));
    let why = stage.run(&["why", &tenant]).await;
    assert!(why.out.contains("AADSTS7000215"), "{why:?}");
    daemon.stop().await;
    assert_eq!(stage.writes_since(0).len(), 0);
    stage.assert_absent(WRONG);
    stage.assert_no_secret();
}
