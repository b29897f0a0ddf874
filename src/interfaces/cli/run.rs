//! `run`: the daemon.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::Globals;
use super::exit::{Ending, Exit, Failure, Report};
use crate::core::clock::Clock;
use crate::interfaces::assemble::{self, Ground};
use crate::interfaces::config::{Config, Migrate};
use crate::interfaces::http::{self, Readiness};
use crate::interfaces::metering::Meter;
use crate::interfaces::telemetry;
use crate::partner_center::{ReqwestTransport, TransportSettings};
use crate::runtime::clock::{SystemClock, SystemEntropy};
use crate::runtime::cron::Cron;
use crate::runtime::customers;
use crate::runtime::daemon::Daemon;
use crate::store::lock::RunLock;
use crate::store::measured::MeasuredStore;
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
    let watched = Arc::new(MeasuredStore::new(store.clone(), Arc::clone(&clock)));
    let transport = ReqwestTransport::new(&TransportSettings::default())
        .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    let ground = Ground {
        store: watched.clone(),
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
        Meter::new(watched.clone(), config.clone(), metrics.clone(), Arc::clone(&clock));
    let readiness = Arc::new(Readiness::new(Arc::clone(&clock), TICK_LIMIT));
    let may_claim = assemble::enough_room(config.database.path.clone(), config.database.min_free.0);
    let daemon = Daemon::start(
        assemble::engine(&config),
        accounts.clone(),
        watched.clone(),
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
    // Nobody sees the gauges before they are true.
    meter.read().await;
    let served = CancellationToken::new();
    let server = tokio::spawn(http::serve(
        listener,
        Arc::clone(&readiness),
        metrics,
        served.clone().cancelled_owned(),
    ));
    let meter = tokio::spawn(meter.keep());
    let counter = tokio::spawn(customers::watch(accounts, watched, Arc::clone(&clock)));
    let cron = start_cron(&config, &daemon).await?;
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
    counter.abort();
    served.cancel();
    server.abort();
    store.close().await;
    tracing::info!(left = drained.left, "teardownd has stopped");
    Ok(Report::done(String::new(), json!({"stopped": {"left_in_flight": drained.left}})))
}

async fn start_cron(config: &Config, daemon: &Daemon) -> Result<Cron, Failure> {
    let jobs = vec![
        (config.scheduler.pickup.as_str().to_owned(), daemon.wake()),
        (config.scheduler.maintenance.as_str().to_owned(), Arc::clone(&daemon.maintenance)),
    ];
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
