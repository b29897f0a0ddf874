//! Time and randomness as arguments. The only implementation that reads the machine's clock or its
//! random source is `runtime::clock`; tests pass clocks and dice of their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

/// A boxed future, as the object-safe traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the program may know of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time. It never runs backwards while the process lives: a step of the system clock is
    /// not followed.
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant, counting time the machine was suspended. For leases and
    /// deadlines within the process.
    fn uptime(&self) -> Duration;

    /// Completes after `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Where randomness comes from.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// A fresh random (version 4) UUID.
    fn uuid(&self) -> Uuid;

    /// A number from 0.0 (inclusive) to 1.0 (exclusive), for jitter.
    fn unit(&self) -> f64;
}
