//! Points in time as an operator types them.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

/// A time, or a duration from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    At(Timestamp),
    In(Duration),
}

impl When {
    /// The time it means at `now`.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::In(duration) => now.checked_add(duration).unwrap_or(Timestamp::MAX),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        humantime::parse_duration(text).map(Self::In).map_err(|_| {
            format!("{text:?} is no time: write one such as 2027-01-31T18:00:00Z, or a duration from now such as 2h")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_told_apart() {
        let now: Timestamp = "2027-01-31T10:00:00Z".parse().unwrap();
        let two: When = "2h".parse().unwrap();
        assert_eq!(two.at(now).to_string(), "2027-01-31T12:00:00Z");
        let zoned: When = "2027-01-31T18:00:00+01:00".parse().unwrap();
        assert_eq!(zoned.at(now).to_string(), "2027-01-31T17:00:00Z");
        for wrong in ["2027-01-31", "2027-01-31T18:00:00", "tomorrow", ""] {
            assert!(wrong.parse::<When>().is_err(), "{wrong:?}");
        }
    }
}
