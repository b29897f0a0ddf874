//! A sandbox, a folder with configuration and database, and the program's commands in it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use teardownd::simulator::server::{ServerHandle, serve};
use teardownd::simulator::{Allowances, Mix, Options, Sandbox, Simulator};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use uuid::Uuid;

use crate::daemon::{Daemon, tail};
use crate::database::Database;
use crate::gate::{Gate, HANG, pause, until};

/// The partner's own tenant.
pub const PARTNER: Uuid = Uuid::from_u128(0xbbbbbbbb_0000_4000_8000_000000000001);
pub const CLIENT: Uuid = Uuid::from_u128(0xbbbbbbbb_0000_4000_8000_000000000002);
/// A partner that the sandbox does not know.
/// The client secret. It must be found nowhere but in its file.
pub const SECRET: &str = "kept~between.you-and_me";
/// A customer that no sandbox has and that the configuration protects.
pub const PROTECTED: &str = "aaaaaaaa-0000-4000-8000-000000000099";

/// What a test may set in the configuration.
#[derive(Clone, Copy)]
pub struct Settings {
    pub max_in_flight: u32,
    pub lease_ttl: &'static str,
    pub drain_timeout: &'static str,
    pub log: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        // A drain limit that is never reached unless a test wants that.
        Self { max_in_flight: 64, lease_ttl: "60s", drain_timeout: "1h", log: "info" }
    }
}

/// Options with fast cancellations.
pub fn brisk() -> Options {
    let millis = |least, most| (Duration::from_millis(least), Duration::from_millis(most));
    Options {
        latency: millis(1, 10),
        cancellation: millis(50, 600),
        removal: millis(20, 200),
        limit_per_minute: None,
        // The daemon reckons with its own clock; what a busy machine adds on the way is no breach.
        allowances: Allowances {
            inventory_latency: Duration::from_secs(60),
            ..Allowances::default()
        },
        ..Options::default()
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The place where a test plays.
pub struct Stage {
    pub simulator: Simulator,
    pub gate: Arc<Gate>,
    pub tenants: Vec<Uuid>,
    folder: TempDir,
    server: ServerHandle,
    starts: AtomicUsize,
}

impl Stage {
    /// A sandbox with this many customers, every kind of purchase among them.
    pub async fn populated(customers: usize, options: Options) -> Self {
        let mut sandbox = Self::sandbox();
        sandbox.populate(customers, 7, &Mix::default()).unwrap();
        Self::with(sandbox, options).await
    }

    /// The account without customers.
    pub fn sandbox() -> Sandbox {
        Sandbox::new(PARTNER, CLIENT, SECRET)
    }

    /// A stage on a sandbox, with the database created.
    pub async fn with(sandbox: Sandbox, options: Options) -> Self {
        Self::with_all(vec![sandbox], options).await
    }

    /// A stage on several sandboxes, of which the configuration knows the first.
    pub async fn with_all(sandboxes: Vec<Sandbox>, options: Options) -> Self {
        let gate = Arc::new(Gate::new());
        let customers = sandboxes.iter().flat_map(Sandbox::customers);
        let tenants = customers.map(|customer| customer.id).collect();
        let simulator = Simulator::new(gate.clone(), 11, options, sandboxes);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = serve(simulator.clone(), listener).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let starts = AtomicUsize::new(0);
        let stage = Self { simulator, gate, tenants, folder, server, starts };
        stage.write_secret(SECRET);
        stage.configure(&Settings::default());
        stage.done(&["migrate"]).await;
        stage
    }

    /// Writes the secret file.
    pub fn write_secret(&self, secret: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(self.secret_file()).unwrap();
        file.write_all(secret.as_bytes()).unwrap();
    }

    /// Writes the configuration.
    pub fn configure(&self, settings: &Settings) {
        let Settings { max_in_flight, lease_ttl, drain_timeout, log } = settings;
        let url = self.server.url();
        let text = format!(
            r#"
[database]
url = "sqlite:t.db"
min_free = "1MB"
[metrics]
listen = "127.0.0.1:0"
[log]
format = "json"
filter = "{log}"
[scheduler]
pickup = "* * * * * *"
[engine]
max_in_flight = {max_in_flight}
lease_ttl = "{lease_ttl}"
drain_timeout = "{drain_timeout}"
[polling]
initial = "100ms"
max = "500ms"
[retry]
initial = "100ms"
max = "500ms"
[safety]
allow_domains = ["*.onmicrosoft.com"]
protected_tenants = ["{PROTECTED}"]
[accounts.default]
sandbox = true
partner_tenant = "{PARTNER}"
client_id = "{CLIENT}"
credential = {{ kind = "client_secret", file = "secret" }}
requests_per_minute = 1000000
api_base = "{url}"
authority = "{url}"
"#
        );
        std::fs::write(self.path("teardownd.toml"), text).unwrap();
    }

    /// Changes the configuration file: what stands there first is replaced by the second.
    pub fn reconfigure(&self, was: &str, becomes: &str) {
        self.rewrite(|text| {
            assert!(text.contains(was), "{was} does not stand in the configuration");
            text.replace(was, becomes)
        });
    }

    /// Changes what stands in the configuration.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let path = self.path("teardownd.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, change(text)).unwrap();
    }

    /// Adds an account of which the sandbox knows nothing, with a credential of this kind beside the
    /// secret. What looks like a refresh token lies in the file `refresh`.
    pub fn add_account(&self, name: &str, credential: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(self.path("refresh")).unwrap().write_all(b"0.refresh-me").unwrap();
        let url = self.server.url();
        let number = name.bytes().fold(0, |sum, byte| sum * 256 + u64::from(byte));
        let partner = format!("bbbbbbbb-0000-4000-8000-{number:012x}");
        self.rewrite(|text| {
            format!(
                r#"{text}
[accounts.{name}]
sandbox = true
partner_tenant = "{partner}"
client_id = "{CLIENT}"
credential = {{ {credential}, file = "secret" }}
api_base = "{url}"
authority = "{url}"
"#
            )
        });
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file the secret is read from.
    pub fn secret_file(&self) -> PathBuf {
        self.path("secret")
    }

    /// The database as it lives.
    pub async fn database(&self) -> Database {
        Database::open(&self.path("t.db")).await
    }

    /// The database as a killed process has left it.
    pub async fn left_behind(&self) -> Database {
        Database::left_behind(&self.path("t.db"), &self.path("left.db")).await
    }

    // ---- the program -----------------------------------------------------------------------------

    /// A call of the program.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_teardownd"));
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("TEARDOWND_CONFIG", self.path("teardownd.toml"))
            .stdin(Stdio::null());
        command
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// Starts the daemon with these variables.
    pub fn start_with(&self, variables: &[(&str, &OsStr)]) -> Daemon {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let out = std::fs::File::create(self.path(&format!("run-{number}.out"))).unwrap();
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().copied());
        command.stdout(out);
        Daemon::start(command, self.path(&format!("run-{number}.log")))
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn ready(&self) -> Daemon {
        self.start().ready().await
    }

    /// Runs a command to its end. What it prints is kept, to be searched for secrets.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let output = tokio::select! {
            output = self.command(arguments).kill_on_drop(true).output() => output.unwrap(),
            () = pause(HANG) => panic!("{arguments:?} does not end"),
        };
        let transcript = self.path("transcript");
        let mut kept =
            std::fs::OpenOptions::new().append(true).create(true).open(transcript).unwrap();
        kept.write_all(&output.stdout).unwrap();
        kept.write_all(&output.stderr).unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command with JSON output, which must end with this code.
    pub async fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--output", "json"]].concat()).await;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    /// Runs a command that must succeed.
    pub async fn done(&self, arguments: &[&str]) -> Value {
        self.json(0, arguments).await
    }

    /// Queues every customer of the sandbox.
    pub async fn enqueue_all(&self) {
        let text: String = self.tenants.iter().map(|tenant| format!("{tenant}\n")).collect();
        std::fs::write(self.path("tenants.csv"), text).unwrap();
        let queued = self.done(&["enqueue", "--file", "tenants.csv"]).await;
        assert_eq!(queued["results"].as_array().unwrap().len(), self.tenants.len());
    }

    /// The row of a tenant, as `list` shows it.
    pub async fn row(&self, tenant: &str) -> Value {
        let listed = self.done(&["list", tenant]).await;
        let rows = listed["teardowns"].as_array().unwrap();
        rows.iter().max_by_key(|row| row["id"].as_i64()).cloned().unwrap()
    }

    /// Waits until a tenant is in a state.
    pub async fn until_state(&self, tenant: &str, state: &str) -> Value {
        until(&format!("{tenant} is {state}"), async || {
            let row = self.row(tenant).await;
            (row["state"] == state).then_some(row)
        })
        .await
    }

    /// Waits until every row has ended, and returns the rows.
    pub async fn until_all_ended(&self) -> Vec<Value> {
        let mut database = self.database().await;
        until("every teardown has ended", async || {
            let open = "SELECT count(*) FROM teardowns
                        WHERE state NOT IN ('deleted', 'aborted', 'failed')";
            (database.number(open).await == 0).then_some(())
        })
        .await;
        database.close().await;
        self.done(&["list"]).await["teardowns"].as_array().unwrap().clone()
    }

    /// Waits until the daemon has looked at its queue twice: what was stored before this call has
    /// then been seen by a whole look. A request that matches nothing tells.
    pub async fn looked_twice(&self) {
        let mut database = self.database().await;
        for _ in 0..2 {
            let sql = format!(
                "INSERT INTO operator_requests (verb, tenant_id) VALUES ('hold', '{PROTECTED}')"
            );
            database.change(&sql).await.unwrap();
            until("the daemon answers a typed request", async || {
                let open = "SELECT count(*) FROM operator_requests WHERE answered_at IS NULL";
                (database.number(open).await == 0).then_some(())
            })
            .await;
        }
        database.close().await;
    }

    /// Neither the secret nor a token stands in any file but the secret's own: not in a log, not in
    /// the database, not in what a command printed (invariant 13).
    pub fn assert_no_secret(&self) {
        self.assert_absent(SECRET);
        // Every token of the simulator begins like this.
        self.assert_absent("eyJ0eXAi");
    }

    /// This text stands in no file but the secret's own.
    pub fn assert_absent(&self, text: &str) {
        for entry in std::fs::read_dir(self.folder()).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!found || path == self.secret_file(), "{text} in {}", path.display());
        }
    }
}

impl Drop for Stage {
    /// Tells what a test that failed has left.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let journal = self.simulator.journal();
        eprintln!("---- the last calls");
        for entry in journal.entries().iter().rev().take(15).rev() {
            eprintln!("{entry:?}");
        }
        eprintln!("---- the daemon's last lines");
        let last = self.starts.load(Ordering::Relaxed).saturating_sub(1);
        eprintln!("{}", tail(&self.path(&format!("run-{last}.log")), 30));
        let mut list = std::process::Command::new(env!("CARGO_BIN_EXE_teardownd"));
        list.arg("list").env_clear().env("TEARDOWND_CONFIG", self.path("teardownd.toml"));
        if let Ok(output) = list.output() {
            eprintln!("---- the rows\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
