//! A sandbox account and its customers, as a test or the demo composes them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::app::App;
use super::dice::Dice;
use super::purchase::{Kind, Purchase};

/// How many customers an integration sandbox holds.
pub const CUSTOMERS_LIMIT: usize = 75;

/// A customer, described.
#[derive(Debug, Clone)]
pub struct Customer {
    /// The tenant id.
    pub id: Uuid,
    /// The tenant's first domain.
    pub domain: String,
    /// The company's name.
    pub company: String,
    /// `reseller`, or `none` where there is no relationship.
    pub relationship: String,
    /// What it has bought.
    pub purchases: Vec<Purchase>,
    /// DELETE is refused for good, as for customers that were created with an invalid address.
    pub cannot_be_deleted: bool,
}

impl Customer {
    /// A customer that has bought nothing.
    pub fn new(id: Uuid, domain: impl Into<String>) -> Self {
        let domain = domain.into();
        let company = domain.split('.').next().unwrap_or_default().to_owned();
        Self {
            id,
            domain,
            company,
            relationship: "reseller".to_owned(),
            purchases: Vec::new(),
            cannot_be_deleted: false,
        }
    }

    /// Adds a purchase.
    pub fn with(mut self, purchase: Purchase) -> Self {
        self.purchases.push(purchase);
        self
    }

    /// Sets `relationshipToPartner`.
    pub fn relationship(mut self, relationship: impl Into<String>) -> Self {
        self.relationship = relationship.into();
        self
    }

    /// Lets DELETE be refused for good.
    pub fn cannot_be_deleted(mut self) -> Self {
        self.cannot_be_deleted = true;
        self
    }
}

/// A sandbox has no room for more customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sandbox holds {limit} customers; it has {present} and {wanted} more do not fit")]
pub struct SandboxFull {
    /// How many it holds.
    pub limit: usize,
    /// How many it has.
    pub present: usize,
    /// How many more were wanted.
    pub wanted: usize,
}

/// An account: a partner tenant, the credential of one app, and customers.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) partner_tenant: Uuid,
    pub(crate) app: App,
    pub(crate) customers: Vec<Customer>,
    pub(crate) protected: BTreeSet<Uuid>,
    pub(crate) token_tenant: Option<Uuid>,
    limit: usize,
}

impl std::fmt::Debug for Sandbox {
    /// Leaves out the customers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("partner_tenant", &self.partner_tenant)
            .field("app", &self.app)
            .field("customers", &self.customers.len())
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// An account without customers.
    pub fn new(partner_tenant: Uuid, client_id: Uuid, client_secret: impl Into<String>) -> Self {
        Self {
            partner_tenant,
            app: App::new(client_id, client_secret.into()),
            customers: Vec::new(),
            protected: BTreeSet::new(),
            token_tenant: None,
            limit: CUSTOMERS_LIMIT,
        }
    }

    /// The partner tenant.
    pub fn partner_tenant(&self) -> Uuid {
        self.partner_tenant
    }

    /// Its app registration, to add other credentials to.
    pub fn app(&mut self) -> &mut App {
        &mut self.app
    }

    /// The customers, in the order of the customer list.
    pub fn customers(&self) -> &[Customer] {
        &self.customers
    }

    /// Changes how many customers fit, for accounts that are no sandbox.
    pub fn limit(&mut self, customers: usize) -> &mut Self {
        self.limit = customers;
        self
    }

    /// Issues tokens whose `tid` names another tenant.
    pub fn foreign_tokens(&mut self, tid: Uuid) -> &mut Self {
        self.token_tenant = Some(tid);
        self
    }

    /// Adds a customer.
    pub fn add(&mut self, customer: Customer) -> Result<&mut Self, SandboxFull> {
        self.room_for(1)?;
        self.customers.push(customer);
        Ok(self)
    }

    /// Notes that no write may ever reach this customer: the journal calls each a breach.
    pub fn protect(&mut self, customer: Uuid) -> &mut Self {
        self.protected.insert(customer);
        self
    }

    /// How many purchases of each kind there are; zero where there is none.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts: BTreeMap<Kind, usize> = Kind::ALL.map(|kind| (kind, 0)).into();
        for purchase in self.customers.iter().flat_map(|customer| &customer.purchases) {
            *counts.entry(purchase.kind).or_default() += 1;
        }
        counts
    }

    fn room_for(&self, wanted: usize) -> Result<(), SandboxFull> {
        let present = self.customers.len();
        if present + wanted > self.limit {
            return Err(SandboxFull { limit: self.limit, present, wanted });
        }
        Ok(())
    }

    /// Adds `count` customers with a realistic mix in which every kind occurs, within the documented
    /// quotas (10 Azure plans with 3 Azure subscriptions each, 2 reservations and 5 subscriptions
    /// per customer, 10 legacy Azure subscriptions). Only a population of a single customer exceeds
    /// them, because every kind must still occur. Returns how many purchases of each kind there are.
    pub fn populate(
        &mut self,
        count: usize,
        seed: u64,
        mix: &Mix,
    ) -> Result<BTreeMap<Kind, usize>, SandboxFull> {
        self.room_for(count)?;
        let mut dice = Dice::new(seed);
        let first = self.customers.len();
        for number in first..first + count {
            let id = dice.uuid();
            let name = format!("sandbox{:03}{}", number + 1, dice.short_order_id());
            let mut customer = Customer::new(id, format!("{name}.onmicrosoft.com"));
            customer.company = format!("Sandbox customer {}", number + 1);
            self.customers.push(customer);
        }
        if count > 0 {
            deal(&mut self.customers[first..], &mut dice, mix);
        }
        Ok(self.counts())
    }
}

/// What a population is made of.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// The most purchases a customer has beside its first.
    pub extra_purchases: usize,
    /// How many customers have a savings plan, which no API call cancels.
    pub savings_plans: usize,
}

impl Default for Mix {
    fn default() -> Self {
        Self { extra_purchases: 2, savings_plans: 0 }
    }
}

/// Kinds in the order in which they are dealt, so that small populations hold all of them.
const DEALT: [Kind; 9] = [
    Kind::AzurePlan,
    Kind::Reservation,
    Kind::PerpetualSoftware,
    Kind::NewCommerce,
    Kind::LegacyLicence,
    Kind::SoftwareSubscription,
    Kind::MixedOrder,
    Kind::Marketplace,
    Kind::LegacyAzure,
];

fn deal(customers: &mut [Customer], dice: &mut Dice, mix: &Mix) {
    let count = customers.len();
    for turn in 0..count.max(DEALT.len()) {
        let kind = DEALT[turn % DEALT.len()];
        customers[turn % count].purchases.push(usual(kind, dice));
    }
    for customer in customers.iter_mut() {
        for _ in 0..dice.pick(0..mix.extra_purchases + 1) {
            // The Azure kinds are scarce: their first deal already uses up the quota.
            let purchase = usual(DEALT[dice.pick(1..DEALT.len() - 1)], dice);
            if fits(customer, &purchase) {
                customer.purchases.push(purchase);
            }
        }
    }
    for customer in customers.iter_mut().rev().take(mix.savings_plans) {
        customer.purchases.push(Purchase::new(Kind::SavingsPlan));
    }
}

fn usual(kind: Kind, dice: &mut Dice) -> Purchase {
    let purchase = Purchase::new(kind);
    match kind {
        Kind::NewCommerce | Kind::LegacyLicence => purchase.add_ons(dice.pick(0..2)),
        Kind::AzurePlan => purchase.azure_subscriptions(dice.pick(1..4)),
        _ => purchase,
    }
}

fn fits(customer: &Customer, more: &Purchase) -> bool {
    let subscriptions = |purchase: &Purchase| match purchase.kind.is_held_by_order() {
        true => 0,
        false => 1 + purchase.add_ons,
    };
    let reservations = |purchase: &Purchase| usize::from(purchase.kind.holds_reservation());
    let total = |count: fn(&Purchase) -> usize| {
        customer.purchases.iter().map(count).sum::<usize>() + count(more)
    };
    total(subscriptions) <= 5 && total(reservations) <= 2
}
