//! Gauges that are read from the store, so that they are true right after a restart.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;

use super::config::Config;
use crate::core::clock::Clock;
use crate::core::ids::AccountName;
use crate::core::teardown::State;
use crate::store::{Filter, Result, Store};

/// How often the gauges are read anew.
const PERIOD: Duration = Duration::from_secs(5);

/// Reads the gauges and keeps the recorder tidy until the task is dropped.
pub async fn keep(
    store: Arc<dyn Store>,
    config: Config,
    recorder: PrometheusHandle,
    clock: Arc<dyn Clock>,
) {
    describe();
    for account in config.accounts.values() {
        if let Some(at) = account.credential.lapses_at() {
            let label = account.name.to_string();
            gauge!("teardownd_credential_expiry_timestamp_seconds", "account" => label)
                .set(at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
        }
    }
    loop {
        if let Err(error) = read(store.as_ref(), &config, clock.now()).await {
            tracing::warn!(%error, "the gauges cannot be read from the store");
        }
        recorder.run_upkeep();
        clock.sleep(PERIOD).await;
    }
}

fn describe() {
    describe_gauge!("teardownd_build_info", "Always 1; the version is a label.");
    describe_gauge!("teardownd_teardowns", "Rows by account, state and whether held.");
    describe_gauge!(
        "teardownd_teardowns_stuck",
        "Rows in one state for longer than engine.stuck_after."
    );
    describe_gauge!(
        "teardownd_credential_expiry_timestamp_seconds",
        "When the credential lapses, as the configuration says."
    );
    describe_gauge!("teardownd_account_halted", "1 while a safety stop halts the account.");
    describe_gauge!("teardownd_account_paused", "1 while a person pauses the account.");
    describe_gauge!(
        "teardownd_account_in_trouble",
        "1 while the account is unreachable or its credential refused."
    );
    describe_gauge!(
        "teardownd_account_throttled_seconds",
        "How long a 429 still closes the account."
    );
    describe_counter!("teardownd_transitions_total", "State transitions by account and new state.");
    gauge!("teardownd_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

async fn read(store: &dyn Store, config: &Config, now: Timestamp) -> Result<()> {
    let counts = store.counts().await?;
    let accounts = store.accounts().await?;
    let mut names: Vec<AccountName> = counts.iter().map(|count| count.account.clone()).collect();
    names.extend(accounts.iter().map(|account| account.name.clone()));
    names.extend(config.accounts.keys().cloned());
    names.sort();
    names.dedup();
    for name in names.iter().filter(|name| name.as_str() != AccountName::EVERY) {
        for state in State::ALL {
            for held in [false, true] {
                let rows: u64 = counts
                    .iter()
                    .filter(|c| c.account == *name && c.state == state && c.held == held)
                    .map(|c| c.rows)
                    .sum();
                gauge!(
                    "teardownd_teardowns",
                    "account" => name.to_string(),
                    "state" => state.as_str(),
                    "held" => if held { "true" } else { "false" }
                )
                .set(precise(rows));
            }
        }
    }
    let active = Filter {
        states: State::ALL.into_iter().filter(|state| !state.is_terminal()).collect(),
        ..Filter::default()
    };
    let rows = store.list(&active).await?;
    for name in config.accounts.keys() {
        let stuck = rows
            .iter()
            .filter(|row| row.account == *name && row.is_stuck(config.engine.stuck_after, now))
            .count();
        gauge!("teardownd_teardowns_stuck", "account" => name.to_string())
            .set(precise(stuck as u64));
    }
    for account in &accounts {
        let label = account.name.to_string();
        let set = |name: &'static str, on: bool| {
            gauge!(name, "account" => label.clone()).set(if on { 1.0 } else { 0.0 });
        };
        set("teardownd_account_halted", account.halted.is_some());
        set("teardownd_account_paused", account.is_paused(now));
        set("teardownd_account_in_trouble", account.trouble.is_some());
        let closed = account
            .throttled_until
            .map_or(0.0, |until| until.duration_since(now).as_secs_f64().max(0.0));
        gauge!("teardownd_account_throttled_seconds", "account" => label.clone()).set(closed);
    }
    Ok(())
}

/// Row counts are far below the range in which a float is no longer exact.
fn precise(rows: u64) -> f64 {
    u32::try_from(rows).map_or(f64::MAX, f64::from)
}
