//! `run`: the daemon.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::args::Globals;
use super::exit::{Ending, Exit, Failure, Report};
use crate::core::clock::Clock;
use crate::interfaces::assemble::{self, Ground};
use crate::interfaces::config::{Config, Discovery, Migrate};
use crate::interfaces::http::{self, Readiness};
use crate::interfaces::{metering, telemetry};
use crate::partner_center::{ReqwestTransport, TransportSettings};
use crate::runtime::account::AccountRuntime;
use crate::runtime::clock::{SystemClock, SystemEntropy};
use crate::runtime::cron::Cron;
use crate::runtime::daemon::Daemon;
use crate::runtime::discovery;
use crate::store::lock::RunLock;
use crate::store::sqlite::{MigrateMode, SqliteSettings, SqliteStore};

/// A scheduler that has not looked for so long is not ready.
const TICK_LIMIT: Duration = Duration::from_secs(30);

/// Runs the command.
pub(crate) async fn execute(globals: &Globals) -> Ending {
    let config = globals.configuration()?;
    telemetry::init_logs(&config.log)?;
    if config.accounts.is_empty() {
        return Err(Failure::new(Exit::Unfit, "the configuration has no account")
            .hint("add [accounts.NAME] to it; config/default.toml shows how"));
    }
    config.check_secrets().await?;
    // From here on a signal ends the daemon in good order, also while it is still starting.
    let stop = stop_on_signals()?;
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
    let store = Arc::new(SqliteStore::open(&settings, clock.now()).await?);
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
    let readiness = Arc::new(Readiness::new(Arc::clone(&clock), TICK_LIMIT));
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
    .await?;
    tracing::info!(
        version = info.version,
        owner = info.owner,
        database = %config.database.path.display(),
        %listen,
        accounts = config.accounts.len(),
        "teardownd is running"
    );
    let served = CancellationToken::new();
    let server = tokio::spawn(http::serve(
        listener,
        Arc::clone(&readiness),
        metrics.clone(),
        served.clone().cancelled_owned(),
    ));
    let meter =
        tokio::spawn(metering::keep(store.clone(), config.clone(), metrics, Arc::clone(&clock)));
    let mut jobs = base_jobs(&config, &daemon);
    jobs.extend(start_discovery(&config, &accounts, &ground, &daemon, &stop));
    let cron = start_cron(jobs).await?;
    let watcher = watch_for_drain(&stop, &readiness);
    let drained = daemon
        .run(stop.clone(), |look| match look {
            Ok(_) => {
                readiness.store_answered();
                readiness.ticked();
            }
            Err(error) => readiness.store_failed(error.to_string()),
        })
        .await;
    watcher.abort();
    cron.stop().await;
    meter.abort();
    served.cancel();
    server.abort();
    store.close().await;
    tracing::info!(left = drained.left, "teardownd has stopped");
    Ok(Report::done(String::new(), json!({"stopped": {"left_in_flight": drained.left}})))
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

/// A token that SIGTERM and SIGINT cancel.
fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Failure::new(Exit::Failed, format!("signals cannot be listened to: {error}"))
        })
    };
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping: nothing new is claimed");
        token.cancel();
    });
    Ok(stop)
}

fn watch_for_drain(
    stop: &CancellationToken,
    readiness: &Arc<Readiness>,
) -> tokio::task::JoinHandle<()> {
    let (stop, readiness) = (stop.clone(), Arc::clone(readiness));
    tokio::spawn(async move {
        stop.cancelled().await;
        readiness.drain();
    })
}
