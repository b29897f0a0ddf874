//! From descriptions of customers and purchases to the things a client can read.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::dice::Dice;
use super::life::{Appears, Life};
use super::options::Options;
use super::purchase::{Kind, Purchase};
use super::read_times::ReadTimes;
use super::sandbox::{Customer, Sandbox};
use super::throttle::Throttle;
use super::world::{
    Account, AzureSubscription, Entitled, EntitlementRefusals, Line, Order, Readings, Subscription,
    Tenant,
};

/// Everything needed to draw what the description leaves open.
pub(crate) struct Maker<'a> {
    dice: Dice,
    options: &'a Options,
    start: Timestamp,
}

impl<'a> Maker<'a> {
    /// Makes an account. Its dice are its own, so that what is drawn for it is the same whatever
    /// accounts there are beside it.
    pub(crate) fn account(
        seed: u64,
        options: &'a Options,
        start: Timestamp,
        sandbox: Sandbox,
    ) -> Account {
        let (high, low) = sandbox.partner_tenant.as_u64_pair();
        let seed = seed.wrapping_add(high).wrapping_add(low);
        let mut maker = Self { dice: Dice::new(seed), options, start };
        Account {
            partner_tenant: sandbox.partner_tenant,
            app: sandbox.app,
            token_tenant: sandbox.token_tenant.unwrap_or(sandbox.partner_tenant),
            tenants: sandbox.customers.iter().map(|customer| maker.tenant(customer)).collect(),
            protected: sandbox.protected,
            throttle: Throttle::default(),
            faults: Dice::new(!seed),
            customers_read: None,
            entitlements: EntitlementRefusals::default(),
            read_times: ReadTimes::default(),
        }
    }

    fn tenant(&mut self, customer: &Customer) -> Tenant {
        let faults = &self.options.gone;
        let gone_as = faults.get(self.dice.pick(0..faults.len())).copied();
        let takes = self.dice.between(self.options.removal);
        let mut tenant = Tenant {
            id: customer.id,
            commerce_id: self.dice.uuid(),
            domain: customer.domain.clone(),
            company: customer.company.clone(),
            relationship: customer.relationship.clone(),
            cannot_be_deleted: customer.cannot_be_deleted,
            gone_as: gone_as.unwrap_or((404, 60003)),
            life: Life::new("present", takes),
            orders: Vec::new(),
            subscriptions: Vec::new(),
            polls: 0,
            readings: Readings::default(),
        };
        for purchase in &customer.purchases {
            self.buy(&mut tenant, purchase);
        }
        tenant
    }

    fn life(&mut self, status: &'static str, purchase: &Purchase) -> Life {
        let drawn = self.dice.between(self.options.cancellation);
        Life::new(status, purchase.takes.unwrap_or(drawn))
            .appearing(purchase.appears)
            .coming_back(purchase.comes_back)
    }

    fn buy(&mut self, tenant: &mut Tenant, purchase: &Purchase) {
        let kind = purchase.kind;
        let mut life = self.life("completed", purchase);
        if !purchase.pending_for.is_zero() {
            life = life.preceded_by("pending", purchase.pending_for);
        }
        if purchase.awaits_upload {
            life = self.life("pending_po_upload", purchase);
        }
        let (id, alternate_id) = self.order_ids(kind);
        let created = self.start - purchase.age;
        let takes = life.takes;
        tenant.orders.push(Order {
            id,
            alternate_id,
            kind,
            billing_cycle: billing_cycle(kind),
            lines: self.lines(kind),
            created,
            hidden: purchase.hidden,
            window_passed: purchase.window_passed,
            life,
        });
        if kind.is_held_by_order() {
            return;
        }
        let order = tenant.orders.len() - 1;
        let parent = tenant.subscriptions.len();
        for place in 0..=purchase.add_ons {
            let add_on = place > 0;
            let mut subscription = self.subscription(purchase, order, created);
            if add_on {
                subscription.parent = Some(parent);
                (subscription.offer_id, subscription.name) = add_on_offer(kind);
            } else {
                // A purchase held by order and subscription at once takes one time, not two.
                subscription.life.takes = takes;
                subscription.azure = self.azure_subscriptions(purchase);
                subscription.activation =
                    purchase.needs_activation.then(|| Life::new("inactive", Duration::ZERO));
            }
            let successor = purchase.replaced_after.filter(|_| !add_on).map(|at| {
                subscription.life = subscription.life.clone().ending(at, "expired");
                let mut successor = self.subscription(purchase, order, created);
                successor.life = successor.life.appearing(Appears::After(at));
                successor
            });
            self.add_line(&mut tenant.orders[order], &subscription);
            tenant.subscriptions.push(subscription);
            tenant.subscriptions.extend(successor);
        }
    }

    fn add_line(&self, order: &mut Order, subscription: &Subscription) {
        order.lines.push(Line {
            offer_id: subscription.offer_id.clone(),
            name: subscription.name,
            term: term(subscription.kind),
            subscription_id: Some(subscription.id.clone()),
            entitled: None,
            cancelled_at: None,
        });
    }

    fn subscription(
        &mut self,
        purchase: &Purchase,
        order: usize,
        created: Timestamp,
    ) -> Subscription {
        let (offer_id, name) = offer(purchase.kind);
        let id = self.dice.uuid().to_string();
        let legacy = matches!(purchase.kind, Kind::LegacyLicence | Kind::LegacyAzure);
        Subscription {
            // Legacy examples print their GUIDs in upper case.
            id: if legacy { id.to_uppercase() } else { id },
            kind: purchase.kind,
            offer_id: offer_id.to_owned(),
            name,
            order,
            parent: None,
            created,
            window_passed: purchase.window_passed,
            activation: None,
            azure: Vec::new(),
            life: self.life("active", purchase),
        }
    }

    fn azure_subscriptions(&mut self, purchase: &Purchase) -> Vec<AzureSubscription> {
        let each = Purchase { comes_back: purchase.azure_comes_back, ..purchase.clone() };
        (1..=purchase.azure_subscriptions)
            .map(|number| AzureSubscription {
                id: self.dice.uuid(),
                name: format!("Azure subscription {number}"),
                life: self.life("active", &each),
            })
            .collect()
    }

    /// GUID for legacy, 12 hexadecimal digits for new commerce and Azure, else the long form, which
    /// has the short one as its alternate where the examples show one.
    fn order_ids(&mut self, kind: Kind) -> (String, Option<String>) {
        match kind {
            Kind::LegacyLicence | Kind::LegacyAzure => (self.dice.uuid().to_string(), None),
            Kind::NewCommerce | Kind::AzurePlan | Kind::SavingsPlan => {
                (self.dice.short_order_id(), None)
            }
            Kind::Marketplace => (self.dice.long_order_id(), None),
            Kind::Reservation
            | Kind::PerpetualSoftware
            | Kind::MixedOrder
            | Kind::SoftwareSubscription => {
                (self.dice.long_order_id(), Some(self.dice.short_order_id()))
            }
        }
    }

    fn lines(&mut self, kind: Kind) -> Vec<Line> {
        match kind {
            Kind::Reservation => vec![reservation_line(self.dice.uuid())],
            Kind::PerpetualSoftware => vec![software_line(0), software_line(1)],
            Kind::MixedOrder => vec![reservation_line(self.dice.uuid()), software_line(0)],
            _ => Vec::new(),
        }
    }
}

fn reservation_line(artifact: Uuid) -> Line {
    Line {
        offer_id: "DZH318Z0BQ4Z:002L:DZH318Z0CMNP".to_owned(),
        name: "Reserved_VM_Instance_Standard_NC12_AU_East_1_Year",
        term: "P1Y",
        subscription_id: None,
        entitled: Some(Entitled {
            entitlement_type: "reservedinstance",
            product_id: "DZH318Z0BQ4Z",
            sku_id: "002L",
            included: &[],
            artifact: Some(artifact),
        }),
        cancelled_at: None,
    }
}

fn software_line(variant: usize) -> Line {
    let (offer_id, name, product_id, sku_id, included): (_, _, _, _, &'static [_]) = if variant == 0
    {
        (
            "DG7GMGF0DWM3:0002:DG7GMGF0DSQR",
            "Windows Server Standard - 16 Core",
            "DG7GMGF0DWM3",
            "0002",
            &[("DG7GMGF0DWM2", "0001"), ("DG7GMGF0DWMK", "0001")],
        )
    } else {
        (
            "DG7GMGF0DWT0:0001:DG7GMGF0DSQR",
            "Microsoft Identity Manager 2016 - 1 User CAL",
            "DG7GMGF0DWT0",
            "0001",
            &[],
        )
    };
    Line {
        offer_id: offer_id.to_owned(),
        name,
        term: "",
        subscription_id: None,
        entitled: Some(Entitled {
            entitlement_type: "software",
            product_id,
            sku_id,
            included,
            artifact: None,
        }),
        cancelled_at: None,
    }
}

fn offer(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::SoftwareSubscription => (
            "DG7GMGF0FKZV:0003:DG7GMGF0DQLM",
            "SQL Server Enterprise - 2 Core License Pack - 3 year",
        ),
        Kind::NewCommerce => {
            ("CFQ7TTC0LF8R:0001:CFQ7TTC0J203", "Office 365 Enterprise, new commerce")
        }
        Kind::Marketplace => ("DZH318Z0BXWC:0001:DZH318Z0BMJX", "Analytics for teams"),
        Kind::AzurePlan => ("DZH318Z0BPS6:0001:DZH318Z0BMJX", "Azure plan"),
        Kind::SavingsPlan => ("DZH318Z0BPS7:0001:DZH318Z0BSP1", "Azure savings plan for compute"),
        Kind::LegacyAzure => ("MS-AZR-0145P", "Microsoft Azure"),
        Kind::LegacyLicence => ("195416C1-3447-423A-B37B-EE59A99A19C4", "Exchange Online (Plan 1)"),
        Kind::Reservation | Kind::PerpetualSoftware | Kind::MixedOrder => ("", ""),
    }
}

fn add_on_offer(kind: Kind) -> (String, &'static str) {
    match kind {
        Kind::LegacyLicence => (
            "2828BE95-46BA-4F91-B2FD-0BEF192ECF60".to_owned(),
            "Exchange Online Archiving for Exchange Online",
        ),
        _ => ("CFQ7TTC0LHSL:0001:CFQ7TTC0K5DR".to_owned(), "Audio conferencing, new commerce"),
    }
}

fn billing_cycle(kind: Kind) -> &'static str {
    match kind {
        Kind::Reservation | Kind::PerpetualSoftware | Kind::MixedOrder => "one_time",
        Kind::SoftwareSubscription => "triennial",
        Kind::LegacyLicence => "annual",
        _ => "monthly",
    }
}

fn term(kind: Kind) -> &'static str {
    match kind {
        Kind::SoftwareSubscription => "P3Y",
        Kind::NewCommerce | Kind::Marketplace => "P1M",
        Kind::SavingsPlan => "P1Y",
        _ => "",
    }
}
