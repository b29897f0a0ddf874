//! Files that the members of a group share.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Setgid, and writable for the group.
const SHARED_FOLDER: u32 = 0o2020;
const SHARED_FILE: u32 = 0o660;

/// Opens a file to read and write, and creates it if need be. What is in it stays.
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
            if is_shared(path.parent().unwrap_or(Path::new("/")))? {
                file.set_permissions(Permissions::from_mode(SHARED_FILE))?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
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
}
