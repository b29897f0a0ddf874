//! Opening and migrating the database file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::Mutex as AsyncMutex;

use super::backup::{Partial, verified};
use super::fitness::{check_file, check_leftovers, unfit};
use super::identity::{Files, held};
use super::schema;
use super::version::{BUSY_TIMEOUT, MIGRATOR, inspect, newest, read_schema};
use crate::store::file::lock::{RunLock, beside, open as open_lock, real};
use crate::store::file::shared::open_or_create;
use crate::store::lanes::{Lanes, Way};
use crate::store::{Engine, Result, Store, StoreError, Tx};

/// Connections that read beside the one that writes.
const READERS: usize = 3;
/// Whether opening may change an older schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateMode {
    /// `database.migrate = "auto"`: migrates, after copying the database aside.
    Auto,
    /// `database.migrate = "manual"`, and every command that only looks: refuses an older schema.
    Manual,
}

/// What to open.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// The database file.
    pub path: PathBuf,
    /// Create it if it does not exist. With [`MigrateMode::Manual`] nothing is created all the same.
    pub create: bool,
    /// Whether an older schema is migrated.
    pub migrate: MigrateMode,
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationReport {
    /// Schema version before; `None` for a database that was created.
    pub from: Option<i64>,
    /// Schema version now.
    pub to: i64,
    /// Versions applied, in order; empty if the database was up to date.
    pub applied: Vec<i64>,
    /// Where the database was copied to beforehand.
    pub copy: Option<PathBuf>,
    /// Triggers and indexes that it lacked, or had otherwise, and that were put back.
    pub mended: Vec<String>,
}

impl Store {
    /// Opens a database, and creates or migrates it if the settings say so.
    ///
    /// # Errors
    /// [`StoreError::Unfit`], with the remedy in words, when the file is missing, is no database of
    /// `teardownd`, has a newer or (in manual mode) older schema, or lies where it cannot work.
    pub async fn open(settings: &SqliteSettings, now: Timestamp) -> Result<Self> {
        let may_create = settings.create && settings.migrate == MigrateMode::Auto;
        let path = check_file(&settings.path, may_create)?;
        check_leftovers(&path)?;
        let opened = Self::opened(&path, settings, now).await;
        opened.map_err(|error| held(&path, error))
    }

    async fn opened(path: &Path, settings: &SqliteSettings, now: Timestamp) -> Result<Self> {
        let pending = inspect(path).await?.pending(path, &MIGRATOR)?;
        if !pending.is_empty() {
            match settings.migrate {
                MigrateMode::Auto => {
                    migrate(path, &MIGRATOR, now).await?;
                }
                MigrateMode::Manual => return Err(needs_migration(path, &pending)),
            }
        }
        let mut anchor = options(path).connect().await?;
        check_schema(&mut anchor, path).await?;
        let writer = Lanes::open(1, Way::File(Box::new(options(path)))).await?;
        let reading = options(path).pragma("query_only", "ON");
        let readers = Lanes::open(READERS, Way::File(Box::new(reading))).await?;
        let file = OpenFile {
            path: path.to_owned(),
            files: Files::of(&settings.path, None)?,
            anchor: Arc::new(AsyncMutex::new(Some(Tx::Sqlite(anchor)))),
        };
        Ok(Self::on(Engine::File(file), Arc::new(writer), Arc::new(readers)))
    }

    /// An empty store that nothing keeps: for looking at an account without a database.
    ///
    /// # Errors
    /// When SQLite cannot provide one.
    pub async fn scratch() -> Result<Self> {
        let path = PathBuf::from(":memory:");
        let mut conn = SqliteConnectOptions::new().in_memory(true).connect().await?;
        MIGRATOR.run_direct(None, &mut conn, false).await.map_err(|error| failed(&path, &error))?;
        let lane = Arc::new(Lanes::of(conn));
        let file = OpenFile { path, files: Files::default(), anchor: Arc::default() };
        Ok(Self::on(Engine::File(file), Arc::clone(&lane), lane))
    }

    /// The store of the process that holds this lock: from now on the lock file is looked at, too.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when the files are not those that are locked.
    pub fn guarded_by(self, lock: &RunLock) -> Result<Self> {
        let Engine::File(file) = &self.engine else { return Ok(self) };
        let files = Files::of(file.files.named(), Some(lock))?;
        Ok(Self { engine: Engine::File(OpenFile { files, ..file.clone() }), ..self })
    }

    /// Brings a database to this program's schema, creating it if it does not exist, and puts back
    /// triggers and indexes that it lacks.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn migrate(path: &Path, now: Timestamp) -> Result<MigrationReport> {
        let path = check_file(path, true)?;
        check_leftovers(&path)?;
        let mut report =
            migrate(&path, &MIGRATOR, now).await.map_err(|error| held(&path, error))?;
        if report.to == newest(&MIGRATOR) {
            let mut conn = options(&path).connect().await?;
            report.mended = schema::mend(&mut conn).await?;
            conn.close().await?;
        }
        Ok(report)
    }
}

/// An SQLite file that is open.
#[derive(Debug, Clone)]
pub(in crate::store) struct OpenFile {
    /// The database, with every symbolic link followed.
    path: PathBuf,
    /// The files that were opened.
    files: Files,
    /// Keeps the write-ahead log in being, whatever becomes of the other connections, and sees when they
    /// store something. Nothing is stored through this one.
    anchor: Arc<AsyncMutex<Option<Tx>>>,
}

impl OpenFile {
    /// The database file, with every symbolic link followed.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the files are still those that were opened.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when they are not.
    pub(in crate::store) fn check(&self) -> Result<()> {
        self.files.check()
    }

    /// Names who holds the database if it stays locked.
    pub(in crate::store) fn named_in(&self, error: StoreError) -> StoreError {
        held(&self.path, error)
    }

    /// Looks through the connection that never stores anything: it counts what others commit. `None` for a
    /// database that nothing keeps.
    ///
    /// # Errors
    /// The look's, and when nothing can be stored: it takes the write lock.
    pub(in crate::store) async fn beside<T>(
        &self,
        look: impl AsyncFnOnce(&mut Tx) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.check()?;
        let mut anchor = self.anchor.lock().await;
        let Some(anchor) = anchor.as_mut() else { return Ok(None) };
        anchor.transact("BEGIN IMMEDIATE", look).await.plainly().0
    }

    /// Bytes that the database and its write-ahead log take.
    ///
    /// # Errors
    /// When the file is gone.
    pub(in crate::store) fn size(&self) -> Result<u64> {
        let database = std::fs::metadata(&self.path)
            .map_err(|error| unfit(&self.path, &format!("cannot be looked at: {error}")))?;
        let log = std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |log| log.len());
        Ok(database.len() + log)
    }

    /// Closes the connection that it holds itself.
    pub(in crate::store) async fn close(&self) {
        if let Some(anchor) = self.anchor.lock().await.take() {
            anchor.close().await.ok();
        }
    }
}

/// Bytes free for this user on the file system of a path; the path itself need not exist yet.
///
/// # Errors
/// When the folder cannot be looked at.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let path = real(path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let status = rustix::fs::statvfs(folder)
        .map_err(|error| unfit(folder, &format!("cannot be looked at: {error}")))?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .log_statements(tracing::log::LevelFilter::Trace)
}

// ---- the file ------------------------------------------------------------------------------------

// ---- the schema ----------------------------------------------------------------------------------

fn needs_migration(path: &Path, pending: &[i64]) -> StoreError {
    unfit(
        path,
        &format!(
            "has an older schema (missing versions: {pending:?}): run `teardownd migrate`, or start \
             `teardownd run` with database.migrate = \"auto\""
        ),
    )
}

/// Migrates under a lock of its own, so that processes that start at once wait for one another.
async fn migrate(path: &Path, migrator: &Migrator, now: Timestamp) -> Result<MigrationReport> {
    let _lock = lock_migration(path).await?;
    let schema = inspect(path).await?;
    let from = schema.applied.last().copied();
    let pending = schema.pending(path, migrator)?;
    let mut report = MigrationReport {
        from,
        to: from.unwrap_or(0).max(newest(migrator)),
        applied: pending,
        copy: None,
        mended: Vec::new(),
    };
    if report.applied.is_empty() {
        return Ok(report);
    }
    // SQLite takes an empty file for a new database, and would itself never let the group write.
    open_or_create(path).map_err(|error| unfit(path, &format!("cannot be created: {error}")))?;
    let mut conn = options(path).connect().await?;
    if from.is_some() {
        report.copy = Some(copy_aside(&mut conn, path, report.to, now).await?);
    }
    migrator.run_direct(None, &mut conn, false).await.map_err(|error| failed(path, &error))?;
    conn.close().await?;
    Ok(report)
}

/// Refuses a database that lacks a trigger or an index. A newer schema knows its own.
async fn check_schema(conn: &mut SqliteConnection, path: &Path) -> Result<()> {
    let schema = read_schema(conn, path).await?;
    if schema.applied.last() == Some(&newest(&MIGRATOR)) {
        schema::check(conn, path).await?;
    }
    Ok(())
}

/// Brings a database that nobody else knows of up to this program's schema, under the name `path` of what
/// it was copied from. Returns the version of its schema.
pub(super) async fn bring_up(conn: &mut SqliteConnection, path: &Path) -> Result<i64> {
    let schema = read_schema(conn, path).await?;
    if !schema.pending(path, &MIGRATOR)?.is_empty() {
        MIGRATOR.run(conn).await.map_err(|error| failed(path, &error))?;
    }
    Ok(schema.applied.last().copied().unwrap_or(0).max(newest(&MIGRATOR)))
}

pub(super) async fn lock_migration(path: &Path) -> Result<File> {
    let path = beside(path, ".migrate.lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = open_lock(&path)?;
        file.lock().map_err(|error| unfit(&path, &format!("cannot be locked: {error}")))?;
        Ok(file)
    });
    locked.await.map_err(|error| StoreError::Engine(error.to_string()))?
}

/// A time as part of a file's name.
pub(super) fn in_a_name(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y%m%dT%H%M%S%.3fZ")
}

/// Copies the database beside itself, whole, verified and on the disk, or not at all.
async fn copy_aside(
    conn: &mut SqliteConnection,
    path: &Path,
    version: i64,
    now: Timestamp,
) -> Result<PathBuf> {
    let mut copy = beside(path, &format!(".before-{version}"));
    if copy.exists() {
        copy = beside(path, &format!(".before-{version}-{}", in_a_name(now)));
    }
    let partial = Partial::shared(beside(path, ".before.partial"))?;
    partial.fill_from(conn).await?;
    let (verified, _) = verified(&partial.path).await?;
    verified.close().await?;
    partial.become_file(&copy)?;
    Ok(copy)
}

fn failed(path: &Path, error: &MigrateError) -> StoreError {
    unfit(path, &format!("could not be migrated and stays as it was: {error}"))
}

#[cfg(test)]
mod tests;
