//! Reading the fields of a JSON object without regard to letter case or to how a value is written.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::Damaged;

/// A JSON object whose names are matched without case: answers are in camelCase, some PATCH answers
/// in PascalCase (MicrosoftDocs/partner-center-sdk, `suspend-a-subscription.md`).
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The fields of a value, if it is an object.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    /// The fields of something that has to be an object.
    pub(super) fn demand(value: &'a Value, what: &str) -> Result<Self, Damaged> {
        Self::of(value).ok_or_else(|| Damaged(format!("{what} is {}, not an object", kind(value))))
    }

    /// A value that is not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let named = |(key, value): (&'a String, &'a Value)| {
            (key.eq_ignore_ascii_case(name) && !value.is_null()).then_some(value)
        };
        self.0.iter().find_map(named)
    }

    /// Fields of a nested object.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// A nested list. Absent or null is empty; anything else that is no list would hide what it
    /// stands for.
    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], Damaged> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(Damaged(format!("{name} is {}, not a list", kind(other)))),
        }
    }

    /// Text that is not blank; a number as its text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The same in lower case, for open sets of words such as statuses.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.to_lowercase())
    }

    /// A whole number, written as a number or as text.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        text.parse().ok().or_else(|| {
            let number: f64 = text.parse().ok()?;
            // Whole numbers up to 2^53 are exact in this form; nothing counted here is larger.
            (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0)
                .then_some(number as i64)
        })
    }

    /// A truth value, written as one or as text.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A time, where the text can be read as one.
    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        time(&self.text(name)?)
    }
}

/// Reads a time: with an offset, without one (taken as UTC), or a date alone. Some texts in the
/// documentation are none of these; they are no time.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let civil: DateTime =
            text.parse().or_else(|_| text.parse().map(|date: Date| date.at(0, 0, 0, 0))).ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_leniently() {
        let same = "2019-01-09T00:21:45.9263727Z".parse().ok();
        for text in [
            "2019-01-09T00:21:45.9263727Z",
            "2019-01-09T00:21:45.9263727+00:00",
            "2019-01-08T16:21:45.9263727-08:00",
            "2019-01-09T00:21:45.9263727",
        ] {
            assert_eq!(time(text), same, "{text}");
        }
        assert_eq!(time("2019-01-09"), "2019-01-09T00:00:00Z".parse().ok());
        assert!(time("9999-12-10T00:00:00Z").is_some());
        for text in ["2015-11-25T06: 41: 12Z", "soon", "0001-01-01T00:00:00+99:00", ""] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }

    #[test]
    fn values_are_read_however_they_are_written() {
        let value = json!({
            "A": "7", "b": 7, "C": 7.0, "d": "x", "E": "TRUE", "f": false, "G": null, "g": "second",
            "h": "  ", "I": " Active ", "j": {}, "K": 7.5,
        });
        let fields = Fields::of(&value).unwrap();
        for name in ["a", "B", "c"] {
            assert_eq!(fields.integer(name), Some(7), "{name}");
        }
        assert_eq!((fields.integer("d"), fields.integer("k")), (None, None));
        assert_eq!(
            (fields.flag("e"), fields.flag("F"), fields.flag("a")),
            (Some(true), Some(false), None)
        );
        assert_eq!(fields.text("g").as_deref(), Some("second"), "null counts as absent");
        assert_eq!((fields.text("h"), fields.text("j")), (None, None));
        assert_eq!(fields.word("i").as_deref(), Some("active"));
        assert!(fields.list("absent").unwrap().is_empty());
        assert!(fields.list("j").is_err());
    }
}
