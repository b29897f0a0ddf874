//! Error bodies (fact sheet, section 5). Shape 1 has a numeric `code`, as every documented example.

use serde_json::json;

use super::Outcome;

/// Shape 1: `{code, description, data, source}`.
pub(crate) fn fault(status: u16, code: u32, description: impl Into<String>) -> Outcome {
    let body = json!({
        "code": code,
        "description": description.into(),
        "data": [],
        "source": "PartnerFD",
    });
    Outcome::with_status(status, Some(body))
}

/// Shape 3, the gateway's: `{statusCode, message}`.
pub(crate) fn gateway(status: u16, message: impl Into<String>) -> Outcome {
    let body = json!({ "statusCode": status, "message": message.into() });
    Outcome::with_status(status, Some(body)).of_a_gateway()
}

/// 404 with the code that says of anything that it is not there, and names it (recorded in
/// PartnerCenterSamples/training-course).
pub(crate) fn not_there(thing: &str) -> Outcome {
    let body = json!({
        "code": 3000,
        "description": "The requested resource was not found.",
        "data": [format!("property_name: {thing}")],
        "source": "PartnerFD",
    });
    Outcome::with_status(404, Some(body))
}

pub(crate) fn no_route() -> Outcome {
    gateway(404, "Resource not found")
}

pub(crate) fn not_a_guid() -> Outcome {
    fault(400, 2000, "Tenant Id must be a GUID.")
}

/// The customer, or the relationship with it, is gone.
pub(crate) fn gone((status, code): (u16, u32)) -> Outcome {
    if code == 3000 {
        return not_there("Customer");
    }
    let text = match code {
        20002 => "The partner has no commerce relationship with the customer.",
        60003 => "The tenant was not found.",
        _ => "The resource was not found.",
    };
    fault(status, code, text)
}

pub(crate) fn invalid_body(what: &str) -> Outcome {
    fault(400, 3000, format!("The property {what} is missing or not valid."))
}

pub(crate) fn stale_etag() -> Outcome {
    fault(412, 2055, "The etag in If-Match is not the current one. Read the resource again.")
}
