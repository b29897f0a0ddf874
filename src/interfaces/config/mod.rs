//! The configuration: built-in defaults, then a file, then the environment.
//!
//! Every key is read in one place, with its default beside it ([`load()`]); what nobody reads is an
//! unknown key. Errors come all at once.

mod account;
mod error;
mod load;
mod secret;
mod section;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::account::{AccountConfig, Discovery, Safety};
pub use self::error::{ConfigError, Problem};
pub use self::load::{DEFAULT_FILE, Sources, known_keys, load, of_values};
pub use self::section::Key;
pub use self::value::{Bytes, LogFormat, Migrate};
use crate::core::ids::AccountName;
pub use crate::partner_center::credentials::{Credential, SecretSource};
use crate::runtime::cron::Schedule;
use crate::runtime::settings::EngineSettings;
use crate::store::Place;

/// The whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// `[database]`
    pub database: Database,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[log]`
    pub log: Log,
    /// When due rows are looked for, whatever wake-ups say.
    pub pickup: Schedule,
    /// The name of this replica; empty for that of the host.
    pub replica: String,
    /// Time in one state after which a teardown is reported as stuck.
    pub stuck_after: Duration,
    /// `[engine]`, `[polling]`, `[retry]`, `[codes]` and `[retention]`, as far as the engine goes by them.
    pub engine: EngineSettings,
    /// `[safety]`; what holds for an account is its own [`AccountConfig::policy`].
    pub safety: Safety,
    /// `[accounts.NAME]`, by name in lower case.
    pub accounts: BTreeMap<AccountName, AccountConfig>,
    /// Every key that exists with its value as JSON, to tell what has changed since and to read the whole
    /// again. Not to be shown.
    pub values: BTreeMap<String, String>,
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Where `url` leads.
    pub place: Place,
    /// How it comes to the newest schema.
    pub migrate: Migrate,
    /// Free space below which nothing new is claimed.
    pub min_free: Bytes,
}

impl Database {
    /// Whether `url` itself holds a password.
    pub fn has_password(&self) -> bool {
        matches!(&self.place, Place::Server(url) if url.has_password())
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where health and metrics are served.
    pub listen: SocketAddr,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// Which are: directives such as `info,teardownd::runtime=debug`.
    pub filter: String,
}

impl Config {
    /// The account of that name, in any letter case.
    pub fn account(&self, name: &AccountName) -> Option<&AccountConfig> {
        self.accounts.get(name)
    }

    /// The names of all accounts, with commas between, for messages.
    pub fn account_names(&self) -> String {
        let names: Vec<_> = self.accounts.keys().map(AccountName::as_str).collect();
        names.join(", ")
    }

    /// Reads the secret of every account, to find out early which cannot be.
    ///
    /// # Errors
    /// Every secret that is missing, empty or open to everybody, and every certificate without its key.
    pub async fn check_secrets(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        for account in self.accounts.values() {
            if let Err(error) = account.credential.check().await {
                problems.push(Problem {
                    key: format!("accounts.{}.credential", account.name),
                    place: self
                        .file
                        .as_deref()
                        .map_or_else(String::new, |f| f.display().to_string()),
                    text: error.to_string(),
                    remedy: String::new(),
                });
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}
