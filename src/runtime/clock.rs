//! The one file that reads the machine's clocks and its random source.
#![expect(
    clippy::disallowed_methods,
    reason = "everything else takes a Clock and an Entropy; these are their implementations"
)]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use crate::core::clock::{BoxFuture, Clock, Entropy};
use crate::core::database_time::{self, Reading, Step, Timekeeping};

/// The clocks of a machine, as its kernel keeps them.
pub trait Machine: Send + Sync + fmt::Debug + 'static {
    /// Names the boot.
    fn boot(&self) -> String;

    /// Time since the boot, counting time the machine was suspended.
    fn uptime(&self) -> Duration;

    /// The wall clock, wherever it is set.
    fn wall(&self) -> Timestamp;
}

/// The clock of one process. Until it is placed in the time of a database it begins with the wall clock
/// as it was at the start.
#[derive(Debug)]
pub struct ProcessClock<M> {
    machine: M,
    kept: RwLock<Timekeeping>,
}

/// The clock of a process on this machine.
pub type SystemClock = ProcessClock<System>;

/// The clock of a process on a machine under tokio's time, which a test can pause and which then jumps to
/// the next timer as soon as nothing else can run.
pub type TokioClock = ProcessClock<Simulated>;

impl<M: Machine> ProcessClock<M> {
    fn of(machine: M) -> Self {
        let (anchor, _) = database_time::follow(None, None, &reading(&machine));
        let kept = Timekeeping { anchor, steps: 0, last: None, is_told: false };
        Self { machine, kept: RwLock::new(kept) }
    }

    fn kept<T>(&self, read: impl FnOnce(&Timekeeping) -> T) -> T {
        read(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn reading(machine: &impl Machine) -> Reading {
    Reading { boot: machine.boot(), uptime: machine.uptime(), wall: machine.wall() }
}

impl<M: Machine> Clock for ProcessClock<M> {
    fn now(&self) -> Timestamp {
        self.kept(|kept| kept.anchor.now(self.machine.uptime()))
    }

    fn wall(&self) -> Timestamp {
        // Replicas whose clocks differ keep the same windows and schedules.
        if self.kept(|kept| kept.is_told) { self.now() } else { self.machine.wall() }
    }

    fn uptime(&self) -> Duration {
        self.machine.uptime()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn reading(&self) -> Reading {
        reading(&self.machine)
    }

    fn place(&self, kept: Timekeeping) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    fn ahead(&self) -> SignedDuration {
        self.kept(|kept| kept.anchor.ahead)
    }

    fn last_step(&self) -> Option<Step> {
        self.kept(|kept| kept.last)
    }
}

/// This machine.
#[derive(Debug)]
pub struct System {
    boot: String,
}

impl Machine for System {
    fn boot(&self) -> String {
        self.boot.clone()
    }

    fn uptime(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl SystemClock {
    /// The clock of this process. Where the kernel does not name its boot, each process counts as one.
    pub fn start() -> Self {
        let named = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot = named.map(|name| name.trim().to_owned()).ok().filter(|name| !name.is_empty());
        Self::of(System { boot: boot.unwrap_or_else(|| Uuid::new_v4().to_string()) })
    }
}

/// A simulated machine. Its processes share it.
#[derive(Debug, Clone)]
pub struct Simulated(Arc<Mutex<Clocks>>);

#[derive(Debug)]
struct Clocks {
    /// The wall clock at `started`.
    wall: Timestamp,
    started: tokio::time::Instant,
    boots: u32,
    booted: tokio::time::Instant,
}

impl Simulated {
    fn with<T>(&self, act: impl FnOnce(&mut Clocks) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Machine for Simulated {
    fn boot(&self) -> String {
        self.with(|clocks| clocks.boots.to_string())
    }

    fn uptime(&self) -> Duration {
        self.with(|clocks| clocks.booted.elapsed())
    }

    fn wall(&self) -> Timestamp {
        self.with(|clocks| {
            clocks.wall.checked_add(clocks.started.elapsed()).unwrap_or(Timestamp::MAX)
        })
    }
}

impl TokioClock {
    /// The clock of a process on a machine that boots now, at the given wall time.
    pub fn start(wall: Timestamp) -> Self {
        let now = tokio::time::Instant::now();
        let clocks = Clocks { wall, started: now, boots: 1, booted: now };
        Self::of(Simulated(Arc::new(Mutex::new(clocks))))
    }

    /// The clock of another process on the same machine.
    pub fn of_another_process(&self) -> Self {
        Self::of(self.machine.clone())
    }

    /// Sets the machine's wall clock forward, or back where `by` is negative.
    pub fn step(&self, by: SignedDuration) {
        self.machine.with(|clocks| {
            clocks.wall = clocks.wall.checked_add(by).unwrap_or(clocks.wall);
        });
    }

    /// Boots the machine. Processes of before must not go on.
    pub fn reboot(&self) {
        self.machine.with(|clocks| {
            clocks.boots = clocks.boots.saturating_add(1);
            clocks.booted = tokio::time::Instant::now();
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2027-01-31T08:00:00Z";

    #[tokio::test(start_paused = true)]
    async fn invariant_14_wall_time_follows_a_step_at_once_and_database_time_does_not() {
        let start: Timestamp = START.parse().unwrap();
        for by in [SignedDuration::from_hours(24), SignedDuration::from_hours(-24)] {
            let clock = TokioClock::start(start);
            clock.sleep(Duration::from_secs(5)).await;
            assert_eq!(clock.stepped(), None);
            clock.step(by);
            let seconds = SignedDuration::from_secs(5);
            assert_eq!((clock.now(), clock.wall()), (start + seconds, start + seconds + by));
            assert_eq!(clock.stepped(), Some(by));
        }
    }

    #[test]
    fn the_clock_of_this_machine_agrees_with_itself() {
        let (one, other) = (SystemClock::start(), SystemClock::start());
        assert_eq!(one.reading().boot, other.reading().boot, "one boot for all processes");
        assert!(one.uptime() <= other.uptime());
        assert_eq!(one.ahead(), SignedDuration::ZERO);
    }
}
