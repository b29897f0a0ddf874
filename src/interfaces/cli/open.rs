//! Where the command line gets its clock and its database. Everything else takes them as arguments.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::view::tell_by_the_wall;
use crate::core::clock::Clock;
use crate::interfaces::config::Config;
use crate::runtime::clock::SystemClock;
use crate::runtime::timekeeping;
use crate::store::{MigrateMode, SqliteSettings};
use crate::store::{Result, Store};

/// The machine's clock.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

/// Opens the database for a command that works beside a daemon, and places the clock in its time:
/// nothing is created or migrated.
pub(crate) async fn store(
    config: &Config,
    clock: &dyn Clock,
    may_write: bool,
) -> Result<Arc<Store>> {
    let path = config.database.path.clone();
    let settings = SqliteSettings { path, create: false, migrate: MigrateMode::Manual };
    let store = Store::open(&settings, clock.wall()).await?;
    timekeeping::join(&store, clock, may_write).await?;
    tell_by_the_wall(clock.ahead());
    Ok(Arc::new(store))
}

/// Creates the database or brings it to this version's schema, and says what was done, in
/// words and as JSON.
pub(crate) async fn migrate(config: &Config, now: Timestamp) -> Result<(String, Value)> {
    let report = Store::migrate(&config.database.path, now).await?;
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
