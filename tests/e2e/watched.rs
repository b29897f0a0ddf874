//! `/healthz`, `/readyz` and `/metrics` of the running daemon. That `/readyz` says when it drains
//! stands in [`crate::shutdown`].

use crate::gate::until;
use crate::stage::{Stage, brisk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_tells_how_it_stands_and_never_names_a_tenant() {
    let stage = Stage::populated(4, brisk()).await;
    let daemon = stage.ready().await;
    assert_eq!(daemon.get("/healthz").await, Some((200, "alive\n".to_owned())));
    assert_eq!(daemon.get("/readyz").await, Some((200, "ready\n".to_owned())));
    for other in ["/", "/api/v1/teardowns", "/metrics/"] {
        assert_eq!(daemon.get(other).await.unwrap().0, 404, "{other}");
    }

    stage.enqueue_all().await;
    stage.until_all_ended().await;
    let lines = [
        "# TYPE teardownd_teardowns gauge",
        r#"teardownd_teardowns{account="default",state="deleted",status="done"} 4"#,
        r#"teardownd_transitions_total{account="default",from="deleting",to="deleted"} 4"#,
        r#"teardownd_account_state{account="default",state="halted"} 0"#,
        "teardownd_build_info{version=",
    ];
    // The gauges are read anew every few seconds.
    let metrics = until(&format!("the metrics hold {lines:#?}"), async || {
        let (status, text) = daemon.get("/metrics").await?;
        assert_eq!(status, 200);
        lines.iter().all(|line| text.contains(line)).then_some(text)
    })
    .await;
    let lower = metrics.to_lowercase();
    for tenant in &stage.tenants {
        assert!(!lower.contains(&tenant.to_string()), "{metrics}");
        assert!(!lower.contains(&tenant.simple().to_string()), "{metrics}");
    }
    daemon.stop().await;
}
