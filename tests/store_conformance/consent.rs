//! Windows, arming, approvals and the size of what is queued: what holds, what lets go again, and what
//! does not count.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use teardownd::core::account::Identity;
use teardownd::core::approval::{Inventory, Item};
use teardownd::core::command::Action;
use teardownd::core::gates::{Share, Verdict};
use teardownd::core::inventory::Order;
use teardownd::core::key::ResourceKey;
use teardownd::core::observation::{Observation, Seen};
use teardownd::core::reason::Reason;
use teardownd::core::routes::{Kind, Route, Standing};
use teardownd::core::teardown::{State, Status};
use teardownd::core::window::Window;
use teardownd::store::{
    ApproveRequest, ArmRequest, Claimed, Commit, Committed, OperatorRequest, PurchaseRecord,
    PurchasesRead, RequestEffect, SurveyRequest, Verb,
};

use super::{
    Backend, Bench, at, cancel, command_id, default_account, only, seen, start, step, tenant,
};

use State::{EntitlementsFetched, OrdersCancelling};

/// What the tenant has bought, as it is stored.
fn record(key: &str) -> PurchaseRecord {
    PurchaseRecord {
        key: ResourceKey::order(key),
        kind: Kind::PerpetualSoftware,
        name: "VM".to_owned(),
        route: Route::By(Action::CancelOrder),
        status: "completed".to_owned(),
        standing: Standing::Active,
        order_id: Some(key.to_owned()),
        blocked: None,
        cancellable_until: None,
    }
}

/// The same as it is read.
fn order(key: &str) -> Order {
    Order {
        id: key.to_owned(),
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

fn item(key: &str) -> Item {
    let PurchaseRecord { key, kind, route, .. } = record(key);
    Item { key, kind: kind.as_str().to_owned(), route: route.as_str().to_owned() }
}

/// Fresh facts about a tenant with these orders.
fn bought(number: u32, orders: &[&str], now: jiff::Timestamp) -> Observation {
    let fact = orders.iter().map(|id| order(id)).collect();
    Observation { orders: Some(Seen::at_once(fact, now)), ..seen(tenant(number), now) }
}

/// A row claimed, with these orders stored.
async fn ready(bench: &Bench, number: u32, orders: &[&str], now: jiff::Timestamp) -> Claimed {
    bench.queue([number], now).await;
    let claimed = bench.claim_one(now).await;
    let facts = bought(number, orders, now);
    let purchases = Some(PurchasesRead::All(orders.iter().map(|key| record(key)).collect()));
    let commit = Commit { purchases, ..step(&claimed, EntitlementsFetched, &facts, &bench.policy) };
    bench.store.commit(commit, now).await.unwrap();
    claimed
}

/// Commits the cancellation of the first order, with these orders read.
async fn write(
    bench: &Bench,
    claimed: &Claimed,
    number: u32,
    orders: &[&str],
    now: jiff::Timestamp,
) -> Committed {
    let facts = bought(number, orders, now);
    let commit = Commit {
        commands: vec![cancel(number, orders[0])],
        purchases: Some(PurchasesRead::All(orders.iter().map(|key| record(key)).collect())),
        ..step(claimed, OrdersCancelling, &facts, &bench.policy)
    };
    bench.store.commit(commit, now).await.unwrap()
}

/// Begins to send a command, with these facts.
async fn begin(
    bench: &Bench,
    claimed: &Claimed,
    number: u32,
    facts: &Observation,
    now: jiff::Timestamp,
) -> Verdict {
    let (id, fence) = (claimed.teardown.id, claimed.fence);
    let (command, correlation) = (command_id(number), uuid::Uuid::from_u128(7));
    let sent = bench.store.begin_send(command, id, fence, correlation, facts, &bench.policy, now);
    sent.await.unwrap()
}

async fn approve(bench: &Bench, number: u32, actor: &str, now: jiff::Timestamp) -> RequestEffect {
    let request = ApproveRequest {
        filter: only(number),
        actor: actor.to_owned(),
        reason: Some("looked".to_owned()),
        plan: None,
    };
    bench.store.approve(&request, now).await.unwrap().remove(0)
}

/// The row is held by this guard, its clock stands, and nothing was stored to be sent.
async fn assert_held(bench: &Bench, number: u32, guard: Reason, now: jiff::Timestamp) -> String {
    let row = bench.row(number).await;
    let hold = row.holds.first().cloned().unwrap_or_else(|| panic!("not held: {row:?}"));
    assert_eq!((hold.code, row.status(now)), (guard, Status::Held), "{}", hold.text);
    assert_eq!((row.lease, row.eligible_since), (None, None));
    assert!(bench.claim(9, now).await.is_empty(), "a held row is not claimed");
    hold.text
}

pub(crate) async fn invariant_3_outside_its_windows_nothing_is_written(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    // The beginning of every case is a Thursday, midnight.
    let window = Window::parse("Thu 01:00-02:00 UTC", |_| Some(TimeZone::UTC)).unwrap();
    bench.policy.windows = vec![window];
    let claimed = ready(&bench, 1, &["a"], start()).await;
    let done = write(&bench, &claimed, 1, &["a"], at(60)).await;
    let Some(Verdict::Wait { reason, until, .. }) = done.verdict else { panic!("{done:?}") };
    assert_eq!((reason, until, done.admitted.len()), (Reason::Window, at(3600), 0));
    let row = bench.row(1).await;
    assert_eq!((row.status(at(61)), row.next_attempt_at), (Status::Waiting, Some(at(3600))));
    // Its deadline's clock stands, also while the account is paused and resumed.
    assert_eq!((row.eligible_since, row.eligible_used.as_secs()), (None, 60));
    for verb in [Verb::Pause, Verb::Resume] {
        bench.store.request(&super::request(verb, Default::default()), at(70)).await.unwrap();
        assert_eq!(bench.row(1).await.eligible_since, None, "{verb:?}");
    }
    assert!(bench.claim(1, at(3599)).await.is_empty());
    let claimed = bench.claim_one(at(3600)).await;
    assert_eq!(claimed.teardown.eligible_since, Some(at(3600)));
    assert_eq!(write(&bench, &claimed, 1, &["a"], at(3610)).await.admitted.len(), 1);
    // Committed in the window and not sent before it closed: it waits for the next one.
    let facts = bought(1, &["a"], at(7200));
    let verdict = begin(&bench, &claimed, 1, &facts, at(7200)).await;
    let Verdict::Wait { reason, until, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!((reason, until), (Reason::Window, at(7 * 24 * 3600 + 3600)));
    assert_eq!(bench.stored(tenant(1), 1).await.sends, 0);
    let facts = bought(1, &["a"], at(7199));
    assert_eq!(begin(&bench, &claimed, 1, &facts, at(7199)).await, Verdict::Allow);
}

fn identity(bench: &Bench) -> Identity {
    bench.policy.identity()
}

async fn arm(bench: &Bench, identity: Option<Identity>, now: jiff::Timestamp) -> RequestEffect {
    let request = ArmRequest {
        account: default_account(),
        identity,
        actor: "ann".to_owned(),
        reason: Some("ours".to_owned()),
    };
    bench.store.arm(&request, now).await.unwrap()
}

pub(crate) async fn an_account_that_is_not_armed_holds_its_rows(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.require_arming = true;
    let claimed = ready(&bench, 1, &["a"], start()).await;
    assert!(write(&bench, &claimed, 1, &["a"], at(1)).await.admitted.is_empty());
    assert!(assert_held(&bench, 1, Reason::Arming, at(1)).await.contains("has not been armed"));

    let armed = identity(&bench);
    assert!(arm(&bench, Some(armed.clone()), at(2)).await.applied);
    let row = bench.row(1).await;
    assert_eq!(
        (row.holds.first(), row.eligible_since, row.next_attempt_at),
        (None, Some(at(2)), None)
    );
    let claimed = bench.claim_one(at(2)).await;
    assert_eq!(write(&bench, &claimed, 1, &["a"], at(3)).await.admitted.len(), 1);
    // It is stored with who and when, and survives whatever else changes the account's row.
    bench.store.halt(&default_account(), "guard", "text", at(4)).await.unwrap();
    let stored = backend.open().await.account(&default_account()).await.unwrap().armed.unwrap();
    assert_eq!((stored.actor.as_str(), stored.since, &stored.identity), ("ann", at(2), &armed));
    bench.store.request(&super::request(Verb::Unhalt, Default::default()), at(5)).await.unwrap();

    // Another client id: not the account that was armed. Asked again before the send.
    bench.policy.client_id = uuid::Uuid::from_u128(9);
    let facts = bought(1, &["a"], at(6));
    let verdict = begin(&bench, &claimed, 1, &facts, at(6)).await;
    assert!(
        matches!(&verdict, Verdict::Hold { guard: Reason::Arming, text } if text.contains("client_id")),
        "{verdict:?}"
    );
    assert_eq!(bench.stored(tenant(1), 1).await.sends, 0);
}

pub(crate) async fn disarming_holds_what_comes_after(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.require_arming = true;
    assert!(!arm(&bench, None, at(1)).await.applied, "there was nothing to take back");
    arm(&bench, Some(identity(&bench)), at(1)).await;
    assert!(arm(&bench, None, at(2)).await.applied);
    let claimed = ready(&bench, 1, &["a"], at(3)).await;
    write(&bench, &claimed, 1, &["a"], at(3)).await;
    assert_held(&bench, 1, Reason::Arming, at(3)).await;
    // Arming another account lets nothing of this one go.
    let other = ArmRequest {
        account: teardownd::core::ids::AccountName::new("other"),
        identity: Some(identity(&bench)),
        actor: "ann".to_owned(),
        reason: None,
    };
    bench.store.arm(&other, at(4)).await.unwrap();
    assert_held(&bench, 1, Reason::Arming, at(4)).await;
}

pub(crate) async fn nothing_is_written_before_an_approval(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.require_approval = true;
    bench.queue([2], start()).await;
    let early = approve(&bench, 2, "bob", at(1)).await;
    assert!(!early.applied && early.text.contains("not stored yet"), "{}", early.text);
    assert!(bench.ask(Verb::Abort, 2, at(1)).await.applied);
    let ended = approve(&bench, 2, "bob", at(1)).await;
    assert!(!ended.applied && ended.text.contains("aborted"), "{}", ended.text);

    let claimed = ready(&bench, 1, &["a", "b"], at(2)).await;
    assert!(write(&bench, &claimed, 1, &["a", "b"], at(2)).await.admitted.is_empty());
    assert_held(&bench, 1, Reason::Approval, at(2)).await;
    let effect = approve(&bench, 1, "bob", at(3)).await;
    assert!(effect.applied && effect.text.contains("order:b"), "{}", effect.text);
    let row = bench.row(1).await;
    let approval = row.approval.clone().unwrap();
    assert_eq!((approval.actor.as_str(), approval.at, approval.run), ("bob", at(3), at(2)));
    assert_eq!(approval.inventory, Inventory::from([item("a"), item("b")]));
    assert_eq!((row.holds.first(), row.eligible_since), (None, Some(at(3))));
    let last = bench.store.history(None, tenant(1)).await.unwrap().pop().unwrap();
    assert_eq!(last.actor, "bob");
    assert!(last.text.unwrap().contains("looked"));
    let claimed = bench.claim_one(at(4)).await;
    assert_eq!(write(&bench, &claimed, 1, &["a", "b"], at(4)).await.admitted.len(), 1);
    // What goes meanwhile takes nothing away from the approval.
    assert_eq!(begin(&bench, &claimed, 1, &bought(1, &["a"], at(5)), at(5)).await, Verdict::Allow);
}

pub(crate) async fn an_approval_leaves_other_holds_alone(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    ready(&bench, 1, &["a"], start()).await;
    bench.ask(Verb::Hold, 1, at(1)).await;
    let approved = approve(&bench, 1, "bob", at(2)).await;
    assert!(approved.applied && approved.text.contains("still held by bob"), "{approved:?}");
    assert_eq!(bench.row(1).await.holds.first().cloned().unwrap().code, Reason::Operator);
}

pub(crate) async fn invariant_3_an_operators_hold_stands_beside_a_guards(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.require_arming = true;
    let claimed = ready(&bench, 1, &["a"], start()).await;
    assert!(write(&bench, &claimed, 1, &["a"], at(1)).await.admitted.is_empty());
    assert_held(&bench, 1, Reason::Arming, at(1)).await;
    let holder = |actor: &str| OperatorRequest {
        actor: actor.to_owned(),
        ..super::request(Verb::Hold, only(1))
    };
    let hold = async |actor, now| bench.store.request(&holder(actor), now).await.unwrap().remove(0);
    let first = hold("bob", at(2)).await;
    assert!(first.applied && first.text.contains("beside the guard arming"), "{first:?}");
    // Each further one is told what stands.
    for actor in ["bob", "ann"] {
        let again = hold(actor, at(3)).await;
        assert!(!again.applied && again.text.contains("by bob: as agreed"), "{again:?}");
    }
    let codes = async || bench.row(1).await.holds.iter().map(|hold| hold.code).collect::<Vec<_>>();
    assert_eq!(codes().await, [Reason::Operator, Reason::Arming]);
    // What ends the guard's leaves the person's alone: arming, and an account that is known again.
    assert!(arm(&bench, Some(identity(&bench)), at(4)).await.applied);
    assert_eq!(codes().await, [Reason::Operator]);
    assert_held(&bench, 1, Reason::Operator, at(5)).await;
    for known in [Vec::new(), vec![default_account()]] {
        bench.store.check_accounts(&known, at(6)).await.unwrap();
        assert_eq!(codes().await.len(), 2 - known.len());
    }
    let survey = SurveyRequest {
        stuck_after: Duration::from_secs(3600),
        budget_window: Duration::from_secs(60),
        moves_after: None,
    };
    let told = bench.store.survey(&survey, at(7)).await.unwrap();
    assert_eq!(told.tallies[0].reason, Some(Reason::Operator));
    // A guard that meets a write of a pass that was under way holds beside the person, too.
    let released = bench.ask(Verb::Release, 1, at(8)).await;
    assert!(released.applied && released.text.contains("by bob: as agreed"), "{released:?}");
    let claimed = bench.claim_one(at(9)).await;
    arm(&bench, None, at(9)).await;
    assert!(write(&bench, &claimed, 2, &["a"], at(9)).await.admitted.is_empty());
    hold("ann", at(10)).await;
    let released = bench.ask(Verb::Release, 1, at(11)).await;
    assert!(released.text.contains("by ann: as agreed, and by the guard arming: "), "{released:?}");
    assert!(!bench.row(1).await.holds.stand());
}

pub(crate) async fn what_appears_after_an_approval_holds_the_teardown(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = ready(&bench, 1, &["a"], start()).await;
    approve(&bench, 1, "bob", at(1)).await;
    assert_eq!(write(&bench, &claimed, 1, &["a"], at(2)).await.admitted.len(), 1);
    // Before the send something else is there: withdrawn, and the difference is shown.
    let verdict = begin(&bench, &claimed, 1, &bought(1, &["a", "b"], at(3)), at(3)).await;
    let Verdict::Hold { guard: Reason::PlanDrift, text } = verdict else { panic!("{verdict:?}") };
    assert!(text.contains("order:b (perpetual_software by cancel_order)"), "{text}");
    assert!(!text.contains("order:a"), "{text}");
    let command = bench.stored(tenant(1), 1).await;
    assert_eq!((command.sends, command.outcome.is_some()), (0, true));

    // Approved again, with what is stored by now.
    let facts = bought(1, &["a", "b"], at(4));
    let purchases = Some(PurchasesRead::All(vec![record("a"), record("b")]));
    let commit = Commit { purchases, ..step(&claimed, OrdersCancelling, &facts, &bench.policy) };
    bench.store.commit(commit, at(4)).await.unwrap();
    assert!(approve(&bench, 1, "bob", at(5)).await.applied);
    let row = bench.row(1).await;
    assert_eq!((row.holds.first(), row.approval.unwrap().inventory.len()), (None, 2));
}

pub(crate) async fn an_approval_does_not_count_after_a_retry(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.require_approval = true;
    let claimed = ready(&bench, 1, &["a"], start()).await;
    approve(&bench, 1, "bob", at(1)).await;
    bench.walk(&claimed, &[State::Failed], at(2)).await;
    assert!(!approve(&bench, 1, "bob", at(3)).await.applied, "it has ended");
    assert!(bench.ask(Verb::Retry, 1, at(4)).await.applied);
    let claimed = bench.claim_one(at(5)).await;
    bench.walk(&claimed, &[EntitlementsFetched], at(5)).await;
    assert!(write(&bench, &claimed, 1, &["a"], at(6)).await.admitted.is_empty());
    assert!(assert_held(&bench, 1, Reason::Approval, at(6)).await.contains("before the retry"));

    // Nor does one of an earlier teardown of the same tenant.
    assert!(bench.ask(Verb::Abort, 1, at(7)).await.applied);
    let claimed = ready(&bench, 1, &["a"], at(8)).await;
    assert!(write(&bench, &claimed, 1, &["a"], at(8)).await.admitted.is_empty());
    assert!(assert_held(&bench, 1, Reason::Approval, at(8)).await.contains("nobody"));
}

pub(crate) async fn who_enqueued_may_not_approve(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.require_approval = true;
    bench.policy.approve_by_other = true;
    let mut claimed = ready(&bench, 1, &["a"], start()).await;
    // The tenants of the cases are queued by ann.
    for (second, own) in ["ann", "bob (claimed by ann)"].into_iter().enumerate() {
        let now = at(10 * (1 + second as i64));
        approve(&bench, 1, own, now).await;
        assert!(write(&bench, &claimed, 1, &["a"], now).await.admitted.is_empty(), "{own}");
        let text = assert_held(&bench, 1, Reason::Approval, now).await;
        assert!(text.contains("ann enqueued it"), "{text}");
        bench.ask(Verb::Release, 1, now).await;
        claimed = bench.claim_one(now).await;
    }
    approve(&bench, 1, "bob", at(90)).await;
    assert_eq!(write(&bench, &claimed, 1, &["a"], at(90)).await.admitted.len(), 1);
}

pub(crate) async fn a_saved_plan_is_what_is_approved(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.require_approval = true;
    bench.queue([1], start()).await;
    let plan = |plan: BTreeMap<_, _>| ApproveRequest {
        filter: only(1),
        actor: "bob".to_owned(),
        reason: None,
        plan: Some(plan),
    };
    let other = plan(BTreeMap::from([(tenant(2), Inventory::new())]));
    assert!(!bench.store.approve(&other, at(1)).await.unwrap()[0].applied, "it is not named");
    // Before the first look too: it is bound to what the plan says, whatever is read afterwards.
    let own = plan(BTreeMap::from([(tenant(1), Inventory::from([item("a")]))]));
    assert!(bench.store.approve(&own, at(1)).await.unwrap()[0].applied);
    let claimed = bench.claim_one(at(2)).await;
    bench.walk(&claimed, &[EntitlementsFetched], at(2)).await;
    assert!(write(&bench, &claimed, 1, &["b", "a"], at(3)).await.admitted.is_empty());
    assert!(assert_held(&bench, 1, Reason::PlanDrift, at(3)).await.contains("order:b"));
}

pub(crate) async fn a_large_batch_waits_for_approval(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    // Of the three customers of the facts more than two thirds at once.
    bench.policy.hold_batch_over = Share::new(0.67).unwrap();
    let mut claimed = Vec::new();
    for number in 1..=3 {
        claimed.push(ready(&bench, number, &["a"], at(i64::from(number))).await);
    }
    let (first, second) = (&claimed[0], &claimed[1]);
    assert!(write(&bench, first, 1, &["a"], at(4)).await.admitted.is_empty());
    let text = assert_held(&bench, 1, Reason::LargeBatch, at(4)).await;
    assert!(text.contains("3 of the account's 3") && text.contains("0.67"), "{text}");
    assert!(!bench.row(2).await.holds.stand());
    // One approved: the other two are no more than two thirds.
    approve(&bench, 3, "bob", at(5)).await;
    assert_eq!(write(&bench, second, 2, &["a"], at(5)).await.admitted.len(), 1);
    // The one that was held goes on once it is approved itself.
    assert!(approve(&bench, 1, "bob", at(6)).await.applied);
    assert_eq!(bench.row(1).await.holds.first(), None);
    assert_eq!(bench.stored(tenant(2), 2).await.id, command_id(2));
}
