//! What the service manager is told, by the protocol of sd_notify(3). Without one, nothing is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

/// The watchdog is not fed more often than this.
const FEED: Duration = Duration::from_secs(1);
/// Looks at the queue are at most two seconds apart, and each may wait five seconds for a lock of the
/// database. A watchdog must give more time than both.
const SHORTEST_WATCHDOG: Duration = Duration::from_secs(15);

/// The service manager.
#[derive(Debug)]
pub(super) struct Supervisor {
    asked: bool,
    watchdog: bool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    ready: bool,
    stopping: bool,
    status: String,
    /// By a clock that no step of the wall clock moves.
    fed_at: Option<Duration>,
}

impl Supervisor {
    /// The one that started this process, if it wants to be told.
    pub(super) fn of_process() -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        if let Some(given) = watchdog.filter(|given| *given < SHORTEST_WATCHDOG) {
            tracing::warn!(
                seconds = given.as_secs(),
                least = SHORTEST_WATCHDOG.as_secs(),
                "the watchdog of the service manager is too short; raise WatchdogSec="
            );
        }
        Self {
            asked: std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty()),
            watchdog: watchdog.is_some(),
            told: Mutex::default(),
        }
    }

    /// Whether anybody wants to be told.
    pub(super) const fn listens(&self) -> bool {
        self.asked
    }

    /// Feeds the watchdog: the scheduler has just done a whole look at its queue, at this uptime.
    /// Nothing else may feed it, or it would watch a timer.
    pub(super) fn progressed(&self, uptime: Duration) {
        let due = self.change(|told| {
            let due = told.fed_at.is_none_or(|at| uptime.saturating_sub(at) >= FEED);
            if due {
                told.fed_at = Some(uptime);
            }
            due
        });
        if self.watchdog && due {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// The daemon is ready; told once.
    pub(super) fn ready(&self) {
        if self.change(|told| !told.stopping && !std::mem::replace(&mut told.ready, true)) {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// Whether it was told that the daemon is ready, and not since that it stops.
    pub(super) fn knows_it_is_ready(&self) -> bool {
        self.change(|told| told.ready && !told.stopping)
    }

    /// What the daemon is doing; told when it changes.
    pub(super) fn status(&self, text: &str) {
        let is_new = self.change(|told| {
            let is_new = told.status != text;
            text.clone_into(&mut told.status);
            is_new
        });
        if is_new {
            self.tell(&[NotifyState::Status(text)]);
        }
    }

    /// The configuration is about to be read anew.
    pub(super) fn reloading(&self) {
        if !self.knows_it_is_ready() {
            return;
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the service manager cannot be told"),
        }
    }

    /// It was read anew, or refused.
    pub(super) fn reloaded(&self) {
        if self.knows_it_is_ready() {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// The daemon is shutting down; told once.
    pub(super) fn stopping(&self) {
        if !self.change(|told| std::mem::replace(&mut told.stopping, true)) {
            self.tell(&[NotifyState::Stopping, NotifyState::Status("shutting down")]);
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if !self.asked {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
