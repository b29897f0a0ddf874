//! The triggers and indexes that hold the invariants in the database itself. They are there or the
//! database is not fit: without them whatever is typed in would be carried out.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tokio::sync::OnceCell;

use super::fitness::unfit;
use super::version::MIGRATOR;
use crate::store::{Result, StoreError};

/// A trigger or an index, as it stands in `sqlite_master`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    kind: String,
    name: String,
    sql: String,
}

/// The parts that the migrations of this program make.
static MADE: OnceCell<Vec<Part>> = OnceCell::const_new();

async fn made() -> Result<&'static [Part]> {
    let parts = MADE.get_or_try_init(|| async {
        let mut conn = SqliteConnectOptions::new().in_memory(true).connect().await?;
        MIGRATOR
            .run_direct(None, &mut conn, false)
            .await
            .map_err(|error| StoreError::Engine(error.to_string()))?;
        let parts = parts(&mut conn).await?;
        conn.close().await?;
        Ok::<_, StoreError>(parts)
    });
    Ok(parts.await?)
}

async fn parts(conn: &mut SqliteConnection) -> Result<Vec<Part>> {
    let found = sqlx::query(
        "SELECT type, name, sql FROM sqlite_master
         WHERE type IN ('trigger', 'index') AND sql IS NOT NULL ORDER BY name",
    )
    .fetch_all(conn)
    .await?;
    let part = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Part {
            kind: row.try_get("type")?,
            name: row.try_get("name")?,
            sql: row.try_get("sql")?,
        })
    };
    found.iter().map(part).collect()
}

/// The parts that a database of this program's schema lacks or has otherwise.
async fn missing(conn: &mut SqliteConnection) -> Result<Vec<&'static Part>> {
    let found = parts(conn).await?;
    Ok(made().await?.iter().filter(|part| !found.contains(part)).collect())
}

/// Refuses a database that lacks one of them.
pub(super) async fn check(conn: &mut SqliteConnection, path: &Path) -> Result<()> {
    let missing = missing(conn).await?;
    let Some(first) = missing.first() else { return Ok(()) };
    let others = match missing.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} others"),
    };
    Err(unfit(
        path,
        &format!(
            "lacks the {} `{}` as teardownd made it{others}, and with it a rule that holds whatever \
             writes there: find out who changed it, then run `teardownd migrate`, which puts it back, \
             or restore a copy",
            first.kind, first.name
        ),
    ))
}

/// Puts back what is missing. Returns the names.
pub(super) async fn mend(conn: &mut SqliteConnection) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for part in missing(conn).await? {
        let drop = format!("DROP {} IF EXISTS \"{}\"", part.kind, part.name);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *conn).await?;
        sqlx::raw_sql(AssertSqlSafe(part.sql.clone())).execute(&mut *conn).await?;
        names.push(part.name.clone());
    }
    Ok(names)
}
