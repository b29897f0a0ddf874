//! The one file that reads the machine's clock and its random source.
#![expect(
    clippy::disallowed_methods,
    reason = "everything else takes a Clock and an Entropy; these are their implementations"
)]

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use crate::core::clock::{BoxFuture, Clock, Entropy};

/// The machine's clock.
///
/// Wall time is read once, at the start; from then on it is that reading plus the time passed on
/// `CLOCK_BOOTTIME`, which counts suspension. A step of the system clock therefore neither stalls a
/// wait nor shortens a window; a new process takes it up.
#[derive(Debug)]
pub struct SystemClock {
    wall_at_start: Timestamp,
    uptime_at_start: Duration,
}

impl SystemClock {
    /// Reads the wall clock.
    pub fn start() -> Self {
        Self { wall_at_start: Timestamp::now(), uptime_at_start: boottime() }
    }

    /// By how much the system's wall clock has been stepped since the start, to the second.
    pub fn step(&self) -> jiff::SignedDuration {
        Timestamp::now().duration_since(self.now())
    }
}

fn boottime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let passed = boottime().saturating_sub(self.uptime_at_start);
        self.wall_at_start.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    fn uptime(&self) -> Duration {
        boottime()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that follows tokio's, which a test can pause and which then jumps to the next timer as
/// soon as nothing else can run.
#[derive(Debug)]
pub struct TokioClock {
    wall_at_start: Timestamp,
    start: tokio::time::Instant,
}

impl TokioClock {
    /// Starts at the given wall time.
    pub fn start(wall_at_start: Timestamp) -> Self {
        Self { wall_at_start, start: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.wall_at_start.checked_add(self.start.elapsed()).unwrap_or(Timestamp::MAX)
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The machine's random source.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn unit(&self) -> f64 {
        rand::random()
    }
}
