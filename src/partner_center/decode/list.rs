//! Lists. A list is only a 200 object with an `items` array and no error code in it; everything
//! else is unknown, never empty (invariant 6).

use serde_json::Value;

use super::fields::{Fields, kind};
use super::{Damaged, carries_error, fault_of, tidy};

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The items, as they were read. `totalCount` is not believed: the documentation itself shows it
    /// wrong (`get-all-of-a-customer-s-subscriptions.md`).
    pub items: Vec<Value>,
    /// Where the list goes on.
    pub next: Option<NextLink>,
}

/// `links.next` of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextLink {
    /// The address, often relative and with or without `/v1`.
    pub uri: String,
    /// `MS-ContinuationToken`, the one header such links are documented with. It can be the only
    /// thing that tells one page from the next.
    pub continuation: Option<String>,
}

/// Reads a page.
///
/// # Errors
/// When the value is not certainly a page of a list.
pub fn page(value: Value) -> Result<Page, Damaged> {
    let fields = Fields::demand(&value, "the answer")?;
    if carries_error(&value) {
        return Err(Damaged(format!(
            "a list was expected, an error came: {}",
            fault_of(200, &value)
        )));
    }
    match fields.get("items") {
        Some(Value::Array(_)) => {}
        None => return Err(Damaged::new("the answer has no items")),
        Some(other) => return Err(Damaged(format!("items is {}, not a list", kind(other)))),
    }
    let next = match fields.get("links") {
        None => None,
        Some(links) => next_link(Fields::demand(links, "links")?)?,
    };
    let items = fields.list("items")?.to_vec();
    Ok(Page { items, next })
}

fn next_link(links: Fields<'_>) -> Result<Option<NextLink>, Damaged> {
    let Some(next) = links.get("next") else { return Ok(None) };
    let next = Fields::demand(next, "links.next")?;
    let Some(uri) = next.text("uri") else {
        return Err(Damaged::new("links.next has no uri"));
    };
    if let Some(method) = next.text("method").filter(|m| !m.eq_ignore_ascii_case("GET")) {
        return Err(Damaged(format!("links.next wants the method {}", tidy(&method))));
    }
    let mut continuation = None;
    for header in next.list("headers")? {
        let header = Fields::demand(header, "a header of links.next")?;
        let key = header.text("key").unwrap_or_default();
        if !key.eq_ignore_ascii_case("MS-ContinuationToken") {
            return Err(Damaged(format!("links.next wants the unknown header {:?}", tidy(&key))));
        }
        continuation = header.text("value");
    }
    Ok(Some(NextLink { uri, continuation }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn invariant_6_a_list_that_is_none_is_never_empty() {
        for value in [
            json!([]),
            json!([{"id": "1"}]),
            json!(null),
            json!("items"),
            json!({}),
            json!({"items": null}),
            json!({"items": {}}),
            json!({"totalCount": 0}),
            json!({"items": [], "code": 400072}),
            json!({"items": [], "Code": "400072", "description": "no"}),
            json!({"items": [], "error": "invalid_request"}),
            json!({"items": [], "error": {"code": "Broken"}}),
            json!({"items": [], "statusCode": 500, "message": "no"}),
            json!({"items": [], "links": []}),
            json!({"items": [], "links": {"next": "/v1/customers"}}),
            json!({"items": [], "links": {"next": {"method": "GET"}}}),
            json!({"items": [], "links": {"next": {"uri": "/x", "method": "POST"}}}),
            json!({"items": [], "links": {"next": {"uri": "/x", "headers": [{"key": "Host", "value": "y"}]}}}),
        ] {
            assert!(page(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn lists_are_read_whatever_their_spelling() {
        let page = page(json!({
            "TotalCount": 37, "ITEMS": [{"Id": 1}],
            "Links": {"Next": {"Uri": "/customers?size=1&seekOperation=Next", "Method": "GET",
                "Headers": [{"Key": "ms-continuationtoken", "Value": "abc"}]}},
        }))
        .unwrap();
        assert_eq!(page.items, [json!({"Id": 1})]);
        let next = page.next.unwrap();
        assert_eq!(next.uri, "/customers?size=1&seekOperation=Next");
        assert_eq!(next.continuation.as_deref(), Some("abc"));
    }

    #[test]
    fn an_empty_list_is_empty_and_the_end() {
        let page = page(json!({"totalCount": 0, "items": [], "links": {"next": null}})).unwrap();
        assert!(page.items.is_empty() && page.next.is_none());
    }
}
