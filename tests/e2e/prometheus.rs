//! A real Prometheus with the rules of `deploy/prometheus` watches the daemon through a run with
//! faults, and sees every alert come up: those of faults, and those of what has lasted for long.
//! When each of them rings is tested in `deploy/prometheus/tests.yml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use jiff::ToSpan as _;
use serde_json::Value;
use teardownd::core::clock::Clock as _;
use teardownd::runtime::clock::SystemClock;
use teardownd::simulator::{Customer, Effect, Kind, Mix, Purchase, RetryAfterForm, Rule, When};
use teardownd::store::free_bytes;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::gate::until;
use crate::metrics::until_at_least;
use crate::stage::{Stage, brisk};

/// What the daemon's configuration and files make ring at once.
const FROM_THE_START: [&str; 5] = [
    "TeardowndCredentialLapsesIn30Days",
    "TeardowndCredentialLapsesIn7Days",
    "TeardowndDiskNearlyFull",
    "TeardowndQuotaNearlyFull",
    "TeardowndRefreshTokenIdle",
];
/// What the faults make ring.
const FROM_FAULTS: [&str; 5] = [
    "TeardowndAccountHalted",
    "TeardowndAccountUnreachable",
    "TeardowndCredentialRefused",
    "TeardowndFailing",
    "TeardowndStuck",
];

/// What lasts for long, or will soon be too late.
const FROM_TIME: [&str; 4] = [
    "TeardowndCommandsUnsettled",
    "TeardowndNotTicking",
    "TeardowndOrdersNearing60Days",
    "TeardowndThrottledForLong",
];

/// These alerts need several replicas: a database file has one daemon, and no other one can be silent.
const FROM_REPLICAS: [&str; 1] = ["TeardowndReplicaSilent"];

/// A Prometheus of the test's own. It does not outlive its handle.
struct Prometheus {
    _process: Child,
    log: PathBuf,
    client: reqwest::Client,
}

impl Prometheus {
    /// Scrapes this address; `None` where Prometheus is not installed.
    fn start(folder: &Path, target: &str) -> Option<Self> {
        let rules =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/teardownd.rules.yml");
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n  - job_name: teardownd\n    static_configs: [{{targets: ['{target}']}}]\n",
            rules.display()
        );
        std::fs::write(&config, text).unwrap();
        let log = folder.join("prometheus.log");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { _process: process, log, client })
    }

    /// Where it listens, once it has said so.
    fn address(&self) -> Option<String> {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let (_, rest) = said.split_once("msg=\"Listening on\" address=")?;
        rest.split_whitespace().next().map(str::to_owned)
    }

    async fn ask(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.address()?);
        let answer = self.client.get(url).send().await.ok()?.bytes().await.ok()?;
        serde_json::from_slice(&answer).ok()
    }

    /// The alerts whose expressions return a series now, whether they have rung or not yet.
    async fn alerts(&self) -> Option<BTreeSet<String>> {
        let answer = self.ask("/api/v1/alerts").await?;
        let alerts = answer["data"]["alerts"].as_array()?.iter();
        Some(
            alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect(),
        )
    }

    async fn until_alerts(&self, names: &[&str]) {
        until(&format!("Prometheus sees {names:?}"), async || {
            let alerts = self.alerts().await?;
            names.iter().all(|name| alerts.contains(*name)).then_some(())
        })
        .await;
    }

    /// Every rule could be evaluated.
    async fn assert_rules_are_healthy(&self) {
        let answer = self.ask("/api/v1/rules").await.unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules: Vec<_> = groups.iter().flat_map(|g| g["rules"].as_array().unwrap()).collect();
        assert!(rules.len() >= 20, "{} rules", rules.len());
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_sees_what_goes_wrong() {
    let mut sandbox = Stage::sandbox();
    let mix = Mix { savings_plans: 1, ..Mix::default() };
    sandbox.populate(6, 7, &mix).unwrap();
    let stage = Stage::with(sandbox, brisk()).await;
    prepare(&stage);
    let daemon = stage.ready().await;
    let target = daemon.listens().unwrap().to_string();
    let Some(prometheus) = Prometheus::start(stage.folder(), &target) else {
        eprintln!("SKIPPED: prometheus is not installed (Debian's package prometheus)");
        return;
    };
    prometheus.until_alerts(&FROM_THE_START).await;
    let alerts = prometheus.alerts().await.unwrap();
    assert!(FROM_FAULTS.iter().all(|name| !alerts.contains(*name)), "{alerts:?}");

    // A run in which a seventh of all answers is a proxy's, and an eleventh gets lost. Not each seventh:
    // a pass of seven calls would then never get through.
    stage.simulator.add_rule(Rule::new(When::Chance(1.0 / 7.0), Effect::bad_gateway()));
    stage.simulator.add_rule(Rule::new(When::Chance(1.0 / 11.0), Effect::DropAfter));
    let [one, two, three, mistaken, last, with_savings_plan] =
        [0, 1, 2, 3, 4, 5].map(|index| stage.tenants[index].to_string());
    let default = ["--account", "default"];
    let enqueue = async |arguments: &[&str]| {
        stage.done(&[&["enqueue"], arguments].concat()).await;
    };
    enqueue(&[&one, &two, &three, default[0], default[1]]).await;
    enqueue(&[&with_savings_plan, default[0], default[1]]).await;
    enqueue(&[&mistaken, default[0], default[1], "--domain", "other.onmicrosoft.com"]).await;
    for tenant in [&one, &two, &three] {
        stage.until_state(tenant, "deleted").await;
    }
    stage.until_state(&with_savings_plan, "failed").await;

    // The two accounts that the sandbox does not know, and a stop that only a person lifts.
    enqueue(&[&one, "--account", "user"]).await;
    enqueue(&[&two, "--account", "away"]).await;
    stage.simulator.clear_rules();
    stage.strike_writes(When::Always, &Effect::fault(403, 800_019, "not a sandbox"));
    enqueue(&[&last, default[0], default[1]]).await;
    prometheus.until_alerts(&FROM_FAULTS).await;
    prometheus.assert_rules_are_healthy().await;

    daemon.kill().await;
    prometheus.until_alerts(&["TeardowndDown"]).await;
}

/// Prometheus comes late here: what it averages over half an hour is then all as it is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_sees_what_lasts() {
    let mut sandbox = Stage::sandbox();
    sandbox.populate(1, 7, &Mix::default()).unwrap();
    let old = Purchase { age: Duration::from_hours(56 * 24), ..Purchase::new(Kind::Reservation) };
    let old = Customer::new(Uuid::from_u128(56), "old.onmicrosoft.com").with(old);
    sandbox.add(old).unwrap();
    let stage = Stage::with(sandbox, brisk()).await;
    let [silent, old] = [0, 1].map(|index| stage.tenants[index].to_string());

    // A write that nobody answers, and an order of 56 days that a guard holds up.
    stage.strike_writes(When::Always, &Effect::DropBefore);
    let daemon = stage.ready().await;
    stage.done(&["enqueue", &silent]).await;
    stage.done(&["enqueue", &old, "--domain", "other.onmicrosoft.com"]).await;
    let mut database = stage.database().await;
    let unsettled = "SELECT count(*) FROM commands WHERE outcome IS NULL AND sends > 0";
    until("a write is unsettled", async || (database.number(unsettled).await == 1).then_some(()))
        .await;
    until("the order's time is known", async || {
        let known = "SELECT count(*) FROM teardowns WHERE uncancellable_at IS NOT NULL AND held";
        (database.number(known).await == 1).then_some(())
    })
    .await;
    daemon.kill().await;
    database.as_if_committed(Duration::from_hours(2)).await;

    // From now on the API answers 429 for an hour.
    let throttle = Effect::ThrottleIn(Duration::from_hours(1), RetryAfterForm::Seconds);
    stage.simulator.add_rule(Rule::new(When::Always, throttle));
    let daemon = stage.ready().await;
    let throttled = [("account", "default"), ("state", "throttled")];
    until_at_least(&daemon, "teardownd_account_state", &throttled, 1.0).await;
    // And another process keeps the database to itself, so that nothing can be claimed.
    until("the database is locked", async || database.change("BEGIN EXCLUSIVE").await.ok()).await;
    let failed = [("outcome", "failed")];
    until_at_least(&daemon, "teardownd_scheduler_ticks_total", &failed, 1.0).await;

    let target = daemon.listens().unwrap().to_string();
    let Some(prometheus) = Prometheus::start(stage.folder(), &target) else {
        eprintln!("SKIPPED: prometheus is not installed (Debian's package prometheus)");
        return;
    };
    prometheus.until_alerts(&FROM_TIME).await;
    prometheus.assert_rules_are_healthy().await;
    daemon.kill().await;
}

#[test]
fn every_alert_is_provoked() {
    let rules = include_str!("../../deploy/prometheus/teardownd.rules.yml");
    let named = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let here = [&FROM_THE_START[..], &FROM_FAULTS, &FROM_TIME, &["TeardowndDown"]].concat();
    let provoked = [&here[..], &FROM_REPLICAS].concat();
    assert_eq!(named.collect::<BTreeSet<_>>(), provoked.into_iter().collect());
}

/// Accounts whose credentials lapse, a refresh token that lies idle, a full sandbox and a full disk.
fn prepare(stage: &Stage) {
    let now = SystemClock::start().now();
    let day = |days: i64| (now + (24 * days).hours()).strftime("%Y-%m-%d").to_string();
    let (soon, later) = (day(3), day(20));
    let free = free_bytes(&stage.path("t.db")).unwrap();
    stage.rewrite(|text| {
        text.replace("min_free = \"1MB\"", &format!("min_free = \"{}B\"", free / 10 * 6))
            .replace("[engine]\n", "[engine]\nstuck_after = \"1s\"\n")
            .replace(
                "requests_per_minute = 1000000",
                "requests_per_minute = 1000000\ncustomers_limit = 6",
            )
            .replace("file = \"secret\" }", &format!("file = \"secret\", expires = \"{soon}\" }}"))
    });
    stage.add_account("away", "kind = \"client_secret\"");
    // Nobody listens there.
    stage.rewrite(|text| {
        let (others, away) = text.split_once("[accounts.away]").unwrap();
        let lines = away.lines().map(|line| match line.split_once(" = ") {
            Some((key @ ("api_base" | "authority"), _)) => {
                format!("{key} = \"http://127.0.0.1:1\"")
            }
            _ => line.to_owned(),
        });
        format!("{others}[accounts.away]{}\n", lines.collect::<Vec<_>>().join("\n"))
    });
    let refreshed = "kind = \"refresh_token\", refresh_token_file = \"refresh\"";
    stage.add_account("user", &format!("{refreshed}, expires = \"{later}\""));
    let idle = now - Duration::from_secs(80 * 24 * 3600);
    let file = std::fs::OpenOptions::new().write(true).open(stage.path("refresh")).unwrap();
    file.set_modified(idle.into()).unwrap();
}
