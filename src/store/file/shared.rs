//! Files that the members of a group share, and files that nobody may have put something else in the
//! place of.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Setgid, and writable for the group.
const SHARED_FOLDER: u32 = 0o2020;
const SHARED_FILE: u32 = 0o660;

/// Opens a file to read and write, and creates it if need be. What is in it stays. A link in its
/// place is not followed, and a file that has a second name is refused: what is written there would
/// else be written to a file of somebody's choice, with the rights of this process.
///
/// In a folder that is set up to be shared (setgid, and writable for its group) a new file may be
/// written by the group, whatever the umask of this process: whoever of the daemon and its operators
/// comes first would else shut out the others. SQLite gives its `-wal` and `-shm` files the mode of
/// the database.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).mode(SHARED_FILE).open(path) {
        Ok(file) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if is_shared(folder.unwrap_or(Path::new(".")))? {
                file.set_permissions(Permissions::from_mode(SHARED_FILE))?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_own(options, path),
        Err(error) => Err(error),
    }
}

/// Opens what is there, if it is a file that has this name alone.
fn open_own(mut options: OpenOptions, path: &Path) -> io::Result<File> {
    let foreign = || io::Error::other("it is no file of its own but a link to one: remove it");
    if !path.symlink_metadata()?.is_file() {
        return Err(foreign());
    }
    // The bits are those of open(2), which takes an int.
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = options.custom_flags(no_follow).open(path)?;
    let seen = file.metadata()?;
    if seen.is_file() && seen.nlink() == 1 { Ok(file) } else { Err(foreign()) }
}

fn is_shared(folder: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(folder)?.mode() & SHARED_FOLDER == SHARED_FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of_a_new_file(folder_mode: u32) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(folder_mode)).unwrap();
        let path = folder.path().join("file");
        let file = open_or_create(&path).unwrap();
        std::fs::write(&path, "kept").unwrap();
        open_or_create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        file.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn a_group_may_write_what_is_new_in_its_shared_folder() {
        assert_eq!(mode_of_a_new_file(0o2770), SHARED_FILE);
    }

    #[test]
    fn elsewhere_the_umask_decides_and_others_get_nothing() {
        for folder in [0o700, 0o770, 0o2750] {
            assert_eq!(mode_of_a_new_file(folder) & !SHARED_FILE, 0, "{folder:o}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let other = folder.path().join("other");
        std::os::unix::fs::symlink(&other, &path).unwrap();
        open_or_create(&path).unwrap_err();
        assert!(!other.exists(), "nothing is created behind a link either");
        std::fs::write(&other, "secret").unwrap();
        open_or_create(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        let error = open_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("remove it"), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        open_or_create(&path).unwrap_err();
    }
}
