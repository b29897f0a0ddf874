//! Reading the configuration anew while the daemon runs. A file that would be refused at the start is
//! refused here as well, and everything stays as it was. Of a file that is fit, what a running daemon
//! can take up holds at once, and the rest is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::config::{Config, ConfigError, Sources, load};
use super::telemetry::{LogFilter, TelemetryError};
use crate::runtime::account::AccountRuntime;
use crate::store::ReloadAnswer;

/// What of an account says which partner it is. While that differs, the guards of the file are meant
/// for another partner than the one that is being written to.
const IDENTITY: [&str; 5] = ["partner_tenant", "cloud", "client_id", "api_base", "authority"];

/// Takes up what the configuration says now.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    filter: LogFilter,
    accounts: Vec<Arc<AccountRuntime>>,
    /// The values in force, by key.
    in_force: BTreeMap<String, String>,
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
        Self { sources, filter, accounts, in_force: started.values }
    }

    /// The configuration in force, as [`Config::values`] has it.
    pub fn in_force(&self) -> &BTreeMap<String, String> {
        &self.in_force
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
        let differences = Differences::of(&self.in_force, &new.values);
        for account in &self.accounts {
            account.client.set_codes(new.engine.policy.codes.clone());
            let new = new.account(&account.name);
            if let Some(new) = new.filter(|_| !differences.others.contains(account.name.as_str())) {
                account.rules.safety.set(new.policy.clone());
                account.rules.requests_per_minute.set(new.requests_per_minute);
            }
        }
        differences.take_up(&mut self.in_force, &new.values);
        let (changed, restart) = (differences.changed(), differences.restart());
        Ok(ReloadAnswer { taken_up: true, text: worded(&changed, &restart), changed, restart })
    }
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

/// The differences between the configuration in force and the one that is read now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Keys that a running daemon takes up.
    live: BTreeSet<String>,
    /// Keys that it takes up at its next start only.
    fixed: BTreeSet<String>,
    /// Accounts that have come, have gone or have become another partner's: nothing of theirs is taken up
    /// before the next start.
    others: BTreeSet<String>,
}

impl Differences {
    /// Compares what is in force with what is read now.
    pub(super) fn of(in_force: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Self {
        let others: BTreeSet<String> = differing(in_force, new)
            .filter_map(|key| {
                let (account, own) = of_account(&key)?;
                let lives = |values: &BTreeMap<String, String>| {
                    values.contains_key(&format!("accounts.{account}.sandbox"))
                };
                let is_other = IDENTITY.contains(&own) || !lives(in_force) || !lives(new);
                is_other.then(|| account.to_owned())
            })
            .collect();
        let is_other = |key: &str| of_account(key).is_some_and(|(name, _)| others.contains(name));
        let (live, fixed) =
            differing(in_force, new).filter(|key| !is_other(key)).partition(|key| is_live(key));
        Self { live, fixed, others }
    }

    /// The keys that a reload takes up. An account that takes a value over from `[safety]` changes with it
    /// and is not named.
    pub(super) fn changed(&self) -> Vec<String> {
        let own = |key: &String| {
            of_account(key)
                .is_none_or(|(_, own)| !own.starts_with("safety.") || !self.live.contains(own))
        };
        self.live.iter().filter(|key| own(key)).cloned().collect()
    }

    /// The keys, and the accounts as a whole, that only a restart takes up.
    pub(super) fn restart(&self) -> Vec<String> {
        let accounts = self.others.iter().map(|name| format!("accounts.{name}"));
        let keys: BTreeSet<String> = self.fixed.iter().cloned().chain(accounts).collect();
        keys.into_iter().collect()
    }

    /// Puts in force what a running daemon takes up.
    fn take_up(&self, in_force: &mut BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        for key in &self.live {
            match new.get(key) {
                Some(value) => in_force.insert(key.clone(), value.clone()),
                None => in_force.remove(key),
            };
        }
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
        || key.starts_with("codes.")
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
            ("accounts.emea.client_id", "a"),
            ("accounts.emea.requests_per_minute", "300"),
            ("accounts.emea.safety.grace", "0s"),
            ("accounts.emea.safety.dry_run", "false"),
        ];
        let all = base.iter().chain(pairs);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn differences(pairs: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let found = Differences::of(&values(&[]), &values(pairs));
        (found.changed(), found.restart())
    }

    #[test]
    fn what_is_taken_up_and_what_needs_a_restart_is_named() {
        assert_eq!(differences(&[]), (vec![], vec![]));
        let (changed, restart) = differences(&[
            ("log.filter", "debug"),
            ("log.format", "json"),
            ("codes.409/123456", "wait"),
            ("engine.max_in_flight", "8"),
            ("accounts.emea.requests_per_minute", "100"),
            ("accounts.emea.safety.dry_run", "true"),
        ]);
        let expected = [
            "accounts.emea.requests_per_minute",
            "accounts.emea.safety.dry_run",
            "codes.409/123456",
            "log.filter",
        ];
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
        // Its token is still the other app's.
        let other_app =
            [("accounts.emea.client_id", "c"), ("accounts.emea.safety.dry_run", "true")];
        assert_eq!(differences(&other_app), (vec![], vec!["accounts.emea".to_owned()]));
        let added = [("accounts.apac.sandbox", "true"), ("accounts.apac.safety.grace", "0s")];
        assert_eq!(differences(&added), (vec![], vec!["accounts.apac".to_owned()]));
    }

    #[test]
    fn what_waits_for_a_restart_is_named_at_every_reload_until_then() {
        let (mut in_force, new) =
            (values(&[]), values(&[("log.format", "json"), ("log.filter", "debug")]));
        let first = Differences::of(&in_force, &new);
        assert_eq!(
            (first.changed(), first.restart()),
            (vec!["log.filter".to_owned()], vec!["log.format".to_owned()])
        );
        first.take_up(&mut in_force, &new);
        let second = Differences::of(&in_force, &new);
        assert_eq!((second.changed(), second.restart()), (vec![], vec!["log.format".to_owned()]));
    }

    #[test]
    fn what_an_account_had_before_it_became_another_partner_stays_in_force() {
        let mut in_force = values(&[]);
        let tightened = values(&[("accounts.emea.safety.dry_run", "true")]);
        Differences::of(&in_force, &tightened).take_up(&mut in_force, &tightened);
        let moved = values(&[("accounts.emea.partner_tenant", "b")]);
        Differences::of(&in_force, &moved).take_up(&mut in_force, &moved);
        assert_eq!(in_force, tightened);
    }
}
