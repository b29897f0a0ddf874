//! Time and randomness as arguments. The only implementation that reads the machine's clocks or its
//! random source is `runtime::clock`; tests pass clocks and dice of their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::database_time::{Reading, Step, Timekeeping};

/// A boxed future, as the object-safe traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the program may know of time.
///
/// There are two: *database time*, which never steps and in which everything is stored, and *wall time*,
/// which is the system's and is followed wherever it goes. Waits, leases, budgets, caps, deadlines and
/// the order of events go by database time; windows, dates on the wire and what people are shown go by
/// wall time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Database time. It never runs backwards and never steps.
    fn now(&self) -> Timestamp;

    /// The system's wall clock as it is now.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Time since some fixed instant, counting time the machine was suspended. For leases and
    /// deadlines within the process.
    fn uptime(&self) -> Duration;

    /// Completes after `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Reads the machine's clocks, to place database time with.
    fn reading(&self) -> Reading {
        Reading { boot: String::new(), uptime: self.uptime(), wall: self.wall() }
    }

    /// From now on database time is reckoned from here.
    fn place(&self, _kept: Timekeeping) {}

    /// The latest step of the wall clock that was followed.
    fn last_step(&self) -> Option<Step> {
        None
    }

    /// How far the wall clock was ahead of database time when it was last followed.
    fn ahead(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    /// By how much the wall clock has been stepped since it was last followed; `None` if it has not.
    fn stepped(&self) -> Option<SignedDuration> {
        super::database_time::step(self.ahead(), self.wall(), self.now())
    }
}

/// Where randomness comes from.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// A fresh random (version 4) UUID.
    fn uuid(&self) -> Uuid;

    /// A number from 0.0 (inclusive) to 1.0 (exclusive), for jitter.
    fn unit(&self) -> f64;
}
