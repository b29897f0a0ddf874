//! The database that a restore replaces: held while it is asked what it knows, and swapped for its
//! successor in one step.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::RenameFlags;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::open_alone;
use crate::store::file::backup::{Partial, rename};
use crate::store::file::fitness::{log_aside, unfit};
use crate::store::file::lock::beside;
use crate::store::file::open::{bring_up, in_a_name};
use crate::store::file::version::{MIGRATOR, Schema, inspect};
use crate::store::{Result, StoreError};

/// The successor, whole and on the disk, before the two are swapped; the replaced one after that.
const READY: &str = ".restore.ready";

/// The database that is replaced. Nobody else can use it until the connection is closed, but for one
/// that is too damaged to be locked.
#[derive(Debug)]
pub(super) struct Replaced {
    /// The copy that becomes the database is its main one. Where the replaced one can be read, that
    /// stands beside it as `present`, with this program's schema.
    pub(super) conn: SqliteConnection,
    pub(super) is_readable: bool,
    /// The copy that is asked instead of a database with an older schema.
    _brought_up: Option<Partial>,
}

impl Replaced {
    /// Takes hold of the database, if there is one.
    pub(super) async fn hold(copy: &Path, database: &Path) -> Result<Option<Self>> {
        if !database.exists() {
            return Ok(None);
        }
        match Self::locked(copy, database).await {
            Ok(held) => Ok(Some(held)),
            Err(error @ StoreError::Busy(_)) => Err(error),
            // Damaged, which may be why it is replaced.
            Err(_) => {
                let conn = open_alone(copy).await?;
                Ok(Some(Self { conn, is_readable: false, _brought_up: None }))
            }
        }
    }

    async fn locked(copy: &Path, database: &Path) -> Result<Self> {
        let schema = inspect(database).await?;
        let is_older = schema.pending(database, &MIGRATOR).is_ok_and(|pending| !pending.is_empty());
        // One that is newer than this program has all that this program knows.
        let name = if is_older { "held" } else { "present" };
        let mut conn = open_alone(copy).await?;
        attach(&mut conn, database, name).await?;
        lock(&mut conn, database, name).await?;
        let brought_up =
            if is_older { brought_up(&mut conn, database, &schema).await } else { None };
        let is_readable = !schema.applied.is_empty() && is_older == brought_up.is_some();
        Ok(Self { conn, is_readable, _brought_up: brought_up })
    }
}

async fn attach(conn: &mut SqliteConnection, file: &Path, name: &'static str) -> Result<()> {
    let path = file.to_str().ok_or_else(|| unfit(file, "has a name that is not UTF-8"))?;
    let sql = AssertSqlSafe(format!("ATTACH DATABASE ? AS {name}"));
    sqlx::query(sql).bind(path).execute(conn).await?;
    Ok(())
}

/// Locks everybody else out. It is one single file afterwards: only a database that nobody else has
/// open can leave the mode in which several work on it.
async fn lock(conn: &mut SqliteConnection, database: &Path, name: &'static str) -> Result<()> {
    let open_elsewhere = || {
        let text = "is open in another process, such as `teardownd watch`: end it and try again";
        StoreError::Busy(format!("{} {text}", database.display()))
    };
    let sql = AssertSqlSafe(format!("PRAGMA {name}.journal_mode = DELETE"));
    let mode: Result<String, sqlx::Error> = sqlx::query_scalar(sql).fetch_one(&mut *conn).await;
    match mode.map_err(StoreError::from) {
        Ok(mode) if mode == "delete" => {}
        Ok(_) | Err(StoreError::Busy(_)) => return Err(open_elsewhere()),
        Err(error) => return Err(error),
    }
    // The lock that this transaction takes stays until the connection is closed.
    for sql in [
        format!("PRAGMA {name}.locking_mode = EXCLUSIVE"),
        "BEGIN EXCLUSIVE".to_owned(),
        "COMMIT".to_owned(),
    ] {
        match sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await.map_err(StoreError::from) {
            Ok(_) => {}
            Err(StoreError::Busy(_)) => return Err(open_elsewhere()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Has a copy of an older database with this program's schema attached as `present`; `None` where that
/// cannot be made.
async fn brought_up(
    conn: &mut SqliteConnection,
    database: &Path,
    schema: &Schema,
) -> Option<Partial> {
    if schema.applied.is_empty() {
        return None;
    }
    let copy = Partial::shared(beside(database, ".replaced.partial")).ok()?;
    sqlx::query("VACUUM held INTO ?").bind(copy.utf8().ok()?).execute(&mut *conn).await.ok()?;
    let mut own = open_alone(&copy.path).await.ok()?;
    bring_up(&mut own, database).await.ok()?;
    own.close().await.ok()?;
    attach(conn, &copy.path, "present").await.ok()?;
    Some(copy)
}

// ---- the swap ----------------------------------------------------------------------------------------

fn failed(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    move |error| unfit(path, &format!("cannot be put in its place: {error}"))
}

/// Puts the copy in the place of the database, and keeps what was there. Returns its new name.
pub(super) fn swap(
    copy: Partial,
    database: &Path,
    now: Timestamp,
    step: &(dyn Fn() + Sync),
) -> Result<PathBuf> {
    copy.sync()?;
    let (ready, log) = (beside(database, READY), beside(database, "-wal"));
    rename(&copy.path, &ready, RenameFlags::NOREPLACE).map_err(failed(&ready))?;
    copy.keep();
    step();
    // A new database with an old one's log would be damaged.
    let aside = log_aside(database, database).filter(|_| log.exists());
    let swapped = aside
        .as_ref()
        .map_or(Ok(()), |aside| rename(&log, aside, RenameFlags::NOREPLACE))
        .and_then(|()| {
            step();
            rename(&ready, database, RenameFlags::EXCHANGE)
        });
    if let Err(error) = swapped {
        aside.map(|aside| rename(&aside, &log, RenameFlags::NOREPLACE));
        std::fs::remove_file(&ready).ok();
        return Err(failed(database)(error));
    }
    step();
    std::fs::remove_file(beside(database, "-shm")).ok();
    keep(database, &format!(".before-restore-{}", in_a_name(now)))
}

/// Gives what was replaced a name under which it is kept.
fn keep(database: &Path, suffix: &str) -> Result<PathBuf> {
    let (ready, kept) = (beside(database, READY), beside(database, suffix));
    if let Some(aside) = log_aside(database, &ready).filter(|aside| aside.exists()) {
        let log = beside(database, &format!("{suffix}-wal"));
        rename(&aside, &log, RenameFlags::NOREPLACE).map_err(failed(&log))?;
    }
    rename(&ready, &kept, RenameFlags::NOREPLACE).map_err(failed(&kept))?;
    Ok(kept)
}

/// Sets right what a restore that was killed has left. None of it is thrown away but a copy of the
/// backup that was not finished.
pub(super) fn tidy_up(database: &Path, now: Timestamp) -> Result<()> {
    let log = beside(database, "-wal");
    if let Some(aside) = log_aside(database, database).filter(|aside| aside.exists()) {
        rename(&aside, &log, RenameFlags::NOREPLACE).map_err(failed(&log))?;
    }
    if beside(database, READY).exists() {
        keep(database, &format!(".left-by-restore-{}", in_a_name(now)))?;
    }
    Ok(())
}
