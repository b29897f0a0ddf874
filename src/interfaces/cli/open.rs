//! Where the command line gets its clock and its database. Everything else takes them as arguments.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::core::clock::{BoxFuture, Clock};
use crate::interfaces::config::Config;
use crate::store::{Result, Store, StoreError};

/// The machine's clock.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(StandIn)
}

/// Opens the database for a command that works beside a daemon: nothing is created or migrated.
pub(crate) async fn store(config: &Config, _now: Timestamp) -> Result<Arc<dyn Store>> {
    let path = &config.database.path;
    let text = if path.exists() {
        "this build has no database".to_owned()
    } else {
        format!(
            "there is no database at {}; `teardownd run` and `teardownd migrate` create one",
            path.display()
        )
    };
    Err(StoreError::Unfit(text))
}

/// Creates the database or brings it to this version's schema, and says what was done, in
/// words and as JSON.
pub(crate) async fn migrate(_config: &Config, _now: Timestamp) -> Result<(String, Value)> {
    Err(StoreError::Unfit("this build has no database".to_owned()))
}

#[derive(Debug)]
struct StandIn;

impl Clock for StandIn {
    fn now(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Realtime);
        Timestamp::from_second(time.tv_sec).unwrap_or_default()
    }

    fn uptime(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::from_secs(time.tv_sec.unsigned_abs())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = tokio::time::timeout(duration, std::future::pending::<()>()).await;
        })
    }
}
