//! Reading the configuration anew while the daemon runs. A file that would be refused at the start is
//! refused here as well, and everything stays as it was. Of a file that is fit, what a running daemon
//! can take up holds at once, and the rest is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::config::{AccountConfig, Config, ConfigError, Sources, load};
use super::telemetry::{LogFilter, TelemetryError};
use crate::runtime::account::AccountRuntime;
use crate::store::ReloadAnswer;

/// What of an account says which partner it is. While that differs, the guards of the file are meant
/// for another partner than the one that is being written to.
const IDENTITY: [&str; 4] = ["partner_tenant", "cloud", "api_base", "authority"];

/// Takes up what the configuration says now.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    filter: LogFilter,
    accounts: Vec<Arc<AccountRuntime>>,
    /// As the daemon was started.
    started: Config,
    /// What holds now, by key.
    held: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("the configuration has no account any more")]
    NoAccount,
}

impl Reloader {
    /// A daemon that runs with this configuration.
    pub fn new(
        sources: Sources,
        started: Config,
        filter: LogFilter,
        accounts: Vec<Arc<AccountRuntime>>,
    ) -> Self {
        let held = started.values.clone();
        Self { sources, filter, accounts, started, held }
    }

    /// Reads the configuration and takes up what can be, or nothing if it is not fit.
    pub async fn reload(&mut self) -> ReloadAnswer {
        match self.take_up().await {
            Ok(answer) => {
                tracing::info!(
                    changed = answer.changed.join(" "),
                    restart = answer.restart.join(" "),
                    "configuration reloaded"
                );
                answer
            }
            Err(unfit) => {
                let error = unfit.to_string();
                tracing::error!(error, "configuration refused; the former one stays in force");
                ReloadAnswer {
                    taken_up: false,
                    text: format!("refused, and the former configuration stays in force: {error}"),
                    changed: Vec::new(),
                    restart: Vec::new(),
                }
            }
        }
    }

    async fn take_up(&mut self) -> Result<ReloadAnswer, Unfit> {
        let new = load(&self.sources)?;
        new.check_secrets().await?;
        if new.accounts.is_empty() {
            return Err(Unfit::NoAccount);
        }
        self.filter.set(&new.log.filter)?;
        for account in &self.accounts {
            let (old, new) = (self.started.account(&account.name), new.account(&account.name));
            if let Some(new) = new.filter(|new| old.is_some_and(|old| same_partner(old, new))) {
                account.rules.safety.set(new.policy.clone());
                account.rules.requests_per_minute.set(new.requests_per_minute);
            }
        }
        let Differences { changed, restart } =
            Differences::of(&self.held, &self.started.values, &new.values);
        // What waits for a restart still holds as it was started.
        self.held = new.values;
        Ok(ReloadAnswer { taken_up: true, text: worded(&changed, &restart), changed, restart })
    }
}

fn same_partner(old: &AccountConfig, new: &AccountConfig) -> bool {
    old.policy.partner_tenant == new.policy.partner_tenant
        && old.cloud == new.cloud
        && old.api_base == new.api_base
        && old.authority == new.authority
}

fn worded(changed: &[String], restart: &[String]) -> String {
    let taken = match changed {
        [] => "nothing to take up has changed".to_owned(),
        keys => format!("taken up: {}", keys.join(", ")),
    };
    match restart {
        [] => taken,
        keys => {
            format!("{taken}; changed, and in force from the next start only: {}", keys.join(", "))
        }
    }
}

/// The keys that differ.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    changed: Vec<String>,
    restart: Vec<String>,
}

impl Differences {
    /// What has changed since the last reload and is in force now, and what differs from what the
    /// daemon was started with and is not.
    fn of(
        held: &BTreeMap<String, String>,
        started: &BTreeMap<String, String>,
        new: &BTreeMap<String, String>,
    ) -> Self {
        let others: BTreeSet<String> = differing(started, new)
            .filter_map(|key| {
                let (account, own) = of_account(&key)?;
                let lives = |values: &BTreeMap<String, String>| {
                    values.contains_key(&format!("accounts.{account}.sandbox"))
                };
                let is_other = IDENTITY.contains(&own) || !lives(started) || !lives(new);
                is_other.then(|| account.to_owned())
            })
            .collect();
        let is_other = |key: &str| of_account(key).is_some_and(|(name, _)| others.contains(name));
        let mut changed: BTreeSet<String> =
            differing(held, new).filter(|key| is_live(key) && !is_other(key)).collect();
        // An account that takes a value over from [safety] changes with it.
        let general = changed.clone();
        changed.retain(|key| {
            of_account(key)
                .is_none_or(|(_, own)| !own.starts_with("safety.") || !general.contains(own))
        });
        let mut restart: BTreeSet<String> =
            differing(started, new).filter(|key| !is_live(key) && !is_other(key)).collect();
        restart.extend(others.iter().map(|name| format!("accounts.{name}")));
        Self { changed: changed.into_iter().collect(), restart: restart.into_iter().collect() }
    }
}

fn differing<'a>(
    old: &'a BTreeMap<String, String>,
    new: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = String> + use<'a> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned()
}

/// The account of a key, and the key within the account.
fn of_account(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("accounts.")?.split_once('.')
}

/// Whether a running daemon takes the key up.
fn is_live(key: &str) -> bool {
    let own = of_account(key).map(|(_, own)| own);
    key == "log.filter"
        || own.unwrap_or(key).starts_with("safety.")
        || own
            .is_some_and(|own| ["sandbox", "customers_limit", "requests_per_minute"].contains(&own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let base = [
            ("log.filter", "info"),
            ("log.format", "text"),
            ("engine.max_in_flight", "64"),
            ("safety.grace", "0s"),
            ("accounts.emea.sandbox", "true"),
            ("accounts.emea.partner_tenant", "a"),
            ("accounts.emea.requests_per_minute", "300"),
            ("accounts.emea.safety.grace", "0s"),
            ("accounts.emea.safety.dry_run", "false"),
        ];
        let all = base.iter().chain(pairs);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn differences(pairs: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let old = values(&[]);
        let Differences { changed, restart } = Differences::of(&old, &old, &values(pairs));
        (changed, restart)
    }

    #[test]
    fn what_is_taken_up_and_what_needs_a_restart_is_named() {
        assert_eq!(differences(&[]), (vec![], vec![]));
        let (changed, restart) = differences(&[
            ("log.filter", "debug"),
            ("log.format", "json"),
            ("engine.max_in_flight", "8"),
            ("accounts.emea.requests_per_minute", "100"),
            ("accounts.emea.safety.dry_run", "true"),
        ]);
        let expected =
            ["accounts.emea.requests_per_minute", "accounts.emea.safety.dry_run", "log.filter"];
        assert_eq!(changed, expected);
        assert_eq!(restart, ["engine.max_in_flight", "log.format"]);
    }

    #[test]
    fn a_value_taken_over_from_the_general_section_is_named_once() {
        let changed = [("safety.grace", "1h"), ("accounts.emea.safety.grace", "1h")];
        assert_eq!(differences(&changed), (vec!["safety.grace".to_owned()], vec![]));
    }

    #[test]
    fn invariant_1_an_account_that_became_another_partner_takes_nothing_up() {
        let moved = [
            ("accounts.emea.partner_tenant", "b"),
            ("accounts.emea.safety.dry_run", "true"),
            ("log.filter", "debug"),
        ];
        let (changed, restart) = differences(&moved);
        assert_eq!(
            (changed, restart),
            (vec!["log.filter".to_owned()], vec!["accounts.emea".to_owned()])
        );
        let added = [("accounts.apac.sandbox", "true"), ("accounts.apac.safety.grace", "0s")];
        assert_eq!(differences(&added), (vec![], vec!["accounts.apac".to_owned()]));
    }

    #[test]
    fn what_waits_for_a_restart_is_named_at_every_reload_until_then() {
        let (started, new) =
            (values(&[]), values(&[("log.format", "json"), ("log.filter", "debug")]));
        let second = Differences::of(&new, &started, &new);
        assert_eq!(second, Differences { changed: vec![], restart: vec!["log.format".to_owned()] });
    }
}
