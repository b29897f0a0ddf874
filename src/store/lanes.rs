//! Connections that stay open: opening one costs more than any statement.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::Semaphore;

use crate::store::{Result, StoreError};

/// A few connections of one kind. A step has one of them for itself.
#[derive(Debug)]
pub(super) struct Lanes {
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    free: Semaphore,
}

impl Lanes {
    /// So many connections at most. The first one is opened now, each other one when it is needed.
    ///
    /// # Errors
    /// When the first one cannot be opened.
    pub(super) async fn open(count: usize, options: SqliteConnectOptions) -> Result<Self> {
        let idle = Mutex::new(vec![options.connect().await?]);
        Ok(Self { options, idle, free: Semaphore::new(count) })
    }

    /// A lane of one connection that exists already. It cannot be opened anew.
    pub(super) fn of(conn: SqliteConnection) -> Self {
        let options = SqliteConnectOptions::new().in_memory(true);
        Self { options, idle: Mutex::new(vec![conn]), free: Semaphore::new(1) }
    }

    /// Runs a step in a transaction that begins with this statement. A step that fails, or is given up
    /// half-way, changes nothing.
    ///
    /// # Errors
    /// The step's, and SQLite's.
    pub(super) async fn transact<T>(
        &self,
        begin: &'static str,
        step: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        self.run(async |conn| transact(conn, begin, step).await).await
    }

    /// Runs a step on a connection.
    ///
    /// The connection goes back only after a clean end. After a full disk or an error of the storage
    /// SQLite has rolled back by itself, and the connection could begin no other transaction: it is
    /// closed, and the next step opens a new one.
    ///
    /// # Errors
    /// The step's, and SQLite's.
    pub(super) async fn run<T>(
        &self,
        step: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        let closed = || StoreError::Engine("the store is closed".to_owned());
        let _lane = self.free.acquire().await.map_err(|_| closed())?;
        let kept = self.idle().pop();
        let mut conn = match kept {
            Some(conn) => conn,
            None => self.options.connect().await?,
        };
        let done = step(&mut conn).await;
        if !conn.is_in_transaction() {
            self.idle().push(conn);
        }
        done
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections that are idle, which folds the write-ahead log into the database. No
    /// step begins after that.
    pub(super) async fn close(&self) {
        self.free.close();
        let idle = std::mem::take(&mut *self.idle());
        for conn in idle {
            if let Err(error) = conn.close().await {
                tracing::debug!(%error, "a connection did not close in good order");
            }
        }
    }
}

pub(super) async fn transact<T>(
    conn: &mut SqliteConnection,
    begin: &'static str,
    step: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    let mut tx = conn.begin_with(begin).await?;
    match step(&mut tx).await {
        Ok(done) => {
            tx.commit().await?;
            Ok(done)
        }
        Err(error) => {
            // The step's own error tells more than what becomes of the rollback.
            if let Err(rollback) = tx.rollback().await {
                tracing::debug!(error = %rollback, "a transaction could not be rolled back");
            }
            Err(error)
        }
    }
}
