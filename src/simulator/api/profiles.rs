//! `profiles` and `auditrecords`: the partner's own. Nothing in the profiles tells a sandbox from
//! production; the audit log tells how customers were deleted.

use serde_json::json;

use super::super::call::Call;
use super::super::world::Account;
use super::{Context, Outcome, collection, faults, link};

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

/// A record of each customer that was deleted, the way a sandbox names that operation. `startDate` is
/// wanted, as the page of this call has it.
pub(crate) fn audit_records(account: &Account, call: &Call, context: &Context<'_>) -> Outcome {
    if call.parameter("startDate").is_none() {
        return faults::invalid_body("startDate");
    }
    let gone = account.tenants.iter().filter(|tenant| tenant.is_gone(context.now));
    let records = gone.map(|tenant| {
        json!({
            "id": format!("{}_delete", tenant.id),
            "partnerId": account.partner_tenant,
            "customerId": tenant.id,
            "resourceType": "customer",
            "operationType": "delete_tip_customer",
            "operationStatus": "succeeded",
            "attributes": { "objectType": "AuditRecord" },
        })
    });
    collection::page(records.collect(), call, context)
}
