//! Which file systems SQLite's write-ahead log cannot stand on: it shares memory between processes
//! and trusts locks, and file systems over a network give neither reliably.

use std::path::Path;

/// Type number of every FUSE file system; what it really is stands in the table of mounts only.
const FUSE: u32 = 0x6573_5546;

/// The name of a network file system, by the type number of `statfs(2)` (linux/magic.h and the file
/// systems' own sources).
fn network_file_system(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x0102_1997 => "9P",
        0x00c3_6400 => "Ceph",
        0x7375_7245 => "Coda",
        0x564c => "NCP",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x1983_0326 => "BeeGFS",
        0x786f_4256 => "a VirtualBox shared folder",
        _ => return None,
    })
}

/// Names of FUSE file systems that stand for a network.
fn network_fuse(kind: &str) -> bool {
    const REMOTE: [&str; 9] = [
        "sshfs",
        "rclone",
        "glusterfs",
        "s3fs",
        "gcsfuse",
        "davfs",
        "curlftpfs",
        "blobfuse",
        "juicefs",
    ];
    kind.strip_prefix("fuse.").is_some_and(|name| REMOTE.iter().any(|r| name.starts_with(r)))
}

/// The type of the mount that holds `path`, from the text of `/proc/self/mountinfo`: the one whose
/// mount point is the longest beginning of the path, the last of these where they are stacked.
fn mount_type<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        // Blanks in a mount point stand as \040.
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        let kind = file_system.split(' ').next()?;
        path.starts_with(&point).then_some((point.len(), kind))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

/// The name of the network file system that holds the folder, if one does. The folder is given
/// with every symbolic link followed.
#[cfg(target_os = "linux")]
pub(super) fn network_under(folder: &Path) -> std::io::Result<Option<String>> {
    let status = rustix::fs::statfs(folder)?;
    // The width of `f_type` differs between machines; the numbers have 32 bits.
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation)]
    let magic = status.f_type as u32;
    if magic == FUSE {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let kind = mount_type(&mounts, folder).filter(|kind| network_fuse(kind));
        return Ok(kind.map(str::to_owned));
    }
    Ok(network_file_system(magic).map(str::to_owned))
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn network_under(_folder: &Path) -> std::io::Result<Option<String>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_number() {
        assert_eq!(network_file_system(0x6969), Some("NFS"));
        assert_eq!(network_file_system(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_file_system(0xfe53_4d42), Some("SMB2"));
        assert_eq!(network_file_system(0x0102_1997), Some("9P"));
        for (local, name) in [
            (0xef53, "ext4"),
            (0x9123_683e, "btrfs"),
            (0x5846_5342, "xfs"),
            (0x0102_1994, "tmpfs"),
            (0x794c_7630, "overlayfs"),
            (0x2fc1_2fc1, "zfs"),
            (FUSE, "fuse"),
        ] {
            assert_eq!(network_file_system(local), None, "{name}");
        }
    }

    #[test]
    fn a_fuse_mount_is_looked_up_in_the_table_of_mounts() {
        let table = "\
22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
40 22 0:50 / /srv/data rw,nosuid - fuse.sshfs ann@host:/data rw
41 22 0:51 / /srv/data/local rw - fuse.mergerfs a:b rw
42 22 0:52 / /srv/my\\040disk rw shared:1 - fuse.rclone remote: rw";
        assert_eq!(mount_type(table, Path::new("/srv/data/db")), Some("fuse.sshfs"));
        assert_eq!(mount_type(table, Path::new("/srv/data/local/db")), Some("fuse.mergerfs"));
        assert_eq!(mount_type(table, Path::new("/srv/database")), Some("ext4"));
        assert_eq!(mount_type(table, Path::new("/srv/my disk")), Some("fuse.rclone"));
        assert!(network_fuse("fuse.sshfs") && network_fuse("fuse.rclone"));
        assert!(!network_fuse("fuse.mergerfs") && !network_fuse("fuse") && !network_fuse("ext4"));
    }

    #[test]
    fn the_temporary_folder_is_local() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(network_under(folder.path()).unwrap(), None);
    }
}
