//! What `/metrics` tells. Gauges are read from the store, so that they are true right after a
//! restart; the layers below count what happens in this process.

pub mod catalogue;
mod gauges;
mod labels;
mod metric;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;

use self::gauges::Snapshot;
pub use self::metric::{Dimension, Kind, Metric, Scope, Start};
use super::config::Config;
use crate::core::clock::Clock;
use crate::core::ids::AccountName;
use crate::core::reason::ReasonKind;
use crate::core::teardown::{State, Status};
use crate::interfaces::http::Readiness;
use crate::runtime::account::AccountRuntime;
use crate::runtime::ledger::WINDOW;
use crate::runtime::live::AccountRules;
use crate::store::{Move, Presence, Result, Store, SurveyRequest};

/// How often the gauges are read anew.
const PERIOD: Duration = Duration::from_secs(5);

/// Reads the gauges.
#[derive(Debug)]
pub struct Meter {
    store: Arc<Store>,
    config: Config,
    /// What a reload replaces.
    rules: BTreeMap<AccountName, AccountRules>,
    recorder: PrometheusHandle,
    clock: Arc<dyn Clock>,
    /// Hears of the replicas.
    readiness: Arc<Readiness>,
    scope: Scope,
    /// Changes of state are counted from the start of the process on.
    moves_after: Option<i64>,
}

impl Meter {
    /// Makes every series known to the recorder of this process.
    pub fn new(
        store: Arc<Store>,
        config: Config,
        accounts: &[Arc<AccountRuntime>],
        recorder: PrometheusHandle,
        readiness: Arc<Readiness>,
    ) -> Self {
        let scope = Scope { accounts: config.accounts.keys().map(ToString::to_string).collect() };
        for metric in catalogue::ALL {
            metric.register(&scope);
        }
        set_constants(&config);
        let rules = accounts.iter().map(|one| (one.name.clone(), one.rules.clone())).collect();
        let clock = readiness.clock();
        Self { store, config, rules, recorder, clock, readiness, scope, moves_after: None }
    }

    /// Reads everything once.
    pub async fn read(&mut self) {
        if let Err(error) = self.read_store().await {
            tracing::warn!(%error, "the gauges cannot be read from the store");
        }
        self.read_files().await;
        self.recorder.run_upkeep();
    }

    /// Reads everything every few seconds, until the task is dropped.
    pub async fn keep(mut self) {
        loop {
            self.clock.sleep(PERIOD).await;
            self.read().await;
        }
    }

    async fn read_store(&mut self) -> Result<()> {
        let now = self.clock.now();
        let request = SurveyRequest {
            stuck_after: self.config.stuck_after,
            budget_window: WINDOW,
            moves_after: self.moves_after,
        };
        let survey = self.store.survey(&request, now).await?;
        let accounts = self.store.accounts().await?;
        self.moves_after = Some(survey.last_move);
        survey.moves.iter().for_each(|one| self.count_move(one));
        let (config, rules, scope) = (&self.config, &self.rules, &self.scope);
        let ahead = self.clock.ahead();
        // Also where a server tells the time: an operator sees whose clock is wrong.
        let reading = self.clock.reading();
        let shown = reading.wall.duration_since(self.clock.now());
        catalogue::CLOCK_AHEAD.set(&[], shown.as_secs_f64());
        let replicas = self.store.replicas().await?;
        self.readiness.replicas(&replicas, now);
        for presence in Presence::ALL {
            let alike = replicas.iter().filter(|replica| replica.presence(now) == presence);
            catalogue::REPLICAS.set(&[presence.as_str()], count(alike.count() as u64));
        }
        Snapshot { survey: &survey, accounts, config, rules, scope, now, ahead }.show();
        Ok(())
    }

    fn count_move(&self, moved: &Move) {
        let account = self.scope.row_account(&moved.account);
        let from = moved.from.map_or(labels::NEW, State::as_str);
        catalogue::TRANSITIONS.count(&[account, from, moved.to.as_str()]);
        if let (Some(from), Some(time)) =
            (moved.from.filter(|from| !from.is_terminal()), moved.in_state)
        {
            catalogue::STATE_DURATION.record(&[account, from.as_str()], time.as_secs_f64());
        }
        if let Some(time) = moved.in_run.filter(|_| moved.to.is_terminal()) {
            catalogue::TEARDOWN_DURATION.record(&[account, moved.to.as_str()], time.as_secs_f64());
        }
    }

    async fn read_files(&self) {
        let now = self.clock.wall();
        for account in self.config.accounts.values() {
            if let Some(age) = account.credential.refresh_token_age(now).await {
                catalogue::REFRESH_TOKEN_AGE.set(&[account.name.as_str()], age.as_secs_f64());
            }
        }
        let free = self.config.database.place.file().map(crate::store::free_bytes);
        if let Some(Ok(free)) = free {
            catalogue::STORE_FREE.set(&[], bytes(free));
        }
        if let Ok(size) = self.store.size().await {
            catalogue::STORE_SIZE.set(&[], bytes(size));
        }
    }
}

/// What the configuration says once and for all.
fn set_constants(config: &Config) {
    catalogue::BUILD_INFO.set(&[env!("CARGO_PKG_VERSION")], 1.0);
    catalogue::STORE_MIN_FREE.set(&[], bytes(config.database.min_free.0));
    for account in config.accounts.values() {
        let name = account.name.as_str();
        if let Some(at) = account.credential.lapses_at() {
            catalogue::CREDENTIAL_EXPIRY.set(&[name], seconds(at));
        }
    }
}

/// A time as Prometheus has it.
fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

/// Counts are far below the range in which a float is no longer exact.
fn count(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

/// A size, exact up to 8 PiB.
fn bytes(number: u64) -> f64 {
    number as f64
}

/// The kinds of reason that say what blocks a teardown.
const BLOCKING: [ReasonKind; 2] = [ReasonKind::Waiting, ReasonKind::Held];

/// Whether a status is one of a teardown before its end.
const fn is_active(status: Status) -> bool {
    matches!(status, Status::Moving | Status::Waiting | Status::Held)
}
