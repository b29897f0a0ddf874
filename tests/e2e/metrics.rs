//! What the running daemon exports: exactly the catalogue, from the first scrape on, and true right
//! after a restart.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use teardownd::interfaces::metering::{Kind, Metric, Scope, Start, catalogue};

use crate::daemon::Daemon;
use crate::exposition::{Exposition, Labels};
use crate::gate::until;
use crate::stage::{Stage, brisk};

/// Waits for a metric of this value or a higher one.
pub async fn until_at_least(daemon: &Daemon, name: &str, labels: &[(&str, &str)], value: f64) {
    until(&format!("{name} {labels:?} is {value}"), async || {
        (scrape(daemon).await.value(name, labels) >= value).then_some(())
    })
    .await;
}

async fn scrape(daemon: &Daemon) -> Exposition {
    let (status, text) = daemon.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    Exposition::read(&text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exporter_shows_exactly_the_catalogue_before_and_after_work() {
    let stage = Stage::populated(4, brisk()).await;
    stage.rewrite(|text| {
        text.replace("file = \"secret\" }", "file = \"secret\", expires = \"2099-01-31\" }")
    });
    stage.add_account("user", "kind = \"refresh_token\", refresh_token_file = \"refresh\"");
    let daemon = stage.ready().await;
    assert_catalogue(&scrape(&daemon).await);

    for tenant in &stage.tenants {
        stage.done(&["enqueue", &tenant.to_string(), "--account", "default"]).await;
    }
    stage.until_all_ended().await;
    let all_counted = until("every change of state is counted", async || {
        let seen = scrape(&daemon).await;
        let deleted = [("account", "default"), ("from", "deleting"), ("to", "deleted")];
        (seen.value("teardownd_transitions_total", &deleted) == 4.0).then_some(seen)
    })
    .await;
    assert_catalogue(&all_counted);
    assert_moves(&all_counted);
    assert!(all_counted.value("teardownd_customers", &[("account", "default")]) <= 4.0);
    assert!(
        all_counted.value("teardownd_token_expiry_timestamp_seconds", &[("account", "default")])
            > 0.0
    );
    daemon.stop().await;
}

/// Every metric is there with its type and help, and every series that it can have and no other.
fn assert_catalogue(seen: &Exposition) {
    let types: Vec<_> = seen.types.iter().map(|(n, kind)| (n.as_str(), kind.as_str())).collect();
    let mut expected: Vec<_> = catalogue::ALL.iter().map(|m| (m.name, m.kind.as_str())).collect();
    expected.sort_unstable();
    assert_eq!(types, expected);
    let scope = Scope { accounts: vec!["default".to_owned(), "user".to_owned()] };
    for metric in catalogue::ALL {
        assert_eq!(seen.help[metric.name], metric.help);
        let possible = series_of(metric, &scope);
        let shown = seen.series(metric.name);
        if metric.start == Start::Absent {
            assert_eq!(shown.len(), 1, "{}: one account has it", metric.name);
            assert!(shown.is_subset(&possible), "{}: {shown:?}", metric.name);
        } else {
            assert_eq!(shown, possible, "{}", metric.name);
        }
        if let Kind::Histogram(bounds) = metric.kind {
            let buckets = format!("{}_bucket", metric.name);
            let count = seen.values.keys().filter(|(name, _)| *name == buckets).count();
            assert_eq!(count, shown.len() * (bounds.len() + 1), "{}", metric.name);
        }
    }
}

fn series_of(metric: &Metric, scope: &Scope) -> BTreeSet<Labels> {
    let names = metric.label_names();
    let labels = |values: Vec<String>| {
        names.iter().map(|name| (*name).to_owned()).zip(values).collect::<Labels>()
    };
    metric.series(scope).into_iter().map(labels).collect()
}

/// Whoever was queued went one of the ways of the design, and each step took some time.
fn assert_moves(seen: &Exposition) {
    let total = |from: &str, to: &str| {
        let labels = [("account", "default"), ("from", from), ("to", to)];
        seen.value("teardownd_transitions_total", &labels)
    };
    assert_eq!(total("new", "queued"), 4.0);
    assert_eq!(total("queued", "entitlements_fetched"), 4.0);
    let left = |state: &str| {
        let labels = [("account", "default"), ("state", state)];
        seen.value("teardownd_state_duration_seconds_count", &labels)
    };
    assert_eq!(left("queued"), 4.0);
    assert_eq!(
        left("deleting"),
        total("deleting", "deleted") + total("deleting", "orders_cancelling")
    );
    let ended = [("account", "default"), ("outcome", "deleted")];
    assert_eq!(seen.value("teardownd_teardown_duration_seconds_count", &ended), 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_are_true_right_after_a_restart() {
    let stage = Stage::populated(4, brisk()).await;
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|index| stage.tenants[index].to_string());
    let daemon = stage.ready().await;
    stage.done(&["enqueue", &first, &second, "--wait"]).await;
    daemon.stop().await;
    stage.done(&["enqueue", &third, &fourth]).await;
    stage.done(&["hold", &third, "--reason", "still testing"]).await;
    stage.done(&["abort", &fourth]).await;

    let daemon = stage.ready().await;
    let seen = scrape(&daemon).await;
    let account = ("account", "default");
    let teardowns = |state, status| {
        seen.value("teardownd_teardowns", &[account, ("state", state), ("status", status)])
    };
    assert_eq!(teardowns("deleted", "done"), 2.0);
    assert_eq!(teardowns("aborted", "done"), 1.0);
    assert_eq!(teardowns("queued", "held"), 1.0);
    assert_eq!(seen.sum("teardownd_teardowns"), 4.0);
    let held = [account, ("reason", "operator")];
    assert_eq!(seen.value("teardownd_teardowns_held", &held), 1.0);
    let left = |window| seen.value("teardownd_deletions_left", &[account, ("window", window)]);
    assert_eq!((left("hour"), left("day")), (73.0, 298.0));
    assert_eq!(seen.value("teardownd_commands_unsettled", &[account]), 0.0);
    assert_eq!(seen.value("teardownd_account_state", &[account, ("state", "ok")]), 1.0);
    assert_eq!(seen.sum("teardownd_account_state"), 1.0);
    assert_eq!(seen.value("teardownd_customers_limit", &[account]), 75.0);
    assert!(seen.value("teardownd_store_size_bytes", &[]) > 0.0);
    assert!(seen.value("teardownd_store_free_bytes", &[]) > 0.0);
    assert_eq!(seen.sum("teardownd_transitions_total"), 0.0, "counters begin with the process");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_without_an_answer_is_shown_until_it_is_settled() {
    let stage = Stage::populated(1, brisk()).await;
    let daemon = stage.ready().await;
    let call = stage.hold_answers_to_writes();
    stage.enqueue_all().await;
    stage.until_written(call).await;
    let account = ("account", "default");
    let age = "teardownd_commands_unsettled_oldest_age_seconds";
    until("an unsettled command with its age", async || {
        let seen = scrape(&daemon).await;
        let shown = seen.value("teardownd_commands_unsettled", &[account]) >= 1.0;
        (shown && seen.value(age, &[account]) > 0.0).then_some(())
    })
    .await;
    daemon.kill().await;
    let daemon = stage.ready().await;
    let seen = scrape(&daemon).await;
    assert!(seen.value("teardownd_commands_unsettled", &[account]) >= 1.0, "after a restart too");

    stage.gate.open();
    stage.simulator.clear_rules();
    stage.until_all_ended().await;
    until("nothing is unsettled any more", async || {
        let seen = scrape(&daemon).await;
        let none = seen.value("teardownd_commands_unsettled", &[account]) == 0.0;
        (none && seen.value(age, &[account]) == 0.0).then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_to_complain_of() {
    let stage = Stage::populated(2, brisk()).await;
    let daemon = stage.ready().await;
    stage.enqueue_all().await;
    stage.until_all_ended().await;
    let (_, text) = daemon.get("/metrics").await.unwrap();
    daemon.stop().await;
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("SKIPPED: promtool is not installed (Debian's package prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
