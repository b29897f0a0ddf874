//! Read-modify-write: a subscription is changed by sending back the whole resource as it was read
//! (MicrosoftDocs/partner-center-sdk, `suspend-a-subscription.md`).

use serde_json::{Map, Value};

/// The resource with another status. The name keeps the spelling it was read with; it is added only
/// where there was none. Nothing else changes: no field, no order of fields, no digit of a number.
///
/// Anything but an object is returned as it is.
pub fn set_status(raw: &Value, status: &str) -> Value {
    let Value::Object(fields) = raw else { return raw.clone() };
    let mut fields: Map<String, Value> = fields.clone();
    let mut found = false;
    for (name, value) in &mut fields {
        if name.eq_ignore_ascii_case("status") {
            *value = Value::String(status.to_owned());
            found = true;
        }
    }
    if !found {
        fields.insert("status".to_owned(), Value::String(status.to_owned()));
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_status_changes() {
        for (before, after) in [
            (
                r#"{"b":1.50,"Status":"active","a":{"status":"x"},"n":12345678901234567890123}"#,
                r#"{"b":1.50,"Status":"suspended","a":{"status":"x"},"n":12345678901234567890123}"#,
            ),
            (r#"{"STATUS":null,"id":"1"}"#, r#"{"STATUS":"suspended","id":"1"}"#),
            (r#"{"id":"1"}"#, r#"{"id":"1","status":"suspended"}"#),
        ] {
            let raw: Value = serde_json::from_str(before).unwrap();
            assert_eq!(set_status(&raw, "suspended").to_string(), after);
        }
    }
}
