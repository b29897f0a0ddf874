//! Where the command line gets its clock and its database. Everything else takes them as arguments.

use std::sync::Arc;

use serde_json::{Value, json};

use super::view::tell_by_the_wall;
use crate::core::clock::Clock;
use crate::interfaces::config::{Config, Database};
use crate::runtime::clock::SystemClock;
use crate::runtime::timekeeping;
use crate::store::{
    MigrateMode, Place, Result, ServerSettings, ServerTime, ServerUrl, SqliteSettings, Store,
};

/// The machine's clock.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

/// Opens the database for a command that works beside a daemon, and places the clock in its time:
/// nothing is created or migrated.
pub(crate) async fn store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    may_write: bool,
) -> Result<Arc<Store>> {
    let store = at(&config.database, clock, MigrateMode::Manual, None).await?;
    timekeeping::join(&store, clock.as_ref(), may_write).await?;
    tell_by_the_wall(clock.ahead());
    Ok(Arc::new(store))
}

/// Opens the database wherever it is. A file is created only where it may be migrated, too. A process that is
/// a replica takes the lock on its name on a server before it changes anything there; the lock of a file the
/// caller has taken.
pub(crate) async fn at(
    database: &Database,
    clock: &Arc<dyn Clock>,
    migrate: MigrateMode,
    replica: Option<&str>,
) -> Result<Store> {
    match &database.place {
        Place::File(path) => {
            let create = migrate == MigrateMode::Auto;
            let settings = SqliteSettings { path: path.clone(), create, migrate };
            Store::open(&settings, clock.wall()).await
        }
        Place::Server(url) => {
            let settings = server(url, clock, migrate);
            let replica = replica.map(str::to_owned);
            Store::connect(&ServerSettings { replica, ..settings }).await
        }
    }
}

fn server(url: &ServerUrl, clock: &Arc<dyn Clock>, migrate: MigrateMode) -> ServerSettings {
    let clock = Arc::clone(clock);
    ServerSettings { url: url.clone(), migrate, replica: None, time: ServerTime::Server, clock }
}

/// Creates the database or brings it to this version's schema, and says what was done, in
/// words and as JSON.
pub(crate) async fn migrate(config: &Config, clock: &Arc<dyn Clock>) -> Result<(String, Value)> {
    let report = match &config.database.place {
        Place::File(path) => Store::migrate(path, clock.now()).await?,
        Place::Server(url) => Store::migrate_server(&server(url, clock, MigrateMode::Auto)).await?,
    };
    let mut text = match report.from {
        None => format!("created with schema {}", report.to),
        Some(_) if report.applied.is_empty() => format!("has schema {} already", report.to),
        Some(from) => format!("migrated from schema {from} to {}", report.to),
    };
    if let Some(copy) = &report.copy {
        text.push_str(&format!("; as it was before it stands at {}", copy.display()));
    }
    if !report.mended.is_empty() {
        text.push_str(&format!("; put back: {}", report.mended.join(", ")));
    }
    Ok((text, json!({"migration": report})))
}
