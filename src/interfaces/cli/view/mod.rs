//! Rows as text for people and as JSON for machines.

pub(crate) mod account;
pub(crate) mod details;
pub(crate) mod faults;
pub(crate) mod standing;
pub(crate) mod table;
pub(crate) mod teardown;

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// How far the wall clock is ahead of the time of the database that this process shows, in milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// From now on times of the database are told as the wall clock shows them that is so far ahead.
pub(crate) fn tell_by_the_wall(ahead: SignedDuration) {
    AHEAD.store(i64::try_from(ahead.as_millis()).unwrap_or_default(), Ordering::Relaxed);
}

/// The time on the wall clock at a time of the database. Every time that is shown goes through here.
pub(crate) fn shown(time: Timestamp) -> Timestamp {
    time.checked_add(SignedDuration::from_millis(AHEAD.load(Ordering::Relaxed))).unwrap_or(time)
}

/// The time of the database at which the wall clock shows this. Whatever is typed in goes through here.
pub(crate) fn meant(wall: Timestamp) -> Timestamp {
    wall.checked_sub(SignedDuration::from_millis(AHEAD.load(Ordering::Relaxed))).unwrap_or(wall)
}

/// The moment and the place from which times are told.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Now.
    pub(crate) now: Timestamp,
    /// The operator's time zone.
    pub(crate) zone: TimeZone,
}

impl Look {
    /// Date and time of day at the operator's place.
    pub(crate) fn local(&self, time: Timestamp) -> String {
        shown(time).to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// How long ago a time was, or in how long it will be.
    pub(crate) fn distance(&self, time: Timestamp) -> String {
        let seconds = self.now.duration_since(time).as_secs();
        let distance = length(seconds.unsigned_abs());
        if seconds < 0 { format!("in {distance}") } else { format!("{distance} ago") }
    }

    /// How long something has lasted.
    pub(crate) fn since(&self, time: Timestamp) -> String {
        length(self.now.duration_since(time).as_secs().max(0).unsigned_abs())
    }
}

/// A length of time in its two largest units.
fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        (_, _, _) => format!("{days}d {hours}h"),
    }
}

/// A time of the database as RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    foreign_rfc3339(shown(time))
}

/// The same for a time of Microsoft's.
fn foreign_rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// A time of Microsoft's for JSON; `null` where there is none.
pub(crate) fn foreign_time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| Value::String(foreign_rfc3339(time)))
}

/// A time of the database for JSON; `null` where there is none.
pub(crate) fn json_time(time: impl Into<Option<Timestamp>>) -> Value {
    time.into().map_or(Value::Null, |time| Value::String(rfc3339(time)))
}

/// Text from outside, fit for a terminal: control characters could move its cursor or hide a line.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A count with its noun: `1 tenant`, `3 tenants`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_have_three_decimals_and_end_in_z() {
        assert_eq!(rfc3339(at("2027-01-31T10:00:00Z")), "2027-01-31T10:00:00.000Z");
        assert_eq!(rfc3339(at("2027-01-31T10:00:00.123456Z")), "2027-01-31T10:00:00.123Z");
    }

    #[test]
    fn distances_have_two_units() {
        let look = Look { now: at("2027-01-31T10:00:00Z"), zone: TimeZone::UTC };
        assert_eq!(look.distance(at("2027-01-31T09:59:15Z")), "45s ago");
        assert_eq!(look.distance(at("2027-01-31T12:30:30Z")), "in 2h 30m");
        assert_eq!(look.since(at("2027-01-28T09:00:00Z")), "3d 1h");
        assert_eq!(look.since(at("2027-02-28T09:00:00Z")), "0s");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
