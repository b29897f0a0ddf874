//! Where a secret comes from.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use secrecy::SecretString;

/// Secrets are short; a file longer than this is another file.
const LONGEST: u64 = 64 * 1024;

/// Where the client secret comes from.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// A file, read anew each time the secret is needed, so that a renewed secret needs no restart.
    /// Blank space around the secret does not count.
    File(PathBuf),
    /// The secret itself, as an environment variable brings it.
    Value(SecretString),
}

/// Why a secret cannot be had. Each text names the file and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It cannot be read.
    #[error("cannot read the secret file {}: {why}; make it readable for the user teardownd runs as", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// It is no file, such as a directory.
    #[error("{} is not a file; put the client secret, and nothing else, into a file there", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Every user of the machine can read or change it.
    #[error("the secret file {path} is open to every user (mode {mode:04o}); run: chmod 640 {path}", path = path.display())]
    WorldAccessible {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing is in it.
    #[error("the secret file {} is empty; write the client secret into it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It holds something other than one line of text.
    #[error("the secret file {} does not hold a client secret (one line of text); write the secret, and nothing else, into it", path.display())]
    NotASecret {
        /// The file.
        path: PathBuf,
    },
    /// A secret that was given directly is empty.
    #[error("the client secret given for the account is empty; set it, or name a file")]
    EmptyValue,
}

impl CredentialSource {
    /// The secret.
    ///
    /// # Errors
    /// When the file cannot be read, is open to every user, or holds no secret.
    pub async fn read(&self) -> Result<SecretString, CredentialError> {
        match self {
            Self::Value(secret) if secrecy::ExposeSecret::expose_secret(secret).is_empty() => {
                Err(CredentialError::EmptyValue)
            }
            Self::Value(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path.clone()).await,
        }
    }
}

async fn read_file(path: PathBuf) -> Result<SecretString, CredentialError> {
    let unreadable = |path: &PathBuf, error: io::Error| CredentialError::Unreadable {
        path: path.clone(),
        why: error.to_string(),
    };
    let metadata = tokio::fs::metadata(&path).await.map_err(|e| unreadable(&path, e))?;
    if !metadata.is_file() {
        return Err(CredentialError::NotAFile { path });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o006 != 0 {
        return Err(CredentialError::WorldAccessible { path, mode });
    }
    if metadata.len() > LONGEST {
        return Err(CredentialError::NotASecret { path });
    }
    let bytes = tokio::fs::read(&path).await.map_err(|e| unreadable(&path, e))?;
    let Ok(text) = std::str::from_utf8(super::decode::without_bom(&bytes)) else {
        return Err(CredentialError::NotASecret { path });
    };
    match text.trim() {
        "" => Err(CredentialError::Empty { path }),
        secret if secret.contains(char::is_control) => Err(CredentialError::NotASecret { path }),
        secret => Ok(secret.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn secret_files_are_read_anew_and_their_faults_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let source = CredentialSource::File(path.clone());
        let set = |bytes: &[u8], mode: u32| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let missing = source.read().await.unwrap_err();
        assert!(matches!(missing, CredentialError::Unreadable { .. }), "{missing}");
        set(b"\xef\xbb\xbf s3cret \r\n", 0o640);
        assert_eq!(source.read().await.unwrap().expose_secret(), "s3cret");
        set(b"renewed\n", 0o600);
        assert_eq!(source.read().await.unwrap().expose_secret(), "renewed");
        for (bytes, mode, words) in [
            (&b"s3cret"[..], 0o644, "chmod 640"),
            (b"s3cret", 0o602, "open to every user"),
            (b" \n", 0o600, "is empty"),
            (b"s3cret\nmore", 0o600, "one line of text"),
            (b"\xff\xfe", 0o600, "one line of text"),
        ] {
            set(bytes, mode);
            let text = source.read().await.unwrap_err().to_string();
            assert!(text.contains(words) && text.contains("secret"), "{text}");
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(!text.contains("s3cret"), "invariant 13: {text}");
        }
        let folder = CredentialSource::File(folder.path().to_owned());
        assert!(matches!(folder.read().await, Err(CredentialError::NotAFile { .. })));
    }

    #[test]
    fn invariant_13_a_source_shows_no_secret() {
        let source = CredentialSource::Value("s3cret".into());
        assert!(!format!("{source:?}").contains("s3cret"));
    }
}
