//! The database that a restore replaces: moved aside first, and looked at under its new name.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{copy, open_alone};
use crate::store::lock::beside;
use crate::store::sqlite::backup::Partial;
use crate::store::sqlite::open::{BUSY_TIMEOUT, MIGRATOR, bring_up, in_a_name, read_schema, unfit};
use crate::store::{Result, StoreError};

/// The database that was there, under another name.
#[derive(Debug)]
pub(super) struct Replaced {
    database: PathBuf,
    /// The name it has now.
    pub(super) file: PathBuf,
    is_readable: bool,
}

impl Replaced {
    /// Moves it aside, where no new connection finds it, and makes sure that there is no old one.
    pub(super) async fn put_aside(database: &Path, now: Timestamp) -> Result<Option<Self>> {
        if !database.exists() {
            return Ok(None);
        }
        // Folds its write-ahead log, so that a crash between two renames loses nothing. A damaged one
        // is moved as it is.
        if let Ok(mut conn) = SqliteConnectOptions::new().filename(database).connect().await {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await.ok();
            conn.close().await.ok();
        }
        let file = beside(database, &format!(".before-restore-{}", in_a_name(now)));
        let mut replaced = Self { database: database.to_owned(), file, is_readable: false };
        replaced.rename(&replaced.database, &replaced.file)?;
        match is_alone(&replaced.file).await {
            Ok(true) => replaced.is_readable = true,
            Ok(false) => {
                replaced.put_back()?;
                return Err(unfit(
                    database,
                    "is open in another process, such as `teardownd watch`: end it and try again",
                ));
            }
            // Damaged, which may be why it is replaced.
            Err(_) => {}
        }
        Ok(Some(replaced))
    }

    pub(super) fn put_back(&self) -> Result<()> {
        self.rename(&self.file, &self.database)
    }

    /// The database with this program's schema, to be asked what it knows; `None` if it cannot be read.
    pub(super) async fn readable(&self) -> Option<Readable> {
        if self.is_readable { self.brought_up().await.ok() } else { None }
    }

    async fn brought_up(&self) -> Result<Readable> {
        let mut conn = open_alone(&self.file).await?;
        let schema = read_schema(&mut conn, &self.file).await?;
        conn.close().await?;
        if schema.applied.is_empty() {
            return Err(unfit(&self.file, "is not a database of teardownd"));
        }
        // It stays as it is. One that is newer than this program has all that this program knows.
        if schema.pending(&self.file, &MIGRATOR).is_ok_and(|pending| !pending.is_empty()) {
            let copy = copy(&self.file, beside(&self.database, ".replaced.partial"))?;
            let mut conn = open_alone(&copy.0).await?;
            bring_up(&mut conn, &self.file).await?;
            conn.close().await?;
            return Ok(Readable { file: copy.0.clone(), _copy: Some(copy) });
        }
        Ok(Readable { file: self.file.clone(), _copy: None })
    }

    /// Renames the database with its log and its index of that.
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            let name = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                PathBuf::from(name)
            };
            if name(from).exists() {
                std::fs::rename(name(from), name(to)).map_err(|error| {
                    unfit(
                        &name(from),
                        &format!("cannot be moved to {}: {error}", name(to).display()),
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// A database that can be asked what it knows: the replaced one, or a copy of it with a newer schema,
/// which is gone with this.
#[derive(Debug)]
pub(super) struct Readable {
    pub(super) file: PathBuf,
    _copy: Option<Partial>,
}

/// Whether no other connection is open on a database. Only then can it leave the mode in which several
/// work on it; it is one single file afterwards.
async fn is_alone(path: &Path) -> Result<bool> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
    let mut conn = options.connect().await?;
    let mode: Result<String, sqlx::Error> =
        sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut conn).await;
    conn.close().await.ok();
    match mode.map_err(StoreError::from) {
        Ok(mode) => Ok(mode == "delete"),
        Err(StoreError::Engine(text)) if text.contains("locked") => Ok(false),
        Err(error) => Err(error),
    }
}
