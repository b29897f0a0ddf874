//! Arbitrary situations: rows, commands and observations that need not make sense together.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use teardownd::core::command::{Action, Command, Outcome};
use teardownd::core::fault::{Fault, Trouble};
use teardownd::core::ids::{AccountName, CommandId, Fence, TeardownId, TenantId};
use teardownd::core::inventory::{
    AzureEntitlement, Customer, Entitlement, Order, OrderLine, Subscription,
};
use teardownd::core::key::ResourceKey;
use teardownd::core::machine::Policy;
use teardownd::core::memory::{Memory, Remembered};
use teardownd::core::observation::{Census, CustomerSeen, Entitlements, Observation, Seen};
use teardownd::core::reason::Reason;
use teardownd::core::routes;
use teardownd::core::settlement::Codes;
use teardownd::core::teardown::{State, Teardown};
use uuid::Uuid;

/// The tenant of every situation.
pub fn tenant() -> TenantId {
    TenantId::new(Uuid::from_u128(0x7e4a))
}

/// The time of every situation.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Default timing rules.
pub fn policy() -> Policy {
    Policy {
        deadline: Duration::from_secs(14 * 24 * 3600),
        polling_initial: Duration::from_secs(2),
        polling_max: Duration::from_secs(60),
        reissue_after: Duration::from_secs(1200),
        retry_initial: Duration::from_secs(1),
        retry_max: Duration::from_secs(300),
        max_attempts: 20,
        codes: Codes::default(),
    }
}

/// A row in some state.
pub fn row(state: State, since: Timestamp) -> Teardown {
    Teardown {
        state,
        eligible_since: Some(since),
        fence: Fence(1),
        ..Teardown::fresh(TeardownId(1), AccountName::new("default"), tenant(), since)
    }
}

/// An order of one line.
pub fn order(id: &str, status: &str) -> Order {
    Order {
        id: id.to_owned(),
        alternate_id: Some(format!("alt-{id}")),
        status: Some(status.to_owned()),
        billing_cycle: Some("one_time".to_owned()),
        transaction_type: None,
        created_at: None,
        lines: vec![OrderLine { quantity: Some(1), ..OrderLine::default() }],
        etag: None,
        raw: json!({"id": id, "status": status}),
    }
}

/// A subscription of a product type.
pub fn subscription(id: &str, product: &str, status: &str) -> Subscription {
    Subscription {
        id: id.to_owned(),
        offer_id: Some(if product == "azure" { "DZH318Z0BPS6:0001:X" } else { "Y" }.to_owned()),
        name: None,
        status: Some(status.to_owned()),
        order_id: None,
        product_type: (product != "legacy").then(|| product.to_owned()),
        unit_type: Some(if product == "savings" { "benefit" } else { "licenses" }.to_owned()),
        billing_type: None,
        is_microsoft_product: Some(product != "saas"),
        parent_subscription_id: None,
        cancellation_allowed_until: None,
        created_at: None,
        etag: None,
        raw: json!({"id": id, "status": status, "kept": 1}),
    }
}

/// A customer as the guards like it.
pub fn customer() -> Customer {
    Customer {
        id: Some(tenant().to_string()),
        tenant_id: Some(tenant().to_string()),
        domain: Some("a.onmicrosoft.com".to_owned()),
        company_name: None,
        relationship: Some("reseller".to_owned()),
    }
}

/// The parts of a situation.
#[derive(Debug, Clone)]
pub struct Parts {
    pub teardown: Teardown,
    pub memory: Memory,
    pub seen: Observation,
}

impl Parts {
    pub fn is_delete(&self, id: CommandId) -> bool {
        self.memory.commands.iter().any(|c| c.id == id && c.intent.action == Action::DeleteCustomer)
    }

    pub fn reads_as_gone(&self) -> bool {
        let Some(customer) = &self.seen.customer else { return false };
        let Some(census) = &self.seen.census else { return false };
        matches!(customer.fact, CustomerSeen::Gone { .. })
            && census.at >= customer.at
            && census.fact.entry.is_none()
    }
}

fn ago() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(0_u64), 0_u64..30, 0_u64..4000]
        .prop_map(|seconds| now().checked_sub(Duration::from_secs(seconds)).unwrap())
}

fn seen<T: std::fmt::Debug + Clone>(
    fact: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Seen<T>>> {
    prop::option::weighted(0.8, (fact, ago()).prop_map(|(fact, at)| Seen::at_once(fact, at)))
}

const ORDERS: [&str; 2] = ["o1", "o2"];
const SUBSCRIPTIONS: [&str; 2] = ["s1", "s2"];

fn orders() -> impl Strategy<Value = Vec<Order>> {
    let status = prop::sample::select(vec!["completed", "pending", "cancelled", "surprise"]);
    prop::collection::vec((prop::sample::select(&ORDERS[..]), status), 0..3)
        .prop_map(|all| all.into_iter().map(|(id, status)| order(id, status)).collect())
}

fn subscriptions() -> impl Strategy<Value = Vec<Subscription>> {
    let product = prop::sample::select(vec![
        "onlineservicesnce",
        "software",
        "azure",
        "saas",
        "legacy",
        "savings",
        "surprise",
    ]);
    let status = prop::sample::select(vec!["active", "suspended", "deleted", "pending", "odd"]);
    let one = (prop::sample::select(&SUBSCRIPTIONS[..]), product, status, any::<bool>());
    prop::collection::vec(one, 0..3).prop_map(|all| {
        all.into_iter()
            .map(|(id, product, status, of_order)| {
                let mut s = subscription(id, product, status);
                s.order_id = of_order.then(|| "o1".to_owned());
                s
            })
            .collect()
    })
}

fn entitlements() -> impl Strategy<Value = Entitlements> {
    let kind = prop::sample::select(vec!["software", "reservedinstance", "odd"]);
    let id = prop::sample::select(vec!["o1", "alt-o2", "unlisted"]);
    let listed = prop::collection::vec((id, kind), 0..3).prop_map(|all| {
        Entitlements::Listed(
            all.into_iter()
                .map(|(id, kind)| Entitlement {
                    order_id: Some(id.to_owned()),
                    entitlement_type: Some(kind.to_owned()),
                    ..Entitlement::default()
                })
                .collect(),
        )
    });
    prop_oneof![4 => listed, 1 => Just(Entitlements::Refused)]
}

fn azure() -> impl Strategy<Value = BTreeMap<String, Seen<Vec<AzureEntitlement>>>> {
    let entitlement = prop::sample::select(vec!["active", "inactive"]).prop_map(|status| {
        AzureEntitlement { id: "e1".to_owned(), name: None, status: Some(status.to_owned()) }
    });
    let list = (prop::collection::vec(entitlement, 0..2), ago())
        .prop_map(|(fact, at)| Seen::at_once(fact, at));
    prop::collection::btree_map(
        prop::sample::select(&SUBSCRIPTIONS[..]).prop_map(str::to_owned),
        list,
        0..3,
    )
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let fault = (
        prop::sample::select(vec![400_u16, 403, 404]),
        prop::sample::select(vec!["60003", "9", "2032"]),
    )
        .prop_map(|(status, code)| {
            Trouble::Refused(Fault {
                status,
                code: Some(code.to_owned()),
                text: "text".to_owned(),
                structured: true,
                ..Fault::default()
            })
        });
    prop_oneof![
        Just(Trouble::Transient { text: "broke".to_owned(), wait: Duration::from_secs(7) }),
        Just(Trouble::Account {
            reason: Reason::Throttled,
            until: now(),
            text: "closed".to_owned()
        }),
        fault
    ]
}

fn observation() -> impl Strategy<Value = Observation> {
    let customer = seen(prop_oneof![
        3 => Just(CustomerSeen::Present(customer())),
        2 => any::<bool>().prop_map(|by_code| CustomerSeen::Gone {
            code: "404/60003".to_owned(),
            text: "gone".to_owned(),
            by_code,
        })
    ]);
    let census = seen((any::<bool>(), any::<bool>()).prop_map(|(listed, again)| Census {
        customers: 3,
        entry: listed.then(customer_entry),
        again,
    }));
    let unlisted = seen(prop::option::of(Just(order("unlisted", "completed"))));
    (
        customer,
        census,
        seen(orders()),
        seen(subscriptions()),
        seen(entitlements()),
        azure(),
        unlisted,
        prop::option::weighted(0.1, trouble()),
    )
        .prop_map(
            |(customer, census, orders, subscriptions, entitlements, azure, named, trouble)| {
                Observation {
                    ahead: SignedDuration::ZERO,
                    customer,
                    census,
                    orders,
                    named_orders: named.into_iter().map(|n| ("unlisted".to_owned(), n)).collect(),
                    subscriptions,
                    named_subscriptions: BTreeMap::new(),
                    entitlements,
                    azure,
                    named_azure: BTreeMap::new(),
                    rounds: Vec::new(),
                    trouble,
                }
            },
        )
}

fn customer_entry() -> Customer {
    customer()
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let outcome = prop::option::of(prop::sample::select(vec![
        Outcome::Accepted,
        Outcome::Refused,
        Outcome::GoalReached,
        Outcome::Withdrawn,
    ]));
    let code =
        prop::sample::select(vec!["800060", "900117", "2032", "2055", "800019", "60003", "5"]);
    let what = prop::sample::select(vec![
        (Action::CancelOrder, "order:o1"),
        (Action::CancelOrder, "order:o2"),
        (Action::DeleteSubscription, "subscription:s1"),
        (Action::SuspendSubscription, "subscription:s2"),
        (Action::CancelAzureEntitlement, "azure:s1/e1"),
        (Action::DeleteCustomer, "customer"),
    ]);
    prop::collection::vec((what, outcome, code, 0_u32..4, ago()), 0..5).prop_map(|all| {
        let mut commands: Vec<Command> = Vec::new();
        for (n, ((action, resource), outcome, code, sends, at)) in all.into_iter().enumerate() {
            let resource = ResourceKey::parse(resource).unwrap();
            // The store keeps at most one unsettled command per resource, the latest.
            let taken = |c: &Command| c.is_unsettled() && c.intent.resource == resource;
            if commands.iter().any(taken) {
                continue;
            }
            let mut intent = routes::delete_customer();
            intent.action = action;
            intent.resource = resource;
            let sent = outcome.is_some_and(|o| o != Outcome::Withdrawn) || sends > 0;
            commands.push(Command {
                id: CommandId(Uuid::from_u128(n as u128 + 1)),
                account: AccountName::new("default"),
                tenant_id: tenant(),
                teardown_id: TeardownId(1),
                intent,
                method: String::new(),
                path: String::new(),
                created_at: at,
                sends: if sent { sends.max(1) } else { 0 },
                first_sent_at: sent.then_some(at),
                last_sent_at: sent.then_some(at),
                correlation_id: None,
                outcome,
                settled_at: outcome.map(|_| at),
                http_status: Some(400),
                ms_code: Some(code.to_owned()),
                text: Some("order 8f3af3dea1ea".to_owned()),
            });
        }
        commands
    })
}

fn remembered() -> impl Strategy<Value = BTreeMap<ResourceKey, Remembered>> {
    let key = prop::sample::select(vec![
        "order:o1",
        "order:o2",
        "subscription:s1",
        "subscription:s2",
        "azure:s1/e1",
    ])
    .prop_map(|key| ResourceKey::parse(key).unwrap());
    let known = (any::<bool>(), prop::option::of(ago())).prop_map(|(unfinished, at)| Remembered {
        unfinished,
        last_inactive_at: at,
        order_id: None,
    });
    prop::collection::btree_map(key, known, 0..4)
}

/// Anything that can be put together.
pub fn situation() -> impl Strategy<Value = Parts> {
    let state = prop::sample::select(State::ALL.to_vec());
    (state, ago(), commands(), remembered(), observation(), 0_u32..25, 0_u32..8).prop_map(
        |(state, since, commands, purchases, seen, attempts, rounds)| {
            let mut teardown = row(state, since);
            teardown.attempts = attempts;
            teardown.rounds = rounds;
            Parts { teardown, memory: Memory { commands, purchases }, seen }
        },
    )
}

/// A DELETE that was refused a moment ago, in this stay in `deleting`, and an active order behind it.
pub fn refused_delete(rounds: u32) -> Parts {
    let before = |seconds| now().checked_sub(Duration::from_secs(seconds)).unwrap();
    let mut teardown = row(State::Deleting, before(10));
    teardown.rounds = rounds;
    let delete = Command {
        id: CommandId(Uuid::from_u128(1)),
        account: teardown.account.clone(),
        tenant_id: tenant(),
        teardown_id: teardown.id,
        intent: routes::delete_customer(),
        method: "DELETE".to_owned(),
        path: format!("/v1/customers/{}", tenant()),
        created_at: before(5),
        sends: 1,
        first_sent_at: Some(before(5)),
        last_sent_at: Some(before(5)),
        correlation_id: None,
        outcome: Some(Outcome::Refused),
        settled_at: Some(before(4)),
        http_status: Some(400),
        ms_code: Some("4711".to_owned()),
        text: Some("something is active".to_owned()),
    };
    let seen = Observation {
        orders: Some(Seen::at_once(vec![order("o1", "completed")], before(1))),
        subscriptions: Some(Seen::at_once(Vec::new(), before(1))),
        entitlements: Some(Seen::at_once(Entitlements::Listed(Vec::new()), before(1))),
        ..Observation::default()
    };
    Parts { teardown, memory: Memory { commands: vec![delete], ..Memory::default() }, seen }
}
