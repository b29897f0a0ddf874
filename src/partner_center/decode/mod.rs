//! From bytes on the wire to the core's words.
//!
//! Tolerant where Microsoft varies: names in any letter case, fields absent, numbers as text, dates
//! in several forms, a UTF-8 byte order mark in front. Strict where a guess would be dangerous: a
//! list counts only if it certainly is one (invariant 6). Unknown fields are kept in `raw`.

mod fault;
mod fields;
mod list;
mod resources;
mod text;
mod token;

use serde_json::Value;

pub use fault::{carries_error, fault, fault_in, fault_of, kept};
pub use list::{NextLink, Page, page};
pub use resources::{
    LegalBusinessProfile, azure_entitlement, customer, entitlement, has_id, identity,
    is_deletion_in_a_sandbox, legal_business, listed_customer, order, subscription,
};
pub use text::{TEXT_LIMIT, tidy, tidy_whole};
pub use token::{TokenAnswer, TokenRefusal, tenant_of, token, token_refusal};

/// An answer that cannot be used: what is wrong with it, in words that hold nothing of its content
/// but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub String);

impl Damaged {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Removes a UTF-8 byte order mark, which Partner Center puts before the JSON of its 2xx answers
/// (Azure/msrest-for-python issue 144).
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// More values than any answer of a sandbox has. In memory each takes some hundred bytes, however
/// short it is on the wire.
const MOST_VALUES: usize = 500_000;

/// At least as many as the body has values: each but the first follows one of these signs.
fn values_at_most(bytes: &[u8]) -> usize {
    1 + bytes.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count()
}

/// Reads a body as JSON. Order of names and the text of numbers are kept.
///
/// # Errors
/// When it is empty, cut off, not UTF-8, not JSON, or holds more values than any sandbox has.
pub fn json(bytes: &[u8]) -> Result<Value, Damaged> {
    let bytes = without_bom(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(Damaged::new("the body is empty"));
    }
    if values_at_most(bytes) > MOST_VALUES {
        return Err(Damaged(format!("the body holds more than {MOST_VALUES} values")));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let kind = if error.is_eof() { "the JSON body is cut off" } else { "the body is not JSON" };
        Damaged(format!("{kind} (line {}, column {})", error.line(), error.column()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_stripped_and_damage_is_named() {
        assert_eq!(json(b"\xef\xbb\xbf{\"a\":1}").unwrap()["a"], 1);
        for (bytes, words) in [
            (&b""[..], "empty"),
            (b"\xef\xbb\xbf \r\n", "empty"),
            (b"{\"items\":[{\"id\":\"1\"", "cut off"),
            (b"<html></html>", "not JSON"),
            (b"{\"a\":\"\xff\"}", "not JSON"),
            (b"{} {}", "not JSON"),
        ] {
            let Damaged(text) = json(bytes).unwrap_err();
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_body_of_many_small_values_is_refused_before_it_fills_the_memory() {
        let many = |count: usize| format!("[{}0]", "0,".repeat(count));
        assert!(json(many(1000).as_bytes()).is_ok());
        let Damaged(text) = json(many(MOST_VALUES).as_bytes()).unwrap_err();
        assert!(text.contains("more than 500000 values"), "{text}");
    }

    #[test]
    fn numbers_and_order_survive_as_text() {
        let text = r#"{"b":1.50,"a":123456789012345678901234567890,"c":1.0}"#;
        assert_eq!(json(text.as_bytes()).unwrap().to_string(), text);
    }
}
