//! Opening and migrating the database file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::Access;
use serde::Serialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::backup::{Partial, verified};
use super::identity::Files;
use super::restore::log_aside;
use super::{filesystem, schema};
use crate::store::file::lock::{beside, open as open_lock, real};
use crate::store::file::shared::open_or_create;
use crate::store::lanes::Lanes;
use crate::store::{Door, Store, held};
use crate::store::{Result, StoreError};

pub(in crate::store) static MIGRATOR: Migrator = sqlx::migrate!();

/// Connections that read beside the one that writes.
const READERS: usize = 3;
/// How long a statement waits for another process's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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
        let writer = Lanes::open(1, options(path)).await?;
        let readers = Lanes::open(READERS, options(path).pragma("query_only", "ON")).await?;
        let files = Files::of(&settings.path, None)?;
        let store = Self::with(path.to_owned(), files, Arc::new(writer), Arc::new(readers));
        *store.anchor.lock().await = Some(anchor);
        Ok(store)
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
        Ok(Self::with(path, Files::default(), Arc::clone(&lane), lane))
    }

    fn with(path: PathBuf, files: Files, writer: Arc<Lanes>, readers: Arc<Lanes>) -> Self {
        let (door, anchor, ended) = (Door::default(), Arc::default(), Arc::default());
        Self { path, writer, readers, door, files, anchor, ended }
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

    /// The database file, with every symbolic link followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that the database and its write-ahead log take.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn size(&self) -> Result<u64> {
        let database = std::fs::metadata(&self.path)
            .map_err(|error| unfit(&self.path, &format!("cannot be looked at: {error}")))?;
        let log = std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |log| log.len());
        Ok(database.len() + log)
    }

    /// Closes the connections, which folds the write-ahead log into the database.
    pub async fn close(&self) {
        if let Some(anchor) = self.anchor.lock().await.take() {
            anchor.close().await.ok();
        }
        self.readers.close().await;
        self.writer.close().await;
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

pub(super) fn unfit(path: &Path, text: &str) -> StoreError {
    StoreError::Unfit(format!("{} {text}", path.display()))
}

// ---- the file ------------------------------------------------------------------------------------

/// Refuses a file that cannot be, or become, a database here. Returns its real path.
pub(super) fn check_file(path: &Path, may_create: bool) -> Result<PathBuf> {
    check_file_on(path, may_create, filesystem::network_under)
}

/// As [`check_file`], told by `network_under` which network file system holds a folder.
fn check_file_on(
    path: &Path,
    may_create: bool,
    network_under: impl Fn(&Path) -> std::io::Result<Option<String>>,
) -> Result<PathBuf> {
    let path = real(path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(unfit(
            &path,
            "cannot be a database: its folder does not exist; create the folder or change database.url",
        ));
    }
    if !path.exists() && !may_create {
        return Err(unfit(
            &path,
            "does not exist: start `teardownd run` or `teardownd migrate` first, or change database.url",
        ));
    }
    let network = network_under(folder)
        .map_err(|error| unfit(folder, &format!("cannot be looked at: {error}")))?;
    if let Some(name) = network {
        return Err(unfit(
            &path,
            &format!(
                "lies on a network file system ({name}), where SQLite's locks are not reliable; \
                 move the database to a local disk and change database.url"
            ),
        ));
    }
    if rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Err(unfit(
            folder,
            "is not writable for this user: SQLite keeps files beside the database; change the \
             folder's owner or run as the user of the daemon",
        ));
    }
    if path.exists() {
        check_header(&path)?;
    }
    Ok(path)
}

/// Refuses to begin an empty database beside what is left of another one, and to open one whose log a
/// restore has put aside: both would lose what was stored last.
pub(super) fn check_leftovers(path: &Path) -> Result<()> {
    if path.exists() {
        return match log_aside(path, path).filter(|aside| aside.exists()) {
            None => Ok(()),
            Some(aside) => Err(unfit(
                path,
                &format!(
                    "is half replaced: a restore was broken off that has moved its log to {}; type \
                     `teardownd restore FILE` again",
                    aside.display()
                ),
            )),
        };
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let is_left = |entry: &OsStr| {
        let rest = entry.as_encoded_bytes().strip_prefix(name);
        rest.is_some_and(|rest| LEFTOVERS.iter().any(|left| rest.starts_with(left.as_bytes())))
    };
    let entries = std::fs::read_dir(folder)
        .map_err(|error| unfit(folder, &format!("cannot be looked at: {error}")))?;
    let mut left: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    left.retain(|entry| is_left(entry));
    left.sort();
    match left.last() {
        None => Ok(()),
        Some(left) => Err(unfit(
            path,
            &format!(
                "does not exist, but {} does: the database was moved away, or a restore broken off. \
                 Put it back, or type `teardownd restore FILE` with that file or with a backup. To \
                 begin with an empty database, move what is left away first",
                folder.join(left).display()
            ),
        )),
    }
}

/// Begin the names, after the database's own, of files that hold or held what it knew.
const LEFTOVERS: [&str; 5] =
    ["-wal", ".before-restore-", ".restore.", ".restore-wal-", ".left-by-restore-"];

/// Refuses what is no SQLite database before SQLite itself touches it. An empty file is one that is
/// being created.
pub(super) fn check_header(path: &Path) -> Result<()> {
    const HEADER: &[u8] = b"SQLite format 3\0";
    if !path.is_file() {
        return Err(unfit(path, "is not a file; change database.url"));
    }
    let mut header = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEADER.len() as u64).read_to_end(&mut header))
        .map_err(|error| {
            unfit(path, &format!("cannot be read: {error}; check its owner and permissions"))
        })?;
    if header.is_empty() || header == HEADER {
        return Ok(());
    }
    Err(unfit(path, "is not an SQLite database; change database.url or move the file away"))
}

// ---- the schema ----------------------------------------------------------------------------------

/// What the database says of its schema.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    /// Migrations applied, in order.
    pub(super) applied: Vec<i64>,
    /// The oldest schema version whose programs may use it.
    min_reader: Option<i64>,
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

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn needs_migration(path: &Path, pending: &[i64]) -> StoreError {
    unfit(
        path,
        &format!(
            "has an older schema (missing versions: {pending:?}): run `teardownd migrate`, or start \
             `teardownd run` with database.migrate = \"auto\""
        ),
    )
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
