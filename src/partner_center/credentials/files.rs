//! Reading the files of a credential, with their permissions checked first.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::error::{CredentialError, SecretKind};
use crate::partner_center::decode::without_bom;

/// At the beginning of a path: the folder in which a service manager hands credentials to its unit
/// (systemd.exec(5), `LoadCredential=`). It stays in a path where the variable is not set.
pub const CREDENTIALS_DIRECTORY: &str = "${CREDENTIALS_DIRECTORY}";

/// In bytes. All of these files are short.
const LONGEST: u64 = 64 * 1024;

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read, or more users may read or write it than should.
pub(super) fn bytes(path: &Path, kind: SecretKind) -> Result<SecretSlice<u8>, CredentialError> {
    let path_buf = || path.to_owned();
    let unreadable = |error: std::io::Error| CredentialError::Unreadable {
        kind,
        path: path_buf(),
        why: error.to_string(),
    };
    if path.starts_with(CREDENTIALS_DIRECTORY) {
        return Err(CredentialError::NotHandedOver { kind, path: path_buf() });
    }
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(CredentialError::NotAFile { kind, path: path_buf() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    let (forbidden, remedy) = kind.forbidden();
    if mode & forbidden != 0 {
        return Err(CredentialError::OpenToAll { kind, path: path_buf(), mode, remedy });
    }
    if metadata.len() > LONGEST {
        return Err(CredentialError::TooLong { kind, path: path_buf() });
    }
    let bytes = SecretSlice::from(fs::read(path).map_err(unreadable)?);
    if without_bom(bytes.expose_secret()).trim_ascii().is_empty() {
        return Err(CredentialError::Empty { kind, path: path_buf() });
    }
    Ok(bytes)
}

/// The one line of text in a file. Blank space around it does not count.
///
/// # Errors
/// As [`bytes()`], and when it holds anything else.
pub(super) fn line(path: &Path, kind: SecretKind) -> Result<SecretString, CredentialError> {
    let bytes = bytes(path, kind)?;
    std::str::from_utf8(without_bom(bytes.expose_secret()))
        .ok()
        .map(str::trim)
        .filter(|text| !text.contains(char::is_control))
        .map(SecretString::from)
        .ok_or_else(|| CredentialError::NotOneLine { kind, path: path.to_owned() })
}

/// What files looked like at some time. When they look otherwise, one of them was changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<Option<[i128; 4]>>);

impl Stamp {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        // A file may be replaced, or written anew with the same length, or be a link that is moved.
        let look = |path: &PathBuf| {
            let seen = fs::metadata(path).ok()?;
            let changed = i128::from(seen.ctime()) * 1_000_000_000 + i128::from(seen.ctime_nsec());
            Some([seen.dev().into(), seen.ino().into(), seen.len().into(), changed])
        };
        Self(paths.iter().map(look).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, bytes: &[u8], mode: u32) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_line_is_read_without_what_surrounds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (bytes, mode) in [(&b"\xef\xbb\xbf s3cret \r\n"[..], 0o640), (b"s3cret", 0o600)] {
            put(&path, bytes, mode);
            let line = line(&path, SecretKind::ClientSecret).unwrap();
            assert_eq!(line.expose_secret(), "s3cret");
        }
    }

    #[test]
    fn invariant_13_faults_of_a_file_are_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let kind = SecretKind::RefreshToken;
        let missing = line(&path, kind).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read the refresh token file /"), "{missing}");
        assert!(missing.contains("make it readable for the user"), "{missing}");
        let long = vec![b'x'; LONGEST as usize + 1];
        for (bytes, mode, words) in [
            (&b"s3cret"[..], 0o644, "is open to every user (mode 0644); run: chmod 640 /"),
            (b"s3cret", 0o602, "is open to every user (mode 0602); run: chmod 640 /"),
            (b" \n", 0o600, "is empty; write the refresh token into it"),
            (b"\xef\xbb\xbf\n", 0o600, "is empty; write the refresh token into it"),
            (b"s3cret\nmore", 0o600, "does not hold a refresh token (one line of text)"),
            (b"s3cret\xff\xfe", 0o600, "does not hold a refresh token (one line of text)"),
            (&long, 0o600, "is longer than 64 KiB"),
        ] {
            put(&path, bytes, mode);
            let text = line(&path, kind).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(!text.contains("s3cret"), "invariant 13: {text}");
        }
        let folder = line(folder.path(), kind).unwrap_err().to_string();
        assert!(folder.contains("is not a file; put the refresh token"), "{folder}");
    }

    #[test]
    fn what_is_no_lasting_secret_may_be_read_by_all_but_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for kind in [SecretKind::FederatedToken, SecretKind::Certificate] {
            put(&path, b"text", 0o644);
            line(&path, kind).unwrap();
            put(&path, b"text", 0o646);
            let text = line(&path, kind).unwrap_err().to_string();
            assert!(text.contains("run: chmod o-w /"), "{text}");
        }
        put(&path, b"text", 0o644);
        for kind in [SecretKind::ClientSecret, SecretKind::PrivateKey, SecretKind::RefreshToken] {
            assert!(line(&path, kind).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_stamp_tells_when_a_file_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        let none = Stamp::of(&paths);
        put(&paths[1], b"text", 0o600);
        let one = Stamp::of(&paths);
        assert_ne!(one, none);
        assert_eq!(Stamp::of(&paths), one);
        let other = folder.path().join("other");
        put(&other, b"next", 0o600);
        fs::rename(&other, &paths[1]).unwrap();
        assert_ne!(Stamp::of(&paths), one);
    }
}
