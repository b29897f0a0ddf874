//! The daemon on a PostgreSQL server of its own, which is killed, stopped and started under it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tempfile::TempDir;

use crate::gate::{pause, until};
use crate::stage::{Settings, Stage, brisk};

/// How often the server is killed.
const KILLS: usize = 20;
/// A sandbox is full with so many.
const CUSTOMERS: usize = 75;

/// A cluster of its own, which goes with the test.
struct Cluster {
    folder: TempDir,
    url: String,
}

impl Cluster {
    /// Starts one; `None` where the programs of PostgreSQL are missing, which is said.
    fn start() -> Option<Self> {
        // Its own user has to come in, and the name of a socket has to be short.
        let folder = TempDir::new_in("/tmp").unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        match script("start", &folder.path().join("c")) {
            Ok(url) => Some(Self { folder, url }),
            Err(why) => {
                eprintln!("SKIPPED: no PostgreSQL server: {why}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("c")
    }

    /// Kills the server as a power cut would, but for the disk: every process of it is gone at once.
    async fn kill(&self) {
        let pid = std::fs::read_to_string(self.path().join("data/postmaster.pid")).unwrap();
        let pid: i32 = pid.lines().next().unwrap().parse().unwrap();
        let sessions = children(pid);
        for pid in std::iter::once(pid).chain(sessions) {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
        }
        until("the server is gone", async || {
            (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        })
        .await;
    }

    /// Starts it again at its address.
    async fn again(&self) {
        until("the server starts", async || script("again", &self.path()).ok()).await;
    }

    /// A number that it is asked for.
    async fn number(&self, sql: &str) -> i64 {
        let options: PgConnectOptions = self.url.parse().unwrap();
        let mut conn = options.disable_statement_logging().connect().await.unwrap();
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut conn).await.unwrap().get(0)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = script("stop", &self.path()) {
            eprintln!("the server does not stop: {error}");
        }
    }
}

fn script(verb: &str, folder: &Path) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
    let output = Command::new(script).arg(verb).arg(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The processes that a process has started.
fn children(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| {
            line.strip_prefix("PPid:").is_some_and(|text| text.trim() == parent.to_string())
        })
    };
    numbers.filter(is_child).collect()
}

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
async fn invariant_10_a_second_daemon_on_a_server_is_refused_and_commands_work_beside_the_first() {
    let Some(cluster) = Cluster::start() else { return };
    let stage = stage(&cluster, 6).await;
    let daemon = stage.ready().await;
    let second = stage.run(&["run"]).await;
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.err.contains("in use by a daemon at 127.0.0.1"), "{second:?}");
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
