//! The daemon's database, looked at from outside.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

/// A connection of its own.
pub struct Database(SqliteConnection);

impl Database {
    /// The database as it lives.
    pub async fn open(path: &Path) -> Self {
        Self(SqliteConnectOptions::new().filename(path).connect().await.unwrap())
    }

    /// A copy of what a process that was killed has left: opening the original would fold its
    /// write-ahead log, and the next start would find it tidied up.
    pub async fn left_behind(path: &Path, copy: &Path) -> Self {
        for suffix in ["", "-wal"] {
            let with = |path: &Path| format!("{}{suffix}", path.display());
            std::fs::remove_file(with(copy)).ok();
            if Path::new(&with(path)).exists() {
                std::fs::copy(with(path), with(copy)).unwrap();
            }
        }
        Self::open(copy).await
    }

    /// A number.
    pub async fn number(&mut self, sql: &str) -> i64 {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut self.0).await.unwrap().get(0)
    }

    /// The first column.
    pub async fn texts(&mut self, sql: &str) -> Vec<String> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        let rows = query.fetch_all(&mut self.0).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Changes something; the error is what the database says.
    pub async fn change(&mut self, sql: &str) -> Result<(), String> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        query.execute(&mut self.0).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// How often each command was sent, by its id.
    pub async fn sends(&mut self) -> BTreeMap<String, i64> {
        let query = sqlx::query("SELECT id, sends FROM commands");
        let rows = query.fetch_all(&mut self.0).await.unwrap();
        rows.iter().map(|row| (row.get("id"), row.get("sends"))).collect()
    }

    /// Closes it.
    pub async fn close(self) {
        self.0.close().await.unwrap();
    }
}
