//! A PostgreSQL server of a test's own, which is killed, stopped and started under the daemon.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tempfile::TempDir;

use crate::gate::until;

/// A cluster of its own, which goes with the test.
pub struct Cluster {
    folder: TempDir,
    /// Its address.
    pub url: String,
}

impl Cluster {
    /// Starts one; `None` where the programs of PostgreSQL are missing, which is said.
    pub fn start() -> Option<Self> {
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
    pub async fn kill(&self) {
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
    pub async fn again(&self) {
        until("the server starts", async || script("again", &self.path()).ok()).await;
    }

    /// The texts of a column that it is asked for.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let options: PgConnectOptions = self.url.parse().unwrap();
        let mut conn = options.disable_statement_logging().connect().await.unwrap();
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        let rows = query.fetch_all(&mut conn).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// A number that it is asked for.
    pub async fn number(&self, sql: &str) -> i64 {
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
