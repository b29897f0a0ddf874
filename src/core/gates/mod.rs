//! The guards and gates before every write (invariants 1 to 3).
//!
//! [`admit`] is called in the very transaction that commits a command, with the rows that
//! transaction has locked and read, and once more before a committed command is sent. It is one
//! function so that both moments ask the same questions. Each question is a [`Guard`], asked in the
//! order of [`Guard::ALL`]; the first that does not allow decides.

mod consent;
mod local;
mod pace;
mod policy;
mod remote;
mod stops;
mod stored;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::local::Named;
pub use self::policy::{SafetyPolicy, Share};
use self::remote::Read;
pub use self::stored::{GATES_OF_ACCOUNTS, StoredGates};
use super::account::{Account, Canary, Proven};
use super::assess::{self, Assessment};
use super::command::{Action, Intent};
use super::ids::{CommandId, TenantId};
use super::observation::{Census, CustomerSeen, Observation, Seen};
use super::protection::Protection;
use super::reason::Reason;
use super::teardown::Teardown;

/// A gate that opens wakes the rows behind it. This is the net beneath, should nothing wake them.
pub const GATE_NET: Duration = Duration::from_secs(3600);

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
    /// The command in question; `None` where nobody has given it an id yet.
    pub command: Option<CommandId>,
    /// How many calls of other commands of the account are under way. Zero at a commit: a first step
    /// waits for them when it is about to go out, and by then nothing new has started beside it.
    pub calls: usize,
    /// Whether another unsettled command stands for the same (account, tenant, resource).
    pub resource_busy: bool,
    /// How many teardowns of the account have not ended and have no approval that counts, this one
    /// included. Read only where `safety.hold_batch_over` asks for it.
    pub unapproved: usize,
    /// The deny entries of operators that may be about the tenant.
    pub protections: Vec<Protection>,
    /// How far the wall clock is ahead of database time.
    pub ahead: SignedDuration,
}

impl StoredFacts {
    /// Counts a command that the same transaction has just admitted.
    pub fn count(&mut self, intent: &Intent, now: Timestamp) {
        if intent.action == Action::DeleteCustomer {
            self.deletions.push(now);
        }
        self.account.canary = self.as_canary(intent).or(self.account.canary);
    }

    /// The command in question as the canary of its account, if it is a first step of its kind.
    pub fn as_canary(&self, intent: &Intent) -> Option<Canary> {
        let command = self.command.filter(|_| self.is_a_first(intent))?;
        Some(Canary { command, tenant_id: self.teardown.tenant_id })
    }

    /// Whether a command of its kind was never accepted in this account.
    fn is_a_first(&self, intent: &Intent) -> bool {
        !self.account.proven.covers(Proven::of(intent))
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

macro_rules! guards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $ask:path;)*) => {
        /// One question before a write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Guard {
            $($(#[$doc])* $variant,)*
        }

        impl Guard {
            /// Every guard, in the order in which they are asked.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn ask(self, question: &Question<'_>) -> Verdict {
                match self { $(Self::$variant => $ask(question),)* }
            }
        }
    };
}

guards! {
    // The command itself.
    /// The command is what is derived from its action, tenant and resource.
    ForgedCommand = "forged_command" => local::forged_command;

    // What people and stored stops say.
    /// No halt of the account, nor of everything.
    Halt = "halt" => stops::halt;
    /// No pause of the account, nor of everything.
    Pause = "pause" => stops::pause;
    /// The teardown has not ended.
    Ended = "ended" => stops::ended;
    /// Nobody holds the teardown.
    Hold = "hold" => stops::hold;
    /// No `Retry-After` is running.
    Throttle = "throttle" => stops::throttle;

    // What is known without the API.
    /// The account is declared a sandbox.
    Sandbox = "sandbox" => local::sandbox;
    /// The tenant is not the partner's own.
    OwnTenant = "own_tenant" => local::own_tenant;
    /// No operator's deny entry is about the tenant or its domain.
    Protection = "protection" => local::protection;
    /// The tenant is not protected.
    ProtectedTenant = "protected_tenant" => local::protected_tenant;
    /// The operator named the domain, where that is required.
    DomainRequired = "domain_required" => local::domain_required;
    /// The account was armed as it is configured now, where that is required.
    Arming = "arming" => consent::arming;

    // What the API says.
    /// Everything that must be known was read, and not long ago.
    FreshFacts = "fresh_facts" => remote::fresh_facts;
    /// Nothing active is left, before a DELETE (invariant 7).
    NothingActive = "nothing_active" => remote::nothing_active;
    /// The account has no more customers than a sandbox.
    CustomersLimit = "customers_limit" => remote::customers_limit;
    /// The account's own list holds the tenant.
    CustomerList = "customer_list" => remote::customer_list;
    /// The customer read is the tenant queued.
    CustomerId = "customer_id" => remote::customer_id;
    /// The partner is the customer's reseller.
    Relationship = "relationship" => remote::relationship;
    /// Neither the domain named nor the one read is protected.
    ProtectedDomain = "protected_domain" => remote::protected_domain;
    /// The domain read is allowed.
    AllowedDomain = "allowed_domain" => remote::allowed_domain;
    /// The domain read is the one the operator named.
    NamedDomain = "named_domain" => remote::named_domain;
    /// The customer itself was read and is there.
    Presence = "presence" => remote::presence;

    // What people must have said yes to.
    /// Somebody approved it, where that is required.
    Approval = "approval" => consent::approval;
    /// Nothing is active but what was approved, where it was approved.
    PlanDrift = "plan_drift" => consent::plan_drift;
    /// Not too large a share of the account waits for its end without an approval.
    LargeBatch = "large_batch" => consent::large_batch;

    // When, and how much at once.
    /// `safety.grace` has passed.
    Grace = "grace" => pace::grace;
    /// A window of `safety.windows` is open.
    Window = "window" => pace::window;
    /// `safety.dry_run` is off.
    DryRun = "dry_run" => pace::dry_run;
    /// Nothing else is unsettled on the same resource.
    ResourceBusy = "resource_busy" => pace::resource_busy;
    /// The hourly cap on deletions has room.
    CapHour = "cap_hour" => pace::cap_hour;
    /// The daily cap on deletions has room.
    CapDay = "cap_day" => pace::cap_day;
    /// First steps of an account go out alone.
    Canary = "canary" => pace::canary;
}

impl Guard {
    /// Those that look at what the API says of the customer and its account.
    const OF_CUSTOMER: [Self; 7] = [
        Self::CustomersLimit,
        Self::CustomerList,
        Self::CustomerId,
        Self::Relationship,
        Self::ProtectedDomain,
        Self::AllowedDomain,
        Self::NamedDomain,
    ];
}

/// A command before the guards, with everything they may ask.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    intent: &'a Intent,
    facts: &'a StoredFacts,
    seen: &'a Observation,
    policy: &'a SafetyPolicy,
    now: Timestamp,
}

impl<'a> Question<'a> {
    fn deletes(&self) -> bool {
        self.intent.action == Action::DeleteCustomer
    }

    fn named(&self) -> Named<'a> {
        let row = &self.facts.teardown;
        Named { tenant: row.tenant_id, domain: row.expected_domain.as_deref(), policy: self.policy }
    }

    fn inventory(&self) -> Option<Assessment> {
        assess::assess(self.seen)
    }
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

/// The verdict on a command that is not what would be derived.
pub fn forged(why: &str) -> Verdict {
    hold(Reason::ForgedCommand, why)
}

/// What a guard objects to: its code and why.
type Objection = (Reason, String);

/// The verdict on an objection that stops one teardown.
fn held_by(objection: Option<Objection>) -> Verdict {
    objection.map_or(Verdict::Allow, |(guard, text)| hold(guard, text))
}

/// The guards that need no API call: asked at enqueue, and again before each write.
///
/// # Errors
/// The first guard that refuses, with a text for the operator.
pub fn admit_locally(
    tenant: TenantId,
    expected_domain: Option<&str>,
    policy: &SafetyPolicy,
) -> Result<(), (Reason, String)> {
    let named = Named { tenant, domain: expected_domain, policy };
    let guards = [
        (Guard::Sandbox, named.not_a_sandbox()),
        (Guard::OwnTenant, named.own_tenant()),
        (Guard::ProtectedTenant, named.protected_tenant()),
        (Guard::DomainRequired, named.domain_missing()),
        (Guard::ProtectedDomain, named.protected_domain()),
    ];
    let first = guards
        .into_iter()
        .find_map(|(guard, objection)| objection.filter(|_| policy.skip != Some(guard)));
    first.map_or(Ok(()), Err)
}

/// The guard that objects to what the API says of the customer and its account, if one does.
pub fn object(
    tenant: TenantId,
    expected_domain: Option<&str>,
    census: &Census,
    customer: Option<&Seen<CustomerSeen>>,
    policy: &SafetyPolicy,
) -> Option<(Reason, String)> {
    let named = Named { tenant, domain: expected_domain, policy };
    let read = Read::of(named, census, customer);
    let asked = Guard::OF_CUSTOMER.into_iter().filter(|guard| policy.skip != Some(*guard));
    asked.filter_map(|guard| read.objection(guard)).next()
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
    verdicts(intent, facts, seen, policy, now)
        .map(|(_, verdict)| verdict)
        .find(|verdict| *verdict != Verdict::Allow)
        .unwrap_or(Verdict::Allow)
}

/// The verdict of each guard on a command, in the order of [`Guard::ALL`]. Where the API was not read, `seen`
/// is empty, and the guards that need it answer [`Verdict::Stale`].
pub fn verdicts<'a>(
    intent: &'a Intent,
    facts: &'a StoredFacts,
    seen: &'a Observation,
    policy: &'a SafetyPolicy,
    now: Timestamp,
) -> impl Iterator<Item = (Guard, Verdict)> + use<'a> {
    let question = Question { intent, facts, seen, policy, now };
    let asked = Guard::ALL.iter().copied().filter(|guard| policy.skip != Some(*guard));
    asked.map(move |guard| (guard, guard.ask(&question)))
}
