//! The store: one [`Store`], whose methods are one transaction each.
//!
//! `now` is the caller's clock. Times are kept to the millisecond. A method that takes a [`Fence`](crate::core::ids::Fence)
//! refuses with [`StoreError::LeaseLost`] when the row has moved on to another claim.
//!
//! A step loads rows, asks a rule what becomes of them and saves them. The arrows lead one way:
//! `steps` -> `tables` -> `rules` -> `model`. `file` is what concerns the SQLite file itself.
//!
//! One connection writes, a few others read beside it. Every statement hops to the connection's thread, so
//! there are few of them and they work on sets.

mod door;
mod errors;
mod file;
mod lanes;
mod model;
#[cfg(test)]
mod plans;
mod rules;
mod server;
mod sql;
mod steps;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use self::door::{Door, OPERATIONS, Passage, Step};
use self::file::OpenFile;
pub use self::file::lock;
pub(crate) use self::file::shared;
pub use self::file::{
    BackupReport, Carried, MigrateMode, MigrationReport, RestoreReport, SqliteSettings, backup,
    free_bytes, restore,
};
use self::lanes::Lanes;
pub use self::model::*;
pub use self::rules::{DAEMON, due_at, paced};
use self::server::Server;
pub use self::server::{InvalidUrl, ServerSettings, ServerTime, ServerUrl};
pub(crate) use self::sql::Tx;
use crate::core::ids::{TeardownId, TenantId};
use crate::core::reason::Reason;

/// Why a store call did nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The row was claimed anew since: whoever holds this fence must stop.
    #[error("the lease on teardown {0} was lost")]
    LeaseLost(TeardownId),
    /// There is no such row.
    #[error("no {0}")]
    NotFound(String),
    /// Deny entries of operators refuse these tenants; nothing was queued.
    #[error("{} of the tenants are protected: see `teardownd protect --list`", .0.len())]
    Protected(Vec<(TenantId, Reason, String)>),
    /// These tenants are active already, and not with the domain that the call names; nothing was
    /// queued.
    #[error("{} of the tenants are active already with another domain, or with none", .0.len())]
    OtherDomain(Vec<(TenantId, Reason, String)>),
    /// The database refused the change (a trigger, a constraint, an illegal transition).
    #[error("the database refused: {0}")]
    Refused(String),
    /// A stored row cannot be understood: it was changed by hand or by another version.
    #[error("row {row} of table {table} is damaged: {text}")]
    Damaged {
        /// Table.
        table: &'static str,
        /// Row id, as text.
        row: String,
        /// What is wrong.
        text: String,
    },
    /// The database cannot be used as it is; the text says what to do.
    #[error("{0}")]
    Unfit(String),
    /// Another process holds the database, for a while; the text names it where that is known.
    #[error("{0}")]
    Busy(String),
    /// Another transaction was in the way for too long, and nothing was changed.
    #[error("other transactions of the database were in the way: {0}")]
    Conflict(String),
    /// The connection to the server was lost, or there was none; the server may be starting.
    #[error("the database server cannot be reached: {0}")]
    Lost(String),
    /// The files of the database are not those any more that were opened.
    #[error("{0}")]
    Gone(String),
    /// Any other failure of the engine below (disk full, I/O).
    #[error("database: {0}")]
    Engine(String),
}

impl StoreError {
    /// Whether the database could not be asked at all, so that nothing is known of the change: the same
    /// call may succeed later. Every other error is the database's answer.
    pub const fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Conflict(_) | Self::Lost(_) | Self::Gone(_) | Self::Engine(_) => {
                true
            }
            Self::LeaseLost(_)
            | Self::NotFound(_)
            | Self::Protected(_)
            | Self::OtherDomain(_)
            | Self::Refused(_)
            | Self::Damaged { .. }
            | Self::Unfit(_) => false,
        }
    }
}

/// Result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The store. Every method is one transaction: it happens whole or not at all. Clones share the
/// connections.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Engine,
    writer: Arc<Lanes>,
    readers: Arc<Lanes>,
    door: Door,
    /// The rows that have ended, as the latest survey has counted them.
    ended: Arc<Mutex<Option<tables::survey::Ended>>>,
}

/// Where a database is. It shows itself without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In an SQLite file.
    File(PathBuf),
    /// On a PostgreSQL server.
    Server(ServerUrl),
}

impl Place {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => url.fmt(f),
        }
    }
}

/// Where the tables are kept.
#[derive(Debug, Clone)]
enum Engine {
    /// In an SQLite file.
    File(OpenFile),
    /// On a PostgreSQL server.
    Server(Arc<Server>),
}

impl Engine {
    /// Names who holds the database if it stays locked.
    fn named_in(&self, error: StoreError) -> StoreError {
        match self {
            Self::File(file) => file.named_in(error),
            Self::Server(_) => error,
        }
    }
}

impl Store {
    fn on(engine: Engine, writer: Arc<Lanes>, readers: Arc<Lanes>) -> Self {
        Self { engine, writer, readers, door: Door::default(), ended: Arc::default() }
    }

    /// The same store behind another door.
    #[must_use]
    pub fn behind(&self, door: Door) -> Self {
        Self { door, ..self.clone() }
    }

    /// The database file, with every symbolic link followed; `None` on a server.
    pub fn file(&self) -> Option<&Path> {
        match &self.engine {
            Engine::File(file) => Some(file.path()),
            Engine::Server(_) => None,
        }
    }

    /// Completes when somebody has stored something on the server that may have to be looked at. Never for a
    /// file, which tells nobody.
    pub async fn changed(&self) {
        match &self.engine {
            Engine::File(_) => std::future::pending().await,
            Engine::Server(server) => server.changed().await,
        }
    }

    /// Whether a replica works on the database on its server. That on a file is asked before it is opened.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn is_worked_on(&self) -> Result<bool> {
        match &self.engine {
            Engine::File(_) => Ok(false),
            Engine::Server(server) => server.is_worked_on(&self.readers).await,
        }
    }

    /// Bytes that the database takes, its write-ahead log included where it is a file.
    ///
    /// # Errors
    /// When the file is gone, or the server cannot be reached.
    pub async fn size(&self) -> Result<u64> {
        match &self.engine {
            Engine::File(file) => file.size(),
            Engine::Server(server) => server.size(&self.readers).await,
        }
    }

    /// Closes the connections, which folds the write-ahead log of SQLite into the database.
    pub async fn close(&self) {
        match &self.engine {
            Engine::File(file) => file.close().await,
            Engine::Server(server) => server.leave(&self.writer).await,
        }
        self.readers.close().await;
        self.writer.close().await;
    }

    /// One step that may change something. What it reads cannot change before it writes: SQLite takes the
    /// write lock first, and on PostgreSQL the step is made again. A step that fails changes nothing, and
    /// none is made on files that were moved, removed or replaced since they were opened.
    async fn write<T, S: AsyncFnOnce(&mut Tx) -> Result<T>>(
        &self,
        operation: &'static str,
        step: impl Fn() -> S,
    ) -> Result<T> {
        let checked = || {
            let step = step();
            async move |tx: &mut Tx| {
                self.check_files()?;
                step(tx).await
            }
        };
        self.write_anywhere(operation, checked).await
    }

    /// As [`write`](Self::write), wherever the files are by now: what an answer taught is kept with the
    /// command that was sent.
    async fn write_anywhere<T, S: AsyncFnOnce(&mut Tx) -> Result<T>>(
        &self,
        operation: &'static str,
        step: impl Fn() -> S,
    ) -> Result<T> {
        let made = async {
            match &self.engine {
                Engine::File(_) => self.writer.transact("BEGIN IMMEDIATE", step()).await,
                // The way through a server is long; the stack of a thread is not.
                Engine::Server(server) => Box::pin(server.write(&self.writer, step)).await,
            }
        };
        self.door.pass(operation, made).await.map_err(|error| self.engine.named_in(error))
    }

    /// One statement that only reads.
    async fn read<T, S: AsyncFnOnce(&mut Tx) -> Result<T>>(
        &self,
        operation: &'static str,
        step: impl Fn() -> S,
    ) -> Result<T> {
        let made = async {
            match &self.engine {
                Engine::File(_) => self.readers.run(step()).await,
                Engine::Server(server) => Box::pin(server.read(&self.readers, None, step)).await,
            }
        };
        self.door.pass(operation, made).await
    }

    /// One step that only reads, all of it from one moment.
    async fn snapshot<T, S: AsyncFnOnce(&mut Tx) -> Result<T>>(
        &self,
        operation: &'static str,
        step: impl Fn() -> S,
    ) -> Result<T> {
        let made = async {
            match &self.engine {
                Engine::File(_) => self.readers.transact("BEGIN DEFERRED", step()).await,
                Engine::Server(server) => {
                    Box::pin(server.read(&self.readers, Some(server::LOOK), step)).await
                }
            }
        };
        self.door.pass(operation, made).await
    }

    /// Whether a file is still the one that was opened.
    fn check_files(&self) -> Result<()> {
        match &self.engine {
            Engine::File(file) => file.check(),
            Engine::Server(_) => Ok(()),
        }
    }
}
