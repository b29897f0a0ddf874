//! The remote state: accounts, customers and what they have bought.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::app::App;
use super::dice::Dice;
use super::life::{Life, Moment};
use super::purchase::Kind;
use super::read_times::ReadTimes;
use super::throttle::Throttle;

/// An account as the simulator keeps it.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) partner_tenant: Uuid,
    pub(crate) app: App,
    /// The `tid` of its tokens.
    pub(crate) token_tenant: Uuid,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) protected: BTreeSet<Uuid>,
    pub(crate) throttle: Throttle,
    /// For the profile of faults.
    pub(crate) faults: Dice,
    /// When the latest complete reading of the customer list was begun.
    pub(crate) customers_read: Option<Moment>,
    /// How the reading of entitlements was refused.
    pub(crate) entitlements: EntitlementRefusals,
    /// When the latest reads were on their way.
    pub(crate) read_times: ReadTimes,
}

/// The code that says of an app that it may not read entitlements (fact sheet, section 5).
const NOT_FOR_APPS: &str = "900329";

/// Whether the app has been told that it may not read entitlements: by the code that says so, or by the
/// same refusal to two customers, with none given in between.
#[derive(Debug, Default)]
pub(crate) struct EntitlementRefusals {
    /// The code of the latest refusal, and the customer.
    refused: Option<(String, Uuid)>,
    pub(crate) are_refused_to_all: bool,
}

impl EntitlementRefusals {
    /// Notes an answer, with the code of a refusal.
    pub(crate) fn answered(&mut self, customer: Uuid, code: Option<String>) {
        let Some(code) = code else {
            *self = Self::default();
            return;
        };
        let to_another = |(known, other): &(String, Uuid)| *known == code && *other != customer;
        self.are_refused_to_all |=
            code == NOT_FOR_APPS || self.refused.as_ref().is_some_and(to_another);
        self.refused = Some((code, customer));
    }
}

/// When the latest complete reading of each of a customer's lists was begun.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    pub(crate) orders: Option<Moment>,
    pub(crate) subscriptions: Option<Moment>,
    /// Also set when entitlements were refused: there is then nothing to read.
    pub(crate) entitlements: Option<Moment>,
}

/// A customer. Its life is `reseller` (or whatever its relationship is) until it is `gone`.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) commerce_id: Uuid,
    pub(crate) domain: String,
    pub(crate) company: String,
    pub(crate) relationship: String,
    pub(crate) cannot_be_deleted: bool,
    pub(crate) gone_as: (u16, u32),
    pub(crate) life: Life,
    pub(crate) orders: Vec<Order>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// How often the list of orders was read.
    pub(crate) polls: u32,
    pub(crate) readings: Readings,
}

/// The state of a customer after DELETE took effect.
pub(crate) const GONE: &str = "gone";

/// What an order line entitles to.
#[derive(Debug)]
pub(crate) struct Entitled {
    pub(crate) entitlement_type: &'static str,
    pub(crate) product_id: &'static str,
    pub(crate) sku_id: &'static str,
    /// Products included in it, by product and SKU.
    pub(crate) included: &'static [(&'static str, &'static str)],
    /// The resource id of an artifact, which reservations have.
    pub(crate) artifact: Option<Uuid>,
}

/// A line of an order.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) offer_id: String,
    pub(crate) name: &'static str,
    pub(crate) term: &'static str,
    pub(crate) subscription_id: Option<String>,
    pub(crate) entitled: Option<Entitled>,
    /// When this line alone was cancelled.
    pub(crate) cancelled_at: Option<Moment>,
}

impl Line {
    pub(crate) fn quantity(&self, at: Moment) -> u32 {
        u32::from(self.cancelled_at.is_none_or(|cancelled| at < cancelled))
    }
}

/// An order.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) alternate_id: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) billing_cycle: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) created: Timestamp,
    pub(crate) hidden: bool,
    pub(crate) window_passed: bool,
    pub(crate) life: Life,
}

impl Order {
    /// GUIDs are compared without case; the base64url form is not, because its case carries meaning.
    pub(crate) fn is_called(&self, id: &str) -> bool {
        let same = |own: &str| match own.len() {
            33 => own == id,
            _ => own.eq_ignore_ascii_case(id),
        };
        same(&self.id) || self.alternate_id.as_deref().is_some_and(same)
    }

    /// Whether it is itself a purchase that has not been cancelled. Orders of subscriptions are
    /// not: what counts there is the subscription.
    pub(crate) fn is_active(&self, at: Moment) -> bool {
        self.kind.is_held_by_order() && self.life.exists(at) && self.status_is_active(at)
    }

    /// Whether it looks active to a reader: neither cancelled as a whole nor line by line.
    pub(crate) fn status_is_active(&self, at: Moment) -> bool {
        self.life.status(at) != "cancelled" && self.lines.iter().any(|line| line.quantity(at) > 0)
    }

    /// The id that DELETE names in its refusal.
    pub(crate) fn short_id(&self) -> &str {
        self.alternate_id.as_deref().unwrap_or(&self.id)
    }
}

/// An Azure subscription under an Azure plan.
#[derive(Debug)]
pub(crate) struct AzureSubscription {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) life: Life,
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) offer_id: String,
    pub(crate) name: &'static str,
    /// Index of its order among those of the customer.
    pub(crate) order: usize,
    /// Index of its parent among the subscriptions of the customer, if it is an add-on.
    pub(crate) parent: Option<usize>,
    pub(crate) created: Timestamp,
    pub(crate) window_passed: bool,
    /// Present where `activate` is wanted first.
    pub(crate) activation: Option<Life>,
    pub(crate) azure: Vec<AzureSubscription>,
    pub(crate) life: Life,
}

impl Subscription {
    pub(crate) fn is_called(&self, id: &str) -> bool {
        self.id.eq_ignore_ascii_case(id)
    }

    pub(crate) fn is_active(&self, at: Moment) -> bool {
        self.life.exists(at) && is_active_status(self.life.status(at))
    }

    /// Legacy resources carry an etag that changes with them; the examples encode id and version.
    pub(crate) fn etag(&self, at: Moment) -> Option<String> {
        use base64::Engine;
        let legacy = matches!(self.kind, Kind::LegacyLicence | Kind::LegacyAzure);
        legacy.then(|| {
            let version = self.life.version(at);
            let id = self.id.to_lowercase();
            base64::engine::general_purpose::STANDARD
                .encode(format!("{{\"id\":\"{id}\",\"version\":{version}}}"))
        })
    }
}

/// Whether a subscription in this status is still running.
pub(crate) fn is_active_status(status: &str) -> bool {
    !matches!(status, "suspended" | "deleted" | "expired" | "disabled")
}

impl Tenant {
    pub(crate) fn is_gone(&self, at: Moment) -> bool {
        self.life.status(at) == GONE
    }

    /// Counts one complete reading of the list of orders, after it was shown.
    pub(crate) fn count_poll(&mut self, now: Moment) {
        self.polls += 1;
        let polls = self.polls;
        for order in &mut self.orders {
            order.life.polled(now, polls);
        }
        for subscription in &mut self.subscriptions {
            subscription.life.polled(now, polls);
            for azure in &mut subscription.azure {
                azure.life.polled(now, polls);
            }
        }
    }

    /// The ids, as DELETE names them, of the orders of everything still active.
    pub(crate) fn blocking_orders(&self, at: Moment) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        let orders = self.orders.iter().filter(|order| order.is_active(at));
        let behind = self.subscriptions.iter().filter(|s| s.is_active(at));
        for order in orders.chain(behind.filter_map(|s| self.orders.get(s.order))) {
            if !ids.iter().any(|id| id == order.short_id()) {
                ids.push(order.short_id().to_owned());
            }
        }
        ids
    }

    /// Every active purchase by kind. Azure subscriptions count with their plan.
    pub(crate) fn active_kinds(&self, at: Moment) -> impl Iterator<Item = Kind> {
        let orders = self.orders.iter().filter(move |order| order.is_active(at));
        let subscriptions = self.subscriptions.iter().filter(move |s| s.is_active(at));
        orders.map(|order| order.kind).chain(subscriptions.map(|s| s.kind))
    }

    /// The shortest time in which everything can be cancelled and the customer removed, by the
    /// delays of this simulator alone: what must wait for something else is added to it, what need
    /// not goes side by side. Late appearances count, purchases that come back do not.
    pub(crate) fn critical_path(&self) -> Duration {
        let done = |life: &Life| life.ready_at() + life.takes;
        let orders = || self.orders.iter().filter(|order| order.kind.is_held_by_order());
        let reservations = orders().filter(|order| order.kind.holds_reservation());
        let reservations = reservations.map(|order| done(&order.life)).max().unwrap_or_default();
        let subscriptions = self.subscriptions.iter().enumerate().map(|(index, subscription)| {
            let add_ons = self.subscriptions.iter().filter(|s| s.parent == Some(index));
            let mut before = add_ons.map(|s| done(&s.life)).max().unwrap_or_default();
            if subscription.kind == Kind::AzurePlan {
                let azure = subscription.azure.iter().map(|azure| done(&azure.life)).max();
                before = before.max(azure.unwrap_or_default()).max(reservations);
            }
            before.max(subscription.life.ready_at()) + subscription.life.takes
        });
        let cancelled = orders().map(|order| done(&order.life)).chain(subscriptions).max();
        cancelled.unwrap_or_default() + self.life.takes
    }
}

impl Account {
    pub(crate) fn tenant(&self, id: Uuid) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.id == id)
    }

    pub(crate) fn tenant_mut(&mut self, id: Uuid) -> Option<&mut Tenant> {
        self.tenants.iter_mut().find(|tenant| tenant.id == id)
    }
}
