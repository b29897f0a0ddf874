//! Claims, leases and fences (invariant 10).

use std::time::Duration;

use teardownd::core::command::Action;
use teardownd::core::ids::{AccountName, Fence};
use teardownd::core::key::ResourceKey;
use teardownd::core::machine::{Transition, Wake};
use teardownd::core::routes::{Kind, Route, Standing};
use teardownd::core::teardown::{NewTeardown, State, Status};
use teardownd::store::{ClaimRequest, Commit, PurchaseRecord, PurchasesRead, StoreError, Verb};
use uuid::Uuid;

use super::{
    Backend, Bench, at, cancel, command_id, default_account, only, request, seen, start, step,
    tenant, wanted,
};

pub(crate) async fn claims_go_by_priority_and_then_by_waiting_time(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let urgent = NewTeardown { priority: 5, ..wanted(3) };
    bench.queue([1], at(10)).await;
    bench.queue([2], at(5)).await;
    bench.store.enqueue(&[urgent], at(20)).await.unwrap();
    bench.queue([4], at(5)).await;
    let claimed = bench.claim(3, at(30)).await;
    let tenants: Vec<_> = claimed.iter().map(|c| c.teardown.tenant_id).collect();
    assert_eq!(tenants, [tenant(3), tenant(2), tenant(4)]);
    // A row that waits is due since the time it waited for.
    for row in &claimed {
        let facts = seen(row.teardown.tenant_id, at(30));
        let until = if row.teardown.tenant_id == tenant(2) { at(31) } else { at(9) };
        let commit = Commit {
            transition: Transition {
                wake: Wake::At(until),
                ..Transition::to(State::EntitlementsFetched)
            },
            ..step(row, State::EntitlementsFetched, &facts, &bench.policy)
        };
        bench.store.commit(commit, at(30)).await.unwrap();
    }
    let claimed = bench.claim(9, at(40)).await;
    let tenants: Vec<_> = claimed.iter().map(|c| c.teardown.tenant_id).collect();
    assert_eq!(tenants, [tenant(3), tenant(4), tenant(1), tenant(2)]);
}

pub(crate) async fn claims_go_to_what_becomes_uncancellable_soonest(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue(1..=4, start()).await;
    bench.store.enqueue(&[NewTeardown { priority: 1, ..wanted(5) }], start()).await.unwrap();
    // What is unknown, or not bounded, comes last; what is inactive bounds nothing.
    let bounds = [
        (1, None),
        (2, Some((at(5000), Standing::Active))),
        (3, Some((at(4000), Standing::Pending))),
        (4, Some((at(1), Standing::Inactive))),
        (5, Some((at(9000), Standing::Active))),
    ];
    for row in bench.claim(9, start()).await {
        let facts = seen(row.teardown.tenant_id, start());
        let bound = bounds.iter().find(|(n, _)| tenant(*n) == row.teardown.tenant_id).unwrap().1;
        let records = bound.into_iter().map(|(until, standing)| PurchaseRecord {
            key: ResourceKey::order("a"),
            kind: Kind::Reservation,
            name: String::new(),
            route: Route::By(Action::CancelOrder),
            status: "completed".to_owned(),
            standing,
            order_id: None,
            blocked: None,
            cancellable_until: Some(until),
        });
        let commit = Commit {
            purchases: Some(PurchasesRead::All(records.collect())),
            transition: Transition {
                wake: Wake::At(at(9)),
                ..Transition::to(State::EntitlementsFetched)
            },
            ..step(&row, State::EntitlementsFetched, &facts, &bench.policy)
        };
        bench.store.commit(commit, start()).await.unwrap();
    }
    assert_eq!(bench.row(2).await.uncancellable_at, Some(at(5000)));
    assert_eq!(bench.row(4).await.uncancellable_at, None);
    let stored = bench.store.purchases(bench.row(3).await.id).await.unwrap();
    assert_eq!(stored[0].record.cancellable_until, Some(at(4000)));
    let claimed = bench.claim(9, at(10)).await;
    let tenants: Vec<_> = claimed.iter().map(|c| c.teardown.tenant_id).collect();
    assert_eq!(tenants, [tenant(5), tenant(3), tenant(2), tenant(1), tenant(4)]);
}

pub(crate) async fn claims_keep_to_slots_and_times(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue(1..=3, start()).await;
    let other = NewTeardown { account: AccountName::new("other"), ..wanted(4) };
    let later = NewTeardown { not_before: Some(at(100)), ..wanted(5) };
    bench.store.enqueue(&[other, later], start()).await.unwrap();
    assert_eq!(bench.claim(2, start()).await.len(), 2);
    assert_eq!(bench.claim(9, start()).await.len(), 1, "leased rows are not claimed again");
    assert_eq!(bench.claim(9, start()).await.len(), 0, "not before its time");
    let claimed = bench.claim(9, at(100)).await;
    assert!(claimed.iter().any(|c| c.teardown.tenant_id == tenant(5)));
    assert!(claimed.iter().all(|c| c.teardown.account == default_account()));
    assert!(bench.row(4).await.lease.is_none(), "accounts without slots get nothing");
}

pub(crate) async fn invariant_10_a_new_claim_has_a_new_fence(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let first = bench.claim_one(start()).await;
    let lease = first.teardown.lease.clone().unwrap();
    assert_eq!((lease.owner.as_str(), lease.until), ("host/1", at(60)));
    assert_eq!(bench.row(1).await, first.teardown);
    assert_eq!(bench.row(1).await.status(at(1)), Status::Moving);
    assert_eq!(bench.claim(1, at(59)).await, []);
    let second = bench.claim_one(at(60)).await;
    assert_eq!(second.fence, Fence(first.fence.0 + 1), "a lapsed lease is claimed anew");
}

pub(crate) async fn invariant_10_a_lost_lease_refuses_every_write(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let lost = bench.claim_one(start()).await;
    bench.walk(&lost, &[State::EntitlementsFetched], start()).await;
    bench.command(&lost, State::OrdersCancelling, vec![cancel(1, "a")], start()).await;
    let held = bench.claim_one(at(60)).await;

    let before = bench.row(1).await;
    let facts = seen(tenant(1), at(61));
    let commit = step(&lost, State::Polling, &facts, &bench.policy);
    assert!(is_lost(bench.store.commit(commit, at(61)).await));
    assert!(is_lost(bench.store.release(lost.teardown.id, lost.fence, at(61)).await));
    let send = bench.store.begin_send(
        command_id(1),
        lost.teardown.id,
        lost.fence,
        Uuid::nil(),
        &facts,
        &bench.policy,
        at(61),
    );
    assert!(is_lost(send.await));
    assert_eq!(bench.row(1).await, before);
    assert_eq!(bench.stored(tenant(1), 1).await.sends, 0);
    bench.walk(&held, &[State::Polling], at(61)).await;
}

fn is_lost<T>(result: teardownd::store::Result<T>) -> bool {
    matches!(result, Err(StoreError::LeaseLost(_)))
}

pub(crate) async fn invariant_10_a_lease_given_back_refuses_every_write(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.store.release(claimed.teardown.id, claimed.fence, at(1)).await.unwrap();
    let row = bench.row(1).await;
    assert_eq!((row.lease, row.next_attempt_at), (None, None), "due again at once");
    let facts = seen(tenant(1), at(1));
    let commit = step(&claimed, State::EntitlementsFetched, &facts, &bench.policy);
    assert!(is_lost(bench.store.commit(commit, at(1)).await));
    bench.claim_one(at(1)).await;
}

pub(crate) async fn invariant_10_take_over_frees_every_lease_at_once(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let old = bench.claim_one(start()).await;
    assert_eq!(bench.store.take_over("host", at(1)).await.unwrap(), 1);
    let taken = bench.row_of(old.teardown.id).await;
    assert_eq!((taken.fence, taken.next_attempt_at), (Fence(old.fence.0 + 1), None));
    let facts = seen(old.teardown.tenant_id, at(1));
    let commit = step(&old, State::EntitlementsFetched, &facts, &bench.policy);
    assert!(is_lost(bench.store.commit(commit, at(1)).await));
    let held = [(old.teardown.id, old.fence)];
    let lost = bench.store.renew("host/1", &held, Duration::from_secs(60), at(1)).await.unwrap();
    assert_eq!(lost, [old.teardown.id]);
    assert_eq!(bench.claim(9, at(1)).await.len(), 2);
    assert_eq!(bench.store.take_over("host", at(2)).await.unwrap(), 2);
}

pub(crate) async fn renewals_name_the_lost_leases(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue(1..=3, start()).await;
    let claimed = bench.claim(3, start()).await;
    bench.store.release(claimed[1].teardown.id, claimed[1].fence, at(1)).await.unwrap();
    let leases: Vec<_> = claimed.iter().map(|c| (c.teardown.id, c.fence)).collect();
    let ttl = Duration::from_secs(60);
    let lost = bench.store.renew("host/1", &leases, ttl, at(50)).await.unwrap();
    assert_eq!(lost, [claimed[1].teardown.id]);
    assert_eq!(bench.row_of(leases[0].0).await.lease.unwrap().until, at(110));
    let others = bench.store.renew("host/2", &leases, ttl, at(51)).await.unwrap();
    assert_eq!(others.len(), 3, "only the owner renews");
    let wrong = [(leases[0].0, Fence(leases[0].1.0 - 1))];
    assert_eq!(bench.store.renew("host/1", &wrong, ttl, at(52)).await.unwrap(), [leases[0].0]);
    assert_eq!(bench.row_of(leases[0].0).await.lease.unwrap().until, at(110));
}

pub(crate) async fn next_due_is_the_earliest_time(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let accounts = [default_account()];
    let next = async |now| bench.store.next_due(&accounts, now).await.unwrap();
    assert_eq!(next(start()).await, None);
    let later = NewTeardown { not_before: Some(at(100)), ..wanted(1) };
    let other = NewTeardown { account: AccountName::new("other"), ..wanted(2) };
    bench.store.enqueue(&[later, other], start()).await.unwrap();
    assert_eq!(next(start()).await, Some(at(100)), "other accounts do not count");
    bench.queue([3], start()).await;
    assert!(next(at(5)).await.unwrap() <= at(5), "a row is due now");
    bench.ask(Verb::Hold, 3, at(6)).await;
    assert_eq!(next(at(6)).await, Some(at(100)), "held rows are not claimed");
    bench.store.throttle(&default_account(), at(150), at(6)).await.unwrap();
    assert_eq!(next(at(6)).await, Some(at(150)));
    bench.store.halt(&default_account(), "guard", "stop", at(6)).await.unwrap();
    assert_eq!(next(at(6)).await, None, "a halt ends by no time");
}

pub(crate) async fn a_deadline_does_not_run_before_not_before(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let later = NewTeardown { not_before: Some(at(100)), ..wanted(1) };
    bench.store.enqueue(&[later], start()).await.unwrap();
    let claimed = bench.claim_one(at(130)).await;
    assert_eq!(claimed.teardown.eligible_since, Some(at(100)));
    assert_eq!(bench.row(1).await.eligible_since, Some(at(100)));
    bench.store.request(&request(Verb::Hold, only(1)), at(150)).await.unwrap();
    assert_eq!(bench.row(1).await.eligible_used, Duration::from_secs(50));
    let nobody = ClaimRequest {
        owner: "x".into(),
        ttl: Duration::from_secs(1),
        slots: vec![],
        working: vec![],
    };
    assert_eq!(bench.store.claim(&nobody, at(500)).await.unwrap(), []);
}
