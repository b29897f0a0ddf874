//! From outcomes to bytes, and the damage done to them on the way.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use super::api::{Outcome, field_of, pascal_case};
use super::call::{Answer, Delivery};
use super::rules::Effect;

/// Stands before every JSON body of a 2xx answer of Partner Center (fact sheet, section 10).
const BOM: &str = "\u{feff}";

/// An answer of the API: byte order mark on success, none on faults.
pub(crate) fn render(outcome: &Outcome, at: Timestamp) -> Answer {
    let mark = if (200..300).contains(&outcome.status) { BOM } else { "" };
    with_mark(outcome, mark, at)
}

/// An answer of the token endpoint, which has no byte order mark.
pub(crate) fn plain(outcome: &Outcome, at: Timestamp) -> Answer {
    with_mark(outcome, "", at)
}

fn with_mark(outcome: &Outcome, mark: &str, at: Timestamp) -> Answer {
    let mut headers = vec![("date".to_owned(), date_header(at))];
    headers.extend(outcome.headers.iter().cloned());
    let body = match &outcome.body {
        None => Bytes::new(),
        Some(body) => {
            headers.push(("content-type".to_owned(), "application/json; charset=utf-8".to_owned()));
            Bytes::from(format!("{mark}{body}"))
        }
    };
    Answer { status: outcome.status, headers, body }
}

/// The answer that a script prescribes.
pub(crate) fn scripted(effect: &Effect, at: Timestamp) -> Option<Answer> {
    let Effect::Answer { status, headers, body, .. } = effect else { return None };
    let mut all = vec![("date".to_owned(), date_header(at))];
    all.extend(headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
    Some(Answer { status: *status, headers: all, body: Bytes::from(body.clone()) })
}

/// A time as HTTP headers have it.
pub(crate) fn date_header(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `Retry-After` of a 429, where it is in seconds.
pub(crate) fn retry_after_seconds(answer: &Answer) -> Option<Duration> {
    let (_, value) = answer.headers.iter().find(|(name, _)| name == "retry-after")?;
    (answer.status == 429).then_some(Duration::from_secs(value.parse().ok()?))
}

/// How the exchange ends under an effect.
pub(crate) fn deliver(answer: Option<Answer>, effect: Option<&Effect>, at: Timestamp) -> Delivery {
    let Some(answer) = answer else { return Delivery::Dropped };
    let Some(effect) = effect else { return Delivery::Whole(answer) };
    match effect {
        Effect::DropBefore | Effect::DropAfter => Delivery::Dropped,
        // Of an empty body nothing can be missing.
        Effect::CutOff if answer.body.is_empty() => Delivery::Dropped,
        Effect::CutOff => Delivery::CutOff(answer),
        Effect::Answer { applied: true, .. } => {
            scripted(effect, at).map_or(Delivery::Dropped, Delivery::Whole)
        }
        Effect::TruncatedJson => {
            let half = answer.body.slice(..answer.body.len() / 2);
            Delivery::Whole(Answer { body: half, ..answer })
        }
        Effect::NullItems => Delivery::Whole(edited(answer, |body| {
            replace(body, |fields| {
                fields.insert("items".to_owned(), Value::Null);
            })
        })),
        Effect::MissingItems => Delivery::Whole(edited(answer, |body| {
            replace(body, |fields| {
                fields.shift_remove("items");
            })
        })),
        Effect::PascalCase => Delivery::Whole(edited(answer, pascal_case)),
        Effect::ByteOrderMark => Delivery::Whole(marked_otherwise(answer)),
        _ => Delivery::Whole(answer),
    }
}

fn replace(mut body: Value, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Value {
    if let Some(fields) = body.as_object_mut().filter(|fields| fields.contains_key("items")) {
        change(fields);
    }
    body
}

fn marked_otherwise(answer: Answer) -> Answer {
    let body = match answer.body.strip_prefix(BOM.as_bytes()) {
        Some(bare) => answer.body.slice_ref(bare),
        None if answer.body.is_empty() => answer.body,
        None => [BOM.as_bytes(), &answer.body].concat().into(),
    };
    Answer { body, ..answer }
}

fn edited(answer: Answer, edit: impl FnOnce(Value) -> Value) -> Answer {
    let marked = answer.body.starts_with(BOM.as_bytes());
    let Some(body) = json(&answer) else { return answer };
    let mark = if marked { BOM } else { "" };
    Answer { body: Bytes::from(format!("{mark}{}", edit(body))), ..answer }
}

fn json(answer: &Answer) -> Option<Value> {
    let bytes = answer.body.strip_prefix(BOM.as_bytes()).unwrap_or(&answer.body);
    serde_json::from_slice(bytes).ok()
}

/// Whether a client may take a whole answer as the last word on a write: success with nothing or
/// with JSON in it, or a structured refusal. 401, 408, 429, 5xx, a gateway's answer and damaged
/// bodies are not.
pub(crate) fn is_understood(answer: &Answer) -> bool {
    match answer.status {
        200..300 => answer.body.is_empty() || json(answer).is_some(),
        401 | 408 | 429 => false,
        400..500 => json(answer).is_some_and(|body| {
            field_of(&body, "code").is_some() || field_of(&body, "description").is_some()
        }),
        _ => false,
    }
}

/// The code in a fault; empty where there is none.
pub(crate) fn code_of(answer: &Answer) -> String {
    let body = json(answer).unwrap_or_default();
    field_of(&body, "code").map(ToString::to_string).unwrap_or_default()
}
