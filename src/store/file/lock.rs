//! Locks of the database, held by the operating system: they end with the process, however it ends.
//!
//! A `run` holds two: one on the file beside the database, which is there before the database is, and
//! one on the database itself, which holds under every name of it. Both are locks of flock(2), of
//! which SQLite's own (POSIX) ones know nothing. Closing any handle of the database drops SQLite's
//! locks in this process, so that one on it is opened before SQLite opens it, or kept until the end
//! (invariant 10).

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::shared;
use crate::store::{Result, StoreError};

/// A command that only looks whether the database is locked holds it for an instant.
const TRIES: u32 = 10;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

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

/// The process that works on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// `run`, which ends when it is told to.
    Run,
    /// `restore`, which ends by itself.
    Restore,
}

/// Follows the name of a restore in the lock file.
const RESTORE: &str = " (restore)";

/// Held by the one `run` of a database, for as long as it lives, and by a `restore`.
#[derive(Debug)]
pub struct RunLock {
    database: PathBuf,
    // Closing a file ends its lock. The lock file itself stays: removing it would let two processes
    // hold locks on two files of one name.
    beside: File,
    itself: Option<File>,
}

impl RunLock {
    /// Takes the lock `<database>.lock`, writes the owner into it, and takes the lock of the database
    /// itself if there is one. To be called before the database is opened.
    ///
    /// # Errors
    /// When another process holds one of them, naming the owner written there: [`StoreError::Busy`] if
    /// that is a restore, else [`StoreError::Unfit`]; and that when a file cannot be used.
    pub fn acquire(database: &Path, owner: &str, holder: Holder) -> Result<Self> {
        let path = beside(database, ".lock");
        let mut file = open(&path)?;
        if !locked(&file, &path)? {
            return Err(taken(database, &mut file));
        }
        let mut lock = Self { database: real(database), beside: file, itself: None };
        if lock.database.exists() {
            lock.hold_database()?;
        }
        let suffix = if holder == Holder::Restore { RESTORE } else { "" };
        write_owner(&mut lock.beside, &format!("{owner}{suffix}"))
            .map_err(|error| unusable(&path, &error))?;
        Ok(lock)
    }

    /// Takes the lock of the database itself, which may have been created since.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn hold_database(&mut self) -> Result<()> {
        if self.itself.is_none() {
            let file =
                File::open(&self.database).map_err(|error| unusable(&self.database, &error))?;
            if !locked(&file, &self.database)? {
                return Err(StoreError::Unfit(format!(
                    "{} is in use by another process, which knows it by another name or has lost its \
                     lock file: only one `teardownd run` may work on a database. Stop that one first",
                    self.database.display()
                )));
            }
            self.itself = Some(file);
        }
        Ok(())
    }
}

impl RunLock {
    /// The locked files, each with its path.
    pub(super) fn files(&self) -> impl Iterator<Item = (PathBuf, &File)> {
        let itself = self.itself.iter().map(|file| (self.database.clone(), file));
        itself.chain([(beside(&self.database, ".lock"), &self.beside)])
    }
}

/// Takes a lock; `false` if another process has it.
fn locked(file: &File, path: &Path) -> Result<bool> {
    for rest in (0..TRIES).rev() {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if rest > 0 => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(unusable(path, &error)),
        }
    }
    Ok(false)
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
    let database = database.display();
    if owner.ends_with(RESTORE) {
        return StoreError::Busy(format!("{database} is in use by {owner}"));
    }
    StoreError::Unfit(format!(
        "{database} is in use by {owner}: only one `teardownd run` may work on a database. Stop that \
         one first; the other commands work beside it"
    ))
}

fn unusable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unfit(format!("the lock of {} cannot be used: {error}", path.display()))
}

/// Whether a daemon (or a restore) works on this very file. To be asked before it is opened.
///
/// # Errors
/// [`StoreError::Unfit`] when it does so under another name of the file, or has lost its lock file: its
/// write-ahead log has that other name, and whatever is stored under this one damages the database.
pub fn is_worked_on(database: &Path) -> Result<bool> {
    let is_held = |path: &Path| {
        // Another step tells of a file that cannot be opened.
        let file = File::open(path).ok();
        file.is_some_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    let is_held_itself = is_held(&real(database));
    if is_held_itself && !is_held(&beside(database, ".lock")) {
        return Err(StoreError::Unfit(format!(
            "{} is another name of a database that a daemon works on, or the daemon's lock file was \
             removed: use the name that the daemon was given, or restart it",
            database.display()
        )));
    }
    Ok(is_held_itself)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(database: &Path, owner: &str) -> Result<RunLock> {
        RunLock::acquire(database, owner, Holder::Run)
    }

    #[test]
    fn invariant_10_a_second_holder_is_refused_and_the_owner_named() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("teardownd.db");
        let first = acquire(&database, "host-a, process 17").unwrap();
        let refused = acquire(&database, "host-a, process 18").unwrap_err().to_string();
        assert!(refused.contains("host-a, process 17"), "{refused}");
        drop(first);
        let lock_file = folder.path().join("teardownd.db.lock");
        assert!(lock_file.exists(), "the lock file is never removed");
        let second = acquire(&database, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&lock_file).unwrap(), "b");
        drop(second);
        // A restore passes by itself.
        let _restore = RunLock::acquire(&database, "c", Holder::Restore).unwrap();
        let refused = acquire(&database, "d").unwrap_err();
        assert!(matches!(&refused, StoreError::Busy(text) if text.contains("c (restore)")));
    }

    #[test]
    fn invariant_10_every_name_of_one_database_has_the_same_lock() {
        let folder = tempfile::tempdir().unwrap();
        let name = |name: &str| folder.path().join(name);
        let database = name("teardownd.db");
        std::fs::write(&database, "").unwrap();
        std::os::unix::fs::symlink(&database, name("link.db")).unwrap();
        std::fs::hard_link(&database, name("hard.db")).unwrap();
        let _first = acquire(&database, "first").unwrap();
        for other in ["link.db", "hard.db"] {
            acquire(&name(other), "second").unwrap_err();
        }
        assert!(is_worked_on(&database).unwrap() && is_worked_on(&name("link.db")).unwrap());
        let refused = is_worked_on(&name("hard.db")).unwrap_err().to_string();
        assert!(refused.contains("another name of a database"), "{refused}");
        // Nor does it help to take the lock file away.
        std::fs::remove_file(name("teardownd.db.lock")).unwrap();
        let refused = acquire(&database, "second").unwrap_err().to_string();
        assert!(refused.contains("has lost its lock file"), "{refused}");
    }

    #[test]
    fn a_database_is_worked_on_only_while_a_daemon_has_this_very_file() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("teardownd.db");
        let mut lock = acquire(&database, "first").unwrap();
        std::fs::write(&database, "").unwrap();
        assert!(!is_worked_on(&database).unwrap(), "created since");
        lock.hold_database().unwrap();
        assert!(is_worked_on(&database).unwrap());
        std::fs::remove_file(&database).unwrap();
        std::fs::write(&database, "").unwrap();
        assert!(!is_worked_on(&database).unwrap(), "another file of the same name");
    }

    #[test]
    fn invariant_13_the_lock_file_is_not_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("teardownd.db");
        let secret = folder.path().join("refresh");
        std::fs::write(&secret, "0.refresh").unwrap();
        let lock_file = folder.path().join("teardownd.db.lock");
        std::os::unix::fs::symlink(&secret, &lock_file).unwrap();
        let refused = acquire(&database, "me").unwrap_err().to_string();
        assert!(refused.contains("teardownd.db.lock") && refused.contains("link"), "{refused}");
        std::fs::remove_file(&lock_file).unwrap();
        std::fs::hard_link(&secret, &lock_file).unwrap();
        acquire(&database, "me").unwrap_err();
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "0.refresh");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = acquire(Path::new("/no/such/folder/x.db"), "me").unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/x.db.lock"), "{error}");
    }
}
