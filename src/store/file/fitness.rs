//! Whether a file can be worked with at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::filesystem;
use super::lock::{beside, real};
use crate::store::{Result, StoreError};

/// Begin the names, after the database's own, of files that hold or held what it knew.
const LEFTOVERS: [&str; 5] =
    ["-wal", ".before-restore-", ".restore.", ".restore-wal-", ".left-by-restore-"];

pub(super) fn unfit(path: &Path, text: &str) -> StoreError {
    StoreError::Unfit(format!("{} {text}", path.display()))
}

/// Refuses a file that cannot be, or become, a database here. Returns its real path.
pub(super) fn check_file(path: &Path, may_create: bool) -> Result<PathBuf> {
    check_file_on(path, may_create, filesystem::network_under)
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

/// As [`check_file`], told by `network_under` which network file system holds a folder.
pub(super) fn check_file_on(
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

/// Where the write-ahead log of this very file waits while it is swapped. Only one that is too damaged
/// for its log to be folded into it has any.
pub(super) fn log_aside(database: &Path, of: &Path) -> Option<PathBuf> {
    let inode = of.metadata().ok()?.ino();
    Some(beside(database, &format!(".restore-wal-{inode}")))
}
