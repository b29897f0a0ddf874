//! Lists: `{totalCount, items, links, attributes}`, page by page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::life::Moment;
use super::{Context, Outcome, faults, link};

/// Header that continues a list.
const CONTINUATION: &str = "MS-ContinuationToken";

/// The page of `items` that the call asks for. Pages are cut from the list as it is now, so they
/// shift when something in front of them goes, as with the real API.
pub(crate) fn page(items: Vec<Value>, call: &Call, context: &Context<'_>) -> Outcome {
    let (since, asked) = match call.header(CONTINUATION) {
        None => (context.now, 0),
        Some(token) => match continued(token) {
            Some(place) => place,
            None => return faults::fault(400, 3000, "The continuation token is not valid."),
        },
    };
    let size = page_size(call, context);
    let first = if context.repeat_page { asked.saturating_sub(size) } else { asked };
    let total = items.len();
    let page: Vec<Value> = items.into_iter().skip(first).take(size).collect();
    let next = if context.repeat_page { asked } else { first.saturating_add(page.len()) };
    let last = !context.repeat_page && (next >= total || page.is_empty());

    let query = call.query.as_deref().unwrap_or_default();
    let path = call.path.strip_prefix("/v1").unwrap_or(&call.path);
    // The example of the customer list has `/v1` in its links, the others have not.
    let path = if path == "/customers" { &call.path } else { path };
    let mut links = Map::new();
    links.insert("self".into(), link(with_query(path, query)));
    if !last {
        let token = URL_SAFE_NO_PAD.encode(format!("{}.{next}", since.as_nanos()));
        let mut more = link(with_query(path, &continuing(query)));
        more["headers"] = json!([{ "key": CONTINUATION, "value": token }]);
        links.insert("next".into(), more);
    }
    let body = json!({
        "totalCount": page.len(),
        "items": page,
        "links": links,
        "attributes": { "objectType": "Collection" },
    });
    Outcome { complete_since: last.then_some(since), ..Outcome::ok(body) }
}

/// `size=0` stands for everything.
fn page_size(call: &Call, context: &Context<'_>) -> usize {
    let asked = call.parameter("size").and_then(|size| size.parse().ok()).unwrap_or(0);
    let asked = if asked == 0 { usize::MAX } else { asked };
    asked.min(context.options.page_size.unwrap_or(usize::MAX))
}

fn continued(token: &str) -> Option<(Moment, usize)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (since, offset) = text.split_once('.')?;
    Some((Moment::from_nanos(since.parse().ok()?), offset.parse().ok()?))
}

fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn continuing(query: &str) -> String {
    const SEEK: &str = "seekOperation=Next";
    match query {
        "" => SEEK.to_owned(),
        query if query.contains(SEEK) => query.to_owned(),
        query => format!("{query}&{SEEK}"),
    }
}
