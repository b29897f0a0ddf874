//! Opening a database on a server.

use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::schema::{self, Fitness};
use super::{Server, ServerTime, ServerUrl};
use crate::core::clock::Clock;
use crate::store::lanes::{Lanes, Way};
use crate::store::{Engine, MigrateMode, MigrationReport, Result, Store, StoreError, Tx};

/// Connections that read beside the one that writes.
const READERS: usize = 3;
/// The oldest release of PostgreSQL that will do, as `server_version_num` has it.
const OLDEST: i64 = 140_000;

/// The limit of one statement. Longer than a step takes, shorter than a lease lasts.
const STATEMENT: Duration = Duration::from_secs(20);
/// How long a statement waits for the lock of another transaction.
const LOCK: Duration = Duration::from_secs(5);
/// How long a transaction of a process that has stopped may keep its locks.
const IDLE: Duration = Duration::from_secs(10);

/// The database to open, and how.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The database.
    pub url: ServerUrl,
    /// Whether an older schema is migrated.
    pub migrate: MigrateMode,
    /// The name of the replica that this process is, if it is one. It takes the lock on its name before it
    /// changes anything.
    pub replica: Option<String>,
    /// Whose clock tells the time of the database.
    pub time: ServerTime,
    /// For pauses between two tries.
    pub clock: Arc<dyn Clock>,
}

impl Store {
    /// Opens a database on a server, and migrates it if the settings say so.
    ///
    /// # Errors
    /// [`StoreError::Unfit`], with the remedy in words, when the server is too old, the role lacks a right,
    /// or the schema is not of this version; [`StoreError::Lost`] when the server cannot be reached.
    pub async fn connect(settings: &ServerSettings) -> Result<Self> {
        let server = Server::new(settings);
        let mut tx = server.first(session("")).await?;
        let fitness = schema::look(&mut tx).await?;
        fitness.check(&server.url)?;
        if let Some(name) = &settings.replica {
            server.lock(name).await?;
        }
        let pending = fitness.pending(&server.url)?;
        let version = match settings.migrate {
            _ if pending.is_empty() => fitness.version(),
            MigrateMode::Auto => Some(schema::migrate(&mut tx, &server.url).await?),
            MigrateMode::Manual => return Err(needs_migration(&server.url, &pending)),
        };
        schema::check(&mut tx, &server.url, version).await?;
        tx.close().await?;
        // Whole tables that are read count as met by every write to them, however small they are.
        let writing = session("SET enable_seqscan = off; SET jit = off;");
        let writer = Lanes::open(1, server.way(writing)).await?;
        let readers = Lanes::open(READERS, server.way(session(""))).await?;
        Ok(Self::on(Engine::Server(Arc::new(server)), Arc::new(writer), Arc::new(readers)))
    }

    /// Brings a database on a server to this program's schema, and puts back triggers and functions that it
    /// lacks.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn migrate_server(settings: &ServerSettings) -> Result<MigrationReport> {
        let server = Server::new(settings);
        let mut tx = server.first(session("")).await?;
        let fitness = schema::look(&mut tx).await?;
        fitness.check(&server.url)?;
        let pending = fitness.pending(&server.url)?;
        let to = schema::migrate(&mut tx, &server.url).await?;
        let mended = schema::mend(&mut tx).await?;
        tx.close().await?;
        Ok(MigrationReport { from: fitness.version(), to, applied: pending, copy: None, mended })
    }
}

impl Server {
    pub(super) fn way(&self, settings: String) -> Way {
        Way::Server(Box::new(self.options()), settings)
    }

    /// How a connection is made.
    pub(super) fn options(&self) -> PgConnectOptions {
        let options = self.url.options().application_name(&self.application);
        options.log_statements(tracing::log::LevelFilter::Trace)
    }

    /// The first connection, with what keeps it from being made in words.
    async fn first(&self, settings: String) -> Result<Tx> {
        let Self { url, .. } = self;
        if let Some((file, error)) = url.unreadable() {
            return Err(StoreError::Unfit(format!(
                "{url} needs {}, which database.url names and which cannot be read: {error}",
                file.display()
            )));
        }
        let opened = self.way(settings).open().await;
        opened.map_err(|error| match error {
            StoreError::Engine(text) => StoreError::Unfit(format!(
                "{url} cannot be opened: {text}; check user, password, database and certificates in \
                 database.url, and create what is missing with CREATE ROLE and CREATE DATABASE"
            )),
            StoreError::Lost(text) => StoreError::Lost(format!("{url}: {text}")),
            other => other,
        })
    }
}

/// After this long without a sign of life of the other end the server asks whether it is still there, so that
/// the locks of a host that is gone end with it.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 5;
     SET tcp_keepalives_count = 4;";

/// The settings of every session. A pooler in transaction mode gives them to others, too; they
/// harm nobody.
pub(super) fn session(more: &str) -> String {
    let millis = |time: Duration| time.as_millis();
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {}; SET timezone = 'UTC'; {KEEPALIVE} {more}",
        millis(STATEMENT),
        millis(LOCK),
        millis(IDLE),
    )
}

fn needs_migration(url: &ServerUrl, pending: &[i64]) -> StoreError {
    StoreError::Unfit(format!(
        "{url} has an older schema or none (missing versions: {pending:?}): run `teardownd migrate`, or \
         start `teardownd run` with database.migrate = \"auto\""
    ))
}

impl Fitness {
    /// Refuses a server that will not do.
    pub(super) fn check(&self, url: &ServerUrl) -> Result<()> {
        if self.release < OLDEST {
            return Err(StoreError::Unfit(format!(
                "{url} is PostgreSQL {}, and 14 is the oldest release that will do: upgrade the server",
                self.release / 10_000
            )));
        }
        if self.encoding != "UTF8" {
            return Err(StoreError::Unfit(format!(
                "{url} keeps text as {}: create the database anew with ENCODING 'UTF8'",
                self.encoding
            )));
        }
        if self.is_standby {
            // A failover changes which server stands behind a name.
            return Err(StoreError::Lost(format!("{url} is a standby, which takes no writes")));
        }
        Ok(())
    }
}
