//! Schedules: cron expressions in a time zone, and what wakes at their times.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use tokio::sync::Notify;

use crate::core::clock::Clock;

/// The clock is looked at so often at least: a step of it delays nothing for longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Second, minute, hour, day, month and weekday.
const FIELDS: usize = 6;

/// A cron expression with seconds, in a time zone. A clock time that the zone skips counts as the
/// moment it skips to, and one that it shows twice counts as the first.
#[derive(Clone)]
pub struct Schedule {
    cron: croner::Cron,
    zone: TimeZone,
    text: String,
}

impl Schedule {
    /// Reads six fields and, after them, the name of a time zone; UTC if none is named. `zone_of`
    /// looks a time zone up by its name.
    pub fn parse(text: &str, zone_of: impl Fn(&str) -> Option<TimeZone>) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (fields, zone) = fields.split_at_checked(FIELDS)?;
        let zone = match zone {
            [] => TimeZone::UTC,
            [name] => zone_of(name)?,
            _ => return None,
        };
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let cron = parser.parse(&fields.join(" ")).ok()?;
        Some(Self { cron, zone, text: text.to_owned() })
    }

    /// The first time after this one; `None` if there is none.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(after);
        loop {
            civil = self.next_civil(civil)?;
            let at = self.zone.to_timestamp(civil).ok()?;
            // Where the clock was set back, the times that come again are passed over.
            if at > after {
                return Some(at);
            }
        }
    }

    /// The first clock time after this one. Reckoned as in UTC, where each exists once.
    fn next_civil(&self, after: civil::DateTime) -> Option<civil::DateTime> {
        let seconds = TimeZone::UTC.to_timestamp(after).ok()?.as_second();
        let after = DateTime::<Utc>::from_timestamp(seconds, 0)?;
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(TimeZone::UTC.to_datetime(Timestamp::from_second(next.timestamp()).ok()?))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.text).finish()
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

/// Notifies at each time of the schedule after `since`, for ever. However many of them have passed
/// meanwhile, it notifies once.
pub async fn keep(
    schedule: Schedule,
    mut since: Timestamp,
    due: Arc<Notify>,
    clock: Arc<dyn Clock>,
) {
    loop {
        let now = clock.wall();
        // A clock that was set back must not silence the schedule until it has caught up.
        since = since.min(now);
        let wait = match schedule.next_after(since) {
            Some(at) if at <= now => {
                since = now;
                due.notify_one();
                continue;
            }
            Some(at) => Duration::try_from(at.duration_since(now)).unwrap_or_default(),
            None => LONGEST_SLEEP,
        };
        clock.sleep(wait.min(LONGEST_SLEEP)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt as _;

    use super::*;
    use crate::core::clock::BoxFuture;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(text: &str) -> Option<Schedule> {
        Schedule::parse(text, |name| jiff::tz::TimeZoneDatabase::bundled().get(name).ok())
    }

    fn next(text: &str, after: &str) -> String {
        schedule(text).unwrap().next_after(time(after)).unwrap().to_string()
    }

    #[test]
    fn a_schedule_is_read_in_the_zone_it_names_and_in_utc_else() {
        assert_eq!(next("0 30 3 * * *", "2027-01-10T00:00:00Z"), "2027-01-10T03:30:00Z");
        let amsterdam = "0 30 3 * * * Europe/Amsterdam";
        assert_eq!(next(amsterdam, "2027-01-10T00:00:00Z"), "2027-01-10T02:30:00Z");
        assert_eq!(next(amsterdam, "2027-07-10T00:00:00Z"), "2027-07-10T01:30:00Z");
        assert_eq!(next(amsterdam, "2027-07-10T01:30:00Z"), "2027-07-11T01:30:00Z", "after it");
        assert_eq!(next("*/2 * * * * *", "2027-01-10T00:00:00.5Z"), "2027-01-10T00:00:02Z");
        for wrong in [
            "",
            "* * * * *",
            "61 * * * * *",
            "0 30 3 * * * Europe/Nowhere",
            "0 30 3 * * * Europe/Amsterdam UTC",
        ] {
            assert!(schedule(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_is_changed_for_summer_skips_no_day_and_repeats_none() {
        let nightly = "0 30 2 * * * Europe/Amsterdam";
        // 02:30 does not exist on 28 March, and comes twice on 31 October.
        assert_eq!(next(nightly, "2027-03-27T12:00:00Z"), "2027-03-28T01:30:00Z");
        assert_eq!(next(nightly, "2027-03-28T01:30:00Z"), "2027-03-29T00:30:00Z");
        assert_eq!(next(nightly, "2027-10-30T12:00:00Z"), "2027-10-31T00:30:00Z");
        assert_eq!(next(nightly, "2027-10-31T00:30:00Z"), "2027-11-01T01:30:00Z");
    }

    #[test]
    fn a_schedule_that_never_comes_has_no_next_time() {
        let never = schedule("0 0 0 30 2 *").unwrap();
        assert_eq!(never.next_after(time("2027-01-10T00:00:00Z")), None);
    }

    /// A sleep moves it when it ends; a test may move it too.
    #[derive(Debug, Clone)]
    struct Hand(Arc<Mutex<Timestamp>>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }

        fn uptime(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let time = Arc::clone(&self.0);
            Box::pin(async move {
                tokio::task::yield_now().await;
                *time.lock().unwrap() += duration;
            })
        }
    }

    /// Lets it go on until it notifies, and returns the time.
    fn notified(
        kept: &mut (impl Future<Output = ()> + Unpin),
        due: &Notify,
        clock: &Hand,
    ) -> Timestamp {
        for _ in 0..20_000 {
            assert!(kept.now_or_never().is_none());
            if due.notified().now_or_never().is_some() {
                return clock.now();
            }
        }
        panic!("it never notifies");
    }

    #[tokio::test]
    async fn what_was_due_before_is_made_up_for_once_and_steps_of_the_clock_silence_nothing() {
        let clock = Arc::new(Hand(Arc::new(Mutex::new(time("2027-01-10T12:00:00Z")))));
        let due = Arc::new(Notify::new());
        let since = time("2027-01-07T03:30:00Z");
        let nightly = schedule("0 30 3 * * *").unwrap();
        let mut kept = Box::pin(keep(nightly, since, due.clone(), clock.clone()));
        assert_eq!(notified(&mut kept, &due, &clock), time("2027-01-10T12:00:00Z"), "at once");
        assert_eq!(notified(&mut kept, &due, &clock), time("2027-01-11T03:30:00Z"), "once");
        *clock.0.lock().unwrap() = time("2027-01-03T04:00:00Z");
        assert_eq!(notified(&mut kept, &due, &clock), time("2027-01-04T03:30:00Z"), "set back");
        *clock.0.lock().unwrap() = time("2027-01-10T12:00:00Z");
        let late = notified(&mut kept, &due, &clock).duration_since(time("2027-01-10T12:00:00Z"));
        assert!(late.as_secs() <= 30, "set forward: {late:?} late");
    }
}
