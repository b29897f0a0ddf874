//! Three replicas on one PostgreSQL server: killed, frozen, with a clock of their own, and the server is
//! killed under them. `TEARDOWND_SEEDS` says how many runs there are.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use teardownd::core::clock::Clock as _;
use teardownd::runtime::clock::SystemClock;
use teardownd::simulator::{Mix, Options, Sandbox};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::gate::{pause, until};
use crate::stage::{CLIENT, PARTNER, SECRET, Settings, Stage, brisk};

/// Their leases. A frozen replica is frozen for longer.
const LEASE: &str = "4s";
const FROZEN: Duration = Duration::from_secs(7);
/// Requests a minute and class that the simulator notes as too many.
const BUDGET: usize = 500;
/// A sandbox is full with so many.
const CUSTOMERS: usize = 75;

/// Preloaded, it gives a process another clock.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// A stage on the server, with so many accounts that share the customers.
async fn stage(cluster: &Cluster, accounts: usize, options: Options, in_flight: u32) -> Stage {
    let partner = |number: usize| Uuid::from_u128(PARTNER.as_u128() + ((number as u128) << 64));
    let sandboxes = (0..accounts).map(|number| {
        let mut sandbox = Sandbox::new(partner(number), CLIENT, SECRET);
        sandbox.populate(CUSTOMERS / accounts, 7 + number as u64, &Mix::default()).unwrap();
        sandbox
    });
    let stage = Stage::with_all(sandboxes.collect(), options).await;
    let settings = Settings { max_in_flight: in_flight, lease_ttl: LEASE, ..Settings::default() };
    stage.configure(&settings);
    stage.reconfigure("sqlite:t.db", &cluster.url);
    let text = std::fs::read_to_string(stage.path("teardownd.toml")).unwrap();
    let (_, account) = text.split_once("[accounts.default]").unwrap();
    let others: String = (1..accounts)
        .map(|number| {
            let account = account.replace(&PARTNER.to_string(), &partner(number).to_string());
            format!("[accounts.other{number}]{account}")
        })
        .collect();
    stage.rewrite(|text| text + &others);
    stage.done(&["migrate"]).await;
    stage
}

/// Queues the customers of each account.
async fn enqueue(stage: &Stage, accounts: usize) {
    for number in 0..accounts {
        let name = if number == 0 { "default".to_owned() } else { format!("other{number}") };
        let each = CUSTOMERS / accounts;
        let tenants = &stage.tenants[number * each..(number + 1) * each];
        let text: String = tenants.iter().map(|tenant| format!("{tenant}\n")).collect();
        std::fs::write(stage.path("tenants.csv"), text).unwrap();
        stage.done(&["enqueue", "--account", &name, "--file", "tenants.csv"]).await;
    }
}

/// A replica, with a clock that is so many minutes ahead.
fn start(stage: &Stage, name: &str, minutes: u32) -> Daemon {
    let faketime = FAKETIME.into_iter().find(|library| Path::new(library).exists());
    let ahead = format!("+{minutes}m");
    let mut variables = vec![("TEARDOWND__ENGINE__REPLICA", OsStr::new(name))];
    match faketime {
        Some(library) if minutes > 0 => variables.extend([
            ("LD_PRELOAD", OsStr::new(library)),
            ("FAKETIME", OsStr::new(&ahead)),
            ("FAKETIME_DONT_FAKE_MONOTONIC", OsStr::new("1")),
        ]),
        None if minutes > 0 => {
            eprintln!("SKIPPED: no clock that is ahead: libfaketime is missing (package faketime)");
        }
        _ => {}
    }
    stage.start_with(&variables)
}

/// Has the server note each lease that a replica took from another one before it had lapsed.
const WATCH: &str = "
    CREATE TABLE taken (was text);
    CREATE FUNCTION note_taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO taken VALUES (concat_ws(' ', OLD.id, OLD.lease_owner, OLD.lease_until, OLD.fence, 'by',
            current_setting('application_name'), NEW.lease_owner, NEW.fence, clock_timestamp()));
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_taken AFTER UPDATE ON teardowns FOR EACH ROW
        WHEN (OLD.lease_until > clock_timestamp() AND OLD.fence <> NEW.fence
              AND current_setting('application_name')
                  <> 'teardownd ' || split_part(OLD.lease_owner, '/', 1))
        EXECUTE FUNCTION note_taken();";

async fn change(cluster: &Cluster, sql: &str) {
    let options: sqlx::postgres::PgConnectOptions = cluster.url.parse().unwrap();
    let mut conn = options.disable_statement_logging().connect().await.unwrap();
    conn.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

/// Waits until so many of the customers are gone.
async fn until_gone(stage: &Stage, count: usize) {
    until(&format!("{count} customers are gone"), async || {
        (stage.simulator.snapshot().customers_left <= CUSTOMERS - count).then_some(())
    })
    .await;
}

async fn until_all_deleted(cluster: &Cluster) {
    until("every teardown is deleted", async || {
        let deleted = "SELECT count(*) FROM teardowns WHERE state = 'deleted'";
        (cluster.number(deleted).await == CUSTOMERS as i64).then_some(())
    })
    .await;
}

/// One run: everything that happens to replicas, at moments that the seed chooses.
async fn run(seed: usize) {
    let Some(cluster) = Cluster::start() else { return };
    let accounts = if seed.is_multiple_of(2) { 1 } else { 3 };
    let options = Options { budget_per_minute: Some(BUDGET), ..brisk() };
    let stage = stage(&cluster, accounts, options, 16).await;
    stage.rewrite(|text| text.replace("= 1000000", &format!("= {BUDGET}")));
    enqueue(&stage, accounts).await;
    change(&cluster, WATCH).await;
    let frozen = start(&stage, "b", 0);
    let ahead = start(&stage, "c", 10);
    let killed = start(&stage, "a", 0).ready().await;
    let (frozen, ahead) = (frozen.ready().await, ahead.ready().await);

    let moment = |n: usize| 3 + (seed * 7 + n * 13) % 11;
    until_gone(&stage, moment(0)).await;
    killed.kill().await;
    until_gone(&stage, moment(0) + moment(1)).await;
    frozen.signal(Signal::STOP);
    pause(FROZEN).await;
    frozen.signal(Signal::CONT);
    // Its own tenants go on at once, before their leases lapse.
    let again = start(&stage, "a", 0).ready().await;
    until_gone(&stage, moment(0) + moment(1) + moment(2)).await;
    cluster.kill().await;
    cluster.again().await;

    until_all_deleted(&cluster).await;
    for daemon in [again, frozen, ahead] {
        daemon.stop().await;
    }
    stage.assert_all_torn_down();
    let taken = cluster.texts("SELECT was FROM taken").await;
    assert_eq!(taken, Vec::<String>::new(), "leases that a replica took from another one");
    assert_eq!(cluster.number("SELECT count(*) FROM commands WHERE outcome IS NULL").await, 0);
    // Each has ended in good order, and none counts as silent.
    assert_eq!(cluster.number("SELECT count(*) FROM replicas WHERE stopped_at IS NULL").await, 0);
    stage.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariants_4_9_and_10_three_replicas_lose_and_repeat_nothing_whatever_happens_to_them() {
    let seeds = std::env::var("TEARDOWND_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(2) {
        let clock = SystemClock::start();
        let begun = clock.uptime();
        run(seed).await;
        eprintln!("seed {seed}: {} s", clock.uptime().saturating_sub(begun).as_secs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_replica_and_every_command_tells_of_all_of_them() {
    let Some(cluster) = Cluster::start() else { return };
    let stage = stage(&cluster, 1, brisk(), 4).await;
    let (one, other) = (start(&stage, "one", 0).ready().await, start(&stage, "other", 0));
    let other = other.ready().await;
    let status = until("both have ticked", async || {
        let status = stage.done(&["status"]).await;
        let working = |n: usize| status["replicas"][n]["state"] == "working";
        (working(0) && working(1)).then_some(status)
    })
    .await;
    assert_eq!(status["replicas"][1]["owner"], other.owner(), "{status}");
    until("readyz tells of both", async || {
        let (_, body) = one.get("/readyz").await?;
        body.contains("replicas: one works, other works").then_some(())
    })
    .await;
    // Each reads its configuration anew, and the answer is of both.
    stage.reconfigure("filter = \"info\"", "filter = \"info,sqlx=error\"");
    let reload = stage.done(&["reload"]).await;
    let text = reload["reload"]["text"].as_str().unwrap();
    assert!(text.contains("one: taken up") && text.contains("other: taken up"), "{reload}");
    other.stop().await;
    until("the metrics tell of the one that was stopped", async || {
        let (_, body) = one.get("/metrics").await?;
        let told = ["{state=\"working\"} 1", "{state=\"stopped\"} 1", "{state=\"silent\"} 0"];
        told.iter().all(|told| body.contains(&format!("teardownd_replicas{told}"))).then_some(())
    })
    .await;
    one.stop().await;
}

/// Seconds that so many replicas take for three accounts, where latency alone counts.
async fn seconds_of(replicas: usize) -> f64 {
    let Some(cluster) = Cluster::start() else { return f64::NAN };
    let millis = |least, most| (Duration::from_millis(least), Duration::from_millis(most));
    let options = Options { latency: millis(600, 600), ..brisk() };
    let stage = stage(&cluster, 3, options, 6).await;
    enqueue(&stage, 3).await;
    let clock = SystemClock::start();
    let begun = clock.uptime();
    let started: Vec<_> =
        (0..replicas).map(|number| start(&stage, &format!("r{number}"), 0)).collect();
    until_all_deleted(&cluster).await;
    let took = clock.uptime().saturating_sub(begun).as_secs_f64();
    for daemon in started {
        daemon.stop().await;
    }
    stage.assert_all_torn_down();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: it takes minutes and wants a quiet machine"]
async fn measure_three_replicas_against_one() {
    for round in 0..3 {
        let (one, three) = (seconds_of(1).await, seconds_of(3).await);
        eprintln!("round {round}: one {one:.1} s, three {three:.1} s, {:.2} times", one / three);
    }
}
