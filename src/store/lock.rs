//! Locks beside the database, held by the operating system: they end with the process, however it
//! ends. They are never taken on the database itself, because closing any handle of it would drop
//! SQLite's own locks (invariant 10).

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Result, StoreError, shared};

/// `<database>` followed by a suffix, in the folder where the database really lies: two names of one
/// file through symbolic links share their locks.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(real(database));
    name.push(suffix);
    PathBuf::from(name)
}

/// The path with every symbolic link followed, also if the file itself does not exist yet.
pub(crate) fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Opens a lock file, creating it if need be. What is in it stays.
pub(crate) fn open(path: &Path) -> Result<File> {
    shared::open_or_create(path).map_err(|error| {
        StoreError::Unfit(format!(
            "the lock file {} cannot be opened: {error}; the database's folder must be writable for \
             this user",
            path.display()
        ))
    })
}

/// Held by the one `run` of a database, for as long as it lives.
#[derive(Debug)]
pub struct RunLock {
    // Closing the file ends the lock. The file itself stays: removing it would let two processes
    // hold locks on two files of one name.
    _file: File,
}

impl RunLock {
    /// Takes the lock `<database>.lock` and writes the owner into it.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when another process holds it, naming the owner written there, or when
    /// the lock file cannot be used.
    pub fn acquire(database: &Path, owner: &str) -> Result<Self> {
        let path = beside(database, ".lock");
        let mut file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(database, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
        }
        write_owner(&mut file, owner).map_err(|error| unusable(&path, &error))?;
        Ok(Self { _file: file })
    }
}

fn write_owner(file: &mut File, owner: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(owner.as_bytes())?;
    file.flush()
}

fn taken(database: &Path, file: &mut File) -> StoreError {
    let mut owner = String::new();
    // An unreadable owner only makes the message poorer.
    let read = file.read_to_string(&mut owner);
    let owner = match (read, owner.trim()) {
        (Err(_), _) | (Ok(_), "") => "another process",
        (Ok(_), owner) => owner,
    };
    StoreError::Unfit(format!(
        "{} is in use by {owner}: only one `teardownd run` may work on a database. Stop that one \
         first; the other commands work beside it",
        database.display()
    ))
}

fn unusable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unfit(format!("the lock file {} cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_10_a_second_holder_is_refused_and_the_owner_named() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("teardownd.db");
        let first = RunLock::acquire(&database, "host-a, process 17").unwrap();
        let refused = RunLock::acquire(&database, "host-a, process 18").unwrap_err().to_string();
        assert!(refused.contains("host-a, process 17"), "{refused}");
        drop(first);
        let lock_file = folder.path().join("teardownd.db.lock");
        assert!(lock_file.exists(), "the lock file is never removed");
        let _second = RunLock::acquire(&database, "b").unwrap();
        assert_eq!(std::fs::read_to_string(lock_file).unwrap(), "b");
    }

    #[test]
    #[cfg(unix)]
    fn invariant_10_two_names_of_one_database_share_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("teardownd.db");
        std::fs::write(&database, "").unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let _first = RunLock::acquire(&database, "first").unwrap();
        assert!(RunLock::acquire(&link, "second").is_err());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = RunLock::acquire(Path::new("/no/such/folder/x.db"), "me").unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/x.db.lock"), "{error}");
    }
}
