//! A small model of a fair API: it answers in the end, and what it accepts it does in the end. It may
//! lose answers, before or after it applied the call, refuse for a while, refuse what somebody else has
//! done first, and let purchases appear late or come back once. Meanwhile operators end the teardown and
//! begin it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use teardownd::core::assess;
use teardownd::core::command::{Action, Command, Intent, NewCommand, Outcome};
use teardownd::core::fault::Trouble;
use teardownd::core::ids::{AccountName, CommandId, TeardownId};
use teardownd::core::inventory::{AzureEntitlement, Entitlement, Subscription};
use teardownd::core::key::ResourceKey;
use teardownd::core::machine::{Decision, Situation, Transition, Wake, decide};
use teardownd::core::memory::Memory;
use teardownd::core::observation::{Census, CustomerSeen, Entitlements, Observation, Read, Seen};
use teardownd::core::routes::Standing;
use teardownd::core::teardown::{State, Teardown};
use uuid::Uuid;

use crate::arbitrary::{customer, now, order, policy, row, subscription, tenant};

/// Something bought.
#[derive(Debug, Clone)]
struct Thing {
    /// `order:…`, `subscription:…` or `azure:plan/…`.
    resource: String,
    product: &'static str,
    /// When it becomes inactive, once cancelled.
    goal_at: Option<Timestamp>,
    takes: Duration,
    appears_at: Timestamp,
    /// It comes back once, so long after it became inactive.
    comes_back: Option<Duration>,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    LostBefore,
    LostAfter,
    /// Refused with a code that says "wait".
    Later(&'static str),
    /// Refused with this code, because somebody else was first; a DELETE that has worked is answered
    /// with "gone".
    Elsewhere(&'static str),
}

/// How an operator begins a teardown anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anew {
    Retry,
    Enqueue,
}

/// The model and the stored side of one tenant.
#[derive(Debug, Clone)]
pub struct World {
    pub teardown: Teardown,
    pub breaches: Vec<String>,
    pub writes: u32,
    memory: Memory,
    things: Vec<Thing>,
    fates: Vec<Fate>,
    anew: BTreeMap<u32, Anew>,
    deleted_at: Option<Timestamp>,
    time: Timestamp,
    next_id: u128,
    delivered: BTreeSet<CommandId>,
}

/// Worlds with up to six purchases and some bad luck.
pub fn worlds() -> impl Strategy<Value = World> {
    let product = prop::sample::select(vec![
        "reservation",
        "perpetual",
        "software",
        "onlineservicesnce",
        "saas",
        "legacy",
        "azure",
    ]);
    let thing = (product, 0_u64..600, 0_u64..90, prop::option::weighted(0.2, 0_u64..300));
    let fate = prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::LostBefore),
        1 => Just(Fate::LostAfter),
        1 => prop::sample::select(vec!["800060", "800082", "800073", "900278"])
            .prop_map(Fate::Later),
        1 => prop::sample::select(vec!["800061", "2032", "987654"]).prop_map(Fate::Elsewhere)
    ];
    let anew = prop::sample::select(vec![Anew::Retry, Anew::Enqueue]);
    let anew = prop::collection::btree_map(1_u32..30, anew, 0..4);
    (prop::collection::vec(thing, 0..6), prop::collection::vec(fate, 0..12), anew).prop_map(
        |(things, fates, anew)| {
            let mut world = World::empty();
            for (n, (product, takes, appears, comes_back)) in things.into_iter().enumerate() {
                world.buy(n, product, takes, appears, comes_back);
            }
            world.fates = fates;
            world.anew = anew;
            world
        },
    )
}

impl World {
    fn empty() -> Self {
        Self {
            teardown: row(State::Queued, now()),
            breaches: Vec::new(),
            writes: 0,
            memory: Memory::default(),
            things: Vec::new(),
            fates: Vec::new(),
            anew: BTreeMap::new(),
            deleted_at: None,
            time: now(),
            next_id: 1,
            delivered: BTreeSet::new(),
        }
    }

    /// One order, and a savings plan beside it.
    pub fn with_a_savings_plan() -> Self {
        let mut world = Self::empty();
        world.buy(0, "reservation", 5, 0, None);
        world.buy(1, "savings", 5, 0, None);
        world
    }

    fn buy(&mut self, n: usize, product: &'static str, takes: u64, late: u64, back: Option<u64>) {
        let thing = |resource: String, product| Thing {
            resource,
            product,
            goal_at: None,
            takes: Duration::from_secs(takes),
            appears_at: self.time.checked_add(Duration::from_secs(late)).unwrap(),
            comes_back: back.map(Duration::from_secs),
        };
        let bought = match product {
            "reservation" | "perpetual" => vec![thing(format!("order:o{n}"), product)],
            // The plan itself stays down: its flicker would hide that of what is under it.
            "azure" => vec![
                Thing { comes_back: None, ..thing(format!("subscription:s{n}"), product) },
                thing(format!("azure:s{n}/e"), "azure entitlement"),
            ],
            _ => vec![thing(format!("subscription:s{n}"), product)],
        };
        self.things.extend(bought);
    }

    fn is_active(&self, thing: &Thing) -> bool {
        // With its plan an Azure subscription goes too, whatever it says itself.
        let plan = thing.resource.strip_prefix("azure:").and_then(|rest| rest.split_once('/'));
        let plan_lives = plan.is_none_or(|(plan, _)| {
            let key = format!("subscription:{plan}");
            self.things.iter().any(|other| other.resource == key && self.is_active(other))
        });
        thing.appears_at <= self.time && thing.goal_at.is_none_or(|at| self.time < at) && plan_lives
    }

    fn advance(&mut self, by: Duration) {
        self.time = self.time.checked_add(by).unwrap();
        let time = self.time;
        for thing in &mut self.things {
            if let (Some(goal), Some(back)) = (thing.goal_at, thing.comes_back)
                && goal.checked_add(back).unwrap() <= time
                && self.deleted_at.is_none()
            {
                (thing.goal_at, thing.comes_back) = (None, None);
            }
        }
    }

    /// Runs passes until the row ends or `limit` passes are over; returns how many there were.
    pub fn run(&mut self, limit: u32) -> u32 {
        for pass in 0..limit {
            if self.teardown.state.is_terminal() {
                return pass;
            }
            if let Some(anew) = self.anew.get(&pass) {
                self.begin_anew(*anew);
            }
            let mut seen = Observation::default();
            for step in 0.. {
                if step > 60 {
                    self.breaches.push(format!("a pass in {:?} never parks", self.teardown.state));
                    return pass;
                }
                let policy = policy();
                let decision = decide(&Situation {
                    teardown: &self.teardown,
                    memory: &self.memory,
                    seen: &seen,
                    policy: &policy,
                    now: self.time,
                    dice: 0.5,
                });
                match decision {
                    Decision::Read(reads) => {
                        seen.trouble = None;
                        for read in reads {
                            self.read(&read, &mut seen);
                        }
                        self.advance(Duration::from_millis(50));
                    }
                    Decision::Transition(step) => match self.take(*step, &mut seen) {
                        Wake::Now => {}
                        Wake::At(at) => {
                            let wait = at.duration_since(self.time);
                            self.advance(Duration::try_from(wait).unwrap_or_default());
                            break;
                        }
                        Wake::Never => break,
                    },
                }
            }
        }
        limit
    }

    /// The row has ended, and somebody wants it done all the same.
    fn begin_anew(&mut self, anew: Anew) {
        let row = row(State::Queued, self.time);
        match anew {
            Anew::Retry => {
                let suspects = std::mem::take(&mut self.teardown.suspects);
                let domain = self.teardown.domain.take();
                self.teardown = Teardown { suspects, domain, ..row };
            }
            Anew::Enqueue => {
                self.memory.purchases.clear();
                self.teardown = row;
            }
        }
    }

    /// How many commands have no end.
    pub fn unsettled(&self) -> usize {
        self.memory.commands.iter().filter(|command| command.is_unsettled()).count()
    }

    fn read(&self, read: &Read, seen: &mut Observation) {
        let at = self.time;
        let there = self.deleted_at.is_none_or(|gone| self.time < gone);
        let visible = |prefix: &str| -> Vec<(&Thing, String)> {
            self.things
                .iter()
                .filter(|t| t.appears_at <= self.time)
                .filter_map(|t| Some((t, t.resource.strip_prefix(prefix)?.to_owned())))
                .collect()
        };
        match read {
            Read::Customer => {
                let fact = if there {
                    CustomerSeen::Present(customer())
                } else {
                    CustomerSeen::Gone {
                        code: "404/60003".to_owned(),
                        text: "gone".to_owned(),
                        by_code: true,
                    }
                };
                seen.customer = Some(Seen::at_once(fact, at));
            }
            Read::Census { .. } => {
                let entry = there.then(customer);
                let again = seen.census.as_ref().is_some_and(|list| list.fact.entry.is_none());
                let fact = Census { customers: 1, entry, again };
                seen.census = Some(Seen::at_once(fact, at));
            }
            Read::Orders => {
                let orders = visible("order:")
                    .into_iter()
                    .map(|(t, id)| {
                        order(&id, if self.is_active(t) { "completed" } else { "cancelled" })
                    })
                    .collect();
                seen.orders = Some(Seen::at_once(orders, at));
            }
            Read::Order(id) => {
                let found = visible("order:").into_iter().find(|(_, known)| known == id);
                let fact = found.map(|(t, id)| {
                    order(&id, if self.is_active(t) { "completed" } else { "cancelled" })
                });
                seen.named_orders.insert(id.clone(), Seen::at_once(fact, at));
            }
            Read::Subscriptions => {
                let all = visible("subscription:").into_iter();
                let fact = all.map(|(t, id)| self.subscription_of(t, &id)).collect();
                seen.subscriptions = Some(Seen::at_once(fact, at));
            }
            Read::Subscription(id) => {
                let found = visible("subscription:").into_iter().find(|(_, known)| known == id);
                let fact = found.map(|(t, id)| self.subscription_of(t, &id));
                seen.named_subscriptions.insert(id.clone(), Seen::at_once(fact, at));
            }
            Read::Entitlements => {
                let listed = visible("order:")
                    .into_iter()
                    .map(|(t, id)| Entitlement {
                        order_id: Some(id),
                        entitlement_type: Some(
                            if t.product == "reservation" {
                                "reservedinstance"
                            } else {
                                "software"
                            }
                            .to_owned(),
                        ),
                        ..Entitlement::default()
                    })
                    .collect();
                seen.entitlements = Some(Seen::at_once(Entitlements::Listed(listed), at));
            }
            Read::AzureEntitlements(plan) => {
                let list = visible(&format!("azure:{plan}/"))
                    .into_iter()
                    .map(|(t, id)| self.azure_of(t, id))
                    .collect();
                seen.azure.insert(plan.clone(), Seen::at_once(list, at));
            }
            Read::AzureEntitlement(plan, id) => {
                let all = visible(&format!("azure:{plan}/"));
                let found = all.into_iter().find(|(_, known)| known == id);
                let fact = found.map(|(t, id)| self.azure_of(t, id));
                seen.named_azure.insert((plan.clone(), id.clone()), Seen::at_once(fact, at));
            }
        }
    }

    fn subscription_of(&self, thing: &Thing, id: &str) -> Subscription {
        let deletes = ["saas", "software"].contains(&thing.product);
        let inactive = if deletes { "deleted" } else { "suspended" };
        subscription(id, thing.product, if self.is_active(thing) { "active" } else { inactive })
    }

    fn azure_of(&self, thing: &Thing, id: String) -> AzureEntitlement {
        let status = if self.is_active(thing) { "active" } else { "inactive" };
        AzureEntitlement { id, name: None, status: Some(status.to_owned()) }
    }

    fn take(&mut self, step: Transition, seen: &mut Observation) -> Wake {
        if step.state != self.teardown.state {
            self.teardown.state_since = self.time;
        }
        self.teardown.state = step.state;
        self.teardown.reason = step.reason;
        self.teardown.domain = Some("a.onmicrosoft.com".to_owned());
        self.teardown.attempts = step.attempts;
        self.teardown.polls = step.polls;
        self.teardown.rounds = step.rounds;
        self.teardown.suspects = step.suspects;
        for (id, outcome, _) in step.settled {
            self.settle(id, outcome, None);
        }
        self.remember(seen);
        let mut ids = step.resends;
        for intent in step.intents {
            ids.push(self.commit(intent));
        }
        for id in ids {
            if let Some(trouble) = self.send(id) {
                seen.trouble = Some(trouble);
            }
            if self
                .memory
                .commands
                .iter()
                .any(|c| c.id == id && c.intent.action == Action::DeleteCustomer)
            {
                *seen = Observation { trouble: seen.trouble.take(), ..Observation::default() };
            }
        }
        step.wake
    }

    fn remember(&mut self, seen: &Observation) {
        let full = assess::whole(seen, &self.memory);
        let whole = full.is_some();
        let purchases = full.map_or_else(|| assess::judge(seen), |a| a.purchases);
        if whole {
            for known in self.memory.purchases.values_mut() {
                known.unfinished = false;
            }
        }
        for purchase in purchases {
            let inactive = purchase.standing == Standing::Inactive;
            let known = match self.memory.purchases.get_mut(&purchase.key) {
                Some(known) => known,
                None if whole => self.memory.purchases.entry(purchase.key).or_default(),
                None => continue,
            };
            known.unfinished = !inactive;
            if inactive {
                known.last_inactive_at = Some(self.time);
            }
        }
    }

    fn commit(&mut self, intent: Intent) -> CommandId {
        let earlier = self.memory.latest(&intent.resource);
        if earlier.is_some_and(Command::is_unsettled) {
            self.breaches.push(format!("new id on unsettled {}", intent.resource));
        }
        let id = CommandId(Uuid::from_u128(self.next_id));
        self.next_id += 1;
        let new = NewCommand { id, intent };
        let account = AccountName::new("default");
        let command = Command::fresh(new, account, tenant(), TeardownId(1), self.time).unwrap();
        self.memory.commands.push(command);
        id
    }

    fn settle(&mut self, id: CommandId, outcome: Outcome, refusal: Option<(u16, &str)>) {
        let time = self.time;
        if let Some(command) = self.memory.commands.iter_mut().find(|c| c.id == id) {
            command.outcome = Some(outcome);
            command.settled_at = Some(time);
            command.http_status = refusal.map(|(status, _)| status);
            command.ms_code = refusal.map(|(_, code)| code.to_owned());
        }
    }

    fn send(&mut self, id: CommandId) -> Option<Trouble> {
        self.writes += 1;
        self.advance(Duration::from_millis(50));
        let time = self.time;
        let intent = {
            let command = self.memory.commands.iter_mut().find(|c| c.id == id)?;
            command.sends += 1;
            command.first_sent_at.get_or_insert(time);
            command.last_sent_at = Some(time);
            command.intent.clone()
        };
        let fate = self.fates.pop().unwrap_or(Fate::Answered);
        let lost = Some(Trouble::Transient { text: "no answer".to_owned(), wait: Duration::ZERO });
        if fate == Fate::LostBefore {
            return lost;
        }
        if let Fate::Later(code) = fate {
            self.settle(id, Outcome::Refused, Some((409, code)));
            return None;
        }
        if let Fate::Elsewhere(code) = fate
            && !self.delivered.contains(&id)
            && let Some(thing) =
                self.things.iter_mut().find(|t| t.resource == intent.resource.to_string())
        {
            thing.goal_at.get_or_insert(time);
            self.settle(id, Outcome::Refused, Some((400, code)));
            return None;
        }
        let is_delete = intent.action == Action::DeleteCustomer;
        if is_delete && matches!(fate, Fate::Elsewhere(_)) && self.deleted_at.is_some() {
            self.settle(id, Outcome::Refused, Some((404, "60003")));
            return None;
        }
        let accepted = self.delivered.contains(&id) || self.apply(&intent);
        if accepted {
            self.delivered.insert(id);
        }
        if fate == Fate::LostAfter {
            return lost;
        }
        if accepted {
            self.settle(id, Outcome::Accepted, None);
        } else {
            self.settle(id, Outcome::Refused, Some((403, "4711")));
        }
        None
    }

    fn apply(&mut self, intent: &Intent) -> bool {
        if intent.action == Action::DeleteCustomer {
            if self.things.iter().any(|thing| self.is_active(thing)) {
                return false;
            }
            if self.deleted_at.is_some() {
                self.breaches.push("DELETE applied twice".to_owned());
            }
            self.deleted_at = Some(self.time.checked_add(Duration::from_secs(3)).unwrap());
            return true;
        }
        let by_key: BTreeMap<&str, bool> =
            self.things.iter().map(|t| (t.resource.as_str(), self.is_active(t))).collect();
        let plan_busy = by_key.iter().any(|(key, active)| {
            *active
                && matches!(&intent.resource, ResourceKey::Subscription(id)
                    if key.starts_with(&format!("azure:{id}/")))
        });
        if plan_busy {
            self.breaches.push(format!("{} before its Azure subscription", intent.resource));
            return false;
        }
        let time = self.time;
        let Some(thing) =
            self.things.iter_mut().find(|t| t.resource == intent.resource.to_string())
        else {
            self.breaches.push(format!("write on unknown {}", intent.resource));
            return false;
        };
        if thing.goal_at.is_some() {
            self.breaches.push(format!("redundant write on {}", thing.resource));
        }
        thing.goal_at = Some(time.checked_add(thing.takes).unwrap());
        true
    }
}
