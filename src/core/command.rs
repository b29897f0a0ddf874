//! Commands: the mutating calls. A command is a stored row before it is a request; its id is the
//! `MS-RequestId`, and its method, path, body and `If-Match` are repeated unchanged (invariant 4).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{AccountName, CommandId, TeardownId, TenantId};
use super::key::ResourceKey;

/// What a command asks Partner Center to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// `PATCH …/orders/{id}` with `status: cancelled`.
    CancelOrder,
    /// `PATCH …/subscriptions/{id}` with `status: deleted`.
    DeleteSubscription,
    /// `PATCH …/subscriptions/{id}` with `status: suspended`.
    SuspendSubscription,
    /// `POST …/subscriptions/{id}/azureEntitlements/{id}/cancel`.
    CancelAzureEntitlement,
    /// `POST …/subscriptions/{id}/activate`, which a sandbox wants before some cancellations.
    ActivateSubscription,
    /// `DELETE /v1/customers/{id}`. Cannot be undone.
    DeleteCustomer,
}

impl Action {
    /// Every action, for tables and tests.
    pub const ALL: [Self; 6] = [
        Self::CancelOrder,
        Self::DeleteSubscription,
        Self::SuspendSubscription,
        Self::CancelAzureEntitlement,
        Self::ActivateSubscription,
        Self::DeleteCustomer,
    ];

    /// The stable name used in the database, in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CancelOrder => "cancel_order",
            Self::DeleteSubscription => "delete_subscription",
            Self::SuspendSubscription => "suspend_subscription",
            Self::CancelAzureEntitlement => "cancel_azure_entitlement",
            Self::ActivateSubscription => "activate_subscription",
            Self::DeleteCustomer => "delete_customer",
        }
    }

    /// The action of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// The HTTP method of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `PATCH`
    Patch,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
}

impl Method {
    /// The method as it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// A mutating call as decided: everything but the id, which randomness from outside supplies. Its method
/// and its path are derived from it ([`Intent::request`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What it does.
    pub action: Action,
    /// Whether this cancels a reservation, which only a sandbox allows (invariant 2).
    pub reservation: bool,
    /// The remote thing it changes, such as `order:…`, `subscription:…`, `azure:…/…` or `customer`.
    /// At most one unsettled command stands for each (account, tenant, resource).
    pub resource: ResourceKey,
    /// JSON body, sent byte for byte each time. Only that of a subscription holds what cannot be derived:
    /// the resource as it was read.
    pub body: Option<String>,
    /// The etag to send as `If-Match`, quotes included.
    pub if_match: Option<String>,
}

/// A command to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// The id, fresh from [`Entropy`](super::clock::Entropy).
    pub id: CommandId,
    /// What it asks for.
    pub intent: Intent,
}

/// How a command ended. A command without an outcome is *unsettled*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A 2xx answer. The goal itself may still be minutes away.
    Accepted,
    /// A structured 4xx answer other than 401, 408 and 429; or, without an HTTP status, refused here
    /// because the stored command is not what would be derived.
    Refused,
    /// No usable answer came, but a later read showed the goal reached.
    GoalReached,
    /// Committed and never sent: a gate closed in between.
    Withdrawn,
}

impl Outcome {
    /// The stable name used in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::GoalReached => "goal_reached",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The outcome of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Accepted, Self::Refused, Self::GoalReached, Self::Withdrawn]
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

/// A stored command: outbox row, idempotency record and audit record at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// The id, also the `MS-RequestId`.
    pub id: CommandId,
    /// The account it goes out under.
    pub account: AccountName,
    /// The tenant it concerns.
    pub tenant_id: TenantId,
    /// The teardown that committed it. Another teardown of the same tenant may adopt it.
    pub teardown_id: TeardownId,
    /// What it asks for.
    #[serde(flatten)]
    pub intent: Intent,
    /// The method as it is stored. What is sent is derived, and compared with this.
    pub method: String,
    /// The path as it is stored, below the API base. What is sent is derived, and compared with this.
    pub path: String,
    /// When it was committed.
    pub created_at: Timestamp,
    /// How often a send was begun.
    pub sends: u32,
    /// When the first send was begun.
    pub first_sent_at: Option<Timestamp>,
    /// When the latest send was begun.
    pub last_sent_at: Option<Timestamp>,
    /// `MS-CorrelationId` of the latest send.
    pub correlation_id: Option<Uuid>,
    /// How it ended; `None` while unsettled.
    pub outcome: Option<Outcome>,
    /// When it ended.
    pub settled_at: Option<Timestamp>,
    /// HTTP status of the latest answer, whether or not it settled the command.
    pub http_status: Option<u16>,
    /// Microsoft's error code of the latest answer.
    pub ms_code: Option<String>,
    /// Text of the latest answer or of the transport error, trimmed and redacted.
    pub text: Option<String>,
}

impl Command {
    /// Whether it decides nothing any more: it never went out, or is not what would be derived.
    pub fn was_set_aside(&self) -> bool {
        self.outcome == Some(Outcome::Withdrawn)
            || (self.outcome == Some(Outcome::Refused) && self.http_status.is_none())
    }

    /// Whether its effect is still unknown.
    pub fn is_unsettled(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether a request may have reached Partner Center.
    pub fn was_sent(&self) -> bool {
        self.sends > 0
    }
}

/// What one send taught. `outcome: None` leaves the command unsettled but keeps the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// How the command ended, if it did.
    pub outcome: Option<Outcome>,
    /// HTTP status, where an answer came.
    pub http_status: Option<u16>,
    /// Microsoft's error code, where the answer held one.
    pub ms_code: Option<String>,
    /// Trimmed and redacted text.
    pub text: Option<String>,
    /// Why it halts the account (invariants 1 and 2), if it does: stored in one step with the answer.
    pub halts: Option<String>,
    /// The correlation id of the send that it answers; `None`: the latest.
    pub sent_as: Option<Uuid>,
}
