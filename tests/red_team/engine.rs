//! An engine gone wrong: it wants what it should never have decided, and only the guards in the
//! transaction stand between that and a request. These ask the guards themselves, because the engine
//! as it is does not get as far.

use jiff::Timestamp;
use teardownd::core::account::Account;
use teardownd::core::command::{Action, Intent};
use teardownd::core::gates::{self, Guard, SafetyPolicy, StoredFacts, Verdict};
use teardownd::core::ids::AccountName;
use teardownd::core::inventory::{Customer, Order};
use teardownd::core::key::ResourceKey;
use teardownd::core::observation::{Census, CustomerSeen, Entitlements, Observation, Seen};
use teardownd::core::protection::{Protection, Subject};
use teardownd::core::teardown::{State, Teardown};
use teardownd::store::{Filter, Store};

use super::harness::*;
use super::{Written, attempts};

attempts! {
    red_team_a_body_that_ends_the_relationship, guard_mutation_forged_command = ForgedCommand => |without| {
        spoilt(without, |intent| intent.body = Some(r#"{"relationshipToPartner":"none"}"#.to_owned()))
    };
    red_team_an_order_whose_id_leads_to_the_customer => |without| {
        spoilt(without, |intent| intent.resource = ResourceKey::order(".."))
    };
    red_team_a_cancellation_that_is_a_delete => |without| {
        spoilt(without, |intent| intent.resource = ResourceKey::Customer)
    };
    red_team_a_cancellation_of_another_order_in_the_body => |without| {
        spoilt(without, |intent| {
            intent.body = Some(r#"{"id":"p","status":"cancelled"}"#.to_owned());
        })
    };
    red_team_a_delete_while_something_is_active, guard_mutation_nothing_active = NothingActive => |without| {
        wanted(without, Action::DeleteCustomer, |forged| {
            forged.seen.orders = Some(Seen::at_once(vec![active_order()], forged.now));
        })
    };
    red_team_a_delete_on_facts_of_eleven_seconds_ago, guard_mutation_fresh_facts = FreshFacts => |without| {
        wanted(without, Action::DeleteCustomer, |forged| forged.now += secs(11))
    };
    red_team_a_cancellation_on_facts_of_a_minute_ago => |without| {
        wanted(without, Action::CancelOrder, |forged| forged.now += secs(61))
    };
    red_team_a_delete_without_a_list_of_subscriptions => |without| {
        wanted(without, Action::DeleteCustomer, |forged| forged.seen.subscriptions = None)
    };
    red_team_a_cancellation_without_a_list_of_customers => |without| {
        wanted(without, Action::CancelOrder, |forged| forged.seen.census = None)
    };
    red_team_a_customer_that_is_gone_and_still_listed, guard_mutation_presence = Presence => |without| {
        wanted(without, Action::CancelOrder, |forged| {
            let gone = CustomerSeen::Gone {
                code: "404/60003".to_owned(),
                text: "gone".to_owned(),
                by_code: true,
            };
            forged.seen.customer = Some(Seen::at_once(gone, forged.now));
        })
    };
    red_team_a_write_against_a_deny_entry, guard_mutation_protection = Protection => |without| {
        wanted(without, Action::CancelOrder, |forged| {
            forged.facts.protections.push(Protection {
                account: AccountName::every(),
                subject: Subject::Tenant(tenant(1)),
                actor: "ann".to_owned(),
                reason: None,
                since: forged.now,
            });
        })
    };
    red_team_a_write_after_the_end, guard_mutation_ended = Ended => |without| {
        wanted(without, Action::CancelOrder, |forged| forged.facts.teardown.state = State::Aborted)
    };
    red_team_a_write_within_a_retry_after, guard_mutation_throttle = Throttle => |without| {
        wanted(without, Action::CancelOrder, |forged| {
            forged.facts.account.throttled_until = Some(forged.now + secs(30));
        })
    };
    red_team_a_second_write_to_what_is_unsettled, guard_mutation_resource_busy = ResourceBusy => |without| {
        wanted(without, Action::CancelOrder, |forged| forged.facts.resource_busy = true)
    };
    red_team_a_clock_set_back_to_dodge_the_cap => |without| {
        wanted(without, Action::DeleteCustomer, |forged| {
            // A day of deletions, at a time that is still to come.
            forged.policy.max_deletions_per_day = 1;
            forged.facts.deletions = vec![forged.now];
            forged.now -= hours(48);
            forged.seen = as_read(forged.now);
        })
    };
}

/// A command before the guards, with everything as it should be.
struct Forged {
    facts: StoredFacts,
    seen: Observation,
    policy: SafetyPolicy,
    now: Timestamp,
}

impl Forged {
    async fn new(without: Option<Guard>) -> Self {
        let scene = Given::new([]).set();
        let store = Store::scratch().await.unwrap();
        let now = scene.now();
        store.enqueue(&[scene.new_teardown(1)], now).await.unwrap();
        let teardown: Teardown = store.list(&Filter::default()).await.unwrap().remove(0);
        let facts = StoredFacts {
            account: Account::fresh(teardown.account.clone()),
            every: Account::fresh(AccountName::every()),
            teardown,
            deletions: Vec::new(),
            command: None,
            calls: 0,
            resource_busy: false,
            unapproved: 0,
            protections: Vec::new(),
            ahead: jiff::SignedDuration::ZERO,
        };
        let policy = SafetyPolicy { skip: without, ..scene.given.safety.clone() };
        Self { facts, seen: as_read(now), policy, now }
    }

    fn verdict(&self, intent: &Intent) -> Verdict {
        gates::admit(intent, &self.facts, &self.seen, &self.policy, self.now)
    }
}

/// The first tenant with nothing active, read at that moment.
pub(super) fn as_read(at: Timestamp) -> Observation {
    let id = tenant(1).to_string();
    let customer = Customer {
        id: Some(id.clone()),
        tenant_id: Some(id),
        domain: Some(domain(1)),
        company_name: None,
        relationship: Some("reseller".to_owned()),
    };
    Observation {
        customer: Some(Seen::at_once(CustomerSeen::Present(customer.clone()), at)),
        census: Some(Seen::at_once(
            Census { customers: 3, entry: Some(customer), again: false },
            at,
        )),
        orders: Some(Seen::at_once(Vec::new(), at)),
        subscriptions: Some(Seen::at_once(Vec::new(), at)),
        entitlements: Some(Seen::at_once(Entitlements::Listed(Vec::new()), at)),
        ..Observation::default()
    }
}

pub(super) fn intent(action: Action) -> Intent {
    let (resource, body) = match action {
        Action::DeleteCustomer => (ResourceKey::Customer, None),
        _ => (ResourceKey::order("o"), Some(r#"{"id":"o","status":"cancelled"}"#.to_owned())),
    };
    Intent { action, reservation: false, resource, body, if_match: None }
}

fn active_order() -> Order {
    Order {
        id: "o".to_owned(),
        alternate_id: None,
        status: Some("completed".to_owned()),
        billing_cycle: Some("one_time".to_owned()),
        transaction_type: None,
        created_at: None,
        lines: Vec::new(),
        etag: None,
        raw: serde_json::Value::Null,
    }
}

/// Asks for a cancellation that differs from what would be derived.
async fn spoilt(without: Option<Guard>, spoil: impl FnOnce(&mut Intent)) -> Written {
    let forged = Forged::new(without).await;
    let mut intent = intent(Action::CancelOrder);
    assert_eq!(forged.verdict(&intent), Verdict::Allow, "nothing speaks against it yet");
    spoil(&mut intent);
    match forged.verdict(&intent) {
        Verdict::Allow => vec![intent.resource.to_string()],
        _ => Written::new(),
    }
}

/// Asks for a write that must be refused after `spoil`, and was allowed before it.
async fn wanted(
    without: Option<Guard>,
    action: Action,
    spoil: impl FnOnce(&mut Forged),
) -> Written {
    let mut forged = Forged::new(without).await;
    let intent = intent(action);
    assert_eq!(forged.verdict(&intent), Verdict::Allow, "nothing speaks against it yet");
    spoil(&mut forged);
    match forged.verdict(&intent) {
        Verdict::Allow => vec![format!("{} {}", action.as_str(), intent.resource)],
        _ => Written::new(),
    }
}
