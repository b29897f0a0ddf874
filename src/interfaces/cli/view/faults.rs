//! Failed calls: when, which request, what Microsoft said, and what to do.

use serde_json::{Value, json};

use super::{Look, json_time};
use crate::store::StoredFault;

/// What to do where a failure led to no wait, hold or end.
const WENT_ON: &str = "Nothing to do: the work went on.";

/// One sentence on what an operator can do about a failure.
pub(crate) fn remedy(fault: &StoredFault) -> &'static str {
    fault.reason.map_or(WENT_ON, |reason| reason.remedy())
}

/// A failure for JSON.
pub(crate) fn fault_json(fault: &StoredFault) -> Value {
    let call = &fault.call;
    json!({
        "teardown_id": fault.teardown_id,
        "at": json_time(call.at),
        "method": call.method,
        "route": call.route,
        "request_id": call.request_id,
        "correlation_id": call.correlation_id,
        "http_status": call.http_status,
        "ms_code": call.ms_code,
        "text": call.text,
        "answer_ids": call.answer_ids,
        "body": call.body,
        "reason": fault.reason,
        "remedy": remedy(fault),
    })
}

/// A failure in one line, for `show` and `why`.
pub(crate) fn fault_line(fault: &StoredFault, look: &Look) -> String {
    let at = fault.call.at;
    format!("{} ({}): {}", look.local(at), look.distance(at), fault.call)
}

/// The ids of the request, as Microsoft's support asks for them.
pub(crate) fn ids(fault: &StoredFault) -> String {
    let request = fault.call.request_id.map(|id| format!("MS-RequestId {id}"));
    let correlation = fault.call.correlation_id.map(|id| format!("MS-CorrelationId {id}"));
    request.into_iter().chain(correlation).collect::<Vec<_>>().join(", ")
}
