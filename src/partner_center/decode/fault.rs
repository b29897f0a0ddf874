//! The five shapes of error bodies.
//!
//! 1. `{code, description, data?, source}`; the code is a number in every documented example and
//!    text in the specification (MicrosoftDocs/partner-center-sdk, `error-codes.md`).
//! 2. `{code, message, description, errorName, isRetryable, parameters, errorMessageExtended}`.
//! 3. A gateway's `{statusCode, message}`: 429, and 404 for an unknown route.
//! 4. Entra's `{error, error_description, error_codes, …}`.
//! 5. Empty, or not JSON.
//!
//! Only the first two are Partner Center's own and count as structured, also where their code is
//! missing: what the refusal of a DELETE carries besides its text is not known
//! (microsoft/Partner-Center-PowerShell issue 215).

use serde_json::Value;

use super::super::transport::Response;
use super::fields::Fields;
use super::text::BODY_LIMIT;
use super::{json, tidy, tidy_whole, without_bom};
use crate::core::fault::{Fault, Kept};

/// Headers that Partner Center sets and a gateway before it does not (recorded in
/// PartnerCenterSamples/training-course).
const OWN_HEADERS: [&str; 4] = ["MS-RequestId", "MS-CorrelationId", "MS-CV", "MS-ServerId"];

/// Reads an answer that is an error. Never fails: the less it tells, the less the fault does.
pub fn fault_in(response: &Response) -> Fault {
    let fault = fault(response.status, &response.body);
    let own = OWN_HEADERS.iter().any(|name| response.header(&name.to_lowercase()).is_some());
    Fault { own, kept: kept(response), ..fault }
}

/// The parts of an answer that are worth keeping where it is not understood.
pub fn kept(response: &Response) -> Kept {
    let ids = OWN_HEADERS.iter().filter_map(|name| {
        let value = response.header(&name.to_lowercase())?;
        Some(format!("{name} {}", tidy(value)))
    });
    let ids = ids.collect::<Vec<_>>().join(", ");
    let body = whole(&response.body);
    Kept { ids: Some(ids).filter(|ids| !ids.is_empty()), body }
}

/// A body as text: what lies beyond the limit is never looked at.
fn whole(body: &[u8]) -> Option<String> {
    let body = without_bom(body);
    // Longer by so much that the cut is seen.
    let start = &body[..body.len().min(BODY_LIMIT + 1024)];
    Some(tidy_whole(&String::from_utf8_lossy(start))).filter(|text| !text.is_empty())
}

/// Reads the body of an answer that is an error.
pub fn fault(status: u16, body: &[u8]) -> Fault {
    match json(body) {
        Ok(value) => fault_of(status, &value),
        Err(_) => Fault { status, text: opening(body), ..Fault::default() },
    }
}

/// The same, from a body that was already read as JSON.
pub fn fault_of(status: u16, body: &Value) -> Fault {
    let Some(fields) = Fields::of(body) else {
        return Fault { status, text: tidy(&body.to_string()), ..Fault::default() };
    };
    let code = own_code(fields);
    let structured = code.is_some() || is_own_without_code(fields);
    let nested = fields.object("error");
    let code = code
        .or_else(|| nested.and_then(|error| error.text("code")))
        .or_else(|| entra_code(fields))
        .map(|code| tidy(&code));
    let text = [Some(fields), nested]
        .into_iter()
        .flatten()
        .find_map(words)
        .unwrap_or_else(|| body.to_string());
    Fault {
        status,
        code,
        text: tidy(&text),
        source: source(fields),
        structured,
        property: property(fields),
        ..Fault::default()
    }
}

/// `property_name` among the strings of `data`, which are pairs `name: value`.
fn property(fields: Fields<'_>) -> Option<String> {
    let pairs = fields.list("data").ok()?.iter().filter_map(Value::as_str);
    let mut pairs = pairs.filter_map(|pair| pair.split_once(':'));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("property_name"))?;
    Some(tidy(value).to_lowercase()).filter(|name| !name.is_empty())
}

/// Whether a body of a 2xx answer holds an error: Partner Center has answered 200 with code 400072
/// (kvamseek/partner-center, `error-codes.md`).
pub fn carries_error(body: &Value) -> bool {
    let Some(fields) = Fields::of(body) else { return false };
    let empty = |value: &Value| matches!(value, Value::Bool(false)) || value.as_str() == Some("");
    own_code(fields).is_some()
        || fields.text("errorCode").is_some_and(|code| code != "0")
        || fields.get("error").is_some_and(|error| !empty(error))
        || fields.integer("statusCode").is_some_and(|status| status >= 400)
}

/// How a body that is not JSON begins, for a person to read.
fn opening(body: &[u8]) -> String {
    let start = &body[..body.len().min(4096)];
    let text = tidy(&String::from_utf8_lossy(start));
    if text.is_empty() { "the answer has no text".to_owned() } else { text }
}

/// The code of shapes 1 and 2.
fn own_code(fields: Fields<'_>) -> Option<String> {
    fields.text("code").filter(|code| code != "0")
}

/// Whether a body without a code is Partner Center's own: `description` is no field of the shapes of
/// gateways or of Entra.
fn is_own_without_code(fields: Fields<'_>) -> bool {
    fields.text("description").is_some_and(|text| !text.is_empty())
        && fields.get("statusCode").is_none()
        && fields.get("error").is_none()
}

/// `description` of shapes 1 and 2, `message` of shapes 2 and 3, `error_description` of shape 4.
fn words(fields: Fields<'_>) -> Option<String> {
    ["description", "message", "error_description", "errorName", "error"]
        .into_iter()
        .find_map(|name| fields.text(name))
}

fn entra_code(fields: Fields<'_>) -> Option<String> {
    let codes = fields.list("error_codes").ok()?;
    let first = codes.first().map(|code| match code {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    first.or_else(|| fields.text("error"))
}

fn source(fields: Fields<'_>) -> Option<String> {
    fields.text("source").map(|source| tidy(&source))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(status: u16, body: Value) -> Fault {
        fault(status, body.to_string().as_bytes())
    }

    #[test]
    fn shape_1_with_a_code_as_number_or_text() {
        for code in [json!(800_063), json!("800063")] {
            let fault = read(
                400,
                json!({"code": code, "description": "No.\r\nNever.", "data": [], "source": "PartnerFD"}),
            );
            let expected = Fault {
                status: 400,
                code: Some("800063".to_owned()),
                text: "No. Never.".to_owned(),
                source: Some("PartnerFD".to_owned()),
                structured: true,
                ..Fault::default()
            };
            assert_eq!(fault, expected);
        }
    }

    #[test]
    fn what_a_fault_is_about_stands_among_the_pairs_of_its_data() {
        let of = |data: Value| read(404, json!({"code": 3000, "data": data})).property;
        assert_eq!(of(json!(["property_name: Subscription"])).as_deref(), Some("subscription"));
        assert_eq!(of(json!(["x", 7, "Property_Name:Order "])).as_deref(), Some("order"));
        for nothing in
            [json!([]), json!(["property_name:"]), json!("property_name: x"), json!(null)]
        {
            assert_eq!(of(nothing.clone()), None, "{nothing}");
        }
    }

    #[test]
    fn partner_center_s_own_answers_are_told_by_their_headers() {
        let answer = |headers: &[(&str, &str)]| Response {
            status: 404,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: json!({"code": 3000, "description": "Not found."}).to_string().into(),
        };
        for header in ["ms-requestid", "ms-correlationid", "ms-cv", "ms-serverid"] {
            let fault = fault_in(&answer(&[("date", "now"), (header, "a1")]));
            assert!(fault.own && fault.structured, "{header}");
            assert!(fault.kept.ids.unwrap().to_lowercase().contains(header));
        }
        let gateway = fault_in(&answer(&[("date", "now"), ("x-ms-request-id", "a1")]));
        assert!(!gateway.own && gateway.structured);
        assert_eq!(gateway.kept.ids, None);
        assert!(gateway.kept.body.unwrap().contains("Not found."));
        let ids = fault_in(&answer(&[("ms-cv", "c"), ("ms-requestid", "r")])).kept.ids;
        assert_eq!(ids.as_deref(), Some("MS-RequestId r, MS-CV c"));
    }

    #[test]
    fn shape_1_without_a_code_is_structured_all_the_same() {
        let fault = read(400, json!({"description": "Blocked by 8f3af3dea1ea.", "source": "FD"}));
        assert_eq!((fault.code, fault.structured), (None, true));
        let gateway = json!({"statusCode": 404, "description": "Resource not found"});
        assert!(!read(404, gateway).structured);
    }

    #[test]
    fn shape_2_and_names_in_another_case() {
        let fault = read(
            409,
            json!({"Code": 600_061, "Message": "m", "Description": "d", "ErrorName": "Exists"}),
        );
        assert_eq!((fault.code.as_deref(), fault.text.as_str()), (Some("600061"), "d"));
        assert!(fault.structured);
    }

    #[test]
    fn shape_1_without_a_code_is_partner_centers_own() {
        let fault = read(400, json!({"description": "No.", "data": [], "source": "PartnerFD"}));
        assert_eq!((fault.code, fault.text.as_str(), fault.structured), (None, "No.", true));
        for foreign in [
            json!({"statusCode": 400, "message": "No.", "description": "No."}),
            json!({"error": "no", "description": "No."}),
            json!({"description": ""}),
        ] {
            assert!(!read(400, foreign.clone()).structured, "{foreign}");
        }
    }

    #[test]
    fn shape_3_is_a_gateway_and_not_structured() {
        for status in [404, 429] {
            let fault =
                read(status, json!({"statusCode": status, "message": "Resource not found"}));
            assert_eq!((fault.code, fault.structured), (None, false));
            assert_eq!(fault.text, "Resource not found");
        }
    }

    #[test]
    fn shape_4_is_entra_s() {
        let fault = read(
            400,
            json!({"error": "invalid_scope", "error_description": "AADSTS70011: no", "error_codes": [70011]}),
        );
        assert_eq!((fault.code.as_deref(), fault.structured), (Some("70011"), false));
        assert_eq!(fault.text, "AADSTS70011: no");
        assert_eq!(read(401, json!({"error": "invalid_token"})).text, "invalid_token");
    }

    #[test]
    fn shape_5_is_whatever_it_says() {
        for (body, text) in [
            (&b""[..], "the answer has no text"),
            (b"<html>\n<b>Bad Gateway</b>\x07</html>", "<html> <b>Bad Gateway</b> </html>"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"[1]", "[1]"),
            (b"{}", "{}"),
        ] {
            let fault = fault(502, body);
            assert_eq!((fault.text.as_str(), fault.structured), (text, false));
        }
    }

    #[test]
    fn invariant_13_faults_are_redacted_and_short() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJ0aWQiOiIxIn0.c2lnbmF0dXJl";
        let description = format!("token {token} is bad. {}", "x ".repeat(1000));
        let fault = read(400, json!({"code": "1", "description": description, "source": token}));
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains("eyJ"), "{shown}");
        assert!(fault.text.len() < 600);
        let nested = read(400, json!({"error": {"code": token, "message": token}}));
        assert!(!format!("{nested:?}").contains("eyJ"));
    }

    #[test]
    fn a_2xx_may_carry_an_error() {
        for body in [
            json!({"code": 400_072, "description": "no"}),
            json!({"Code": "400072"}),
            json!({"errorCode": 5}),
            json!({"error": {"code": "x"}}),
            json!({"statusCode": 404, "message": "Resource not found"}),
        ] {
            assert!(carries_error(&body), "{body}");
        }
        for body in [
            json!({"id": "1", "status": "cancelled"}),
            json!({"code": null, "error": ""}),
            json!({"code": 0, "errorCode": "0", "statusCode": 200}),
            json!([]),
        ] {
            assert!(!carries_error(&body), "{body}");
        }
    }
}
