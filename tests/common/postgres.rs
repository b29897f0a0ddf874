//! Databases on a PostgreSQL server, one for each test. `scripts/test` starts a server for them; without one
//! the tests say that they are skipped.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection};
use teardownd::core::clock::Entropy as _;
use teardownd::runtime::clock::{SystemClock, SystemEntropy};
use teardownd::store::{MigrateMode, ServerSettings, ServerTime, ServerUrl, Store};
use tokio::sync::OnceCell;
use url::Url;

/// Where `scripts/test` tells of the server.
const VARIABLE: &str = "TEARDOWND_TEST_POSTGRES";

/// A database of its own, which goes with the test.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
}

async fn admin() -> PgConnection {
    let url = std::env::var(VARIABLE).unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    options.disable_statement_logging().connect().await.unwrap()
}

/// A migrated database, from which the others of this process are copied.
async fn template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("template_{}", SystemEntropy.uuid().simple());
            let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
            admin().await.execute(AssertSqlSafe(create)).await.unwrap();
            let database = Database { name: name.clone() };
            database.store(MigrateMode::Auto).await.close().await;
            std::mem::forget(database);
            name
        })
        .await
}

impl Database {
    /// A migrated database; `None` without a server, which is said.
    pub(crate) async fn migrated() -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        Some(Self::of(template().await).await)
    }

    /// An empty database; `None` without a server, which is said.
    pub(crate) async fn empty() -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        Some(Self::of("template0").await)
    }

    /// An empty database that keeps text in this encoding; `None` without a server, which is said.
    pub(crate) async fn encoded(encoding: &str) -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        let name = format!("test_{}", SystemEntropy.uuid().simple());
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        admin().await.execute(AssertSqlSafe(create)).await.unwrap();
        Some(Self { name })
    }

    fn is_there() -> bool {
        let is_there = std::env::var_os(VARIABLE).is_some();
        if !is_there {
            eprintln!("SKIPPED: no PostgreSQL server ({VARIABLE} is not set)");
        }
        is_there
    }

    async fn of(template: &str) -> Self {
        let name = format!("test_{}", SystemEntropy.uuid().simple());
        let mut admin = admin().await;
        // Many times as fast as by the log; before release 15 there was no other way.
        let has_a_choice = "SELECT current_setting('server_version_num')::int >= 150000";
        let has_a_choice: bool =
            sqlx::query_scalar(has_a_choice).fetch_one(&mut admin).await.unwrap();
        let strategy = if has_a_choice { "STRATEGY file_copy" } else { "" };
        let create =
            format!("CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8' {strategy}");
        admin.execute(AssertSqlSafe(create)).await.unwrap();
        Self { name }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        let mut url: Url = std::env::var(VARIABLE).unwrap().parse().unwrap();
        url.set_path(&self.name);
        url.to_string()
    }

    /// Its address by another port.
    pub(crate) fn url_by(&self, port: u16) -> String {
        let mut url: Url = self.url().parse().unwrap();
        url.set_port(Some(port)).unwrap();
        url.to_string()
    }

    /// The port of the server.
    pub(crate) fn port(&self) -> u16 {
        self.url().parse::<Url>().unwrap().port().unwrap_or(5432)
    }

    /// Settings to open it with.
    pub(crate) fn settings(&self, migrate: MigrateMode) -> ServerSettings {
        Self::settings_of(&self.url(), migrate)
    }

    /// Settings to open a database with that has this address.
    pub(crate) fn settings_of(url: &str, migrate: MigrateMode) -> ServerSettings {
        ServerSettings {
            url: ServerUrl::parse(url).unwrap(),
            migrate,
            replica: None,
            time: ServerTime::Caller,
            clock: Arc::new(SystemClock::start()),
        }
    }

    /// Opens it.
    pub(crate) async fn store(&self, migrate: MigrateMode) -> Store {
        Store::connect(&self.settings(migrate)).await.unwrap()
    }

    /// A connection beside the store's.
    pub(crate) async fn plain(&self) -> PgConnection {
        let options: PgConnectOptions = self.url().parse().unwrap();
        options.disable_statement_logging().connect().await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The runtime of the test may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let drop = async { admin().await.execute(AssertSqlSafe(drop)).await };
            runtime.unwrap().block_on(drop).map(|_| ())
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("{} stays: {error}", self.name);
        }
    }
}
