//! The daemon's database, looked at from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

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

    /// Makes what is unsettled older, which no connection may do while the table guards itself.
    pub async fn as_if_committed(&mut self, ago: Duration) {
        let guard = "SELECT sql FROM sqlite_master WHERE name = 'commands_update'";
        let guard = self.texts(guard).await.remove(0);
        let at = format!("'-{} seconds'", ago.as_secs());
        for sql in [
            "DROP TRIGGER commands_update".to_owned(),
            format!(
                "UPDATE commands SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', created_at, {at})
                 WHERE outcome IS NULL"
            ),
            guard,
        ] {
            self.change(&sql).await.unwrap();
        }
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
