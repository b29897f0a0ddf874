//! The kinds of purchase, and how each is cancelled.
//!
//! The rules are those of Microsoft's "Cancel an order from the integration sandbox";
//! `docs/api-facts.md` gives the source of each.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::command::{Action, Intent};
use super::key::ResourceKey;
use super::observation::Read;
use super::request;

/// Kinds of purchase, each with a route of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Azure reservation: the order is cancelled. First of all, since only a sandbox allows it.
    Reservation,
    /// Perpetual software: the order is cancelled.
    PerpetualSoftware,
    /// Software subscription: the order is cancelled, or else the subscription.
    SoftwareSubscription,
    /// New-commerce licence: the subscription is deleted, or else suspended.
    NewCommerceLicence,
    /// Marketplace SaaS: the subscription is deleted.
    MarketplaceSaas,
    /// Azure subscription under an Azure plan: its entitlement is cancelled.
    AzureSubscription,
    /// Azure plan: suspended, after its Azure subscriptions and all reservations.
    AzurePlan,
    /// Legacy licence or legacy Azure subscription: suspended.
    LegacySubscription,
    /// Savings plan: the API cannot cancel it (900321).
    SavingsPlan,
    /// A product this version knows no route for.
    Unknown,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 10] = [
        Self::Reservation,
        Self::PerpetualSoftware,
        Self::SoftwareSubscription,
        Self::NewCommerceLicence,
        Self::MarketplaceSaas,
        Self::AzureSubscription,
        Self::AzurePlan,
        Self::LegacySubscription,
        Self::SavingsPlan,
        Self::Unknown,
    ];

    /// The stable name used in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reservation => "reservation",
            Self::PerpetualSoftware => "perpetual_software",
            Self::SoftwareSubscription => "software_subscription",
            Self::NewCommerceLicence => "new_commerce_licence",
            Self::MarketplaceSaas => "marketplace_saas",
            Self::AzureSubscription => "azure_subscription",
            Self::AzurePlan => "azure_plan",
            Self::LegacySubscription => "legacy_subscription",
            Self::SavingsPlan => "savings_plan",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How a purchase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It must be cancelled, or its cancellation is under way.
    Active,
    /// Partner Center is still creating or changing it: it cannot be cancelled yet.
    Pending,
    /// Nothing is left to do.
    Inactive,
}

impl Standing {
    /// The stable name used in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Inactive => "inactive",
        }
    }

    /// The standing of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Pending, Self::Inactive].into_iter().find(|one| one.as_str() == name)
    }
}

/// How a purchase is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// By this action, the best of those that there are.
    By(Action),
    /// By a person: the API has no way.
    Person,
}

impl Route {
    /// The stable name used in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::By(action) => action.as_str(),
            Self::Person => "person",
        }
    }

    /// The route of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        if name == Self::Person.as_str() {
            return Some(Self::Person);
        }
        Action::parse(name).map(Self::By)
    }
}

impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The resource that a route changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Order { id: String, etag: Option<String> },
    Subscription { id: String, etag: Option<String>, raw: Value },
    Azure { plan: String, id: String },
}

/// One purchase, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Stable within the tenant.
    pub key: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// Product name as read, or its offer id.
    pub name: String,
    /// Status as read.
    pub status: String,
    /// How it stands.
    pub standing: Standing,
    /// The order it belongs to.
    pub order_id: Option<String>,
    /// Ways to cancel it, best first. Empty for what only a person can cancel.
    pub(super) routes: Vec<(Action, Target)>,
    /// Keys of purchases that must be inactive before this one is touched.
    pub after: Vec<ResourceKey>,
    /// Its order is older than a sandbox lets one cancel.
    pub(super) too_old: bool,
    /// Its order waits for the upload of a document, for longer than is worth waiting.
    pub(super) lacks_upload: bool,
    /// Until when a sandbox lets one cancel its order, where that is bounded and still ahead.
    pub cancellable_until: Option<Timestamp>,
}

impl Purchase {
    /// How it is cancelled.
    pub fn route(&self) -> Route {
        self.actions().next().map_or(Route::Person, Route::By)
    }

    /// The actions that cancel it, best first.
    pub fn actions(&self) -> impl Iterator<Item = Action> {
        self.routes.iter().map(|(action, _)| *action)
    }

    /// The remote resources its routes change, as named in [`Intent::resource`].
    pub fn resources(&self) -> impl Iterator<Item = ResourceKey> {
        self.routes.iter().map(|(_, target)| target.resource())
    }

    /// The reads that show it by itself: a list may lag behind.
    pub fn reads_by_id(&self) -> BTreeSet<Read> {
        self.routes.iter().map(|(_, target)| target.read_by_id()).collect()
    }

    /// Why it cannot be cancelled by the API, as far as is known, where it is active and cannot. Only
    /// an operator's `retry --try-anyway` sends its routes all the same.
    pub fn blocked(&self) -> Option<&'static str> {
        if self.standing == Standing::Inactive {
            return None;
        }
        if self.too_old {
            return Some(
                "the order is older than 60 days, after which a sandbox order cannot be cancelled",
            );
        }
        if self.lacks_upload {
            return Some(
                "the order waits for the upload of a purchase order document, and nothing else ends that",
            );
        }
        if self.kind != Kind::SavingsPlan && !self.routes.is_empty() {
            return None;
        }
        if matches!(self.key, ResourceKey::Entitlement(_)) {
            return Some("an entitlement whose order cannot be found");
        }
        Some(match self.kind {
            Kind::SavingsPlan => "a savings plan cannot be cancelled by the API (900321)",
            Kind::Unknown
            | Kind::Reservation
            | Kind::PerpetualSoftware
            | Kind::SoftwareSubscription
            | Kind::NewCommerceLicence
            | Kind::MarketplaceSaas
            | Kind::AzureSubscription
            | Kind::AzurePlan
            | Kind::LegacySubscription => "no route is known for this product",
        })
    }

    /// The command that activates its subscription, which a sandbox may want before a cancellation
    /// (800081).
    pub fn activation(&self) -> Option<Intent> {
        let is_subscription = |target: &&Target| matches!(target, Target::Subscription { .. });
        let target = self.routes.iter().map(|(_, target)| target).find(is_subscription)?;
        Some(Intent {
            action: Action::ActivateSubscription,
            reservation: false,
            resource: target.resource(),
            body: None,
            if_match: None,
        })
    }

    /// Whether this is the very command that it would be cancelled or activated with now.
    pub fn leads_to(&self, intent: &Intent) -> bool {
        let derived = match intent.action {
            Action::ActivateSubscription => self.activation(),
            action => self.intent(action),
        };
        derived.as_ref() == Some(intent)
    }

    /// The command for one of its [`actions`](Self::actions).
    pub fn intent(&self, action: Action) -> Option<Intent> {
        let (_, target) = self.routes.iter().find(|(known, _)| *known == action)?;
        let (body, if_match) = match target {
            Target::Order { id, etag } => (request::cancelled_order(id), etag.clone()),
            Target::Subscription { etag, raw, .. } => {
                (request::changed_subscription(raw, action), etag.clone())
            }
            Target::Azure { .. } => (request::azure_cancellation(), None),
        };
        Some(Intent {
            action,
            reservation: self.kind == Kind::Reservation,
            resource: target.resource(),
            body: Some(body),
            if_match,
        })
    }
}

impl Target {
    pub(super) fn resource(&self) -> ResourceKey {
        match self {
            Self::Order { id, .. } => ResourceKey::order(id),
            Self::Subscription { id, .. } => ResourceKey::subscription(id),
            Self::Azure { plan, id } => ResourceKey::azure(plan, id),
        }
    }

    fn read_by_id(&self) -> Read {
        match self {
            Self::Order { id, .. } => Read::Order(id.clone()),
            Self::Subscription { id, .. } => Read::Subscription(id.clone()),
            Self::Azure { plan, id } => Read::AzureEntitlement(plan.clone(), id.clone()),
        }
    }
}

/// The DELETE of a customer.
pub fn delete_customer() -> Intent {
    Intent {
        action: Action::DeleteCustomer,
        reservation: false,
        resource: ResourceKey::Customer,
        body: None,
        if_match: None,
    }
}
