//! What holds for the SQLite file itself: its own protections, whoever writes to it, and when it is
//! refused.

#[path = "store_sqlite/clock.rs"]
mod clock;
#[path = "store_sqlite/copies.rs"]
mod copies;
#[path = "store_sqlite/damage.rs"]
mod damage;
#[path = "store_sqlite/identities.rs"]
mod identities;
#[path = "store_sqlite/opening.rs"]
mod opening;
#[path = "store_sqlite/operators.rs"]
mod operators;
#[path = "store_sqlite/protections.rs"]
mod protections;
#[path = "store_sqlite/restored.rs"]
mod restored;
#[path = "store_sqlite/shell.rs"]
mod shell;
#[path = "store_conformance/mod.rs"]
#[allow(dead_code, unused_macros)] // the suite's own cases run in tests/store_conformance.rs
mod suite;
#[path = "store_sqlite/typed.rs"]
mod typed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use suite::{Bench, policy, start};
use teardownd::store::Store;
use teardownd::store::{MigrateMode, SqliteSettings};

/// A database in a folder of its own.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("teardownd.db")
    }

    fn settings(&self) -> SqliteSettings {
        SqliteSettings { path: self.path(), create: true, migrate: MigrateMode::Auto }
    }

    async fn bench(&self) -> Bench {
        let store = Store::open(&self.settings(), start()).await.unwrap();
        Bench { store: Arc::new(store), policy: policy() }
    }
}

/// A connection with SQLite's own defaults, as the shell has them.
async fn plain(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).foreign_keys(false).connect().await.unwrap()
}

/// Runs statements; the error is SQLite's own text.
async fn run(conn: &mut SqliteConnection, sql: &str) -> Result<(), String> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.map(drop).map_err(|error| error.to_string())
}

/// The one value that a query returns, as text.
async fn value(conn: &mut SqliteConnection, sql: &str) -> String {
    let sql = format!("SELECT CAST(({sql}) AS TEXT)");
    let value: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await.unwrap();
    value.unwrap_or_else(|| "NULL".to_owned())
}
