//! Arithmetic of the request budget (invariant 9), without any I/O.
//!
//! A reservation counts until it is *more* than a window old, so that times cut to the millisecond
//! never let one in too early.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::rules::{after, elapsed};
use crate::core::budget::{Ask, Budget, Grant, Resource, pace};

/// The clock of the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BookClock {
    /// What time it is for the books.
    pub(super) now: Timestamp,
    /// Reservations stored with a later time count as made now: the machine's clock was set back.
    pub(super) set_back: bool,
}

/// The clock never runs backwards: it follows the latest reservation. A reservation more than a
/// window ahead can only come from a clock that was set back since; following that one would stop
/// the account until the clock has caught up.
pub(super) fn clock(now: Timestamp, latest: Option<Timestamp>, window: Duration) -> BookClock {
    match latest {
        Some(latest) if elapsed(now, latest) > window => BookClock { now, set_back: true },
        Some(latest) => BookClock { now: latest.max(now), set_back: false },
        None => BookClock { now, set_back: false },
    }
}

/// Grants nothing: the account is closed until then.
pub(super) fn closed(asks: &[Ask], until: Timestamp) -> Vec<Grant> {
    let nothing =
        |ask: &Ask| Grant { resource: ask.resource, writes: 0, reads: 0, retry_at: Some(until) };
    asks.iter().map(nothing).collect()
}

/// The budget in force when the account's latest closure ended at `reopened`.
pub(super) fn paced(budget: &Budget, reopened: Option<Timestamp>, now: Timestamp) -> Budget {
    let share = pace(reopened, now);
    // At least one request, so that the account always moves.
    let part = |whole: u32| ((f64::from(whole) * share) as u32).max(1);
    Budget { requests: part(budget.requests), reads: part(budget.reads), ..*budget }
}

/// Grants what fits, writes first. `used` holds what the window holds already, and is added to.
pub(super) fn grant(
    asks: &[Ask],
    used: &mut BTreeMap<Resource, u64>,
    budget: &Budget,
) -> Vec<Grant> {
    asks.iter()
        .map(|ask| {
            let used = used.entry(ask.resource).or_default();
            let writes = take(ask.writes, budget.requests, used);
            let reads = take(ask.reads, budget.reads.min(budget.requests), used);
            Grant { resource: ask.resource, writes, reads, retry_at: None }
        })
        .collect()
}

fn take(wanted: u32, limit: u32, used: &mut u64) -> u32 {
    let free = u64::from(limit).saturating_sub(*used);
    let taken = wanted.min(u32::try_from(free).unwrap_or(u32::MAX));
    *used += u64::from(taken);
    taken
}

/// Below how much use of the window something more of the ask could be granted; `None` if all was.
pub(super) fn blocked_at(ask: &Ask, grant: &Grant, budget: &Budget) -> Option<u32> {
    if grant.writes < ask.writes {
        Some(budget.requests)
    } else if grant.reads < ask.reads {
        Some(budget.reads.min(budget.requests))
    } else {
        None
    }
}

/// The oldest reservation that blocks: once it has left the window, less than `limit` is used.
/// `entries`: what the window holds of the class, oldest first.
pub(super) fn blocking(entries: &[(Timestamp, u64)], limit: u32) -> Option<Timestamp> {
    let mut newer = 0;
    let blocks = |(_, sends): &&(Timestamp, u64)| {
        newer += sends;
        newer >= u64::from(limit)
    };
    entries.iter().rev().find(blocks).map(|(at, _)| *at)
}

/// When that reservation has left the window. Without one nothing blocks but the limit itself.
pub(super) fn opens_at(blocking: Option<Timestamp>, window: Duration, now: Timestamp) -> Timestamp {
    match blocking {
        Some(at) => after(after(at, window), Duration::from_millis(1)),
        None => after(now, window),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    const BUDGET: Budget = Budget { window: Duration::from_secs(61), requests: 10, reads: 8 };

    #[test]
    fn invariant_9_the_pace_comes_back_gradually_after_a_closure() {
        let full = Budget { requests: 100, reads: 80, ..BUDGET };
        let parts = |seconds: i64| {
            let budget = paced(&full, Some(at(0)), at(seconds * 1000));
            (budget.requests, budget.reads)
        };
        assert_eq!(paced(&full, None, at(0)), full);
        assert_eq!([parts(0), parts(100), parts(299)], [(25, 20), (50, 40), (99, 79)]);
        assert_eq!(parts(300), (100, 80));
        let tiny = Budget { requests: 1, reads: 1, ..BUDGET };
        assert_eq!(paced(&tiny, Some(at(0)), at(0)), tiny);
    }

    #[test]
    fn invariant_9_writes_go_first_and_reads_leave_them_room() {
        let mut used = BTreeMap::from([(Resource::Order, 5)]);
        let asks = [Ask { resource: Resource::Order, writes: 2, reads: 9 }];
        let grants = grant(&asks, &mut used, &BUDGET);
        assert_eq!((grants[0].writes, grants[0].reads), (2, 1));
        assert_eq!(used[&Resource::Order], 8);
        assert_eq!(blocked_at(&asks[0], &grants[0], &BUDGET), Some(8));
    }

    #[test]
    fn invariant_9_a_reservation_counts_for_more_than_the_whole_window() {
        let entries = [(at(0), 3), (at(1000), 7)];
        assert_eq!(blocking(&entries, 10), Some(at(0)));
        assert_eq!(blocking(&entries, 8), Some(at(0)));
        assert_eq!(blocking(&entries, 7), Some(at(1000)));
        assert_eq!(blocking(&entries, 11), None);
        assert_eq!(opens_at(Some(at(0)), BUDGET.window, at(2000)), at(61_001));
        assert_eq!(opens_at(None, BUDGET.window, at(2000)), at(63_000));
    }

    #[test]
    fn invariant_9_the_clock_of_the_books_never_runs_backwards_and_never_stands_for_long() {
        let window = BUDGET.window;
        assert_eq!(clock(at(5), None, window), BookClock { now: at(5), set_back: false });
        assert_eq!(clock(at(5), Some(at(9)), window), BookClock { now: at(9), set_back: false });
        assert_eq!(clock(at(9), Some(at(5)), window), BookClock { now: at(9), set_back: false });
        let hours_ahead = at(7_200_000);
        assert_eq!(
            clock(at(5), Some(hours_ahead), window),
            BookClock { now: at(5), set_back: true }
        );
    }
}
