//! The guards and gates before every write (invariants 1 to 3).
//!
//! [`admit`] is called in the very transaction that commits a command, with the rows that
//! transaction has locked and read, and once more before a committed command is sent. It is one
//! function so that both moments ask the same questions.

use std::time::Duration;

use jiff::Timestamp;

use super::account::{Account, Proven};
use super::assess;
use super::command::{Action, Intent};
use super::domain::{self, DomainPattern};
use super::ids::TenantId;
use super::inventory::Customer;
use super::observation::{Census, CustomerSeen, Observation, Seen};
use super::protection::{self, Protection};
use super::reason::Reason;
use super::teardown::Teardown;

/// Remote facts may be this old before a PATCH or POST.
pub const FACTS_BEFORE_WRITE: Duration = Duration::from_secs(60);
/// Remote facts may be this old before a DELETE.
pub const FACTS_BEFORE_DELETE: Duration = Duration::from_secs(10);
/// How soon a row that waits for another one's canary looks again, if nothing wakes it.
const CANARY_RECHECK: Duration = Duration::from_secs(5);
/// How soon a row behind a pause or a halt looks again, if nothing wakes it.
const STOP_RECHECK: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The `[safety]` settings in force for an account, with the account's own identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyPolicy {
    /// `accounts.NAME.sandbox`.
    pub sandbox: bool,
    /// `accounts.NAME.partner_tenant`.
    pub partner_tenant: TenantId,
    /// `accounts.NAME.customers_limit`.
    pub customers_limit: usize,
    /// `safety.allow_domains`; empty refuses every write.
    pub allow_domains: Vec<DomainPattern>,
    /// `safety.protected_tenants`.
    pub protected_tenants: Vec<TenantId>,
    /// `safety.protected_domains`.
    pub protected_domains: Vec<DomainPattern>,
    /// `safety.require_domain`.
    pub require_domain: bool,
    /// `safety.grace`.
    pub grace: Duration,
    /// `safety.dry_run`.
    pub dry_run: bool,
    /// `safety.max_deletions_per_hour`.
    pub max_deletions_per_hour: usize,
    /// `safety.max_deletions_per_day`.
    pub max_deletions_per_day: usize,
}

/// What the transaction has read of the database.
#[derive(Debug, Clone)]
pub struct StoredFacts {
    /// The row of the teardown.
    pub teardown: Teardown,
    /// The row of its account.
    pub account: Account,
    /// The row of "every account".
    pub every: Account,
    /// When each DELETE of the account was committed, over the last day, oldest first: those
    /// unsettled, accepted or settled by reading, without the command in question.
    pub deletions: Vec<Timestamp>,
    /// Which classes have an unsettled command of a non-terminal teardown of the account that goes
    /// before the one in question: any that was sent, and of those that were not the older ones, so
    /// that two first writes never wait for each other. `write` stands for any class. A tenant's own
    /// DELETE does not count for it: while that is unsettled, what came back must be cancelled.
    pub in_flight: Proven,
    /// Whether one of those belongs to another tenant that is being worked on right now, so that it
    /// may be on its way to Partner Center.
    pub on_its_way: bool,
    /// Whether another unsettled command stands for the same (account, tenant, resource).
    pub resource_busy: bool,
    /// The deny entries of operators that may be about the tenant.
    pub protections: Vec<Protection>,
}

impl StoredFacts {
    /// Counts a command that the same transaction has just admitted.
    pub fn count(&mut self, intent: &Intent, now: Timestamp) {
        self.in_flight.write = true;
        self.in_flight.reservation |= intent.reservation;
        if intent.action == Action::DeleteCustomer {
            self.in_flight.delete = true;
            self.deletions.push(now);
        }
    }
}

/// What the gates say to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go out.
    Allow,
    /// Not now; the teardown waits and spends no attempt.
    Wait {
        /// Which gate.
        reason: Reason,
        /// When to look again.
        until: Timestamp,
        /// In words.
        text: String,
    },
    /// The remote facts are too old or missing: read again, then decide again.
    Stale,
    /// A guard refuses: the teardown is held until a person releases it.
    Hold {
        /// Which guard.
        guard: Reason,
        /// In words.
        text: String,
    },
    /// A guard refuses the whole account: it is halted until a person lifts that.
    Halt {
        /// Which guard.
        guard: Reason,
        /// In words.
        text: String,
    },
}

fn hold(guard: Reason, text: impl Into<String>) -> Verdict {
    Verdict::Hold { guard, text: text.into() }
}

fn wait(reason: Reason, until: Timestamp, text: impl Into<String>) -> Verdict {
    Verdict::Wait { reason, until, text: text.into() }
}

fn after(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The guards that need no API call: asked at enqueue, and again before each write. Returns the
/// guard that refuses and why.
///
/// # Errors
/// The first guard that refuses, with a text for the operator.
pub fn admit_locally(
    tenant: TenantId,
    expected_domain: Option<&str>,
    policy: &SafetyPolicy,
) -> Result<(), (Reason, String)> {
    if !policy.sandbox {
        return Err((
            Reason::NotSandbox,
            "the account is not declared an integration sandbox (sandbox = true)".to_owned(),
        ));
    }
    if tenant == policy.partner_tenant {
        return Err((Reason::OwnTenant, format!("{tenant} is the partner's own tenant")));
    }
    if policy.protected_tenants.contains(&tenant) {
        return Err((
            Reason::ProtectedTenant,
            format!("{tenant} stands in safety.protected_tenants"),
        ));
    }
    match expected_domain {
        None if policy.require_domain => {
            return Err((
                Reason::DomainRequired,
                "safety.require_domain is on and no domain was given".to_owned(),
            ));
        }
        None => {}
        Some(domain) => {
            if let Some(pattern) = policy.protected_domains.iter().find(|p| p.matches(domain)) {
                return Err((
                    Reason::ProtectedDomain,
                    format!("{domain} matches {pattern} of safety.protected_domains"),
                ));
            }
        }
    }
    Ok(())
}

/// What one description of the customer says to the guards.
fn admit_customer(
    customer: &Customer,
    tenant: TenantId,
    expected_domain: Option<&str>,
    policy: &SafetyPolicy,
) -> Result<(), (Reason, String)> {
    let same = |text: &str| text.parse::<TenantId>().is_ok_and(|id| id == tenant);
    let id = customer.id.as_deref().unwrap_or("");
    if !same(id) {
        return Err((Reason::CustomerMismatch, format!("asked for {tenant}, read id {id:?}")));
    }
    // The documentation itself shows "<guid>" here, so only another real GUID counts against it.
    if let Some(other) = customer.tenant_id.as_deref().filter(|t| t.parse::<TenantId>().is_ok())
        && !same(other)
    {
        return Err((
            Reason::CustomerMismatch,
            format!("asked for {tenant}, read companyProfile.tenantId {other}"),
        ));
    }
    if let Some(relationship) = customer.relationship.as_deref()
        && !relationship.eq_ignore_ascii_case("reseller")
    {
        return Err((
            Reason::NotReseller,
            format!("relationshipToPartner is {relationship:?}, not \"reseller\""),
        ));
    }
    let Some(read) = customer.domain.as_deref() else {
        return Err((
            Reason::DomainNotAllowed,
            "the customer was read without a domain".to_owned(),
        ));
    };
    if let Some(pattern) = policy.protected_domains.iter().find(|p| p.matches(read)) {
        return Err((
            Reason::ProtectedDomain,
            format!("{read} matches {pattern} of safety.protected_domains"),
        ));
    }
    if !policy.allow_domains.iter().any(|pattern| pattern.matches(read)) {
        return Err((
            Reason::DomainNotAllowed,
            if policy.allow_domains.is_empty() {
                "safety.allow_domains is empty, which refuses every write".to_owned()
            } else {
                format!("{read} matches no pattern of safety.allow_domains")
            },
        ));
    }
    if let Some(expected) = expected_domain
        && domain::fold(expected) != domain::fold(read)
    {
        return Err((
            Reason::DomainMismatch,
            format!("the operator named {expected}, the API says {read}"),
        ));
    }
    Ok(())
}

fn too_old(at: Timestamp, now: Timestamp, limit: Duration) -> bool {
    now.duration_since(at) > jiff::SignedDuration::try_from(limit).unwrap_or_default()
}

/// What the API said, as far as the guards ask.
fn admit_remotely(
    intent: &Intent,
    teardown: &Teardown,
    seen: &Observation,
    policy: &SafetyPolicy,
    now: Timestamp,
) -> Verdict {
    let deleting = intent.action == Action::DeleteCustomer;
    let limit = if deleting { FACTS_BEFORE_DELETE } else { FACTS_BEFORE_WRITE };
    let Some(census) = &seen.census else { return Verdict::Stale };
    let Some(inventory) = assess::assess(seen) else { return Verdict::Stale };
    if too_old(census.at, now, limit) || too_old(inventory.read_at, now, limit) {
        return Verdict::Stale;
    }
    // Invariant 7 once more, where it cannot be passed by: no DELETE on incomplete knowledge.
    if deleting && !inventory.proves_nothing_active() {
        return Verdict::Stale;
    }
    let expected = teardown.expected_domain.as_deref();
    match object(teardown.tenant_id, expected, &census.fact, seen.customer.as_ref(), policy) {
        None => {}
        Some((guard @ Reason::TooManyCustomers, text)) => return Verdict::Halt { guard, text },
        Some((guard, text)) => return hold(guard, text),
    }
    match &seen.customer {
        // The list still has it, the customer itself does not: read again.
        Some(Seen { fact: CustomerSeen::Gone { .. }, .. }) => Verdict::Stale,
        // A DELETE may rest on the list alone, which is at most ten seconds old and says the same.
        None if !deleting => Verdict::Stale,
        Some(_) | None => Verdict::Allow,
    }
}

/// The guard that objects to what the API says of the customer and its account, if one does.
pub fn object(
    tenant: TenantId,
    expected_domain: Option<&str>,
    census: &Census,
    customer: Option<&Seen<CustomerSeen>>,
    policy: &SafetyPolicy,
) -> Option<(Reason, String)> {
    let Census { customers, entry, .. } = census;
    if *customers > policy.customers_limit {
        let text = format!(
            "the account has {customers} customers, more than customers_limit = {}",
            policy.customers_limit
        );
        return Some((Reason::TooManyCustomers, text));
    }
    let Some(entry) = entry else {
        let text = format!("the account's {customers} customers do not include {tenant}");
        return Some((Reason::NotInCustomerList, text));
    };
    let by_id = customer.and_then(|seen| match &seen.fact {
        CustomerSeen::Present(customer) => Some(customer),
        CustomerSeen::Gone { .. } => None,
    });
    let readings = [Some(entry), by_id];
    for reading in readings.into_iter().flatten() {
        if let Err(objection) = admit_customer(reading, tenant, expected_domain, policy) {
            return Some(objection);
        }
    }
    if readings.into_iter().flatten().all(|reading| reading.relationship.is_none()) {
        let text = "relationshipToPartner could not be read".to_owned();
        return Some((Reason::NotReseller, text));
    }
    None
}

/// What people and stored stops say.
fn admit_by_stops(facts: &StoredFacts, now: Timestamp) -> Verdict {
    let (account, every) = (&facts.account, &facts.every);
    if let Some(stop) = account.halted.as_ref().or(every.halted.as_ref()) {
        return wait(Reason::Halted, after(now, STOP_RECHECK), stop.reason.clone());
    }
    for row in [every, account] {
        if row.is_paused(now)
            && let Some(stop) = &row.paused
        {
            let until = stop.until.unwrap_or_else(|| after(now, STOP_RECHECK));
            return wait(
                Reason::Paused,
                until,
                format!("paused by {}: {}", stop.actor, stop.reason),
            );
        }
    }
    if facts.teardown.state.is_terminal() {
        return hold(Reason::Aborted, "the teardown has ended");
    }
    if let Some(held) = &facts.teardown.hold {
        return hold(held.code, held.text.clone());
    }
    if let Some(until) = account.throttled_until.filter(|until| now < *until) {
        return wait(Reason::Throttled, until, "the account is closed by a 429");
    }
    Verdict::Allow
}

/// The caps on deletions. A full cap means waiting; its clock never runs backwards.
fn admit_by_caps(facts: &StoredFacts, policy: &SafetyPolicy, now: Timestamp) -> Verdict {
    let clock = facts.account.clock_high.map_or(now, |high| high.max(now));
    let caps = [
        (Reason::CapHour, HOUR, policy.max_deletions_per_hour),
        (Reason::CapDay, DAY, policy.max_deletions_per_day),
    ];
    for (reason, window, cap) in caps {
        let within: Vec<_> =
            facts.deletions.iter().filter(|at| !too_old(**at, clock, window)).collect();
        if within.len() >= cap {
            // The cap opens when enough of the oldest have aged out.
            let opens = within
                .len()
                .checked_sub(cap)
                .and_then(|index| within.get(index))
                .map_or(after(clock, window), |oldest| after(**oldest, window));
            return wait(
                reason,
                opens.max(after(now, Duration::from_secs(1))),
                format!("{} deletions in the window, cap {cap}", within.len()),
            );
        }
    }
    Verdict::Allow
}

/// The canaries: each first step of an account goes out alone until one was accepted. Nothing of the
/// account starts beside it, and it starts beside nothing.
fn admit_by_canary(intent: &Intent, facts: &StoredFacts, now: Timestamp) -> Verdict {
    let (proven, busy) = (facts.account.proven, facts.in_flight);
    let a_first_is_out = (busy.write && !proven.write)
        || (busy.reservation && !proven.reservation)
        || (busy.delete && !proven.delete);
    let deletes = intent.action == Action::DeleteCustomer;
    let is_a_first =
        !proven.write || (intent.reservation && !proven.reservation) || (deletes && !proven.delete);
    if a_first_is_out || (is_a_first && facts.on_its_way) {
        return wait(
            Reason::Canary,
            after(now, CANARY_RECHECK),
            "the account's first step of this kind goes out alone",
        );
    }
    Verdict::Allow
}

/// Whether a command may be committed, or, once committed, be sent.
///
/// `seen` is what the pass has read; `facts` what the transaction has read. Everything is asked
/// again each time; nothing is remembered from an earlier yes.
pub fn admit(
    intent: &Intent,
    facts: &StoredFacts,
    seen: &Observation,
    policy: &SafetyPolicy,
    now: Timestamp,
) -> Verdict {
    let teardown = &facts.teardown;
    let by_stops = admit_by_stops(facts, now);
    if by_stops != Verdict::Allow {
        return by_stops;
    }
    if let Some((guard, text)) = protection::object_to_write(&facts.protections, teardown, seen) {
        return hold(guard, text);
    }
    if let Err((guard, text)) =
        admit_locally(teardown.tenant_id, teardown.expected_domain.as_deref(), policy)
    {
        return hold(guard, text);
    }
    let by_api = admit_remotely(intent, teardown, seen, policy, now);
    if by_api != Verdict::Allow {
        return by_api;
    }
    let opens = after(teardown.created_at, policy.grace);
    // Without a grace there is nothing to wait for, also when the clock was set back since.
    if !policy.grace.is_zero() && now < opens {
        return wait(Reason::Grace, opens, "safety.grace since the enqueue has not passed");
    }
    if policy.dry_run {
        return wait(
            Reason::DryRun,
            after(now, STOP_RECHECK),
            format!("safety.dry_run: {} was not sent", intent.path),
        );
    }
    if facts.resource_busy {
        return wait(
            Reason::ResourceBusy,
            after(now, CANARY_RECHECK),
            "another command on the same resource is unsettled",
        );
    }
    if intent.action == Action::DeleteCustomer {
        let by_caps = admit_by_caps(facts, policy, now);
        if by_caps != Verdict::Allow {
            return by_caps;
        }
    }
    admit_by_canary(intent, facts, now)
}
