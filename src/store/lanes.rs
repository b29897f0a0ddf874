//! Connections that stay open: opening one costs more than any statement.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::{Result, StoreError, Tx};

/// Where a connection leads.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// To a file.
    File(Box<SqliteConnectOptions>),
    /// To a server, where a session begins with these settings.
    Server(Box<PgConnectOptions>, String),
}

impl Way {
    /// Opens a connection.
    ///
    /// # Errors
    /// The engine's.
    pub(super) async fn open(&self) -> Result<Tx> {
        Ok(match self {
            Self::File(options) => Tx::Sqlite(options.connect().await?),
            Self::Server(options, settings) => {
                let mut conn = options.connect().await?;
                conn.execute(AssertSqlSafe(settings.clone())).await?;
                Tx::Postgres(conn)
            }
        })
    }
}

/// A few connections of one kind. A step has one of them for itself.
#[derive(Debug)]
pub(super) struct Lanes {
    way: Way,
    idle: Mutex<Vec<Tx>>,
    free: Semaphore,
}

impl Lanes {
    /// So many connections at most. The first one is opened now, each other one when it is needed.
    ///
    /// # Errors
    /// When the first one cannot be opened.
    pub(super) async fn open(count: usize, way: Way) -> Result<Self> {
        let idle = Mutex::new(vec![way.open().await?]);
        Ok(Self { way, idle, free: Semaphore::new(count) })
    }

    /// A lane of one connection that exists already. It cannot be opened anew.
    pub(super) fn of(conn: SqliteConnection) -> Self {
        let way = Way::File(Box::new(SqliteConnectOptions::new().in_memory(true)));
        Self { way, idle: Mutex::new(vec![Tx::Sqlite(conn)]), free: Semaphore::new(1) }
    }

    /// Runs a step in a transaction that begins with this statement. A step that fails, or is given up
    /// half-way, changes nothing.
    ///
    /// # Errors
    /// The step's, and the engine's.
    pub(super) async fn transact<T>(
        &self,
        begin: &'static str,
        step: impl AsyncFnOnce(&mut Tx) -> Result<T>,
    ) -> Result<T> {
        self.lane().await?.lend(async |tx| tx.transact(begin, step).await.plainly()).await
    }

    /// Runs a step on a connection.
    ///
    /// # Errors
    /// The step's, and the engine's.
    pub(super) async fn run<T>(&self, step: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        self.lane().await?.lend(async |tx| tx.run(step).await).await
    }

    /// Waits until one of them is free.
    ///
    /// # Errors
    /// When the store is closed.
    pub(super) async fn lane(&self) -> Result<Lane<'_>> {
        let closed = |_| StoreError::Engine("the store is closed".to_owned());
        let _place = self.free.acquire().await.map_err(closed)?;
        Ok(Lane { lanes: self, _place })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Tx>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections that are idle, which folds the write-ahead log of SQLite into the database. No
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

/// A lane that somebody has for itself.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    lanes: &'a Lanes,
    _place: SemaphorePermit<'a>,
}

impl Lane<'_> {
    /// Lends its connection. It is kept only after a clean end: after a full disk or an error of the storage
    /// SQLite has rolled back by itself, and a server may have gone. The next step opens a new one.
    ///
    /// # Errors
    /// The step's, and the engine's when a connection cannot be opened.
    pub(super) async fn lend<T>(
        &self,
        step: impl AsyncFnOnce(&mut Tx) -> (Result<T>, bool),
    ) -> Result<T> {
        let kept = self.lanes.idle().pop();
        let mut tx = match kept {
            Some(tx) => tx,
            None => self.lanes.way.open().await?,
        };
        let (done, is_clean) = step(&mut tx).await;
        if is_clean {
            self.lanes.idle().push(tx);
        }
        done
    }

    /// Drops the idle connections: the server at their other end may have gone.
    pub(super) fn forget(&self) {
        self.lanes.idle().clear();
    }
}
