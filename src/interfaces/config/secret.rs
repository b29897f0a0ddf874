//! `credential`: how an account proves who it is. Secrets themselves are never part of the
//! configuration, only where they stand.

use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::section::Section;
use crate::partner_center::credentials::{
    Algorithm, Certificate, Credential, CredentialKind, SecretSource, TokenEndpoint,
};

/// Every kind, with the keys that belong to it beside `kind` and `endpoint`.
const KINDS: [(&str, &[&str]); 4] = [
    ("client_secret", &["file", "env", "expires"]),
    ("certificate", &["certificate_file", "key_file", "algorithm", "expires"]),
    ("workload_identity", &["token_file"]),
    ("refresh_token", &["refresh_token_file", "file", "env", "expires"]),
];

/// What the table says, before it is known what of it belongs together.
struct Given {
    file: Option<PathBuf>,
    env: Option<String>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    refresh_token_file: Option<PathBuf>,
    algorithm: Option<Algorithm>,
    expires: Option<Date>,
}

impl Given {
    fn read(section: &mut Section, base: &Path) -> Self {
        let mut path = |key| section.credential_file(key, base);
        Self {
            file: path("file"),
            certificate_file: path("certificate_file"),
            key_file: path("key_file"),
            token_file: path("token_file"),
            refresh_token_file: path("refresh_token_file"),
            env: section.optional("env"),
            algorithm: section.optional("algorithm"),
            expires: section.optional("expires"),
        }
    }

    /// The keys that have a value.
    fn stated(&self) -> impl Iterator<Item = &'static str> {
        [
            ("file", self.file.is_some()),
            ("env", self.env.is_some()),
            ("certificate_file", self.certificate_file.is_some()),
            ("key_file", self.key_file.is_some()),
            ("token_file", self.token_file.is_some()),
            ("refresh_token_file", self.refresh_token_file.is_some()),
            ("algorithm", self.algorithm.is_some()),
            ("expires", self.expires.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, stated)| stated.then_some(key))
    }
}

/// Reads the table `credential`.
pub(super) fn read_credential(section: &mut Section, base: &Path) -> Option<Credential> {
    let given = Given::read(section, base);
    let endpoint = section.take("endpoint", TokenEndpoint::default());
    let kind: String = section
        .required("kind", "write credential = { kind = \"client_secret\", file = \"…\" }")?;
    let Some((_, own)) = KINDS.into_iter().find(|(name, _)| *name == kind) else {
        let names = KINDS.map(|(name, _)| format!("{name:?}")).join(", ");
        let text = format!("{kind:?} is no kind of credential");
        section.problem("kind", &text, &format!("write one of {names}"));
        return None;
    };
    for key in given.stated().filter(|key| !own.contains(key)) {
        let text = format!("does not belong to kind = {kind:?}, which takes {}", own.join(", "));
        section.problem(key, &text, "remove it, or correct kind");
    }
    let expires = given.expires;
    let kind = match kind.as_str() {
        "certificate" => read_certificate(section, given),
        "workload_identity" => {
            let token_file = needed(section, "token_file", given.token_file);
            token_file.map(|token_file| CredentialKind::WorkloadIdentity { token_file })
        }
        "refresh_token" => {
            if section.is_handed_over(given.refresh_token_file.as_deref()) {
                section.problem(
                    "refresh_token_file",
                    "lies where the service manager hands credentials over, which is read-only, and a \
                     renewed token must be stored",
                    "keep it in a folder that the daemon can write to, such as its state directory",
                );
            }
            let client_secret = read_source(section, given.file, given.env);
            let file = needed(section, "refresh_token_file", given.refresh_token_file);
            Some(CredentialKind::RefreshToken {
                refresh_token_file: file?,
                client_secret: client_secret?,
            })
        }
        _ => read_source(section, given.file, given.env).map(CredentialKind::ClientSecret),
    };
    Some(Credential { kind: kind?, endpoint, expires })
}

fn read_certificate(section: &mut Section, given: Given) -> Option<CredentialKind> {
    let certificate_file = needed(section, "certificate_file", given.certificate_file);
    let key_file = needed(section, "key_file", given.key_file);
    Some(CredentialKind::Certificate(Certificate {
        certificate_file: certificate_file?,
        key_file: key_file?,
        algorithm: given.algorithm.unwrap_or_default(),
    }))
}

fn needed(section: &mut Section, key: &str, given: Option<PathBuf>) -> Option<PathBuf> {
    if given.is_none() {
        section.problem(key, "must be stated", "name the file");
    }
    given
}

fn read_source(
    section: &mut Section,
    file: Option<PathBuf>,
    variable: Option<String>,
) -> Option<SecretSource> {
    match (file, variable) {
        (Some(file), None) => Some(SecretSource::File(file)),
        (None, Some(name)) if is_variable_name(&name) => Some(SecretSource::Variable(name)),
        (None, Some(_)) => {
            section.problem(
                "env",
                "is not the name of a variable (not shown: it may be the secret itself)",
                "name the environment variable that holds the secret",
            );
            None
        }
        (None, None) | (Some(_), Some(_)) => {
            section.problem(
                "file",
                "the client secret must stand in exactly one place",
                "state either file = \"PATH\" or env = \"VARIABLE\"",
            );
            None
        }
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
