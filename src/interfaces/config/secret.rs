//! Where an account's secret comes from. A secret is read when it is needed, and never kept in the
//! configuration.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use secrecy::SecretString;

use super::error::ConfigError;
use super::section::Section;

/// A secret larger than this is some other file.
const LARGEST: u64 = 64 * 1024;

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file that not everybody may read.
    File(PathBuf),
    /// In this environment variable.
    Variable(String),
}

/// How an account proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A client secret of the account's app registration.
    ClientSecret {
        /// Where the secret stands.
        source: SecretSource,
        /// The day it lapses, as the operator says.
        expires: Option<Date>,
    },
}

impl Credential {
    /// Reads the secret. A file must not be readable by everybody; white space around the secret is
    /// not part of it.
    ///
    /// # Errors
    /// When it cannot be read, is empty, or is open to every user; the text never shows it.
    pub fn read(&self) -> Result<SecretString, ConfigError> {
        let Self::ClientSecret { source, .. } = self;
        match source {
            SecretSource::File(path) => read_file(path),
            SecretSource::Variable(name) => {
                let text = std::env::var(name).unwrap_or_default();
                usable(&text, &format!("environment variable {name}"))
            }
        }
    }
}

fn read_file(path: &Path) -> Result<SecretString, ConfigError> {
    let place = format!("secret file {}", path.display());
    let unreadable = |error: std::io::Error| {
        ConfigError::of_file(
            &place,
            format!("cannot be read: {error}"),
            "check the path and that the user teardownd runs as may read it",
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    // Of the open file, so that it cannot be exchanged between the check and the reading.
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_file() {
        return Err(ConfigError::of_file(&place, "is not a file", "name the file with the secret"));
    }
    if mode & 0o007 != 0 {
        return Err(ConfigError::of_file(
            &place,
            format!("is open to every user (mode {mode:04o})"),
            format!("run `chmod 640 {}`", path.display()),
        ));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(unreadable)?;
    usable(&text, &place)
}

fn usable(text: &str, place: &str) -> Result<SecretString, ConfigError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ConfigError::of_file(place, "holds no secret", "put the client secret there"));
    }
    Ok(SecretString::from(text))
}

/// Reads the table `credential`.
pub(super) fn read_credential(section: &mut Section, base: &Path) -> Option<Credential> {
    const EXISTING: &str = "client_secret";
    const PLANNED: [&str; 3] = ["certificate", "workload_identity", "refresh_token"];
    let file: Option<PathBuf> = section.optional("file");
    let variable: Option<String> = section.optional("env");
    let expires = section.optional("expires");
    let kind: String = section
        .required("kind", "write credential = { kind = \"client_secret\", file = \"…\" }")?;
    if kind != EXISTING {
        let text = if PLANNED.contains(&kind.as_str()) {
            format!("{kind:?} is not available in this version")
        } else {
            format!("{kind:?} is no kind of credential")
        };
        section.problem("kind", &text, "write kind = \"client_secret\"");
        section.disregard_rest();
        return None;
    }
    let source = match (file, variable) {
        (Some(file), None) => SecretSource::File(base.join(file)),
        (None, Some(name)) if is_variable_name(&name) => SecretSource::Variable(name),
        (None, Some(_)) => {
            section.problem(
                "env",
                "is not the name of a variable (not shown: it may be the secret itself)",
                "name the environment variable that holds the secret",
            );
            return None;
        }
        (None, None) | (Some(_), Some(_)) => {
            section.problem(
                "file",
                "the secret must stand in exactly one place",
                "state either file = \"PATH\" or env = \"VARIABLE\"",
            );
            return None;
        }
    };
    Some(Credential::ClientSecret { source, expires })
}

fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use secrecy::ExposeSecret;

    use super::*;

    fn credential(path: PathBuf) -> Credential {
        Credential::ClientSecret { source: SecretSource::File(path), expires: None }
    }

    #[test]
    fn invariant_13_a_secret_file_must_not_be_open_to_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, "  s3cret-value\n").unwrap();
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = credential(path.clone()).read().unwrap_err().to_string();
        assert!(error.contains("mode 0644"), "{error}");
        assert!(error.contains(&format!("chmod 640 {}", path.display())), "{error}");
        assert!(!error.contains("s3cret-value"), "{error}");

        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let secret = credential(path).read().unwrap();
        assert_eq!(secret.expose_secret(), "s3cret-value");
        assert!(!format!("{secret:?}").contains("s3cret"));
    }

    #[test]
    fn missing_empty_and_odd_secret_files_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let missing = credential(folder.path().join("none")).read().unwrap_err().to_string();
        assert!(missing.contains("cannot be read"), "{missing}");
        let empty = folder.path().join("empty");
        write(&empty, "\n").unwrap();
        set_permissions(&empty, Permissions::from_mode(0o600)).unwrap();
        assert!(credential(empty).read().unwrap_err().to_string().contains("holds no secret"));
    }
}
