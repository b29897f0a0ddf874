//! An API that takes its time. Slowness is no failure.

use std::time::Duration;

use crate::harness::*;

/// A full look at everything while each answer takes this long.
async fn all_are_deleted_with_answers_of(latency: Duration) {
    let mut scene = given_mix(20, 7).api(|api| api.latency = (latency, latency)).queued().await;
    scene.start().await;
    scene.settle_within(hours(12)).await;
    scene.assert_all_deleted().await;
    for n in 1..=20 {
        let faults = scene.faults(n).await;
        assert!(faults.is_empty(), "{latency:?}: {faults:#?}");
        let history = scene.history(n).await;
        let failed = |reason: Option<Reason>| {
            matches!(reason, Some(Reason::RetryBackoff | Reason::AccountUnreachable))
        };
        assert!(history.iter().all(|step| !failed(step.reason)), "{latency:?}: {history:#?}");
    }
    let reads = scene.calls().iter().filter(|call| call.method == "GET").count();
    assert!(reads <= 20 * 45, "{latency:?}: {reads} reads for 20 tenants");
}

#[tokio::test(start_paused = true)]
async fn invariant_14_with_answers_of_one_second_everything_is_deleted() {
    all_are_deleted_with_answers_of(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_with_answers_of_four_seconds_everything_is_deleted() {
    all_are_deleted_with_answers_of(secs(4)).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_with_answers_of_eight_seconds_everything_is_deleted() {
    all_are_deleted_with_answers_of(secs(8)).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_with_answers_of_twenty_seconds_everything_is_deleted() {
    all_are_deleted_with_answers_of(secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_an_api_slower_than_a_minute_spends_no_attempts() {
    // Pages of one item: each list takes more than a minute to be read.
    let bought = [Kind::Reservation, Kind::PerpetualSoftware, Kind::NewCommerce].map(buy);
    let given = given(bought).api(|api| api.page_size = Some(1));
    let mut scene = given.queued().await;
    let slow = Rule::new(When::Between(secs(0), hours(1)), Effect::Delay(secs(28)));
    scene.rule(slow.method("GET").on(Template::Orders));
    scene.start().await;
    scene.pass(mins(58)).await;
    let row = scene.row(1).await;
    assert_eq!((row.attempts, row.reason), (0, Some(Reason::StaleFacts)), "{row:?}");
    assert_eq!(scene.writes().len(), 0);
    scene.settle().await;
    scene.assert_all_deleted().await;
}
