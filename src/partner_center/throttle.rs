//! What a 429 asks for, and for how long the account is closed (invariant 9).

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;

use super::transport::Response;

/// Used where a 429 says nothing that can be read.
const UNTOLD: Duration = Duration::from_secs(60);
/// No closure is longer, whatever an answer asks for: a day is far beyond any window of the API.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Nor is one that no answer asked for.
const LONGEST_OF_OURS: Duration = Duration::from_secs(3600);
/// The first of the pauses that double with each 429 in a row, also under a shorter `Retry-After`:
/// refused calls count too (MicrosoftDocs/partner-center-sdk, `api-throttling-guidance.md`).
const FLOOR: Duration = Duration::from_secs(1);

/// The `Retry-After` of an answer: seconds, or a date measured from the answer's own `Date`, so that
/// no difference between the clocks counts. `wall` stands in for a `Date` that is missing.
pub(super) fn retry_after(response: &Response, wall: Timestamp) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let from = response.header("date").and_then(http_date).unwrap_or(wall);
    let wait = http_date(text)?.duration_since(from);
    Some(Duration::try_from(wait).unwrap_or_default().min(LONGEST))
}

/// The three forms of dates that RFC 9110 wants understood.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    const PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let text = text.trim();
    if let Ok(time) = PARSER.parse_timestamp(text) {
        return Some(time);
    }
    let older = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let civil =
        older.iter().find_map(|form| strtime::parse(form, text).ok()?.to_datetime().ok())?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The closure in memory. It holds at once; the ledger makes it last.
#[derive(Debug, Default)]
pub(super) struct Closure {
    until: Option<Timestamp>,
    /// When the last 429 arrived.
    latest: Option<Timestamp>,
    /// 429s in a row, counting those of requests that were out together as one.
    strikes: u32,
}

impl Closure {
    /// When the account opens again, if it is closed.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| now < *until)
    }

    /// When the latest closure ended, or will.
    pub(super) const fn reopened(&self) -> Option<Timestamp> {
        self.until
    }

    /// Closes after a 429 to a request that was sent at `sent_at`, and returns until when.
    pub(super) fn close(
        &mut self,
        asked: Option<Duration>,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Timestamp {
        if self.latest.is_none_or(|latest| latest <= sent_at) {
            self.strikes = self.strikes.saturating_add(1);
        }
        self.latest = Some(now);
        let doubled = 2u32.saturating_pow(self.strikes.saturating_sub(1));
        let ours = |pause: Duration| pause.saturating_mul(doubled).min(LONGEST_OF_OURS);
        let wait = asked.map_or_else(|| ours(UNTOLD), |asked| asked.max(ours(FLOOR)));
        let end = now.checked_add(wait.min(LONGEST)).unwrap_or(Timestamp::MAX);
        let until = self.until.map_or(end, |until| until.max(end));
        self.until = Some(until);
        until
    }

    /// A request that was sent at `sent_at` was let through: the next 429 is a first one again.
    pub(super) fn let_through(&mut self, sent_at: Timestamp) {
        if self.latest.is_some_and(|latest| latest <= sent_at) {
            self.latest = None;
            self.strikes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn answer(headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Response { status: 429, headers, body: Bytes::new() }
    }

    #[test]
    fn invariant_9_retry_after_in_seconds_and_as_a_date_of_the_answer_s_own_clock() {
        let read = |headers: &[(&str, &str)]| retry_after(&answer(headers), at(0));
        assert_eq!(read(&[("retry-after", "57")]), Some(secs(57)));
        assert_eq!(read(&[("retry-after", " 0 ")]), Some(secs(0)));
        assert_eq!(read(&[("retry-after", "99999999999999999999999")]), Some(LONGEST));
        // The server's clock is years off; only the difference counts.
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for later in [
            "Sun, 06 Nov 1994 08:50:07 GMT",
            "Sunday, 06-Nov-94 08:50:07 GMT",
            "Sun Nov  6 08:50:07 1994",
        ] {
            assert_eq!(read(&[("retry-after", later), date]), Some(secs(30)), "{later}");
        }
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT"), date]), Some(secs(0)));
        for unreadable in ["soon", "", "-5", "1.5"] {
            assert_eq!(read(&[("retry-after", unreadable), date]), None, "{unreadable:?}");
        }
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn invariant_9_a_429_that_says_nothing_closes_for_a_minute() {
        let mut closure = Closure::default();
        assert_eq!(closure.until(at(0)), None);
        assert_eq!(closure.close(None, at(0), at(0)), at(60));
        assert_eq!((closure.until(at(59)), closure.until(at(60))), (Some(at(60)), None));
    }

    #[test]
    fn a_closure_doubles_when_429s_repeat_and_is_bounded() {
        let mut closure = Closure::default();
        assert_eq!(closure.close(None, at(0), at(1)), at(61));
        // This one was out at the same time: no repetition, and nothing shortens the closure.
        assert_eq!(closure.close(Some(secs(5)), at(0), at(2)), at(61));
        assert_eq!(closure.close(None, at(61), at(62)), at(62 + 120));
        assert_eq!(closure.close(Some(secs(0)), at(200), at(200)), at(204));
        for repeat in 0..40 {
            let sent = at(10_000 * (repeat + 1));
            assert!(closure.close(None, sent, sent) <= sent + LONGEST);
        }
        closure.let_through(at(1_000_000));
        assert_eq!(closure.close(Some(secs(7)), at(1_000_001), at(1_000_001)), at(1_000_008));
    }
}
