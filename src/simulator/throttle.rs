//! The request counters of one account and the windows that its 429 answers opened.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::life::Moment;
use super::options::Allowances;
use super::route::Class;

/// The length of a counting window.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// A `Retry-After` window.
#[derive(Debug, Clone, Copy)]
struct Closure {
    answered: Moment,
    until: Moment,
}

/// Counters and closures of one account.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    arrivals: BTreeMap<Class, VecDeque<Moment>>,
    closures: Vec<Closure>,
}

impl Throttle {
    /// Counts a request, refused or not, and says how many of its class the window ending now
    /// holds.
    pub(crate) fn count(&mut self, class: Class, now: Moment) -> usize {
        let arrivals = self.arrivals.entry(class).or_default();
        while arrivals.front().is_some_and(|arrival| *arrival + WINDOW <= now) {
            arrivals.pop_front();
        }
        arrivals.push_back(now);
        arrivals.len()
    }

    /// How long until a further request would fit the limit, in whole seconds and at least one.
    pub(crate) fn wait(&self, class: Class, now: Moment, limit: usize) -> Duration {
        let oldest = self.arrivals.get(&class).and_then(|arrivals| {
            // As soon as this one leaves the window, limit - 1 are in it.
            arrivals.get(arrivals.len().checked_sub(limit)?)
        });
        let wait = oldest.map_or(WINDOW, |arrival| (*arrival + WINDOW).saturating_sub(now));
        Duration::from_secs(wait.as_secs_f64().ceil().max(1.0) as u64)
    }

    /// Notes a 429: answered then, to be left alone until then.
    pub(crate) fn close(&mut self, answered: Moment, until: Moment) {
        self.closures.retain(|closure| closure.until > answered);
        self.closures.push(Closure { answered, until });
    }

    /// Whether a request arriving now disregards a `Retry-After`.
    pub(crate) fn is_closed(&self, now: Moment, allowances: &Allowances) -> bool {
        self.closures.iter().any(|closure| {
            now > closure.answered + allowances.on_the_wire
                && now + allowances.clock_slack < closure.until
        })
    }
}
