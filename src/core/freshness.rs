//! How old what a write rests on may be: one rule, asked by the machine before a step and by the gates
//! before the write.
//!
//! The facts behind a write are read in one round, side by side, and are as old as the oldest of them. The
//! time that the API itself took is granted on top, up to a minute: a slow API is no failure. Waiting for
//! the own request budget is not granted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::observation::{Observation, Read, Round};

/// The step that the facts are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// A PATCH or POST.
    Change,
    /// The DELETE.
    Delete,
}

/// Nothing older than this is acted on, however long the reading took. An API whose reads take longer
/// is too slow to be worked with.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Facts that were read no longer ago than this are as good as new: a customer list is shared with whoever
/// needs one, and a tenant does not read them again with its older ones.
pub const JUST_READ: Duration = Duration::from_secs(5);

impl Before {
    /// How old facts may be, apart from the reading.
    const fn allowed(self) -> Duration {
        match self {
            Self::Change => LONGEST,
            Self::Delete => Duration::from_secs(10),
        }
    }
}

impl Round {
    fn took_since(self, since: Timestamp) -> SignedDuration {
        self.ended.duration_since(since).clamp(SignedDuration::ZERO, signed(self.took))
    }
}

impl Observation {
    /// Notes the end of reads that were asked for at a time. A list that somebody else had begun to read
    /// before grants nothing, and neither does a read that failed.
    pub fn end_round(&mut self, asked: &[Read], asked_at: Timestamp, ended: Timestamp) {
        let made = asked.iter().filter_map(|read| self.read(read));
        let took = made.filter(|(at, _)| asked_at <= *at).map(|(_, took)| took).max();
        self.rounds.push(Round { took: took.unwrap_or_default(), ended });
    }

    /// Whether what was read at `at` is still good enough at `now`.
    pub fn is_fresh(&self, at: Timestamp, before: Before, now: Timestamp) -> bool {
        let reading: SignedDuration = self.rounds.iter().map(|round| round.took_since(at)).sum();
        now.duration_since(at) <= (signed(before.allowed()) + reading).min(signed(LONGEST))
    }

    /// How long the latest round took, where that is so long that its facts cannot be acted on.
    pub fn is_too_slow(&self) -> Option<Duration> {
        let took = self.rounds.last()?.took;
        (took + JUST_READ > LONGEST).then_some(took)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::observation::{Census, Seen};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn secs(seconds: i64) -> Duration {
        Duration::from_secs(seconds.unsigned_abs())
    }

    fn read_in(rounds: &[(i64, i64)]) -> Observation {
        let round = |(began, ended): &(i64, i64)| {
            let took = secs(ended - began);
            Round { took, ended: at(*ended) }
        };
        Observation { rounds: rounds.iter().map(round).collect(), ..Observation::default() }
    }

    #[test]
    fn facts_may_be_as_old_as_their_reading_took_and_a_little_more() {
        for (rounds, age, fresh) in [
            (vec![], 10, true),
            (vec![], 11, false),
            (vec![(0, 20)], 30, true),
            (vec![(0, 20)], 31, false),
            // A later reading waits for nothing that came before it.
            (vec![(-20, 0), (0, 20)], 30, true),
            (vec![(-20, 0), (0, 20)], 31, false),
            // Between two rounds nothing is read.
            (vec![(0, 1), (11, 12)], 12, true),
            (vec![(0, 1), (11, 12)], 13, false),
            (vec![(0, 80)], 60, true),
            (vec![(0, 80)], 61, false),
        ] {
            let seen = read_in(&rounds);
            assert_eq!(seen.is_fresh(at(0), Before::Delete, at(age)), fresh, "{rounds:?} {age}");
        }
        let seen = read_in(&[]);
        assert!(seen.is_fresh(at(0), Before::Change, at(60)));
        assert!(!seen.is_fresh(at(0), Before::Change, at(61)));
    }

    #[test]
    fn what_waits_for_the_budget_grants_nothing() {
        // A list that another tenant began to read a moment ago is no read of this round.
        let census = Census { customers: 0, entry: None, again: false };
        let mut seen = Observation {
            orders: Some(Seen { fact: Vec::new(), at: at(0), took: secs(3) }),
            subscriptions: Some(Seen { fact: Vec::new(), at: at(25), took: secs(2) }),
            census: Some(Seen { fact: census, at: at(-3), took: secs(20) }),
            ..Observation::default()
        };
        let asked = [Read::Orders, Read::Subscriptions, Read::Census { not_before: at(-5) }];
        seen.end_round(&asked, at(0), at(27));
        assert_eq!(seen.rounds, [Round { took: secs(3), ended: at(27) }]);
        assert!(!seen.is_fresh(at(0), Before::Delete, at(27)));
        assert!(seen.is_fresh(at(25), Before::Delete, at(37)));
        assert!(!seen.is_fresh(at(25), Before::Delete, at(38)));
        // A read that failed has brought no fact.
        seen.rounds.clear();
        seen.end_round(&[Read::Entitlements], at(0), at(40));
        assert_eq!(seen.rounds, [Round { took: secs(0), ended: at(40) }]);
    }

    #[test]
    fn a_round_of_nearly_a_minute_is_too_slow() {
        assert_eq!(read_in(&[]).is_too_slow(), None);
        assert_eq!(read_in(&[(0, 90), (90, 145)]).is_too_slow(), None);
        assert_eq!(read_in(&[(0, 56)]).is_too_slow(), Some(Duration::from_secs(56)));
    }
}
