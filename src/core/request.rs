//! The closed table of writes. A request is derived from what its command does, to whom and to which
//! resource; nothing else decides where it goes. What stands in the database is compared with it and
//! never sent instead of it (invariant 1).

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::{Value, json};

use jiff::Timestamp;

use super::command::{Action, Command, Intent, Method, NewCommand};
use super::ids::{AccountName, TeardownId, TenantId, is_resource_id};
use super::key::ResourceKey;
use super::resource::set_status;

/// A write as it goes out, but for its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path below the API base, starting with `/v1/`. It has no query.
    pub path: String,
    /// JSON body, sent byte for byte.
    pub body: Option<String>,
}

/// Why a command is none that this program would derive. The text names what differs, without ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored command is not what is derived from its action, tenant and resource: {0}")]
pub struct Forged(pub &'static str);

/// The address of what a write changes; `None` where an id in it leads elsewhere.
fn path_of(key: &ResourceKey, tenant: TenantId) -> Option<String> {
    let base = format!("/v1/customers/{tenant}");
    let id = |id: &str| is_resource_id(id).then(|| segment(id));
    Some(match key {
        ResourceKey::Customer => base,
        ResourceKey::Order(order) => format!("{base}/orders/{}", id(order)?),
        ResourceKey::Subscription(own) => format!("{base}/subscriptions/{}", id(own)?),
        ResourceKey::Azure { plan, id: own } => {
            format!("{base}/subscriptions/{}/azureEntitlements/{}", id(plan)?, id(own)?)
        }
        ResourceKey::Entitlement(_) => return None,
    })
}

impl Intent {
    /// The write that this is for a tenant.
    ///
    /// # Errors
    /// When the resource is none that the action can change, or the body is not the one change that
    /// the action makes of it.
    pub fn request(&self, tenant: TenantId) -> Result<Request, Forged> {
        let path = path_of(&self.resource, tenant).ok_or(Forged("the resource is none"))?;
        let (method, path, body) = match (self.action, &self.resource) {
            (Action::CancelOrder, ResourceKey::Order(id)) => {
                (Method::Patch, path, Some(cancelled_order(id)))
            }
            (
                Action::DeleteSubscription | Action::SuspendSubscription,
                ResourceKey::Subscription(id),
            ) => {
                let body = self.body.as_deref().filter(|body| is_changed(body, id, self.action));
                let body =
                    body.ok_or(Forged("the body is not the resource with another status"))?;
                (Method::Patch, path, Some(body.to_owned()))
            }
            (Action::CancelAzureEntitlement, ResourceKey::Azure { .. }) => {
                (Method::Post, format!("{path}/cancel"), Some(azure_cancellation()))
            }
            (Action::ActivateSubscription, ResourceKey::Subscription(_)) => {
                (Method::Post, format!("{path}/activate"), None)
            }
            (Action::DeleteCustomer, ResourceKey::Customer) => (Method::Delete, path, None),
            (
                Action::CancelOrder
                | Action::DeleteSubscription
                | Action::SuspendSubscription
                | Action::CancelAzureEntitlement
                | Action::ActivateSubscription
                | Action::DeleteCustomer,
                _,
            ) => return Err(Forged("the action cannot change that resource")),
        };
        if self.body != body {
            return Err(Forged("the body is another one"));
        }
        Ok(Request { method, path, body })
    }
}

// ---- bodies --------------------------------------------------------------------------------------

/// An order is cancelled by its id and its status alone (cancel-an-order-from-the-integration-sandbox.md).
pub(super) fn cancelled_order(id: &str) -> String {
    json!({"id": id, "status": "cancelled"}).to_string()
}

/// "compromise" is the only documented value (cancel-an-azure-subscription.md).
pub(super) fn azure_cancellation() -> String {
    json!({"cancellationReason": "compromise"}).to_string()
}

/// A subscription as it was read, with the status that the action wants.
pub(super) fn changed_subscription(raw: &Value, action: Action) -> String {
    set_status(raw, goal_status(action)).to_string()
}

const fn goal_status(action: Action) -> &'static str {
    match action {
        Action::SuspendSubscription => "suspended",
        Action::CancelOrder
        | Action::DeleteSubscription
        | Action::CancelAzureEntitlement
        | Action::ActivateSubscription
        | Action::DeleteCustomer => "deleted",
    }
}

/// Whether a body is a subscription of that id with the status that the action wants, however often
/// and in whatever letter case the two names stand there.
fn is_changed(body: &str, id: &str, action: Action) -> bool {
    let mut reader = serde_json::Deserializer::from_str(body);
    let Ok(Fields(fields)) = reader.deserialize_map(Top) else { return false };
    let named = |wanted: &'static str| {
        fields.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    let ids = || named("id").filter(|(_, value)| !value.is_null());
    let is_whole = reader.end().is_ok();
    is_whole
        && ids().next().is_some()
        && ids().all(|(_, value)| is_text(value, id))
        && named("status").next().is_some()
        && named("status").all(|(_, value)| value == goal_status(action))
}

/// Whether a value is that text, as ids are read: without blanks around it, or as a number.
fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found.trim() == text,
        Value::Number(found) => found.to_string() == text,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The fields of an object, those that occur twice too.
struct Fields(Vec<(String, Value)>);

struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

// ---- paths ---------------------------------------------------------------------------------------

/// One path segment, percent-encoded: an id from an answer must never change the path's shape.
fn segment(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl Command {
    /// A command as it is committed: unsent and unsettled.
    ///
    /// # Errors
    /// When no request can be derived from it.
    pub fn fresh(
        new: NewCommand,
        account: AccountName,
        tenant_id: TenantId,
        teardown_id: TeardownId,
        now: Timestamp,
    ) -> Result<Self, Forged> {
        let request = new.intent.request(tenant_id)?;
        Ok(Self {
            id: new.id,
            account,
            tenant_id,
            teardown_id,
            intent: new.intent,
            method: request.method.as_str().to_owned(),
            path: request.path,
            created_at: now,
            sends: 0,
            first_sent_at: None,
            last_sent_at: None,
            correlation_id: None,
            outcome: None,
            settled_at: None,
            http_status: None,
            ms_code: None,
            text: None,
        })
    }

    /// The request that this command is, as derived.
    ///
    /// # Errors
    /// When what is stored differs from what is derived.
    pub fn request(&self) -> Result<Request, Forged> {
        let request = self.intent.request(self.tenant_id)?;
        if self.method != request.method.as_str() {
            return Err(Forged("the method is another one"));
        }
        if self.path != request.path {
            return Err(Forged("the path is another one"));
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "cccc0000-0000-4000-8000-000000000001".parse().unwrap()
    }

    fn intent(action: Action, resource: ResourceKey, body: Option<&str>) -> Intent {
        Intent {
            action,
            reservation: false,
            resource,
            body: body.map(str::to_owned),
            if_match: None,
        }
    }

    fn derived(action: Action, resource: &str, body: Option<&str>) -> Option<String> {
        let resource = ResourceKey::parse(resource)?;
        let request = intent(action, resource, body).request(tenant()).ok()?;
        assert_eq!(request.body.as_deref(), body);
        let path = request.path.strip_prefix(&format!("/v1/customers/{}", tenant())).unwrap();
        Some(format!("{} {path}", request.method.as_str()))
    }

    const ORDER: &str = r#"{"id":"o","status":"cancelled"}"#;
    const AZURE: &str = r#"{"cancellationReason":"compromise"}"#;

    #[test]
    fn invariant_1_each_action_leads_to_one_place() {
        use Action::*;
        let deleted = r#"{"id":"s","n":1.50,"Status":"deleted"}"#;
        let suspended = r#"{"id":"s","status":"suspended","quantity":3}"#;
        for (action, resource, body, expected) in [
            (CancelOrder, "order:o", Some(ORDER), "PATCH /orders/o"),
            (DeleteSubscription, "subscription:s", Some(deleted), "PATCH /subscriptions/s"),
            (SuspendSubscription, "subscription:s", Some(suspended), "PATCH /subscriptions/s"),
            (ActivateSubscription, "subscription:s", None, "POST /subscriptions/s/activate"),
            (
                CancelAzureEntitlement,
                "azure:p/e",
                Some(AZURE),
                "POST /subscriptions/p/azureEntitlements/e/cancel",
            ),
            (DeleteCustomer, "customer", None, "DELETE "),
        ] {
            assert_eq!(derived(action, resource, body).as_deref(), Some(expected));
        }
    }

    #[test]
    fn invariant_1_an_action_changes_nothing_but_its_own_kind_of_resource() {
        let resources = ["customer", "order:o", "subscription:s", "azure:p/e"];
        for action in Action::ALL {
            let fitting = resources.iter().filter(|resource| {
                let place = ResourceKey::parse(resource).unwrap();
                let whole = [None, Some(ORDER), Some(AZURE)]
                    .into_iter()
                    .any(|body| derived(action, resource, body).is_some());
                let patch = json!({"id": "s", "status": goal_status(action)}).to_string();
                whole
                    || (matches!(place, ResourceKey::Subscription(_))
                        && derived(action, resource, Some(&patch)).is_some())
            });
            assert_eq!(fitting.count(), 1, "{action:?}");
        }
    }

    #[test]
    fn invariant_1_what_is_no_id_leads_nowhere() {
        let body = |id: &str| json!({"id": id, "status": "cancelled"}).to_string();
        for id in
            ["", ".", "..", "a/b", "a\\b", "a%2fb", "a?b", "a#b", "a b", "a\nb", "a\u{7f}", "ä"]
        {
            let resource = format!("order:{id}");
            assert_eq!(derived(Action::CancelOrder, &resource, Some(&body(id))), None, "{id:?}");
        }
        for resource in [
            "",
            "order",
            "orders:o",
            "Customer",
            "customer:",
            "azure:p",
            "azure:/e",
            "azure:p/",
            "azure:p/e/x",
            "azure:p/..",
        ] {
            for action in Action::ALL {
                for body in [None, Some(ORDER), Some(AZURE)] {
                    assert_eq!(derived(action, resource, body), None, "{resource:?}");
                }
            }
        }
        let odd = "a:b+c=d@e";
        let path = derived(Action::CancelOrder, &format!("order:{odd}"), Some(&body(odd)));
        assert_eq!(path.as_deref(), Some("PATCH /orders/a%3Ab%2Bc%3Dd%40e"));
    }

    #[test]
    fn invariant_1_no_body_but_the_one_change_is_derived() {
        for body in [
            None,
            Some(""),
            Some("{}"),
            Some(r#"{"id":"o","status":"completed"}"#),
            Some(r#"{"id":"o","status":"cancelled","relationshipToPartner":"none"}"#),
            Some(r#"{"id":"p","status":"cancelled"}"#),
            Some(r#"{"id": "o", "status": "cancelled"}"#),
            Some(AZURE),
        ] {
            assert_eq!(derived(Action::CancelOrder, "order:o", body), None, "{body:?}");
        }
        for body in [
            None,
            Some(""),
            Some("[]"),
            Some("{}"),
            Some(r#"{"relationshipToPartner":"none"}"#),
            Some(r#"{"id":"s"}"#),
            Some(r#"{"status":"deleted"}"#),
            Some(r#"{"id":"t","status":"deleted"}"#),
            Some(r#"{"id":"s","status":"suspended"}"#),
            Some(r#"{"id":"s","status":"deleted","Id":"t"}"#),
            Some(r#"{"id":"s","status":"deleted","id":"t"}"#),
            Some(r#"{"id":"s","status":"active","status":"deleted"}"#),
            Some(r#"{"id":"s","status":"deleted","STATUS":"active"}"#),
            Some(r#"{"id":"s","status":"deleted"} {}"#),
            Some(r#"{"id":["s"],"status":"deleted"}"#),
        ] {
            let found = derived(Action::DeleteSubscription, "subscription:s", body);
            assert_eq!(found, None, "{body:?}");
        }
        for action in [Action::ActivateSubscription, Action::DeleteCustomer] {
            let resource =
                if action == Action::DeleteCustomer { "customer" } else { "subscription:s" };
            assert_eq!(derived(action, resource, Some("{}")), None, "{action:?}");
        }
    }
}
