//! What a command works with.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::json;

use super::args::{Globals, Output};
use super::exit::{Exit, Failure};
use super::view::Look;
use super::view::standing::Stops;
use super::view::teardown::Listing;
use super::{actor, open};
use crate::core::clock::Clock;
use crate::core::teardown::Teardown;
use crate::interfaces::config::{Config, Sources, load, of_values};
use crate::interfaces::reload::Differences;
use crate::store::{Filter, Presence, Replica, Store, StoredFault, lock};

/// The values of a configuration, by key.
type Values = BTreeMap<String, String>;

/// Writes a line to standard error. If nobody can read it, nobody can be told either.
pub(crate) fn complain(line: impl fmt::Display) {
    writeln!(io::stderr(), "{line}").ok();
}

/// Configuration, database, clock and actor of a command.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) actor: String,
    pub(crate) output: Output,
    pub(crate) zone: TimeZone,
    /// Whether a daemon works on this very database.
    pub(crate) is_worked_on: bool,
}

impl Globals {
    /// Reads the configuration.
    pub(crate) fn configuration(&self) -> Result<Config, Failure> {
        Ok(load(&self.sources())?)
    }

    /// Where it is read from.
    pub(crate) fn sources(&self) -> Sources {
        Sources::of_process(self.config.as_deref().filter(|path| *path != Path::new("")))
    }

    /// Who asks.
    pub(crate) fn actor(&self) -> String {
        actor::actor(self.actor.as_deref())
    }
}

impl Context {
    /// Reads the configuration and opens the database.
    pub(crate) async fn open(globals: &Globals) -> Result<Self, Failure> {
        let context = Self::with(globals, globals.configuration()?).await?;
        context.warn_if_it_differs().await?;
        Ok(context)
    }

    /// Opens the database of a configuration.
    pub(crate) async fn with(globals: &Globals, config: Config) -> Result<Self, Failure> {
        let clock = open::clock();
        let file = config.database.place.file();
        let is_file_worked_on = file.map(lock::is_worked_on).transpose()?;
        let store = open::store(&config, &clock, true).await?;
        let is_worked_on = match is_file_worked_on {
            Some(is_worked_on) => is_worked_on,
            None => store.is_worked_on().await?,
        };
        Ok(Self {
            config,
            store,
            clock,
            actor: globals.actor(),
            output: globals.output,
            zone: TimeZone::system(),
            is_worked_on,
        })
    }

    /// The moment and the place.
    pub(crate) fn look(&self) -> Look {
        Look { now: self.clock.now(), zone: self.zone.clone() }
    }

    /// What stops the accounts.
    pub(crate) async fn stops(&self) -> Result<Stops, Failure> {
        Ok(Stops(self.store.accounts().await?))
    }

    /// Rows with what their printing needs.
    pub(crate) fn listing<'a>(
        &self,
        rows: &'a [Teardown],
        stops: &'a Stops,
        look: &'a Look,
    ) -> Listing<'a> {
        Listing {
            rows,
            stops,
            acks: &[],
            deadline: self.config.engine.policy.deadline,
            stuck_after: self.config.stuck_after,
            look,
        }
    }

    /// Rows that match, or the failure that there are none.
    pub(crate) async fn matching(&self, filter: &Filter) -> Result<Vec<Teardown>, Failure> {
        let rows = self.store.list(filter).await?;
        if rows.is_empty() {
            return Err(Failure::new(Exit::NotFound, "no teardown matches")
                .hint("`teardownd list` shows every teardown"));
        }
        Ok(rows)
    }

    /// The latest failed call of a teardown.
    pub(crate) async fn last_fault(&self, row: &Teardown) -> Result<Option<StoredFault>, Failure> {
        let faults = self.store.faults(&row.account, row.tenant_id).await?;
        Ok(faults.into_iter().rfind(|fault| fault.teardown_id == row.id))
    }

    /// Whether a daemon has ticked on this database lately; if not, since when.
    pub(crate) async fn silence(&self) -> Result<Option<String>, Failure> {
        let look = self.look();
        let replicas = self.store.replicas().await?;
        Ok(match replicas.iter().max_by_key(|replica| replica.ticked_at) {
            None => Some("no daemon has ever run on this database".to_owned()),
            Some(daemon) => {
                let works = |one: &Replica| one.presence(look.now) == Presence::Working;
                let is_silent = !replicas.iter().any(works);
                (is_silent || !self.is_worked_on).then(|| {
                    let since = look.since(daemon.ticked_at);
                    if self.is_worked_on {
                        format!("no daemon has ticked on this database for {since}")
                    } else {
                        format!("no daemon works on this database; the last one ticked {since} ago")
                    }
                })
            }
        })
    }

    /// Says something beside the result, on standard error.
    pub(crate) fn notice(&self, message: &str) {
        match self.output {
            Output::Text => complain(message),
            Output::Json => complain(json!({"notice": {"message": message}})),
        }
    }

    /// The configuration that holds: the daemon's own while it works, else the one that was read here. Of
    /// several replicas, that of the one which started last.
    pub(crate) async fn in_force(&self) -> Result<Config, Failure> {
        let mut told = self.told_by_replicas().await?;
        told.sort_by_key(|(replica, _)| replica.started_at);
        // Another version may have told what this one does not understand.
        let told = told.last().and_then(|(_, values)| of_values(values).ok());
        Ok(told.unwrap_or_else(|| self.config.clone()))
    }

    /// The configurations of the replicas that work, as they have told them.
    async fn told_by_replicas(&self) -> Result<Vec<(Replica, Values)>, Failure> {
        let mut told = Vec::new();
        if !self.is_worked_on {
            return Ok(told);
        }
        let now = self.clock.now();
        for replica in self.store.replicas().await? {
            let values = match replica.presence(now) {
                Presence::Working => self.store.in_force(&replica.name).await?,
                Presence::Stopped | Presence::Silent => Values::new(),
            };
            if !values.is_empty() {
                told.push((replica, values));
            }
        }
        Ok(told)
    }

    /// Warns if a daemon works with another configuration than the one that was read here.
    async fn warn_if_it_differs(&self) -> Result<(), Failure> {
        let told = self.told_by_replicas().await?;
        for (replica, values) in &told {
            let which = match told.len() {
                1 => "the daemon".to_owned(),
                _ => format!("replica {}", replica.name),
            };
            self.warn_of_differences(&which, values);
        }
        Ok(())
    }

    fn warn_of_differences(&self, which: &str, values: &Values) {
        let differences = Differences::of(values, &self.config.values);
        let parts = [
            ("`teardownd reload` takes up", differences.changed()),
            ("only a restart takes up", differences.restart()),
        ];
        let told = parts.into_iter().filter(|(_, keys)| !keys.is_empty());
        let told: Vec<String> =
            told.map(|(what, keys)| format!("{what} {}", keys.join(", "))).collect();
        if !told.is_empty() {
            let told = told.join("; ");
            self.notice(&format!("warning: {which} works with another configuration: {told}"));
        }
    }

    /// Warns if nobody works on this database.
    pub(crate) async fn warn_if_silent(&self) -> Result<(), Failure> {
        if let Some(text) = self.silence().await? {
            self.notice(&format!("warning: {text}; start one with `teardownd run`"));
        }
        Ok(())
    }
}
