//! The list of guards as a whole: each one is needed, and they are asked in one order.

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::core::account::{Arming, Stop};
use crate::core::approval::Approval;
use crate::core::domain::DomainPattern;
use crate::core::hold::{Hold, Holds};
use crate::core::ids::{AccountName, Fence, TeardownId};
use crate::core::inventory::{Customer, Order};
use crate::core::key::ResourceKey;
use crate::core::observation::Entitlements;
use crate::core::protection::{Protection, Subject};
use crate::core::routes;
use crate::core::teardown::State;
use crate::core::window::Window;

fn now() -> Timestamp {
    "2027-01-31T10:00:00Z".parse().unwrap()
}

fn tenant(number: u128) -> TenantId {
    TenantId::new(Uuid::from_u128(number))
}

/// A command that every guard lets through, and what makes one of them refuse it.
struct Case {
    intent: Intent,
    facts: StoredFacts,
    seen: Observation,
    policy: SafetyPolicy,
}

impl Case {
    /// The DELETE of a customer with nothing active, asked under every requirement there is.
    fn sound() -> Self {
        let mut policy = SafetyPolicy::new(tenant(1));
        policy.sandbox = true;
        policy.allow_domains = vec![DomainPattern::parse("*.onmicrosoft.com").unwrap()];
        policy.require_domain = true;
        policy.require_arming = true;
        policy.require_approval = true;
        policy.approve_by_other = true;
        policy.hold_batch_over = Share::new(0.5).unwrap();
        policy.windows = vec![window("Sun 09:00-11:00 UTC")];
        policy.grace = Duration::from_secs(60);
        let mut account = Account::fresh(AccountName::new("lab"));
        account.proven = Proven { write: true, reservation: true, delete: true };
        account.armed =
            Some(Arming { identity: policy.identity(), actor: "ann".to_owned(), since: now() });
        let facts = StoredFacts {
            teardown: teardown(),
            account,
            every: Account::fresh(AccountName::every()),
            deletions: Vec::new(),
            command: None,
            calls: 0,
            resource_busy: false,
            unapproved: 0,
            protections: Vec::new(),
            ahead: jiff::SignedDuration::ZERO,
        };
        Self { intent: routes::delete_customer(), facts, seen: seen(), policy }
    }

    /// A cancellation instead, which may go out although something is active.
    fn cancelling() -> Self {
        let mut case = Self::sound();
        case.intent = Intent {
            action: Action::CancelOrder,
            reservation: true,
            resource: ResourceKey::order("1"),
            body: Some(r#"{"id":"1","status":"cancelled"}"#.to_owned()),
            if_match: None,
        };
        case
    }

    fn customers(&mut self, change: impl Fn(&mut Customer)) {
        if let Some(entry) = self.seen.census.as_mut().and_then(|c| c.fact.entry.as_mut()) {
            change(entry);
        }
        if let Some(Seen { fact: CustomerSeen::Present(customer), .. }) = &mut self.seen.customer {
            change(customer);
        }
    }

    fn ask(&self) -> Verdict {
        admit(&self.intent, &self.facts, &self.seen, &self.policy, now())
    }
}

fn window(text: &str) -> Window {
    Window::parse(text, |_| Some(jiff::tz::TimeZone::UTC)).unwrap()
}

fn teardown() -> Teardown {
    let since = now() - jiff::SignedDuration::from_hours(1);
    let approval =
        Approval { actor: "bob".to_owned(), at: since, run: since, inventory: approval_of(&["1"]) };
    Teardown {
        id: TeardownId(1),
        account: AccountName::new("lab"),
        tenant_id: tenant(7),
        expected_domain: Some("t.onmicrosoft.com".to_owned()),
        domain: None,
        batch: None,
        priority: 0,
        note: None,
        requested_by: Some("ann".to_owned()),
        created_at: since,
        run_since: since,
        try_anyway: false,
        not_before: None,
        state: State::Deleting,
        state_since: since,
        reason: None,
        reason_text: None,
        holds: Holds::default(),
        attempts: 0,
        polls: 0,
        rounds: 0,
        next_attempt_at: None,
        eligible_since: Some(since),
        eligible_used: Duration::ZERO,
        cross_checked: None,
        suspects: Vec::new(),
        uncancellable_at: None,
        approval: Some(approval),
        lease: None,
        fence: Fence(1),
        updated_at: since,
        finished_at: None,
    }
}

fn approval_of(orders: &[&str]) -> crate::core::approval::Inventory {
    let item = |key: &&str| crate::core::approval::Item {
        key: ResourceKey::order(key),
        kind: "perpetual_software".to_owned(),
        route: "cancel_order".to_owned(),
    };
    orders.iter().map(item).collect()
}

fn order(id: &str) -> Order {
    Order {
        id: id.to_owned(),
        alternate_id: None,
        status: Some("completed".to_owned()),
        billing_cycle: None,
        transaction_type: None,
        created_at: None,
        lines: Vec::new(),
        etag: None,
        raw: serde_json::Value::Null,
    }
}

fn seen() -> Observation {
    let customer = Customer {
        id: Some(tenant(7).to_string()),
        tenant_id: Some(tenant(7).to_string()),
        domain: Some("T.onmicrosoft.com".to_owned()),
        company_name: None,
        relationship: Some("reseller".to_owned()),
    };
    Observation {
        customer: Some(Seen::at_once(CustomerSeen::Present(customer.clone()), now())),
        census: Some(Seen::at_once(
            Census { customers: 3, entry: Some(customer), again: false },
            now(),
        )),
        orders: Some(Seen::at_once(Vec::new(), now())),
        subscriptions: Some(Seen::at_once(Vec::new(), now())),
        entitlements: Some(Seen::at_once(Entitlements::Listed(Vec::new()), now())),
        ..Observation::default()
    }
}

fn stop() -> Option<Stop> {
    Some(Stop { reason: "why".to_owned(), actor: "ann".to_owned(), since: now(), until: None })
}

/// The sound case, spoilt for this guard and for no other.
fn spoilt(guard: Guard) -> Case {
    let mut case = Case::sound();
    let (facts, policy, row) = (&mut case.facts, &mut case.policy, tenant(7));
    match guard {
        Guard::ForgedCommand => case.intent.body = Some("{}".to_owned()),
        Guard::Halt => facts.every.halted = stop(),
        Guard::Pause => facts.account.paused = stop(),
        Guard::Ended => facts.teardown.state = State::Failed,
        Guard::Hold => {
            let (text, actor) = ("look".to_owned(), "ann".to_owned());
            facts.teardown.holds.add(Hold { code: Reason::Operator, text, actor, since: now() });
        }
        Guard::Throttle => {
            facts.account.throttled_until = Some(after(now(), Duration::from_secs(9)))
        }
        Guard::Sandbox => policy.sandbox = false,
        Guard::OwnTenant => {
            policy.partner_tenant = row;
            facts.account.armed.as_mut().unwrap().identity = policy.identity();
        }
        Guard::Protection => facts.protections.push(Protection {
            account: AccountName::every(),
            subject: Subject::Tenant(row),
            actor: "ann".to_owned(),
            reason: None,
            since: now(),
        }),
        Guard::ProtectedTenant => policy.protected_tenants.push(row),
        Guard::DomainRequired => facts.teardown.expected_domain = None,
        Guard::Arming => facts.account.armed = None,
        Guard::FreshFacts => {
            case.seen.orders.as_mut().unwrap().at = now() - jiff::SignedDuration::from_secs(11);
        }
        Guard::NothingActive => case.seen.orders.as_mut().unwrap().fact.push(order("1")),
        Guard::CustomersLimit => policy.customers_limit = 2,
        Guard::CustomerList => {
            let census = &mut case.seen.census.as_mut().unwrap().fact;
            (census.entry, census.again) = (None, true);
        }
        Guard::CustomerId => case.customers(|customer| customer.id = Some(tenant(8).to_string())),
        Guard::Relationship => case.customers(|c| c.relationship = Some("none".to_owned())),
        Guard::ProtectedDomain => {
            policy.protected_domains.push(DomainPattern::parse("t.onmicrosoft.com").unwrap());
        }
        Guard::AllowedDomain => policy.allow_domains.clear(),
        Guard::NamedDomain => facts.teardown.expected_domain = Some("u.example".to_owned()),
        Guard::Presence => {
            case = Case::cancelling();
            case.seen.customer = None;
        }
        Guard::Approval => facts.teardown.approval.as_mut().unwrap().actor = "ann".to_owned(),
        Guard::PlanDrift => {
            case = Case::cancelling();
            case.seen.orders.as_mut().unwrap().fact.push(order("2"));
        }
        Guard::LargeBatch => {
            policy.require_approval = false;
            facts.teardown.approval = None;
            facts.unapproved = 2;
        }
        Guard::Grace => policy.grace = Duration::from_secs(7200),
        Guard::Window => policy.windows = vec![window("Sun 11:00-12:00 UTC")],
        Guard::DryRun => policy.dry_run = true,
        Guard::ResourceBusy => facts.resource_busy = true,
        Guard::CapHour => policy.max_deletions_per_hour = 0,
        Guard::CapDay => policy.max_deletions_per_day = 0,
        Guard::Canary => {
            facts.account.proven.delete = false;
            facts.calls = 1;
        }
    }
    case
}

#[test]
fn every_guard_alone_holds_back_what_it_is_for() {
    assert_eq!(Case::sound().ask(), Verdict::Allow);
    assert_eq!(Case::cancelling().ask(), Verdict::Allow);
    for guard in Guard::ALL {
        let mut case = spoilt(*guard);
        assert_ne!(case.ask(), Verdict::Allow, "{guard:?} lets it through");
        case.policy.skip = Some(*guard);
        assert_eq!(case.ask(), Verdict::Allow, "it was not {guard:?} that refused");
    }
}

#[test]
fn every_guard_is_asked_in_order_also_after_one_has_refused() {
    let mut case = spoilt(Guard::Pause);
    case.policy.dry_run = true;
    let Case { intent, facts, seen, policy } = &case;
    let told: Vec<_> = verdicts(intent, facts, seen, policy, now()).collect();
    assert!(told.iter().map(|(guard, _)| guard).eq(Guard::ALL));
    let refused = told.into_iter().filter(|(_, verdict)| *verdict != Verdict::Allow);
    assert_eq!(refused.map(|(guard, _)| guard).collect::<Vec<_>>(), [Guard::Pause, Guard::DryRun]);
}

#[test]
fn without_readings_the_guards_that_need_them_say_so_and_the_others_answer() {
    use Guard::*;
    let mut case = Case::sound();
    case.seen = Observation::default();
    case.policy.protected_domains.push(DomainPattern::parse("t.onmicrosoft.com").unwrap());
    let told = |case: &Case| {
        let Case { intent, facts, seen, policy } = case;
        verdicts(intent, facts, seen, policy, now()).collect::<Vec<_>>()
    };
    let unread = |told: &[(Guard, Verdict)]| {
        let unread = told.iter().filter(|(_, verdict)| *verdict == Verdict::Stale);
        unread.map(|(guard, _)| *guard).collect::<Vec<_>>()
    };
    let remote = [
        FreshFacts,
        NothingActive,
        CustomersLimit,
        CustomerList,
        CustomerId,
        Relationship,
        AllowedDomain,
        NamedDomain,
    ];
    // A DELETE may rest on the list alone; that it was read is what the others say.
    assert_eq!(unread(&told(&case)), [&remote[..], &[PlanDrift]].concat());
    let protected = told(&case).into_iter().find(|(guard, _)| *guard == ProtectedDomain);
    assert!(matches!(protected, Some((_, Verdict::Hold { .. }))), "the domain named is known");
    case.facts.teardown.approval = None;
    assert_eq!(unread(&told(&case)), [&remote[..], &[LargeBatch]].concat());
}

#[test]
fn a_guard_that_is_left_out_at_the_enqueue_lets_through_too() {
    for guard in [
        Guard::Sandbox,
        Guard::OwnTenant,
        Guard::ProtectedTenant,
        Guard::DomainRequired,
        Guard::ProtectedDomain,
    ] {
        let Case { mut policy, facts, .. } = spoilt(guard);
        let domain = facts.teardown.expected_domain.as_deref();
        let asked = |policy: &SafetyPolicy| admit_locally(tenant(7), domain, policy);
        assert!(asked(&policy).is_err(), "{guard:?}");
        policy.skip = Some(guard);
        assert!(asked(&policy).is_ok(), "{guard:?}");
    }
}

#[test]
fn the_names_of_guards_are_their_own() {
    let names: std::collections::BTreeSet<_> = Guard::ALL.iter().map(|g| g.as_str()).collect();
    assert_eq!(names.len(), Guard::ALL.len());
}

#[test]
fn what_is_new_since_an_approval_is_named_with_its_route() {
    let mut case = spoilt(Guard::PlanDrift);
    case.facts.teardown.approval.as_mut().unwrap().inventory = approval_of(&["1"])
        .into_iter()
        .map(|item| crate::core::approval::Item {
            key: ResourceKey::order("2"),
            route: "person".to_owned(),
            ..item
        })
        .collect();
    let Verdict::Hold { guard: Reason::PlanDrift, text } = case.ask() else { panic!() };
    assert_eq!(
        text,
        "not in what bob approved: order:2 (perpetual_software by cancel_order), \
         approved as perpetual_software by person"
    );
}
