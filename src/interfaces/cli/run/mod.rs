//! `run`: the daemon.

mod beside;
mod signals;
mod status;
mod supervisor;
mod tasks;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::beside::Beside;
use self::supervisor::Supervisor;
use self::tasks::Tasks;
use super::args::Globals;
use super::exit::{Ending, Exit, Failure, Report};
use super::open;
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
use crate::runtime::cron::{self, Schedule};
use crate::runtime::customers;
use crate::runtime::daemon::{Daemon, MAINTENANCE};
use crate::runtime::discovery;
use crate::store::lock::{Holder, RunLock};
use crate::store::{Door, MigrateMode, Place, Replica, Store, StoreError};

/// A scheduler that has not looked for so long is not ready.
const TICK_LIMIT: Duration = Duration::from_secs(30);
/// The name of the job that wakes the scheduler.
const PICKUP: &str = "pickup";
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
    raise_file_limit();
    let mut tasks = Tasks::default();
    // From here on a signal ends the daemon in good order, also while it is still starting.
    let stop = signals::stop(&mut tasks)?;
    let hangups = signals::hangups()?;
    let supervisor = Arc::new(Supervisor::of_process());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let replica = assemble::replica(&config, clock.as_ref(), &SystemEntropy);
    // Held until the process ends: one daemon on one file, and one process of a replica (invariant 10).
    let (store, _lock) = open_alone(&config, &clock, &replica).await?;
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
    let readiness = Arc::new(Readiness::new(Arc::clone(&clock), TICK_LIMIT));
    let told = Arc::clone(&readiness);
    let mut meter = Meter::new(store.clone(), config.clone(), &accounts, metrics.clone(), told);
    let reloader = Reloader::new(sources, config.clone(), filter, accounts.clone());
    let may_claim = assemble::enough_room(&config.database);
    let daemon = Daemon::start(
        config.engine.clone(),
        accounts.clone(),
        store.clone(),
        Arc::clone(&clock),
        Arc::new(SystemEntropy),
        replica.clone(),
        may_claim,
    )
    .await
    .map_err(start_failure)?;
    tracing::info!(
        version = replica.version,
        owner = replica.owner,
        database = %config.database.place,
        %listen,
        accounts = config.accounts.len(),
        "teardownd is running"
    );
    // Nobody sees the gauges before they are true.
    meter.read().await;
    tasks.spawn("the listener", http::serve(listener, Arc::clone(&readiness), metrics));
    let mut jobs = base_jobs(&config, &daemon);
    let owner = &replica.owner;
    jobs.extend(start_discovery(&config, owner, &accounts, &ground, &daemon, &stop, &mut tasks));
    for Job { name, schedule, due } in jobs {
        let now = clock.wall();
        // A time that passed while no daemon ran is made up for, once. The pickup is not: it looks at once.
        let since = match name.as_str() {
            PICKUP => now,
            job => store.last_run(job, now).await.map_err(start_failure)?,
        };
        let kept = cron::keep(schedule, since, due, Arc::clone(&clock));
        tasks.spawn(format!("the schedule of {name}"), kept);
    }
    let beside = Beside {
        store: store.clone(),
        replica: replica.name.as_str().into(),
        clock: Arc::clone(&clock),
        readiness: Arc::clone(&readiness),
        supervisor: Arc::clone(&supervisor),
    };
    let told = wake_on_changes(Arc::clone(&store), daemon.wake(), accounts.clone());
    tasks.spawn("what the database tells", told);
    tasks.spawn("the metrics", meter.keep());
    let counted = customers::watch(accounts.clone(), store.clone(), Arc::clone(&clock));
    tasks.spawn("the count of customers", counted);
    tasks.spawn("the watch for a stop", watch_for_drain(stop.clone(), beside.clone()));
    if supervisor.listens() {
        tasks.spawn("what the service manager is told", beside.clone().tell_the_supervisor());
    }
    tasks.spawn("reloading", beside.reload_on_request(reloader, hangups));
    let gone = OnceLock::new();
    let engine = daemon.run(stop.clone(), |look| match look {
        Ok(look) => {
            readiness.store_answered();
            readiness.closed(look.closed.clone());
            readiness.ticked();
            supervisor.progressed(clock.uptime());
        }
        Err(error) => {
            readiness.store_failed(error.to_string());
            if let StoreError::Gone(text) = error {
                tracing::error!(
                    error = text,
                    "the database is not the one that was opened; the daemon stops"
                );
                gone.get_or_init(|| text.clone());
                stop.cancel();
            }
        }
    });
    let mut engine = std::pin::pin!(AssertUnwindSafe(engine).catch_unwind());
    let mut fallen = None;
    let drained = loop {
        tokio::select! {
            biased;
            drained = &mut engine => break drained,
            part = tasks.fallen(&stop), if fallen.is_none() => {
                tracing::error!(part, "a part of the daemon is gone; it stops");
                fallen = Some(part);
                stop.cancel();
            }
        }
    };
    // With nothing in flight this may come before the task that watches for it.
    supervisor.stopping();
    drop(tasks);
    // What the limit cut off may still hold a connection, which must not keep the process.
    tokio::select! {
        () = store.close() => {}
        () = clock.sleep(CLOSING) => {}
    }
    let Ok(drained) = drained else { return Err(ended("the engine")) };
    tracing::info!(left = drained.left, "teardownd has stopped");
    if let Some(part) = fallen {
        return Err(ended(&part));
    }
    if let Some(text) = gone.get() {
        return Err(Failure::new(Exit::Failed, text).hint(
            "look at which file holds what was stored last, and start it again on that one",
        ));
    }
    Ok(Report::done(String::new(), json!({"stopped": {"left_in_flight": drained.left}})))
}

/// Opens the database with the lock of the one daemon that may work on a file, or on the name of a replica.
async fn open_alone(
    config: &Config,
    clock: &Arc<dyn Clock>,
    replica: &Replica,
) -> Result<(Store, Option<RunLock>), Failure> {
    let migrate = match config.database.migrate {
        Migrate::Auto => MigrateMode::Auto,
        Migrate::Manual => MigrateMode::Manual,
    };
    let take = |path| RunLock::acquire(path, &replica.owner, Holder::Run);
    let mut lock = config.database.place.file().map(take).transpose()?;
    let opened = open::at(&config.database, clock, migrate, Some(&replica.name)).await;
    let mut store = opened.map_err(start_failure)?;
    if let Some(lock) = &mut lock {
        lock.hold_database()?;
        store = store.guarded_by(lock)?;
    }
    if let Place::Server(url) = &config.database.place
        && !url.is_verified()
    {
        tracing::warn!(
            database = %url,
            "the connection to the database does not verify the server: set sslmode=verify-full"
        );
    }
    Ok((store, lock))
}

/// A part of the program has ended on a fault of its own.
fn ended(part: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{part} ended on a fault of the program"))
        .hint("start it again: nothing is lost; the lines above say where the fault is")
}

/// Each connection takes a descriptor, and the soft limit is often 1,024.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

/// A database whose storage fails may answer later. That is not the exit code
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
            .hint("mend the storage of the database, and start it again"),
        other => other.into(),
    }
}

/// A schedule and whom it wakes.
struct Job {
    name: String,
    schedule: Schedule,
    due: Arc<Notify>,
}

fn base_jobs(config: &Config, daemon: &Daemon) -> Vec<Job> {
    let job = |name: &str, schedule: &Schedule, due| Job {
        name: name.to_owned(),
        schedule: schedule.clone(),
        due,
    };
    let maintenance = Arc::clone(&daemon.maintenance);
    vec![
        job(PICKUP, &config.pickup, daemon.wake()),
        job(MAINTENANCE, &config.engine.maintenance, maintenance),
    ]
}

/// Starts the discovery of each account that has a schedule, and returns what wakes it.
fn start_discovery(
    config: &Config,
    owner: &str,
    accounts: &[Arc<AccountRuntime>],
    ground: &Ground,
    daemon: &Daemon,
    stop: &CancellationToken,
    tasks: &mut Tasks,
) -> Vec<Job> {
    let start = |account: &Arc<AccountRuntime>| {
        let Discovery { schedule, settings } = config.account(&account.name)?.discovery.as_ref()?;
        let due = Arc::new(Notify::new());
        let name = discovery::job(&account.name);
        let scheduled = discovery::Scheduled {
            account: Arc::clone(account),
            settings: settings.clone(),
            schedule: schedule.clone(),
            owner: owner.to_owned(),
        };
        let kept = discovery::keep(
            scheduled,
            Arc::clone(&ground.store),
            Arc::clone(&ground.clock),
            Arc::clone(&due),
            daemon.wake(),
            stop.clone(),
        );
        tasks.spawn(format!("the {name}"), kept);
        Some(Job { name, schedule: schedule.clone(), due })
    };
    accounts.iter().filter_map(start).collect()
}

/// Has the scheduler look as soon as a server tells of something new.
async fn wake_on_changes(store: Arc<Store>, wake: Arc<Notify>, accounts: Vec<Arc<AccountRuntime>>) {
    loop {
        store.changed().await;
        wake.notify_one();
        // The canary of an account may have come back to another replica.
        accounts.iter().for_each(|account| account.call_ended());
    }
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
        let locked = StoreError::Busy("database is locked".to_owned());
        assert_eq!(start_failure(locked).exit, Exit::Failed);
        assert_eq!(exit("disk I/O error"), Exit::Failed);
        assert_eq!(exit("database disk image is malformed"), Exit::Unfit);
        assert_eq!(start_failure(StoreError::Unfit("old".to_owned())).exit, Exit::Unfit);
    }
}
