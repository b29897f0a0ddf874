//! How one value is read, whether it comes from TOML or from an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use config::{FileFormat, Value, ValueKind};
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::core::domain::DomainPattern;
use crate::core::fault::Class;
use crate::core::gates::Share;
use crate::core::ids::TenantId;
use crate::core::protection::Subject;
use crate::core::window::{InvalidWindow, Window};
use crate::partner_center::clouds::Cloud;
use crate::partner_center::credentials::{Algorithm, TokenEndpoint};
use crate::runtime::cron::Schedule;

/// A value that its key does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The value, or the item of a list, as it was given.
    pub(super) value: String,
    /// What the key takes.
    pub(super) expected: &'static str,
}

/// A type that a key may have.
pub(super) trait Setting: Sized {
    /// Completes the sentence "expected …".
    const EXPECTED: &'static str;

    /// The value, if it is one.
    fn parse(value: &Value) -> Option<Self>;

    /// The value as JSON, which is TOML as well and reads as the same value.
    fn json(&self) -> serde_json::Value;

    /// The value, or which part of it was wrong.
    fn read(value: &Value) -> Result<Self, Rejected> {
        Self::parse(value).ok_or_else(|| reject(value, Self::EXPECTED))
    }
}

/// The class of an answer, by its word.
pub(super) struct AnswerClass(pub(super) Class);

impl Setting for AnswerClass {
    const EXPECTED: &'static str = "\"wait\", \"retry\", \"done\", \"gone\", \"other_route\", \"permanent\" or \"safety_stop\"";

    fn parse(value: &Value) -> Option<Self> {
        Class::of_word(&String::parse(value)?).map(Self)
    }

    fn json(&self) -> serde_json::Value {
        json!(self.0.word())
    }
}

/// Refuses a value.
pub(super) fn reject(value: &Value, expected: &'static str) -> Rejected {
    Rejected { value: shown(value), expected }
}

/// The value as it would stand in TOML, cut to a length that fits a message.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::String(text) => Some(text.trim()),
        _ => None,
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

macro_rules! text_settings {
    ($($kind:ty, $expected:literal, $parse:expr, $shown:expr;)*) => {
        $(impl Setting for $kind {
            const EXPECTED: &'static str = $expected;

            fn parse(value: &Value) -> Option<Self> {
                text(value).and_then($parse)
            }

            fn json(&self) -> serde_json::Value {
                let shown: fn(&Self) -> String = $shown;
                json!(shown(self))
            }
        })*
    };
}

text_settings! {
    String, "a text", |text| Some(text.to_owned()), Self::clone;
    PathBuf, "a path", |text| (!text.is_empty()).then(|| text.into()), |path| path.to_string_lossy().into_owned();
    Duration, "a duration as text, such as \"90s\" or \"14d\", of at most ten years", duration, |duration| humantime::format_duration(*duration).to_string();
    Bytes, "a size as text, such as \"256MB\"", |text| text.parse::<ByteSize>().ok().map(|size| Bytes(size.as_u64())), |size| format!("{}B", size.0);
    Schedule, "a cron expression with seconds and, after it, a time zone (else UTC), such as \"0 30 3 * * * Europe/Amsterdam\"", schedule, ToString::to_string;
    SocketAddr, "an address and a port, such as \"127.0.0.1:9464\"", |text| text.parse().ok(), ToString::to_string;
    TenantId, "a GUID such as \"1f2e3d4c-5b6a-4788-9900-aabbccddeeff\"", |text| text.parse().ok(), ToString::to_string;
    Uuid, "a GUID such as \"1f2e3d4c-5b6a-4788-9900-aabbccddeeff\"", |text| Uuid::try_parse(text).ok(), ToString::to_string;
    Cloud, "\"global\", \"china\" or \"usgov\"", Cloud::parse, |cloud| cloud.as_str().to_owned();
    Algorithm, "\"PS256\" or \"RS256\"", Algorithm::parse, |algorithm| algorithm.as_str().to_owned();
    TokenEndpoint, "\"v2\" or \"v1\"", TokenEndpoint::parse, |endpoint| endpoint.as_str().to_owned();
    DomainPattern, "a domain such as \"contoso.onmicrosoft.com\" or \"*.onmicrosoft.com\"", |text| DomainPattern::parse(text).ok(), ToString::to_string;
    Subject, "a tenant id, or a domain such as \"*.prod.example\"", |text| Subject::parse(text).ok(), ToString::to_string;
    Url, "an absolute URL such as \"https://api.partnercenter.microsoft.com\"", |text| Url::parse(text).ok(), ToString::to_string;
    Date, "a date such as \"2027-01-31\"", |text| text.parse().ok(), ToString::to_string;
}

/// Longer times would leave the calendar when they are added to a date.
fn duration(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
    humantime::parse_duration(text).ok().filter(|duration| *duration <= LONGEST)
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(value: &Value) -> Option<Self> {
        match &value.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

macro_rules! whole_numbers {
    ($($kind:ty),*) => {
        $(impl Setting for $kind {
            const EXPECTED: &'static str = "a whole number, 0 or more";

            fn parse(value: &Value) -> Option<Self> {
                match &value.kind {
                    ValueKind::I64(number) => (*number).try_into().ok(),
                    ValueKind::String(text) => text.trim().parse().ok(),
                    _ => None,
                }
            }

            fn json(&self) -> serde_json::Value {
                json!(self)
            }
        })*
    };
}

whole_numbers!(u32, usize);

impl Setting for Share {
    const EXPECTED: &'static str = "a share from 0 to 1, such as 0.25";

    fn parse(value: &Value) -> Option<Self> {
        let number = match &value.kind {
            ValueKind::Float(number) => Some(*number),
            ValueKind::I64(number) => i32::try_from(*number).ok().map(f64::from),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.and_then(Self::new)
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

impl Setting for Window {
    const EXPECTED: &'static str = "a window such as \"Mon-Fri 19:00-06:00 Europe/Amsterdam\"";

    fn parse(value: &Value) -> Option<Self> {
        Self::read(value).ok()
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }

    /// Names the part of the text that is wrong.
    fn read(value: &Value) -> Result<Self, Rejected> {
        let given = text(value).ok_or_else(|| reject(value, Self::EXPECTED))?;
        Self::parse(given, time_zone).map_err(|InvalidWindow { part, expected }| {
            let value = if part == given { shown(value) } else { format!("{part:?} in {given:?}") };
            Rejected { value, expected }
        })
    }
}

/// A cron expression, in the time zone it names.
pub(super) fn schedule(text: &str) -> Option<Schedule> {
    Schedule::parse(text, time_zone)
}

/// A time zone by its name: of the system's database, which may be newer, or of the one that comes
/// with the program.
fn time_zone(name: &str) -> Option<TimeZone> {
    let zone = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    zone.ok().filter(|zone| !zone.is_unknown())
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = "a list such as [\"a\", \"b\"], or a,b in the environment";

    fn parse(value: &Value) -> Option<Self> {
        Self::read(value).ok()
    }

    fn read(value: &Value) -> Result<Self, Rejected> {
        items(value)
            .ok_or_else(|| reject(value, Self::EXPECTED))?
            .iter()
            .map(|item| T::read(item))
            .collect()
    }

    fn json(&self) -> serde_json::Value {
        self.iter().map(T::json).collect()
    }
}

/// The items of a list. A text (from the environment) is TOML if it begins with `[`, and else items
/// with commas between.
fn items(value: &Value) -> Option<Vec<Value>> {
    match &value.kind {
        ValueKind::Array(items) => Some(items.clone()),
        ValueKind::String(text) if text.trim_start().starts_with('[') => {
            let parsed = config::Config::builder()
                .add_source(config::File::from_str(&format!("list = {text}"), FileFormat::Toml))
                .build()
                .ok()?;
            parsed.get_array("list").ok()
        }
        ValueKind::String(text) => Some(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::new(None, item))
                .collect(),
        ),
        _ => None,
    }
}

macro_rules! named_settings {
    ($($(#[$doc:meta])* $kind:ident ($expected:literal) { $($(#[$item:meta])* $variant:ident = $name:literal,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$item])* $variant,)*
        }

        impl $kind {
            /// The name as it stands in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl Setting for $kind {
            const EXPECTED: &'static str = $expected;

            fn parse(value: &Value) -> Option<Self> {
                match text(value)? {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn json(&self) -> serde_json::Value {
                json!(self.as_str())
            }
        })*
    };
}

named_settings! {
    /// How the database comes to the newest schema.
    Migrate ("\"auto\" or \"manual\"") {
        /// `run` migrates, after copying the database aside.
        Auto = "auto",
        /// Only `teardownd migrate` does.
        Manual = "manual",
    }
    /// How log lines are written.
    LogFormat ("\"text\" or \"json\"") {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_text<T: Setting>(text: &str) -> Result<T, Rejected> {
        T::read(&Value::new(None, text))
    }

    #[test]
    fn lists_come_with_commas_or_as_toml() {
        let expected = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(from_text::<Vec<String>>("a, b,"), Ok(expected.clone()));
        assert_eq!(from_text::<Vec<String>>(r#"["a", 'b']"#), Ok(expected));
        assert_eq!(from_text::<Vec<String>>(""), Ok(Vec::new()));
        assert!(from_text::<Vec<String>>(r#"["a""#).is_err());
    }

    #[test]
    fn a_wrong_item_of_a_list_is_named() {
        let rejected = from_text::<Vec<DomainPattern>>("*.example, a*b").unwrap_err();
        assert_eq!(rejected.value, "\"a*b\"");
    }

    #[test]
    fn durations_sizes_and_schedules_are_checked() {
        assert_eq!(from_text("14d"), Ok(Duration::from_secs(14 * 24 * 3600)));
        assert_eq!(from_text("0s"), Ok(Duration::ZERO));
        assert_eq!(from_text("256MB"), Ok(Bytes(256_000_000)));
        assert!(from_text::<Duration>("90").is_err());
        assert!(from_text::<Duration>("3000y").is_err());
        assert!(from_text::<Bytes>("many").is_err());
        assert!(from_text::<Schedule>("*/2 * * * * *").is_ok());
        assert!(from_text::<Schedule>("*/2 * * * *").is_err(), "five fields have no seconds");
        assert!(from_text::<Schedule>("61 * * * * *").is_err());
        assert!(from_text::<Schedule>("0 30 3 * * * Europe/Amsterdam").is_ok());
        assert!(from_text::<Schedule>("0 30 3 * * * Amsterdam").is_err());
    }

    #[test]
    fn numbers_are_no_durations() {
        assert!(Duration::read(&Value::new(None, 90_i64)).is_err());
        assert!(bool::read(&Value::new(None, 1_i64)).is_err());
        assert!(u32::read(&Value::new(None, -1_i64)).is_err());
    }
}
