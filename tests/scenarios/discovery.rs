//! Tenants that are found without being told.

use std::time::Duration;

use teardownd::core::discovery::Rules;
use teardownd::core::protection::Subject;
use teardownd::core::teardown::Teardown;
use teardownd::runtime::discovery::{DiscoverySettings, run_once};
use teardownd::store::Filter;

use crate::harness::*;

fn days(count: u64) -> Duration {
    hours(24 * count)
}

fn settings() -> DiscoverySettings {
    DiscoverySettings {
        rules: Rules {
            domains: vec![pattern("*.onmicrosoft.com")],
            exclude: vec![Subject::Tenant(tenant(2))],
            min_age: Some(days(7)),
        },
        max_per_run: 3,
    }
}

async fn run(scene: &Scene) -> usize {
    let account = scene.beside().await;
    let store = scene.store.as_ref();
    run_once(&account, &settings(), store, scene.clock.as_ref()).await.unwrap()
}

async fn queued(scene: &Scene) -> Vec<usize> {
    let number = |row: &Teardown| (1..100).find(|n| tenant(*n) == row.tenant_id).unwrap();
    scene.rows().await.iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_queues_no_more_than_it_may_and_only_those_known_for_long_enough() {
    let scene = given_each(8, &[buy(Kind::NewCommerce)]).set();
    assert_eq!(run(&scene).await, 0, "an unknown age never qualifies");
    scene.pass(days(6)).await;
    assert_eq!(run(&scene).await, 0);
    scene.pass(days(1)).await;
    assert_eq!(run(&scene).await, 3);
    assert_eq!(queued(&scene).await, [1, 3, 4], "the second is excluded");
    let row = scene.row(1).await;
    assert_eq!(row.requested_by.as_deref(), Some("discovery"));
    assert_eq!(row.expected_domain.as_deref(), Some(domain(1).as_str()));
    assert!(row.note.unwrap().starts_with("found by scheduled discovery, first seen 2026-11-22"));
    assert_eq!(run(&scene).await, 3);
    assert_eq!(run(&scene).await, 1);
    assert_eq!(run(&scene).await, 0, "everybody was queued once");
    assert_eq!(queued(&scene).await, [1, 3, 4, 5, 6, 7, 8]);

    // They are torn down like all others.
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(run(&scene).await, 0);
    assert_eq!(scene.writes_of(2).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_leaves_alone_whom_a_person_has_decided_about() {
    let scene = given_each(4, &[]).set();
    run(&scene).await;
    scene.pass(days(8)).await;
    scene.enqueue(&[1]).await;
    assert!(scene.ask_about(Verb::Abort, 1).await.applied);
    let protected = Filter { tenants: vec![tenant(3)], ..Filter::default() };
    scene.request(Verb::Protect, protected).await;
    scene.ask(Verb::Pause).await;
    assert_eq!(run(&scene).await, 0, "the account is paused");
    scene.ask(Verb::Resume).await;
    scene.ask_everything(Verb::Pause).await;
    assert_eq!(run(&scene).await, 0, "everything is paused");
    scene.ask_everything(Verb::Resume).await;
    assert_eq!(run(&scene).await, 1);
    assert_eq!(queued(&scene).await, [1, 4]);
    // Also when retention has removed the row.
    let now = scene.now();
    assert_eq!(scene.store.purge(now + secs(1), now - days(1)).await.unwrap(), 1);
    assert_eq!(run(&scene).await, 0);
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_run_queues_nobody_of_an_account_that_is_no_sandbox() {
    for change in [
        |safety: &mut teardownd::core::gates::SafetyPolicy| safety.customers_limit = 3,
        |safety: &mut teardownd::core::gates::SafetyPolicy| safety.sandbox = false,
        |safety: &mut teardownd::core::gates::SafetyPolicy| safety.allow_domains.clear(),
    ] {
        let scene = given_each(4, &[]).safety(change).set();
        run(&scene).await;
        scene.pass(days(8)).await;
        assert_eq!(run(&scene).await, 0);
        assert_eq!(scene.rows().await, []);
    }
}
