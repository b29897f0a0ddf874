//! How far the clock of Microsoft's servers is from this machine's, as their `Date` headers tell.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::throttle::http_date;
use super::transport::Response;

/// The skew as of the latest answer that had a `Date`.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<Option<SignedDuration>>);

impl Skew {
    /// Learns from an answer to a request that was sent at `sent`, and arrived at `arrived`.
    pub(super) fn learn(&self, response: &Response, sent: Timestamp, arrived: Timestamp) {
        if let Some(date) = response.header("date").and_then(http_date) {
            let skew = between(date, sent, arrived);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        }
    }

    /// What was learnt: positive where this machine's clock is ahead of the server's.
    pub(super) fn get(&self) -> Option<SignedDuration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least difference between the clocks that explains the `Date`. The server wrote it at some
/// moment between sending and arrival, cut to the second.
fn between(date: Timestamp, sent: Timestamp, arrived: Timestamp) -> SignedDuration {
    let written_by = date.checked_add(SignedDuration::from_secs(1)).unwrap_or(date);
    if written_by < sent {
        sent.duration_since(written_by)
    } else if arrived < date {
        arrived.duration_since(date)
    } else {
        SignedDuration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_and_whole_seconds_are_no_skew() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (sent, arrived) = (at("2027-01-31T10:00:00.900Z"), at("2027-01-31T10:00:30.200Z"));
        for (date, skew) in [
            ("2027-01-31T10:00:00Z", 0),
            ("2027-01-31T10:00:30Z", 0),
            ("2027-01-31T10:01:30Z", -59_800),
            ("2027-01-31T09:59:00Z", 59_900),
        ] {
            let found = between(at(date), sent, arrived);
            assert_eq!(found, SignedDuration::from_millis(skew), "{date}");
        }
    }
}
