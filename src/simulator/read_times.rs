//! How long a client waited for what it read: facts may be older by that.

use std::collections::VecDeque;
use std::time::Duration;

use uuid::Uuid;

use super::life::Moment;

/// Reads that ended longer ago than this are forgotten; no inventory is as old.
const KEPT: Duration = Duration::from_mins(5);

/// The time of a read on its way: of the customer, or of the account's customer list, or of a token.
#[derive(Debug, Clone, Copy)]
struct Span {
    customer: Option<Uuid>,
    arrived: Moment,
    answered: Moment,
}

/// The latest reads of an account, in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct ReadTimes(VecDeque<Span>);

impl ReadTimes {
    /// Notes a read.
    pub(crate) fn note(&mut self, customer: Option<Uuid>, arrived: Moment, answered: Moment) {
        while self.0.front().is_some_and(|read| read.answered + KEPT < arrived) {
            self.0.pop_front();
        }
        self.0.push_back(Span { customer, arrived, answered });
    }

    /// For how much of the time between `since` and `now` a read was on its way that an inventory of
    /// the customer may rest on. Reads side by side count once.
    pub(crate) fn took(&self, customer: Uuid, since: Moment, now: Moment) -> Duration {
        let own = |read: &&Span| read.customer.is_none_or(|id| id == customer);
        let mut took = Duration::ZERO;
        let mut counted = since;
        for read in self.0.iter().filter(own) {
            let (from, until) = (read.arrived.max(counted), read.answered.min(now));
            took += until.saturating_sub(from);
            counted = counted.max(until);
        }
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_side_by_side_count_once_and_those_of_others_not_at_all() {
        let secs = Duration::from_secs;
        let [own, other] = [1, 2].map(Uuid::from_u128);
        let mut times = ReadTimes::default();
        for (customer, arrived, answered) in [
            (Some(own), 0, 4),
            (None, 1, 5),
            (Some(other), 1, 30),
            (Some(own), 2, 3),
            (Some(own), 10, 14),
        ] {
            times.note(customer, secs(arrived), secs(answered));
        }
        assert_eq!(times.took(own, secs(0), secs(20)), secs(9));
        assert_eq!(times.took(own, secs(3), secs(12)), secs(4));
        assert_eq!(times.took(own, secs(20), secs(30)), secs(0));
    }
}
