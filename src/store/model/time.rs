//! Times as the store keeps them, and sums that end at the end of time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The beginning of time, for either engine: the year 1.
const BEGINNING: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// Cuts a time to the millisecond, as it is stored.
pub(in crate::store) fn millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time).max(BEGINNING)
}

/// A time as it is stored: fixed width, UTC, milliseconds.
pub(in crate::store) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Rounds a time up to the millisecond: a wait never ends early by being stored.
pub(in crate::store) fn millis_up(time: Timestamp) -> Timestamp {
    let cut = millis(time);
    if cut < time { after(cut, Duration::from_millis(1)) } else { cut }
}

/// `time + duration`, at most the end of time.
pub(in crate::store) fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `time - duration`, at least the beginning of time.
pub(in crate::store) fn before(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_sub(duration).map_or(BEGINNING, |time| time.max(BEGINNING))
}

/// The time on the wall clock at a time of the database.
pub(in crate::store) fn by_the_wall(time: Timestamp, ahead: SignedDuration) -> Timestamp {
    time.checked_add(ahead).unwrap_or(time)
}

/// Time from `start` to `end`, zero if the clock was set back in between.
pub(in crate::store) fn elapsed(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}
