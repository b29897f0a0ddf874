//! The files of a database: whether they are still those that were opened, and who has locked them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::lock::{RunLock, beside};
use crate::store::{Result, StoreError};

/// The files of an open database, as they were when it was opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// The database as it was named, perhaps by a link.
    named: PathBuf,
    /// Each under its own name, the database first.
    seen: Vec<(PathBuf, Identity)>,
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(seen: &Metadata) -> Identity {
    (seen.dev(), seen.ino())
}

impl Files {
    /// The files of a database that is open under this name, with its lock file where this process holds
    /// that.
    ///
    /// # Errors
    /// When one of them is not the one that is held.
    pub(crate) fn of(named: &Path, lock: Option<&RunLock>) -> Result<Self> {
        let mut files = Self { named: named.to_owned(), seen: Vec::new() };
        for suffix in ["", "-wal", "-shm"] {
            let path = beside(named, suffix);
            if let Ok(seen) = path.metadata() {
                files.seen.push((path, identity(&seen)));
            }
        }
        for (path, file) in lock.iter().flat_map(|lock| lock.files()) {
            let held = file.metadata().map_err(|error| StoreError::Engine(error.to_string()))?;
            files.seen.push((path, identity(&held)));
        }
        files.check()?;
        Ok(files)
    }

    /// The database as it was named.
    pub(crate) fn named(&self) -> &Path {
        &self.named
    }

    /// Whether they are still where they were.
    ///
    /// # Errors
    /// [`StoreError::Gone`], which names the one that is not.
    pub(crate) fn check(&self) -> Result<()> {
        let is = |seen: std::io::Result<Metadata>, was: &Identity| {
            seen.is_ok_and(|seen| identity(&seen) == *was)
        };
        let moved = self.seen.iter().find(|(path, was)| !is(path.symlink_metadata(), was));
        let moved = moved.map(|(path, _)| path);
        // A link may lead elsewhere by now.
        let leads = |(_, was): &(PathBuf, Identity)| is(self.named.metadata(), was);
        match moved.or((!self.seen.first().is_none_or(leads)).then_some(&self.named)) {
            None => Ok(()),
            Some(path) => Err(StoreError::Gone(format!(
                "{} was moved, removed or replaced while the database was open: what others store \
                 now is not what this process works on",
                path.display()
            ))),
        }
    }
}

// ---- who holds SQLite's own locks --------------------------------------------------------------------

/// Names who holds a database that stays locked.
pub(super) fn held(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Busy(text) => busy(path, &text),
        other => other,
    }
}

/// A database that stays locked, with the processes that hold it as far as the system tells.
fn busy(database: &Path, text: &str) -> StoreError {
    let held = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    // Writers lock the index of the write-ahead log; what locks out everybody locks the database.
    let inodes: Vec<u64> = ["", "-shm"]
        .iter()
        .filter_map(|suffix| Some(beside(database, suffix).metadata().ok()?.ino()))
        .collect();
    let name = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = name.trim();
        if name.is_empty() { format!("process {pid}") } else { format!("process {pid} ({name})") }
    };
    let by: Vec<String> = writers(&held, &inodes).into_iter().map(name).collect();
    let by = if by.is_empty() { "another process".to_owned() } else { by.join(" and ") };
    StoreError::Busy(format!("{}: the {text} by {by}", database.display()))
}

/// The processes that hold a POSIX lock to write on one of these inodes, from the text of
/// `/proc/locks` (proc_locks(5)).
fn writers(locks: &str, inodes: &[u64]) -> Vec<u32> {
    let writer = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX", _, "WRITE", pid, file, ..] = fields[..] else { return None };
        let inode = file.rsplit(':').next()?.parse().ok()?;
        let pid = pid.parse().ok()?;
        (inodes.contains(&inode) && pid != std::process::id()).then_some(pid)
    };
    let mut writers: Vec<u32> = locks.lines().filter_map(writer).collect();
    writers.sort_unstable();
    writers.dedup();
    writers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::file::lock::{Holder, real};

    #[test]
    fn files_that_are_moved_removed_or_replaced_are_noticed() {
        for suffix in ["", "-wal", "-shm", ".lock"] {
            for replace in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let database = real(&folder.path().join("teardownd.db"));
                for suffix in ["", "-wal", "-shm"] {
                    std::fs::write(beside(&database, suffix), "").unwrap();
                }
                let lock = RunLock::acquire(&database, "first", Holder::Run).unwrap();
                let files = Files::of(&database, Some(&lock)).unwrap();
                files.check().unwrap();
                let path = beside(&database, suffix);
                std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
                if replace {
                    std::fs::copy(folder.path().join("elsewhere"), &path).unwrap();
                }
                let gone = files.check().unwrap_err();
                assert!(matches!(&gone, StoreError::Gone(text) if text.contains(suffix)), "{gone}");
            }
        }
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [link, database, other] =
            ["link.db", "teardownd.db", "other.db"].map(|name| folder.path().join(name));
        std::fs::write(&database, "").unwrap();
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let files = Files::of(&link, None).unwrap();
        files.check().unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(matches!(files.check(), Err(StoreError::Gone(_))));
    }

    #[test]
    fn the_processes_that_hold_a_lock_are_read_from_the_table_of_locks() {
        let own = std::process::id();
        let table = format!(
            "1: POSIX  ADVISORY  WRITE 4711 fe:01:2531452 120 120\n\
             1: -> POSIX  ADVISORY  WRITE 4712 fe:01:2531452 120 120\n\
             2: POSIX  ADVISORY  READ 4713 fe:01:2531452 123 123\n\
             3: FLOCK  ADVISORY  WRITE 4714 fe:01:2531452 0 EOF\n\
             4: POSIX  ADVISORY  WRITE 4715 fe:01:99 0 EOF\n\
             5: POSIX  ADVISORY  WRITE {own} fe:01:2531452 0 EOF\n"
        );
        assert_eq!(writers(&table, &[2_531_452, 7]), [4711]);
    }
}
