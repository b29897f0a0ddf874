//! What the API says of the account and the customer.

use jiff::Timestamp;

use super::local::{Named, protected};
use super::{Guard, Objection, Question, Verdict, held_by};
use crate::core::domain;
use crate::core::freshness::Before;
use crate::core::ids::TenantId;
use crate::core::inventory::Customer;
use crate::core::observation::{Census, CustomerSeen, Seen};
use crate::core::reason::Reason;

/// What was read, beside what the operator named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    named: Named<'a>,
    census: &'a Census,
    /// The customer by id, where it is there.
    by_id: Option<&'a Customer>,
}

impl<'a> Read<'a> {
    pub(super) fn of(
        named: Named<'a>,
        census: &'a Census,
        customer: Option<&'a Seen<CustomerSeen>>,
    ) -> Self {
        let by_id = customer.and_then(|seen| match &seen.fact {
            CustomerSeen::Present(customer) => Some(customer),
            CustomerSeen::Gone { .. } => None,
        });
        Self { named, census, by_id }
    }

    /// The entry of the list, and the customer by id.
    fn readings(&self) -> impl Iterator<Item = &'a Customer> {
        [self.census.entry.as_ref(), self.by_id].into_iter().flatten()
    }

    /// What one of [`Guard::OF_CUSTOMER`] objects to.
    pub(super) fn objection(&self, guard: Guard) -> Option<Objection> {
        match guard {
            Guard::CustomersLimit => self.too_many_customers(),
            Guard::CustomerList => self.not_listed(),
            Guard::CustomerId => self.readings().find_map(|read| mismatch(read, self.named.tenant)),
            Guard::Relationship => self.not_reseller(),
            Guard::ProtectedDomain => self.protected_domain(),
            Guard::AllowedDomain => self.readings().find_map(|read| self.not_allowed(read)),
            Guard::NamedDomain => self.readings().find_map(|read| self.not_named(read)),
            _ => None,
        }
    }

    fn too_many_customers(&self) -> Option<Objection> {
        let (customers, limit) = (self.census.customers, self.named.policy.customers_limit);
        (customers > limit).then(|| {
            let text = format!(
                "the account has {customers} customers, more than customers_limit = {limit}"
            );
            (Reason::TooManyCustomers, text)
        })
    }

    fn not_listed(&self) -> Option<Objection> {
        let (customers, tenant) = (self.census.customers, self.named.tenant);
        self.census.entry.is_none().then(|| {
            let text = format!("the account's {customers} customers do not include {tenant}");
            (Reason::NotInCustomerList, text)
        })
    }

    fn not_reseller(&self) -> Option<Objection> {
        let mut said = self.readings().filter_map(|read| read.relationship.as_deref()).peekable();
        if said.peek().is_none() {
            let text = "relationshipToPartner could not be read".to_owned();
            return Some((Reason::NotReseller, text));
        }
        let other = said.find(|relationship| !relationship.eq_ignore_ascii_case("reseller"))?;
        let text = format!("relationshipToPartner is {other:?}, not \"reseller\"");
        Some((Reason::NotReseller, text))
    }

    fn protected_domain(&self) -> Option<Objection> {
        let mut read = self.readings().filter_map(|read| read.domain.as_deref());
        let policy = self.named.policy;
        self.named.protected_domain().or_else(|| read.find_map(|domain| protected(domain, policy)))
    }

    fn not_allowed(&self, read: &Customer) -> Option<Objection> {
        let patterns = &self.named.policy.allow_domains;
        let text = match read.domain.as_deref() {
            None => "the customer was read without a domain".to_owned(),
            Some(_) if patterns.is_empty() => {
                "safety.allow_domains is empty, which refuses every write".to_owned()
            }
            Some(domain) if patterns.iter().any(|pattern| pattern.allows(domain)) => return None,
            Some(domain) => format!("{domain} matches no pattern of safety.allow_domains"),
        };
        Some((Reason::DomainNotAllowed, text))
    }

    fn not_named(&self, read: &Customer) -> Option<Objection> {
        let named = self.named.domain?;
        let read = read.domain.as_deref().unwrap_or("none");
        (!domain::is_same(named, read)).then(|| {
            let text = format!("the operator named {named}, the API says {read}");
            (Reason::DomainMismatch, text)
        })
    }
}

/// Whether a reading is about another customer than was asked for.
fn mismatch(read: &Customer, tenant: TenantId) -> Option<Objection> {
    let same = |text: &str| text.parse::<TenantId>().is_ok_and(|id| id == tenant);
    let id = read.id.as_deref().unwrap_or("");
    if !same(id) {
        return Some((Reason::CustomerMismatch, format!("asked for {tenant}, read id {id:?}")));
    }
    // The documentation itself shows "<guid>" here, so only another real GUID counts against it.
    let other = read.tenant_id.as_deref().filter(|text| text.parse::<TenantId>().is_ok())?;
    (!same(other)).then(|| {
        let text = format!("asked for {tenant}, read companyProfile.tenantId {other}");
        (Reason::CustomerMismatch, text)
    })
}

pub(super) fn fresh_facts(q: &Question<'_>) -> Verdict {
    let before = if q.deletes() { Before::Delete } else { Before::Change };
    let inventory = q.inventory().map(|inventory| inventory.read_at);
    let census = q.seen.census.as_ref().map(|census| census.at);
    // A DELETE may rest on the list alone; see `presence`.
    let customer = q.seen.customer.as_ref().filter(|_| !q.deletes()).map(|customer| customer.at);
    let is_fresh = |at: Timestamp| q.seen.is_fresh(at, before, q.now);
    let read = [inventory, census].into_iter().all(|at| at.is_some_and(is_fresh));
    if read && customer.is_none_or(is_fresh) { Verdict::Allow } else { Verdict::Stale }
}

/// Invariant 7 once more, where it cannot be passed by: no DELETE on incomplete knowledge.
pub(super) fn nothing_active(q: &Question<'_>) -> Verdict {
    let proven = q.inventory().is_some_and(|inventory| inventory.proves_nothing_active());
    if q.deletes() && !proven { Verdict::Stale } else { Verdict::Allow }
}

/// What a guard objects to in what was read; without a customer list nothing can be said.
fn ask(
    q: &Question<'_>,
    guard: Guard,
    judge: impl FnOnce(Option<Objection>) -> Verdict,
) -> Verdict {
    let Some(census) = &q.seen.census else { return Verdict::Stale };
    judge(Read::of(q.named(), &census.fact, q.seen.customer.as_ref()).objection(guard))
}

/// This one is about the account, and halts it.
pub(super) fn customers_limit(q: &Question<'_>) -> Verdict {
    ask(q, Guard::CustomersLimit, |objection| {
        objection.map_or(Verdict::Allow, |(guard, text)| Verdict::Halt { guard, text })
    })
}

/// A customer that a list lacks is looked for in another list before that counts.
pub(super) fn customer_list(q: &Question<'_>) -> Verdict {
    let unsure =
        |census: &Seen<Census>| census.fact.entry.is_none() && !census.fact.lacks_the_tenant();
    if q.seen.census.as_ref().is_some_and(unsure) {
        return Verdict::Stale;
    }
    ask(q, Guard::CustomerList, held_by)
}

pub(super) fn customer_id(q: &Question<'_>) -> Verdict {
    ask(q, Guard::CustomerId, held_by)
}

pub(super) fn relationship(q: &Question<'_>) -> Verdict {
    ask(q, Guard::Relationship, held_by)
}

/// The domain that the operator named is known without the API.
pub(super) fn protected_domain(q: &Question<'_>) -> Verdict {
    match q.named().protected_domain() {
        None => ask(q, Guard::ProtectedDomain, held_by),
        objection => held_by(objection),
    }
}

pub(super) fn allowed_domain(q: &Question<'_>) -> Verdict {
    ask(q, Guard::AllowedDomain, held_by)
}

pub(super) fn named_domain(q: &Question<'_>) -> Verdict {
    ask(q, Guard::NamedDomain, held_by)
}

pub(super) fn presence(q: &Question<'_>) -> Verdict {
    match &q.seen.customer {
        // The list still has it, the customer itself does not: read again.
        Some(Seen { fact: CustomerSeen::Gone { .. }, .. }) => Verdict::Stale,
        // A DELETE may rest on the list alone, which is at most ten seconds old and says the same.
        None if !q.deletes() => Verdict::Stale,
        Some(_) | None => Verdict::Allow,
    }
}
