//! The version of the schema that a database has, and that this program makes.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::fitness::unfit;
use crate::store::Result;

pub(in crate::store) static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another process's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The schema of a database, as the database tells it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    /// Migrations applied, in order.
    pub(super) applied: Vec<i64>,
    /// The oldest schema version whose programs may use it.
    pub(super) min_reader: Option<i64>,
}

impl Schema {
    /// The migrations still to be applied; a newer schema that this program may use needs none.
    pub(super) fn pending(&self, path: &Path, migrator: &Migrator) -> Result<Vec<i64>> {
        let own = newest(migrator);
        let stored = self.applied.last().copied().unwrap_or(0);
        if stored > own {
            return match self.min_reader {
                Some(min_reader) if min_reader <= own => Ok(Vec::new()),
                _ => Err(unfit(
                    path,
                    &format!(
                        "has schema version {stored}, and this teardownd knows only version {own}: \
                         install the newer teardownd, or restore a copy from before the migration"
                    ),
                )),
            };
        }
        let known = migrator.iter().map(|migration| migration.version);
        Ok(known.filter(|version| !self.applied.contains(version)).collect())
    }
}

pub(super) fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Reads the schema without changing anything. A file that does not exist has none.
pub(super) async fn inspect(path: &Path) -> Result<Schema> {
    if !path.exists() {
        return Ok(Schema::default());
    }
    let mut conn =
        SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).connect().await?;
    let schema = read_schema(&mut conn, path).await;
    conn.close().await?;
    schema
}

pub(super) async fn read_schema(conn: &mut SqliteConnection, path: &Path) -> Result<Schema> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(&mut *conn)
            .await?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if !has("_sqlx_migrations") {
        if tables.is_empty() {
            return Ok(Schema::default());
        }
        return Err(unfit(
            path,
            "is a database of another program; change database.url or move the file away",
        ));
    }
    let applied =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&mut *conn)
            .await?;
    let min_reader = if has("meta") {
        sqlx::query("SELECT CAST(value AS INTEGER) AS v FROM meta WHERE key = 'min_reader'")
            .fetch_optional(conn)
            .await?
            .map(|row| row.try_get("v"))
            .transpose()?
    } else {
        None
    };
    Ok(Schema { applied, min_reader })
}
