//! The request budget (invariant 9).

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use teardownd::core::budget::{Ask, Bucket, Budget, Grant, Limit, Resource};
use teardownd::core::ids::AccountName;

use super::{Backend, Bench, at, default_account, start, tenant};

const BUDGET: Budget = Budget {
    window: Duration::from_secs(61),
    account: Limit { requests: 10, reads: 8 },
    customer: Limit { requests: 6, reads: 5 },
};

fn ask(resource: Resource, writes: u32, reads: u32) -> Ask {
    Ask { bucket: Bucket::of_account(resource), writes, reads }
}

fn ask_of(customer: u32, resource: Resource, writes: u32, reads: u32) -> Ask {
    Ask { bucket: Bucket::of_customer(resource, tenant(customer)), writes, reads }
}

async fn reserve(bench: &Bench, asks: &[Ask], now: Timestamp) -> Vec<Grant> {
    bench.store.reserve(&default_account(), asks, &BUDGET, now).await.unwrap()
}

pub(crate) async fn invariant_9_windows_hold_no_more_than_the_budget(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let asks = [ask(Resource::Order, 1, 20), ask(Resource::Customer, 0, 3)];
    let grants = reserve(&bench, &asks, start()).await;
    assert_eq!((grants[0].writes, grants[0].reads), (1, 7), "reads leave room for writes");
    assert_eq!(grants[0].retry_at, Some(at(61) + 1.milliseconds()));
    assert_eq!((grants[1].reads, grants[1].retry_at), (3, None), "classes count apart");
    let grants = reserve(&bench, &[ask(Resource::Order, 5, 0)], at(10)).await;
    assert_eq!((grants[0].writes, grants[0].retry_at), (2, Some(at(61) + 1.milliseconds())));
    let other = AccountName::new("other");
    let apart = bench.store.reserve(&other, &asks, &BUDGET, at(10)).await.unwrap();
    assert_eq!(apart[0].writes + apart[0].reads, 8, "accounts count apart");
    let grants = reserve(&bench, &[ask(Resource::Order, 1, 1)], at(61)).await;
    assert_eq!((grants[0].writes, grants[0].reads), (0, 0), "the window's end belongs to it");
    let later = at(61) + 1.milliseconds();
    let grants = reserve(&bench, &[ask(Resource::Order, 1, 9)], later).await;
    assert_eq!((grants[0].writes, grants[0].reads), (1, 5));
    // Two asks of one class in one call share the window.
    let twice = [ask(Resource::Subscription, 6, 0), ask(Resource::Subscription, 6, 0)];
    let grants = reserve(&bench, &twice, later).await;
    assert_eq!((grants[0].writes, grants[1].writes), (6, 4));
}

pub(crate) async fn invariant_9_a_customer_takes_no_more_than_its_part(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let order = Resource::Order;
    let asks = [ask_of(1, order, 1, 20), ask_of(2, order, 0, 20), ask(order, 1, 0)];
    let grants = reserve(&bench, &asks, start()).await;
    let granted: Vec<_> = grants.iter().map(|grant| (grant.writes, grant.reads)).collect();
    assert_eq!(granted, [(1, 4), (0, 2), (1, 0)], "every write first; then who asked first");
    // The first customer's part is full, the second one's is not.
    let asks = [ask_of(1, order, 9, 0), ask_of(2, order, 9, 0)];
    let grants = reserve(&bench, &asks, at(10)).await;
    assert_eq!((grants[0].writes, grants[1].writes), (1, 1), "and the account's ends them");
    let full: Vec<bool> = grants.iter().map(|grant| grant.own_part_is_full).collect();
    assert_eq!(full, [true, false], "which is told apart");
    let apart = reserve(&bench, &[ask_of(1, Resource::Customer, 0, 9)], at(10)).await;
    assert_eq!(apart[0].reads, 5, "classes count apart");
    drop(bench);
    let bench = Bench::new(backend).await;
    let grants = reserve(&bench, &[ask_of(1, order, 9, 0)], at(60)).await;
    assert_eq!(grants[0].writes, 0, "a restart frees nothing");
    let freed = at(61) + 1.milliseconds();
    assert_eq!(grants[0].retry_at, Some(freed));
    let grants = reserve(&bench, &[ask_of(1, order, 9, 0)], freed).await;
    assert_eq!(grants[0].writes, 5);
    assert_eq!(grants[0].retry_at, Some(at(71) + 1.milliseconds()), "its own part");
}

pub(crate) async fn invariant_9_reservations_survive_reopening(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    reserve(&bench, &[ask(Resource::Order, 10, 0)], start()).await;
    drop(bench);
    let bench = Bench::new(backend).await;
    let grants = reserve(&bench, &[ask(Resource::Order, 1, 0)], at(60)).await;
    assert_eq!(grants[0].writes, 0);
    let grants = reserve(&bench, &[ask(Resource::Order, 1, 0)], at(62)).await;
    assert_eq!(grants[0].writes, 1);
}

pub(crate) async fn invariant_9_a_closed_account_gets_nothing(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.store.throttle(&default_account(), at(30), start()).await.unwrap();
    let asks = [ask(Resource::Order, 1, 1), ask(Resource::Customer, 0, 1)];
    for grant in reserve(&bench, &asks, at(29)).await {
        assert_eq!((grant.writes, grant.reads, grant.retry_at), (0, 0, Some(at(30))));
    }
    assert_eq!(reserve(&bench, &asks, at(30)).await[0].writes, 1);
}

pub(crate) async fn invariant_9_no_earlier_time_frees_what_was_reserved(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let full = [ask(Resource::Order, 10, 0)];
    let one = [ask(Resource::Order, 1, 0)];
    assert_eq!(reserve(&bench, &full, at(7200)).await[0].writes, 10);
    // What lies ahead counts until it has left the window; no earlier time removes it.
    for seconds in [7190, 0, 62, 7261] {
        let refused = reserve(&bench, &one, at(seconds)).await[0];
        assert_eq!((refused.writes, refused.retry_at), (0, Some(at(7261) + 1.milliseconds())));
    }
    assert_eq!(reserve(&bench, &one, at(7262)).await[0].writes, 1);
}

/// Steps of time and asks, as a busy and then idle client would make them.
fn asks() -> impl Strategy<Value = Vec<(u32, u8, u8, u32, u32)>> {
    let step = prop_oneof![Just(0u32), 1..40u32, 40..20_000u32, Just(61_000u32)];
    proptest::collection::vec((step, 0..3u8, 0..4u8, 0..6u32, 0..12u32), 1..120)
}

/// A grant and when it was given.
type Sent = (Timestamp, Bucket, u64);

/// What the window that ends now holds of a bucket.
fn within(sent: &[Sent], bucket: Bucket, now: Timestamp) -> u64 {
    let counts = |sent: &&Sent| bucket.covers(sent.1) && sent.0 + BUDGET.window >= now;
    sent.iter().filter(counts).map(|sent| sent.2).sum()
}

pub(crate) async fn invariant_9_random_asks_never_exceed_the_budget(backend: &dyn Backend) {
    let mut runner = TestRunner::deterministic();
    let bench = Bench::new(backend).await;
    for case in 0..24 {
        let account = AccountName::new(format!("case-{case}"));
        let steps = asks().new_tree(&mut runner).unwrap().current();
        let mut now = start();
        let mut sent: Vec<Sent> = Vec::new();
        for (millis, class, customer, writes, reads) in steps {
            now += Duration::from_millis(millis.into());
            let resource = Resource::ALL[usize::from(class)];
            let asked = match customer {
                0 => ask(resource, writes, reads),
                customer => ask_of(customer.into(), resource, writes, reads),
            };
            let grant = bench.store.reserve(&account, &[asked], &BUDGET, now).await.unwrap()[0];
            assert!(grant.bucket == asked.bucket && grant.writes <= writes && grant.reads <= reads);
            let short = grant.writes < writes || grant.reads < reads;
            assert_eq!(grant.retry_at.is_some(), short);
            assert!(grant.retry_at.is_none_or(|at| now < at && at <= now + 61_001.milliseconds()));
            sent.push((now, asked.bucket, u64::from(grant.writes) + u64::from(grant.reads)));
            // The window that ends now is the only one that this grant can overfill.
            let own = asked.bucket.customer.map(|_| (asked.bucket, BUDGET.customer));
            let scopes: Vec<_> = [Some((Bucket::of_account(resource), BUDGET.account)), own]
                .into_iter()
                .flatten()
                .collect();
            let mut is_full = false;
            for (scope, limit) in scopes {
                let total = within(&sent, scope, now);
                assert!(total <= limit.requests.into(), "{total} of {scope:?}: {sent:?}");
                assert!(
                    grant.reads == 0 || total <= limit.reads.into(),
                    "reads took the room of writes"
                );
                is_full |= total == u64::from(limit.requests);
            }
            // Nothing is held back without need.
            assert!(grant.writes == writes || is_full, "{sent:?}");
        }
    }
}
