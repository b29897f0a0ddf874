//! Hours in which writes may go out (`safety.windows`).
//!
//! A window belongs to the day on which it begins, also where it ends on the next one. A clock time
//! that a zone skips counts as the moment it skips to, and one that it shows twice counts as the
//! first: a window is one unbroken stretch, and on the day of a skip it may be empty.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

const FORM: &str = "a window such as \"Mon-Fri 19:00-06:00 Europe/Amsterdam\"";
const DAYS: &str = "a day such as Sat or a range of days such as Mon-Fri";
const TIMES: &str = "two times such as 19:00-06:00, from 00:00 to 24:00 and not the same";
const ZONE: &str = "a time zone of the IANA database, such as Europe/Amsterdam or UTC";

const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// So many days ahead an opening is looked for: two weeks, for the one that a skipped hour swallows.
const HORIZON: i32 = 15;

/// Why a text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is not {expected}")]
pub struct InvalidWindow {
    /// The part of the text that is wrong, or the whole of it.
    pub part: String,
    /// What belongs there.
    pub expected: &'static str,
}

/// A stretch of hours on some days of the week, in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: Vec<Weekday>,
    opens: Time,
    closes: Time,
    /// Whether it closes on the day after it opens.
    overnight: bool,
    zone: TimeZone,
    text: String,
}

impl Window {
    /// Reads a window. `zone_of` looks a time zone up by its name.
    ///
    /// # Errors
    /// The first part that is wrong, and what belongs there.
    pub fn parse(
        text: &str,
        zone_of: impl Fn(&str) -> Option<TimeZone>,
    ) -> Result<Self, InvalidWindow> {
        let wrong = |part: &str, expected| InvalidWindow { part: part.to_owned(), expected };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [days, times, zone] = parts[..] else { return Err(wrong(text, FORM)) };
        let (opens, closes, overnight) = read_times(times).ok_or_else(|| wrong(times, TIMES))?;
        Ok(Self {
            days: read_days(days).ok_or_else(|| wrong(days, DAYS))?,
            opens,
            closes,
            overnight,
            zone: zone_of(zone).ok_or_else(|| wrong(zone, ZONE))?,
            text: parts.join(" "),
        })
    }

    /// The stretch that begins on a day: from its first moment to the first one after it. `None` on a
    /// day on which it does not open.
    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days.contains(&day.weekday()) {
            return None;
        }
        let last = if self.overnight { day.tomorrow().ok()? } else { day };
        let opens = self.moment(day.to_datetime(self.opens))?;
        let closes = self.moment(last.to_datetime(self.closes))?;
        (opens < closes).then_some((opens, closes))
    }

    fn moment(&self, at: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset }
            | AmbiguousOffset::Fold { before: offset, .. } => offset.to_timestamp(at).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // Reckoned with the later offset the time lies before the skip.
                let before_the_skip = after.to_timestamp(at).ok()?;
                let skip = self.zone.following(before_the_skip).next()?;
                Some(skip.timestamp())
            }
        }
    }

    /// Its stretches that may hold or follow a moment, earliest first.
    fn stretches(&self, around: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = self.zone.to_datetime(around).date();
        (-1..=HORIZON).filter_map(move |days| {
            let day = today.checked_add(jiff::Span::new().days(days)).ok()?;
            self.on(day)
        })
    }

    /// Whether it is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.stretches(now).any(|(opens, closes)| opens <= now && now < closes)
    }

    fn opens_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.stretches(now).map(|(opens, _)| opens).find(|opens| now < *opens)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// When the first of these windows opens: `now` if one is open or there is none at all. `None` only at
/// the end of the calendar.
pub fn next_opening(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    if windows.is_empty() || windows.iter().any(|window| window.is_open(now)) {
        return Some(now);
    }
    windows.iter().filter_map(|window| window.opens_after(now)).min()
}

/// A day, or the days from one to another, which may go round the end of the week.
fn read_days(text: &str) -> Option<Vec<Weekday>> {
    let place = |name: &str| WEEK.iter().position(|(known, _)| name.eq_ignore_ascii_case(known));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (place(first)?, place(last)?);
    let length = (last + WEEK.len() - first) % WEEK.len() + 1;
    let days = WEEK.iter().cycle().skip(first).take(length);
    Some(days.map(|(_, day)| *day).collect())
}

/// Opening, closing, and whether that is on the next day.
fn read_times(text: &str) -> Option<(Time, Time, bool)> {
    let (opens, closes) = text.split_once('-')?;
    let opens = read_time(opens)?;
    if closes == "24:00" {
        return Some((opens, Time::midnight(), true));
    }
    let closes = read_time(closes)?;
    (opens != closes).then_some((opens, closes, closes < opens))
}

/// `HH:MM`.
fn read_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<i8>().ok()).flatten()
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;
    use jiff::{SignedDuration, ToSpan as _};
    use proptest::prelude::*;

    use super::*;

    /// The database that comes with the program: a root without one reads windows just as well.
    fn window(text: &str) -> Window {
        Window::parse(text, |name| TimeZoneDatabase::bundled().get(name).ok()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Whether the window is open at times given in Amsterdam's local time with its offset.
    fn open(text: &str, times: &[(&str, bool)]) {
        let window = window(text);
        for (time, expected) in times {
            assert_eq!(window.is_open(at(time)), *expected, "{text} at {time}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins() {
        open(
            "Mon-Fri 19:00-06:00 Europe/Amsterdam",
            &[
                // Monday the 11th of January 2027.
                ("2027-01-11T05:59:00+01:00", false),
                ("2027-01-11T18:59:59+01:00", false),
                ("2027-01-11T19:00:00+01:00", true),
                ("2027-01-12T05:59:59+01:00", true),
                ("2027-01-12T06:00:00+01:00", false),
                // From Friday into Saturday, and no further.
                ("2027-01-16T05:59:00+01:00", true),
                ("2027-01-16T19:00:00+01:00", false),
                ("2027-01-18T05:00:00+01:00", false),
            ],
        );
    }

    #[test]
    fn whole_days_and_days_round_the_end_of_the_week() {
        open(
            "Sat-Mon 00:00-24:00 Europe/Amsterdam",
            &[
                ("2027-01-15T23:59:00+01:00", false),
                ("2027-01-16T00:00:00+01:00", true),
                ("2027-01-17T12:00:00+01:00", true),
                ("2027-01-18T23:59:59+01:00", true),
                ("2027-01-19T00:00:00+01:00", false),
            ],
        );
    }

    #[test]
    fn a_window_is_as_long_as_the_night_is_when_the_clock_changes() {
        let night = |day: Date| {
            let (opens, closes) = window("Sat 19:00-06:00 Europe/Amsterdam").on(day).unwrap();
            closes.duration_since(opens)
        };
        // The clock went forward on 2027-03-28 and back on 2027-10-31.
        assert_eq!(night(jiff::civil::date(2027, 3, 27)), SignedDuration::from_hours(10));
        assert_eq!(night(jiff::civil::date(2027, 10, 30)), SignedDuration::from_hours(12));
        assert_eq!(night(jiff::civil::date(2027, 1, 30)), SignedDuration::from_hours(11));
    }

    #[test]
    fn a_time_that_is_skipped_is_the_moment_of_the_skip() {
        open(
            "Sun 02:30-05:00 Europe/Amsterdam",
            &[
                ("2027-03-28T01:59:59+01:00", false),
                ("2027-03-28T03:00:00+02:00", true),
                ("2027-03-28T04:59:59+02:00", true),
                ("2027-03-28T05:00:00+02:00", false),
            ],
        );
        let swallowed = window("Sun 02:10-02:50 Europe/Amsterdam");
        assert_eq!(swallowed.on(jiff::civil::date(2027, 3, 28)), None);
        assert_eq!(
            next_opening(&[swallowed], at("2027-03-28T00:00:00+01:00")),
            Some(at("2027-04-04T02:10:00+02:00"))
        );
    }

    #[test]
    fn a_time_that_comes_twice_is_the_first_of_them() {
        open(
            "Sun 01:00-02:30 Europe/Amsterdam",
            &[
                ("2027-10-31T02:29:59+02:00", true),
                ("2027-10-31T02:30:00+02:00", false),
                ("2027-10-31T02:15:00+01:00", false),
            ],
        );
    }

    #[test]
    fn several_windows_are_a_union_and_none_is_always() {
        let windows = [window("Mon 08:00-10:00 UTC"), window("Mon 09:00-12:00 Asia/Kolkata")];
        let now = at("2027-01-11T00:00:00Z");
        assert_eq!(next_opening(&windows, now), Some(at("2027-01-11T03:30:00Z")));
        assert_eq!(
            next_opening(&windows, at("2027-01-11T08:30:00Z")),
            Some(at("2027-01-11T08:30:00Z"))
        );
        assert_eq!(next_opening(&[], now), Some(now));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_belongs_there() {
        let zones = |name: &str| TimeZoneDatabase::bundled().get(name).ok();
        for (text, part, expected) in [
            ("", "", FORM),
            ("Mon-Fri 19:00-06:00", "Mon-Fri 19:00-06:00", FORM),
            ("Mon-Fri 19:00 - 06:00 UTC", "Mon-Fri 19:00 - 06:00 UTC", FORM),
            ("Mon-Fry 19:00-06:00 UTC", "Mon-Fry", DAYS),
            ("Monday 19:00-06:00 UTC", "Monday", DAYS),
            ("Mon- 19:00-06:00 UTC", "Mon-", DAYS),
            ("Mon 19-06 UTC", "19-06", TIMES),
            ("Mon 19:00-25:00 UTC", "19:00-25:00", TIMES),
            ("Mon 24:00-06:00 UTC", "24:00-06:00", TIMES),
            ("Mon 9:00-17:00 UTC", "9:00-17:00", TIMES),
            ("Mon +9:00-17:00 UTC", "+9:00-17:00", TIMES),
            ("Mon 09:00-09:00 UTC", "09:00-09:00", TIMES),
            ("Mon 09:00-17:00 Europe/Atlantis", "Europe/Atlantis", ZONE),
        ] {
            let error = Window::parse(text, zones).unwrap_err();
            assert_eq!((error.part.as_str(), error.expected), (part, expected), "{text}");
        }
        assert_eq!(window("  fri-MON  19:00-06:00  europe/amsterdam").days.len(), 4);
    }

    const ZONES: [&str; 5] =
        ["UTC", "Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"];

    fn any_window() -> impl Strategy<Value = Window> {
        let times = (0_u32..96, 1_u32..96).prop_map(|(from, length)| (from, (from + length) % 96));
        (0..7_usize, 0..7_usize, times, prop::sample::select(&ZONES[..])).prop_map(
            |(first, last, (from, to), zone)| {
                let time = |quarters: u32| format!("{:02}:{:02}", quarters / 4, quarters % 4 * 15);
                let (first, last) = (WEEK[first].0, WEEK[last].0);
                window(&format!("{first}-{last} {}-{} {zone}", time(from), time(to)))
            },
        )
    }

    /// What a clock on the wall says, without any reckoning of moments.
    fn by_the_wall(window: &Window, now: Timestamp) -> bool {
        let local = window.zone.to_datetime(now);
        let (today, time) = (local.date(), local.time());
        let begins = |day: Date| window.days.contains(&day.weekday());
        if window.overnight {
            (begins(today) && time >= window.opens)
                || (begins(today.yesterday().unwrap()) && time < window.closes)
        } else {
            begins(today) && window.opens <= time && time < window.closes
        }
    }

    /// Whether the clock of the zone changes within a day of a moment.
    fn clock_changes(zone: &TimeZone, now: Timestamp) -> bool {
        let day = 24.hours();
        let offset = |at: Timestamp| zone.to_offset(at);
        offset(now - day) != offset(now + day)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_next_opening_is_the_first_moment_that_is_open(
            windows in prop::collection::vec(any_window(), 1..4),
            minute in 0_i64..(3 * 366 * 24 * 60),
        ) {
            let now = at("2026-01-01T00:00:00Z") + SignedDuration::from_mins(minute);
            let opens = next_opening(&windows, now).unwrap();
            let is_open = |at: Timestamp| windows.iter().any(|window| window.is_open(at));
            prop_assert!(now <= opens && is_open(opens), "{opens}");
            // Every window of the test opens and closes on a quarter of an hour, in every zone.
            let mut moment = now;
            while moment < opens {
                prop_assert!(!is_open(moment), "open at {moment}, before {opens}");
                moment += SignedDuration::from_mins(15);
            }
            prop_assert!(opens == now || !is_open(opens - SignedDuration::from_secs(1)));
        }

        #[test]
        fn away_from_changes_of_the_clock_the_wall_decides(
            window in any_window(),
            minute in 0_i64..(3 * 366 * 24 * 60),
        ) {
            let now = at("2026-01-01T00:00:00Z") + SignedDuration::from_mins(minute);
            prop_assume!(!clock_changes(&window.zone, now));
            prop_assert_eq!(window.is_open(now), by_the_wall(&window, now), "{} at {}", window, now);
        }
    }
}
