//! Time for the simulator and the tests: the machine's clock, with a gate behind which answers stay.

use std::time::Duration;

use jiff::Timestamp;
use teardownd::core::clock::{BoxFuture, Clock};
use teardownd::runtime::clock::SystemClock;
use tokio::sync::watch;

/// A delay that lasts while the gate is shut.
pub const HELD: Duration = Duration::from_secs(24 * 3600);
/// Only what hangs takes longer than this.
pub const HANG: Duration = Duration::from_secs(240);
/// Between two looks.
const PACE: Duration = Duration::from_millis(5);

/// The machine's clock, on which a sleep of [`HELD`] or longer lasts while the gate is shut.
#[derive(Debug)]
pub struct Gate {
    clock: SystemClock,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// A gate that is shut.
    pub fn new() -> Self {
        Self { clock: SystemClock::start(), is_open: watch::Sender::new(false) }
    }

    /// Lets out whatever is held.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Holds again, from now on.
    pub fn shut(&self) {
        self.is_open.send_replace(false);
    }
}

impl Clock for Gate {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < HELD {
            return self.clock.sleep(duration);
        }
        let mut is_open = self.is_open.subscribe();
        Box::pin(async move {
            // An error means that the gate is gone, and the test with it.
            is_open.wait_for(|open| *open).await.ok();
        })
    }
}

/// Waits.
pub async fn pause(duration: Duration) {
    SystemClock::start().sleep(duration).await;
}

/// Looks until there is something to see.
///
/// # Panics
/// When it never comes. That is a guard against hanging, not a demand for speed.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = SystemClock::start();
    let start = clock.uptime();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        let passed = clock.uptime().saturating_sub(start);
        assert!(passed < HANG, "after {} s still not seen: {what}", passed.as_secs());
        clock.sleep(PACE).await;
    }
}
