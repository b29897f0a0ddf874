//! `profiles`: the partner's own. Nothing in them tells a sandbox from production.

use serde_json::json;

use super::{Outcome, faults, link};

pub(crate) fn legal_business() -> Outcome {
    let address = json!({
        "country": "US",
        "city": "Buffalo",
        "state": "NY",
        "addressLine1": "123 Main Street",
        "addressLine2": "",
        "postalCode": "98052",
    });
    Outcome::ok(json!({
        "companyName": "Simulated partner",
        "address": address,
        "primaryContact": {
            "firstName": "Ada",
            "lastName": "Byron",
            "email": "ada@example.com",
            "phoneNumber": "4255550100",
        },
        "companyApproverAddress": address,
        "companyApproverEmail": "ada@example.com",
        "vettingStatus": "authorized",
        "vettingSubStatus": "none",
        "profileType": "LegalBusinessProfile",
        "links": { "self": link("/profiles/legalbusiness".to_owned()) },
        "attributes": { "objectType": "LegalBusinessProfile" },
    }))
}

/// App+user only; the simulator issues app-only tokens alone.
pub(crate) fn organization() -> Outcome {
    faults::fault(403, 900329, "App-only authentication is not supported here.")
}
