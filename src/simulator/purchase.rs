//! What a customer can have bought, as a test or the demo composes it.

use std::time::Duration;

use serde::Serialize;

use super::life::{Appears, ComesBack};

/// The kinds of purchase a sandbox knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An Azure reserved instance: an order and an entitlement `reservedinstance`.
    Reservation,
    /// Software bought once: an order `one_time` and entitlements `software`.
    PerpetualSoftware,
    /// One order that holds a reservation and perpetual software.
    MixedOrder,
    /// A software subscription: an order and a subscription of product type `Software`.
    SoftwareSubscription,
    /// A new-commerce licence: a subscription of product type `OnlineServicesNCE`.
    NewCommerce,
    /// Marketplace software as a service: a subscription that is no Microsoft product.
    Marketplace,
    /// An Azure plan with its Azure subscriptions.
    AzurePlan,
    /// A legacy licence: GUIDs as offer and order, and an etag.
    LegacyLicence,
    /// Legacy Azure: offer `MS-AZR-…`, billed by usage.
    LegacyAzure,
    /// An Azure savings plan, which the API cannot cancel.
    SavingsPlan,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Reservation,
        Self::PerpetualSoftware,
        Self::MixedOrder,
        Self::SoftwareSubscription,
        Self::NewCommerce,
        Self::Marketplace,
        Self::AzurePlan,
        Self::LegacyLicence,
        Self::LegacyAzure,
        Self::SavingsPlan,
    ];

    /// The stable name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reservation => "reservation",
            Self::PerpetualSoftware => "perpetual_software",
            Self::MixedOrder => "mixed_order",
            Self::SoftwareSubscription => "software_subscription",
            Self::NewCommerce => "new_commerce",
            Self::Marketplace => "marketplace",
            Self::AzurePlan => "azure_plan",
            Self::LegacyLicence => "legacy_licence",
            Self::LegacyAzure => "legacy_azure",
            Self::SavingsPlan => "savings_plan",
        }
    }

    /// Whether the order itself is what must be cancelled, rather than a subscription.
    pub(crate) const fn is_held_by_order(self) -> bool {
        matches!(self, Self::Reservation | Self::PerpetualSoftware | Self::MixedOrder)
    }

    /// Whether it keeps an Azure plan from being suspended.
    pub(crate) const fn holds_reservation(self) -> bool {
        matches!(self, Self::Reservation | Self::MixedOrder)
    }
}

/// One purchase, described. The ids are drawn when the simulator is made.
#[derive(Debug, Clone)]
pub struct Purchase {
    /// What was bought.
    pub kind: Kind,
    /// From an accepted cancellation to its goal; drawn from the options if `None`.
    pub takes: Option<Duration>,
    /// When it can first be seen.
    pub appears: Appears,
    /// When it becomes active again after its first cancellation.
    pub comes_back: Option<ComesBack>,
    /// The order stands in no list, but can be read by id and blocks DELETE.
    pub hidden: bool,
    /// How long the order stays `pending`, counted from the start.
    pub pending_for: Duration,
    /// The order waits for the upload of a document, which nobody makes.
    pub awaits_upload: bool,
    /// When its subscription ends and another one, with an id of its own, takes its place.
    pub replaced_after: Option<Duration>,
    /// `cancelled` or `deleted` is refused: the window has passed.
    pub window_passed: bool,
    /// The subscription wants `activate` before it can be cancelled.
    pub needs_activation: bool,
    /// How many add-on subscriptions it has.
    pub add_ons: usize,
    /// How many Azure subscriptions an Azure plan has.
    pub azure_subscriptions: usize,
    /// When an Azure subscription of it becomes active again after its first cancellation: the
    /// customer can revive one while the plan lives.
    pub azure_comes_back: Option<ComesBack>,
    /// How long ago it was bought.
    pub age: Duration,
}

impl Purchase {
    /// A purchase of a kind, bought two days ago, without anything out of the ordinary. An Azure
    /// plan has one Azure subscription.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            takes: None,
            appears: Appears::AtOnce,
            comes_back: None,
            hidden: false,
            pending_for: Duration::ZERO,
            awaits_upload: false,
            replaced_after: None,
            window_passed: false,
            needs_activation: false,
            add_ons: 0,
            azure_subscriptions: usize::from(kind == Kind::AzurePlan),
            azure_comes_back: None,
            age: Duration::from_hours(48),
        }
    }

    /// Sets how long a cancellation takes.
    pub fn takes(mut self, duration: Duration) -> Self {
        self.takes = Some(duration);
        self
    }

    /// Sets when it can first be seen.
    pub fn appears(mut self, appears: Appears) -> Self {
        self.appears = appears;
        self
    }

    /// Lets it become active again, once.
    pub fn comes_back(mut self, when: ComesBack) -> Self {
        self.comes_back = Some(when);
        self
    }

    /// Keeps its order out of every list.
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Keeps its order `pending` for a while from the start.
    pub fn pending_for(mut self, duration: Duration) -> Self {
        self.pending_for = duration;
        self
    }

    /// Lets its order wait for an upload that never comes.
    pub fn awaits_upload(mut self) -> Self {
        self.awaits_upload = true;
        self
    }

    /// Lets another subscription take the place of its own, this long after the start.
    pub fn replaced_after(mut self, duration: Duration) -> Self {
        self.replaced_after = Some(duration);
        self
    }

    /// Lets the cancellation window have passed.
    pub fn window_passed(mut self) -> Self {
        self.window_passed = true;
        self
    }

    /// Makes `activate` necessary first.
    pub fn needs_activation(mut self) -> Self {
        self.needs_activation = true;
        self
    }

    /// Adds this many add-ons (new-commerce and legacy licences).
    pub fn add_ons(mut self, count: usize) -> Self {
        self.add_ons = count;
        self
    }

    /// Lets its Azure subscriptions become active again, once each.
    pub fn azure_comes_back(mut self, when: ComesBack) -> Self {
        self.azure_comes_back = Some(when);
        self
    }

    /// Gives an Azure plan this many Azure subscriptions.
    pub fn azure_subscriptions(mut self, count: usize) -> Self {
        self.azure_subscriptions = count;
        self
    }
}
