//! `run`: the daemon.

mod beside;
mod signals;
mod status;
mod supervisor;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::beside::Beside;
use self::supervisor::Supervisor;
use super::args::Globals;
use super::exit::{Ending, Exit, Failure, Report};
use crate::core::clock::Clock;
use crate::interfaces::assemble::{self, Ground};
use crate::interfaces::config::{Config, Discovery, Migrate, load};
use crate::interfaces::http::{self, Readiness};
use crate::interfaces::metering::Meter;
use crate::interfaces::reload::Reloader;
use crate::interfaces::telemetry;
use crate::partner_center::{ReqwestTransport, TransportSettings};
use crate::runtime::account::AccountRuntime;
use crate::runtime::clock::{SystemClock, SystemEntropy};
use crate::runtime::cron::Cron;
use crate::runtime::customers;
use crate::runtime::daemon::Daemon;
use crate::runtime::discovery;
use crate::store::lock::RunLock;
use crate::store::sqlite::{MigrateMode, SqliteSettings};
use crate::store::{Door, Store, StoreError};

/// A scheduler that has not looked for so long is not ready.
const TICK_LIMIT: Duration = Duration::from_secs(30);
/// How long the database may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) async fn execute(globals: &Globals) -> Ending {
    let sources = globals.sources();
    let config = load(&sources)?;
    let filter = telemetry::init_logs(&config.log)?;
    if config.accounts.is_empty() {
        return Err(Failure::new(Exit::Unfit, "the configuration has no account")
            .hint("add [accounts.NAME] to it; config/default.toml shows how"));
    }
    config.check_secrets().await?;
    // From here on a signal ends the daemon in good order, also while it is still starting.
    let stop = signals::stop()?;
    let hangups = signals::hangups()?;
    let supervisor = Arc::new(Supervisor::of_process());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let info = assemble::daemon_info(clock.as_ref(), &SystemEntropy);
    // Held until the process ends: one daemon on one database (invariant 10).
    let _lock = RunLock::acquire(&config.database.path, &info.owner)?;
    let settings = SqliteSettings {
        path: config.database.path.clone(),
        create: true,
        migrate: match config.database.migrate {
            Migrate::Auto => MigrateMode::Auto,
            Migrate::Manual => MigrateMode::Manual,
        },
    };
    let store = Store::open(&settings, clock.now()).await.map_err(start_failure)?;
    let store = Arc::new(store.behind(Door::measured(Arc::clone(&clock))));
    let transport = ReqwestTransport::new(&TransportSettings::default())
        .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    let ground = Ground {
        store: store.clone(),
        transport: Arc::new(transport),
        clock: Arc::clone(&clock),
        entropy: Arc::new(SystemEntropy),
    };
    let accounts = ground
        .accounts(&config.accounts)
        .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    let listener = http::bind(config.metrics.listen).await?;
    // With port 0 the system has chosen one.
    let listen = listener.local_addr().unwrap_or(config.metrics.listen);
    let metrics = telemetry::install_metrics()?;
    let mut meter =
        Meter::new(store.clone(), config.clone(), &accounts, metrics.clone(), Arc::clone(&clock));
    let readiness = Arc::new(Readiness::new(Arc::clone(&clock), TICK_LIMIT));
    let reloader = Reloader::new(sources, config.clone(), filter, accounts.clone());
    let may_claim = assemble::enough_room(config.database.path.clone(), config.database.min_free.0);
    let daemon = Daemon::start(
        assemble::engine(&config),
        accounts.clone(),
        store.clone(),
        Arc::clone(&clock),
        Arc::new(SystemEntropy),
        info.clone(),
        may_claim,
    )
    .await
    .map_err(start_failure)?;
    tracing::info!(
        version = info.version,
        owner = info.owner,
        database = %config.database.path.display(),
        %listen,
        accounts = config.accounts.len(),
        "teardownd is running"
    );
    // Nobody sees the gauges before they are true.
    meter.read().await;
    let served = CancellationToken::new();
    let server = tokio::spawn(http::serve(
        listener,
        Arc::clone(&readiness),
        metrics,
        served.clone().cancelled_owned(),
    ));
    let mut jobs = base_jobs(&config, &daemon);
    jobs.extend(start_discovery(&config, &accounts, &ground, &daemon, &stop));
    let cron = start_cron(jobs).await?;
    let beside = Beside {
        store: store.clone(),
        clock: Arc::clone(&clock),
        readiness: Arc::clone(&readiness),
        supervisor: Arc::clone(&supervisor),
    };
    let helpers = [
        tokio::spawn(meter.keep()),
        tokio::spawn(customers::watch(accounts.clone(), store.clone(), Arc::clone(&clock))),
        tokio::spawn(watch_for_drain(stop.clone(), beside.clone())),
        tokio::spawn(beside.clone().tell_the_supervisor()),
        tokio::spawn(beside.reload_on_request(reloader, hangups)),
    ];
    let drained = daemon
        .run(stop.clone(), |look| match look {
            Ok(look) => {
                readiness.store_answered();
                readiness.closed(look.closed.clone());
                readiness.ticked();
                supervisor.progressed(clock.uptime());
            }
            Err(error) => readiness.store_failed(error.to_string()),
        })
        .await;
    // With nothing in flight this may come before the helper that watches for it.
    supervisor.stopping();
    helpers.iter().for_each(tokio::task::JoinHandle::abort);
    cron.stop().await;
    served.cancel();
    server.abort();
    // What the limit cut off may still hold a connection, which must not keep the process.
    tokio::select! {
        () = store.close() => {}
        () = clock.sleep(CLOSING) => {}
    }
    tracing::info!(left = drained.left, "teardownd has stopped");
    Ok(Report::done(String::new(), json!({"stopped": {"left_in_flight": drained.left}})))
}

/// A database that is locked, or whose storage fails, may answer later. That is not the exit code
/// after which a service manager starts it no more. A damaged one will not mend itself.
fn start_failure(error: StoreError) -> Failure {
    // SQLite's own words for SQLITE_CORRUPT.
    const DAMAGED: &str = "disk image is malformed";
    match error {
        StoreError::Engine(text) if text.contains(DAMAGED) => {
            Failure::new(Exit::Unfit, format!("the database is damaged: {text}"))
                .hint("put a backup in its place with `teardownd restore FILE`")
        }
        StoreError::Engine(_) => Failure::new(Exit::Failed, error.to_string())
            .hint("end what holds the database, or mend its storage, and start it again"),
        other => other.into(),
    }
}

/// A cron expression and whom it wakes.
type Job = (String, Arc<Notify>);

fn base_jobs(config: &Config, daemon: &Daemon) -> Vec<Job> {
    vec![
        (config.scheduler.pickup.as_str().to_owned(), daemon.wake()),
        (config.scheduler.maintenance.as_str().to_owned(), Arc::clone(&daemon.maintenance)),
    ]
}

/// Starts the discovery of each account that has a schedule, and returns what wakes it.
fn start_discovery(
    config: &Config,
    accounts: &[Arc<AccountRuntime>],
    ground: &Ground,
    daemon: &Daemon,
    stop: &CancellationToken,
) -> Vec<Job> {
    let start = |account: &Arc<AccountRuntime>| {
        let Discovery { schedule, settings } = config.account(&account.name)?.discovery.as_ref()?;
        let due = Arc::new(Notify::new());
        tokio::spawn(discovery::keep(
            Arc::clone(account),
            settings.clone(),
            Arc::clone(&ground.store),
            Arc::clone(&ground.clock),
            Arc::clone(&due),
            daemon.wake(),
            stop.clone(),
        ));
        Some((schedule.as_str().to_owned(), due))
    };
    accounts.iter().filter_map(start).collect()
}

async fn start_cron(jobs: Vec<Job>) -> Result<Cron, Failure> {
    Cron::start(jobs).await.map_err(|error| {
        Failure::new(Exit::Unfit, format!("the cron scheduler cannot start: {error}"))
    })
}

async fn watch_for_drain(stop: CancellationToken, beside: Beside) {
    stop.cancelled().await;
    beside.readiness.drain();
    beside.supervisor.stopping();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_answer_later_is_started_again() {
        let exit = |text: &str| start_failure(StoreError::Engine(text.to_owned())).exit;
        assert_eq!(exit("database is locked"), Exit::Failed);
        assert_eq!(exit("disk I/O error"), Exit::Failed);
        assert_eq!(exit("database disk image is malformed"), Exit::Unfit);
        assert_eq!(start_failure(StoreError::Unfit("old".to_owned())).exit, Exit::Unfit);
    }
}
