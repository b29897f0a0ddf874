//! The database's own clock, derived from what is stored of it and what the machine's clocks say.
//!
//! Within one boot it goes by the time since the boot alone, so that every process reckons the same, and
//! a restart costs nothing. After a boot the wall clock tells for how long the machine was off; one that
//! was set back tells nothing, and the clock goes on from where it stood.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// From here on a difference between the clocks is a step. Reading two clocks takes time, and what is
/// stored is cut to the millisecond.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// The machine's clocks at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Names the boot.
    pub boot: String,
    /// Time since the boot, counting time the machine was suspended.
    pub uptime: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// Where database time was at one instant, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Names the boot.
    pub boot: String,
    /// Time since the boot, at `at`.
    pub uptime: Duration,
    /// Database time, to the millisecond.
    pub at: Timestamp,
    /// How far the wall clock was ahead of it, to the millisecond.
    pub ahead: SignedDuration,
}

impl Anchor {
    /// Database time at another time since the same boot; at least `at`.
    pub fn now(&self, uptime: Duration) -> Timestamp {
        self.at.checked_add(uptime.saturating_sub(self.uptime)).unwrap_or(Timestamp::MAX)
    }

    fn at(now: Timestamp, ahead: SignedDuration, reading: &Reading) -> Self {
        let at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let rest = Duration::try_from(now.duration_since(at)).unwrap_or_default();
        let uptime = reading.uptime.saturating_sub(rest);
        Self { boot: reading.boot.clone(), uptime, at, ahead }
    }
}

/// A step of the wall clock that was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When it was seen, in database time.
    pub at: Timestamp,
    /// By how much; negative where the clock was set back.
    pub by: SignedDuration,
}

/// The clock of a database, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timekeeping {
    /// Where it was when that was last stored.
    pub anchor: Anchor,
    /// How many steps of the wall clock were followed.
    pub steps: u64,
    /// The latest of them.
    pub last: Option<Step>,
    /// Whether a server tells it, whose clock is then that on the wall, too, whatever this machine shows.
    pub is_told: bool,
}

/// Database time now, and the step of the wall clock that was followed, if there was one.
///
/// `stored` is what the database has of its clock, and `latest` the latest time that stands in it: a
/// crash may have lost the end of the former.
pub fn follow(
    stored: Option<&Anchor>,
    latest: Option<Timestamp>,
    reading: &Reading,
) -> (Anchor, Option<SignedDuration>) {
    let Some(stored) = stored else {
        let now = latest.map_or(reading.wall, |latest| latest.max(reading.wall));
        return (Anchor::at(now, difference(reading.wall, now), reading), None);
    };
    let now = if stored.boot == reading.boot {
        stored.now(reading.uptime)
    } else {
        let by_wall = reading.wall.checked_sub(stored.ahead).unwrap_or(stored.at);
        let known = latest.map_or(stored.at, |latest| latest.max(stored.at));
        by_wall.max(known)
    };
    let step = step(stored.ahead, reading.wall, now);
    let ahead = step.map_or(stored.ahead, |_| difference(reading.wall, now));
    (Anchor::at(now, ahead, reading), step)
}

/// Database time where another clock tells it: `at` is what that one showed at the reading.
pub fn told(at: Timestamp, reading: &Reading) -> Anchor {
    Anchor::at(at, SignedDuration::ZERO, reading)
}

/// By how much the wall clock has been stepped since it was so far ahead of database time.
pub fn step(ahead: SignedDuration, wall: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let step = wall.duration_since(now).saturating_sub(ahead);
    (step.abs() >= STEP).then_some(step)
}

/// How far the wall clock is ahead, to the millisecond.
fn difference(wall: Timestamp, now: Timestamp) -> SignedDuration {
    let millis = wall.as_millisecond().saturating_sub(now.as_millisecond());
    SignedDuration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: i64 = 1_800_000_000_000;

    fn millis(count: i64) -> Timestamp {
        Timestamp::from_millisecond(count).unwrap()
    }

    fn secs(count: i64) -> SignedDuration {
        SignedDuration::from_secs(count)
    }

    fn reading(boot: &str, uptime: u64, wall: i64) -> Reading {
        Reading {
            boot: boot.to_owned(),
            uptime: Duration::from_secs(uptime),
            wall: millis(NOON + wall * 1000),
        }
    }

    #[test]
    fn invariant_14_a_step_is_followed_and_moves_nothing_that_is_stored() {
        let (begun, step) = follow(None, None, &reading("a", 100, 0));
        assert_eq!((begun.at, begun.ahead, step), (millis(NOON), secs(0), None));
        for by in [-86_340, -60, 60, 86_340] {
            let (now, step) = follow(Some(&begun), None, &reading("a", 110, 10 + by));
            assert_eq!((now.at, now.ahead), (millis(NOON + 10_000), secs(by)));
            assert_eq!(step, Some(secs(by)));
            let (later, step) = follow(Some(&now), None, &reading("a", 120, 20 + by));
            assert_eq!((later.at, later.ahead, step), (millis(NOON + 20_000), secs(by), None));
        }
    }

    #[test]
    fn invariant_14_after_a_boot_time_off_counts_and_a_clock_set_back_does_not() {
        let (begun, _) = follow(None, None, &reading("a", 100, 0));
        let (off, step) = follow(Some(&begun), None, &reading("b", 20, 3600));
        assert_eq!((off.at, off.ahead, step), (millis(NOON + 3_600_000), secs(0), None));
        let (back, step) = follow(Some(&begun), None, &reading("b", 20, -3600));
        assert_eq!((back.at, back.ahead), (millis(NOON), secs(-3600)));
        assert_eq!(step, Some(secs(-3600)));
        let (known, _) = follow(Some(&begun), Some(millis(NOON + 7)), &reading("b", 20, -3600));
        assert_eq!(known.at, millis(NOON + 7), "no later time than now is stored");
    }

    #[test]
    fn invariant_14_a_database_without_a_clock_begins_with_the_latest_time_in_it() {
        let future = millis(NOON + 86_400_000);
        let (begun, step) = follow(None, Some(future), &reading("a", 100, 0));
        assert_eq!((begun.at, begun.ahead, step), (future, secs(-86_400), None));
    }

    /// An event between two looks at the clock.
    #[derive(Debug, Clone)]
    enum Event {
        Pass(u64),
        Step(i64),
        Boot(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        let day = 86_400_000_i64;
        prop_oneof![
            (0..100_000_u64).prop_map(Event::Pass),
            (-day..day).prop_map(Event::Step),
            (0..1_000_000_u64).prop_map(Event::Boot),
        ]
    }

    proptest! {
        /// The machine's own time is kept in milliseconds: since the beginning, since the boot, and
        /// by how much the wall clock is wrong.
        #[test]
        fn invariant_14_database_time_never_steps_and_never_runs_backwards(
            events in proptest::collection::vec(event(), 0..40)
        ) {
            let (mut passed, mut booted, mut wrong, mut boots) = (0_u64, 0_u64, 0_i64, 0_u32);
            let read = |passed: u64, booted: u64, wrong: i64, boots: u32| Reading {
                boot: boots.to_string(),
                uptime: Duration::from_millis(passed - booted) + Duration::from_micros(17),
                wall: millis(NOON + passed as i64 + wrong),
            };
            let (mut anchor, _) = follow(None, None, &read(0, 0, 0, 0));
            for event in events {
                let before = anchor.clone();
                let (mut lived, mut is_boot) = (0, false);
                match event {
                    Event::Pass(length) => (passed, lived) = (passed + length, length),
                    Event::Step(by) => wrong += by,
                    Event::Boot(off) => {
                        (passed, boots, is_boot) = (passed + off, boots + 1, true);
                        booted = passed;
                    }
                }
                let reading = read(passed, booted, wrong, boots);
                let (now, step) = follow(Some(&before), None, &reading);
                prop_assert!(before.at <= now.at, "{before:?} {now:?}");
                if !is_boot {
                    let length = now.at.duration_since(before.at);
                    prop_assert_eq!(length, SignedDuration::from_millis(lived as i64));
                }
                // Another process, that looks a moment later, reckons the same.
                let later = Reading { uptime: reading.uptime + Duration::from_secs(5), ..reading.clone() };
                prop_assert_eq!(now.now(later.uptime), now.now(reading.uptime) + secs(5));
                prop_assert!(super::step(now.ahead, reading.wall, now.at).is_none());
                prop_assert_eq!(step.is_none(), now.ahead == before.ahead);
                anchor = now;
            }
        }
    }
}
