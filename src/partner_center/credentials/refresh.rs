//! A refresh token's file: replaced when Entra issues a new one, and how long ago that was.
//!
//! Entra replaces a refresh token at every use and lets one that is not used for 90 days lapse
//! (MicrosoftDocs/entra-docs, `refresh-tokens.md`). Getting another one takes a person who signs in,
//! so the new one must be safe on disk before anything rests on it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::Access;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// A refresh token that was not used for this long is worth a warning.
pub const STALE: Duration = Duration::from_hours(75 * 24);

/// Whether a new token could be put in the place of the old one, as far as that can be known before
/// it is issued: its folder may be mounted read-only, as secrets often are.
///
/// # Errors
/// Why it could not.
pub(super) fn can_be_replaced(path: &Path) -> io::Result<()> {
    let target = fs::canonicalize(path)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Puts a new refresh token in the place of the old one. Whatever happens on the way, the file holds
/// one of the two, whole; when this returns, it is the new one, and no power failure changes that.
pub(super) fn replace(
    path: &Path,
    token: &SecretString,
    now: Timestamp,
    id: Uuid,
) -> io::Result<()> {
    Staged::write(path, token, now, id)?.commit()
}

/// A new token in a file of its own beside the old one.
struct Staged {
    target: PathBuf,
    temporary: PathBuf,
}

impl Staged {
    fn write(path: &Path, token: &SecretString, now: Timestamp, id: Uuid) -> io::Result<Self> {
        // A link stays a link: what it leads to is replaced.
        let target = fs::canonicalize(path)?;
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{id}"));
        let temporary = target.with_file_name(name);
        let staged = Self { target, temporary };
        staged.fill(token, now).inspect_err(|_| staged.discard())?;
        Ok(staged)
    }

    fn fill(&self, token: &SecretString, now: Timestamp) -> io::Result<()> {
        let mut file =
            File::options().write(true).create_new(true).mode(0o600).open(&self.temporary)?;
        file.write_all(token.expose_secret().as_bytes())?;
        file.set_modified(SystemTime::from(now))?;
        file.sync_all()
    }

    fn commit(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target).inspect_err(|_| self.discard())?;
        match self.target.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn discard(&self) {
        // What led here is the error to report.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Notes that the token in the file was used and is not replaced.
pub(super) fn touch(path: &Path, now: Timestamp) -> io::Result<()> {
    File::options().write(true).open(path)?.set_modified(SystemTime::from(now))
}

/// How long ago the token in the file was issued or last used.
pub(super) fn age(path: &Path, now: Timestamp) -> io::Result<Duration> {
    let used = Timestamp::try_from(fs::metadata(path)?.modified()?).map_err(io::Error::other)?;
    // A file of the future was written under another clock; it is new.
    Ok(Duration::try_from(now.duration_since(used)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn folder_with(token: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refresh");
        fs::write(&path, token).unwrap();
        (folder, path)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_new_token_takes_the_place_of_the_old_one_for_its_owner_alone() {
        let (folder, path) = folder_with("old");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, &"new".into(), now(), Uuid::from_u128(1)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(names(folder.path()), ["refresh"]);
        assert_eq!(age(&path, now() + DAY).unwrap(), DAY);
    }

    #[test]
    fn a_crash_between_writing_and_renaming_leaves_the_old_token() {
        let (folder, path) = folder_with("old");
        // Nothing runs after the crash, so nothing is cleaned up.
        let staged = Staged::write(&path, &"lost".into(), now(), Uuid::from_u128(1)).unwrap();
        drop(staged);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()).len(), 2);
        replace(&path, &"new".into(), now(), Uuid::from_u128(2)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_token_that_cannot_be_written_leaves_the_old_one_and_nothing_else() {
        let (folder, path) = folder_with("old");
        let taken = Uuid::from_u128(1);
        fs::create_dir(folder.path().join(format!(".refresh.{taken}"))).unwrap();
        replace(&path, &"new".into(), now(), taken).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");

        let staged = Staged::write(&path, &"new".into(), now(), Uuid::from_u128(2)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        staged.commit().unwrap_err();
        assert_eq!(names(folder.path()).len(), 2, "the new token's own file is gone");
    }

    #[test]
    fn whether_a_token_can_be_replaced_is_known_before() {
        let (folder, path) = folder_with("old");
        can_be_replaced(&path).unwrap();
        can_be_replaced(&folder.path().join("elsewhere")).unwrap_err();
        // Not even the superuser writes there.
        can_be_replaced(Path::new("/proc/self/status")).unwrap_err();
    }

    #[test]
    fn a_link_to_the_file_stays_one() {
        let (folder, path) = folder_with("old");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, &"new".into(), now(), Uuid::from_u128(1)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn use_makes_a_token_young_again() {
        let (_folder, path) = folder_with("token");
        touch(&path, now() - 80 * DAY).unwrap();
        assert_eq!(age(&path, now()).unwrap(), 80 * DAY);
        touch(&path, now()).unwrap();
        assert_eq!(age(&path, now() + DAY).unwrap(), DAY);
        assert_eq!(age(&path, now() - DAY).unwrap(), Duration::ZERO);
    }
}
