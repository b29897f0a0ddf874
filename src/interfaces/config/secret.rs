//! Where an account's secret comes from. A secret is read when it is needed, and never kept in the
//! configuration.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::section::Section;
use crate::partner_center::CredentialSource;

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
    /// The day it lapses, as the operator says.
    pub fn expires(&self) -> Option<Date> {
        let Self::ClientSecret { expires, .. } = self;
        *expires
    }

    /// When it lapses: at the end of that day, UTC.
    pub fn lapses_at(&self) -> Option<Timestamp> {
        let end = self.expires()?.tomorrow().ok()?;
        end.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }

    /// Whole days until it lapses; negative afterwards.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        self.lapses_at().map(|at| at.duration_since(now).as_secs().div_euclid(86_400))
    }

    /// The place to read the secret from, as the client takes it.
    pub fn source(&self) -> CredentialSource {
        let Self::ClientSecret { source, .. } = self;
        match source {
            SecretSource::File(path) => CredentialSource::File(path.clone()),
            SecretSource::Variable(name) => {
                CredentialSource::Value(std::env::var(name).unwrap_or_default().trim().into())
            }
        }
    }
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
