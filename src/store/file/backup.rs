//! Copies of the database, made while the daemon runs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::fitness::{check_file, unfit};
use super::identity::held;
use super::version::{BUSY_TIMEOUT, read_schema};
use crate::store::file::shared::open_or_create;
use crate::store::{Result, StoreError};

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Version of its schema.
    pub schema: i64,
    /// Teardowns in it.
    pub teardowns: u64,
}

/// Copies the database into a new file, as it stands at one instant, beside whatever works on it. The
/// file appears whole and verified or not at all, and only its owner can read it.
///
/// # Errors
/// [`StoreError::Unfit`] when the database is not fit, or the file exists or cannot be written.
pub async fn backup(database: &Path, file: &Path) -> Result<BackupReport> {
    let database = check_file(database, false)?;
    let file = std::path::absolute(file)
        .map_err(|error| unfit(file, &format!("cannot be a backup: {error}")))?;
    if file.symlink_metadata().is_ok() {
        return Err(exists(&file));
    }
    let mut name = file.clone().into_os_string();
    name.push(".partial");
    let partial = Partial::create(PathBuf::from(name))?;
    let options = SqliteConnectOptions::new().filename(&database).busy_timeout(BUSY_TIMEOUT);
    let opened = options.connect().await.map_err(StoreError::from);
    let mut conn = opened.map_err(|error| held(&database, error))?;
    // Of an older schema, too: what is not of this program is refused.
    read_schema(&mut conn, &database).await.map_err(|error| held(&database, error))?;
    partial.fill_from(&mut conn).await?;
    conn.close().await?;
    let (schema, teardowns) = verify(&partial.path).await?;
    let bytes = partial.become_file(&file)?;
    Ok(BackupReport { file, bytes, schema, teardowns })
}

/// Whether a database is whole: the version of its schema and the number of its teardowns.
pub(super) async fn verify(path: &Path) -> Result<(i64, u64)> {
    let (mut conn, version) = verified(path).await?;
    let teardowns: i64 =
        sqlx::query_scalar("SELECT count(*) FROM teardowns").fetch_one(&mut conn).await?;
    conn.close().await?;
    Ok((version, u64::try_from(teardowns).unwrap_or_default()))
}

/// Whether a file that nobody works on is a whole database; if so, the version of its schema.
pub(super) async fn verified(path: &Path) -> Result<(SqliteConnection, i64)> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let mut conn = options.connect().await?;
    let found: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut conn).await?;
    if found != "ok" {
        return Err(unfit(path, &format!("is damaged: {found}")));
    }
    let schema = read_schema(&mut conn, path).await?;
    let Some(version) = schema.applied.last() else {
        return Err(unfit(path, "is not a database of teardownd"));
    };
    Ok((conn, *version))
}

fn exists(file: &Path) -> StoreError {
    unfit(file, "exists already and is not overwritten: name another file, or move it away")
}

/// A file that is being written. It is gone with this, unless it has become what it should.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) path: PathBuf,
    /// The file that was created, whatever stands under its name by now.
    pub(super) content: File,
}

impl Partial {
    /// Creates an empty file for its owner alone.
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&path) {
            Ok(content) => Ok(Self { path, content }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(unfit(
                &path,
                "is left from a copy that was broken off, or being written by another process: \
                 remove it if no other process is at work",
            )),
            Err(error) => Err(unfit(&path, &format!("cannot be written: {error}"))),
        }
    }

    /// Creates an empty file beside the database, for whoever may write to that one. What a process
    /// that was killed has left there goes.
    pub(super) fn shared(path: PathBuf) -> Result<Self> {
        std::fs::remove_file(&path).ok();
        match open_or_create(&path) {
            Ok(content) => Ok(Self { path, content }),
            Err(error) => Err(unfit(&path, &format!("cannot be written: {error}"))),
        }
    }

    pub(super) fn utf8(&self) -> Result<&str> {
        self.path.to_str().ok_or_else(|| unfit(&self.path, "has a name that is not UTF-8"))
    }

    /// Fills it with what a connection has open, as it stands at one instant.
    pub(super) async fn fill_from(&self, conn: &mut SqliteConnection) -> Result<()> {
        sqlx::query("VACUUM INTO ?").bind(self.utf8()?).execute(conn).await?;
        Ok(())
    }

    /// Puts it on the disk. Returns its size.
    pub(super) fn sync(&self) -> Result<u64> {
        let size = self.content.sync_all().and_then(|()| self.content.metadata());
        let size = size.map_err(|error| unfit(&self.path, &format!("cannot be written: {error}")));
        Ok(size?.len())
    }

    /// Gives it its name once it is on the disk, unless there is such a file. Returns its size.
    pub(super) fn become_file(self, file: &Path) -> Result<u64> {
        let bytes = self.sync()?;
        match rename(&self.path, file, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(file)),
            Err(error) => Err(unfit(file, &format!("cannot be written: {error}"))),
        }
    }

    /// It stays under the name it has.
    pub(super) fn keep(mut self) {
        self.path = PathBuf::new();
    }
}

/// Renames within a folder, and does not return before that is on the disk.
pub(super) fn rename(from: &Path, to: &Path, flags: RenameFlags) -> std::io::Result<()> {
    renameat_with(CWD, from, CWD, to, flags)?;
    File::open(to.parent().unwrap_or(Path::new("/")))?.sync_all()
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone already where it has become a file of another name.
        std::fs::remove_file(&self.path).ok();
    }
}
