//! The request budget of the account, and what a 429 closes.

use std::collections::BTreeMap;
use std::time::Duration;

use teardownd::simulator::{Entry, RetryAfterForm};

use crate::harness::*;

/// The classes that the API counts apart, by the resource pages of its documentation.
fn class(template: Template) -> &'static str {
    match template {
        Template::Orders | Template::Order => "order",
        Template::Subscriptions
        | Template::Subscription
        | Template::Activate
        | Template::AzureEntitlements
        | Template::AzureEntitlement
        | Template::AzureCancel => "subscription",
        _ => "customer",
    }
}

/// The most requests of each class in any 61 seconds, token requests aside.
pub(crate) fn fullest_windows(scene: &Scene) -> BTreeMap<&'static str, usize> {
    fullest_windows_of(scene, |_| true)
}

/// The same, of some requests only.
fn fullest_windows_of(
    scene: &Scene,
    wanted: impl Fn(&Entry) -> bool,
) -> BTreeMap<&'static str, usize> {
    let mut by_class: BTreeMap<&str, Vec<jiff::Timestamp>> = BTreeMap::new();
    for call in scene.calls().iter().filter(|call| !is_token(call) && wanted(call)) {
        by_class.entry(class(call.template)).or_default().push(call.at);
    }
    let fullest = |times: &[jiff::Timestamp]| {
        let within = |start: &jiff::Timestamp| {
            let end = *start + secs(61);
            times.iter().filter(|at| start <= *at && **at <= end).count()
        };
        times.iter().map(within).max().unwrap_or_default()
    };
    by_class.into_iter().map(|(class, times)| (class, fullest(&times))).collect()
}

/// The pages of a list wait for the budget too, and what they show grows old meanwhile.
#[tokio::test(start_paused = true)]
async fn invariant_7_a_list_whose_pages_waited_for_the_budget_is_too_old_for_a_delete() {
    for (budget, page_size) in [(25, 2), (60, 1), (60, 3)] {
        let given = given_mix(9, 11).budget(budget).api(|api| api.page_size = Some(page_size));
        let mut scene = given.queued().await;
        scene.start().await;
        scene.settle_within(hours(12)).await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_no_61_seconds_hold_more_than_the_budget_and_no_429_is_ever_seen() {
    for budget in [12_u32, 25, 60] {
        let scene = given_mix(9, 11)
            .budget(budget)
            .api(|api| api.limit_per_minute = Some(budget as usize))
            .running()
            .await;
        scene.settle_within(hours(3)).await;
        scene.assert_all_deleted().await;
        assert_eq!(scene.simulator.journal().throttled(), 0, "budget {budget}");
        let fullest = fullest_windows(&scene);
        assert!(fullest.values().all(|count| *count <= budget as usize), "{budget}: {fullest:?}");
        // It is used, too: a budget that is never touched would prove nothing.
        assert!(fullest.values().any(|count| *count + 4 > budget as usize * 3 / 4), "{fullest:?}");
        for row in scene.rows().await {
            assert_eq!(row.attempts, 0, "waiting for the budget spends no attempt");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_the_budget_counts_across_restarts() {
    let budget = 20;
    let mut scene = given_mix(9, 11)
        .budget(budget)
        .api(|api| api.limit_per_minute = Some(budget as usize))
        .queued()
        .await;
    for run in 0..40 {
        scene.start().await;
        scene.pass(Duration::from_millis(2_500 + 700 * run)).await;
        scene.end(run % 2 == 0).await;
    }
    scene.start().await;
    scene.settle_within(hours(3)).await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.simulator.journal().throttled(), 0);
    let fullest = fullest_windows(&scene);
    assert!(fullest.values().all(|count| *count <= budget as usize), "{fullest:?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_customer_takes_no_more_than_its_part_of_the_budget() {
    // One customer with many purchases, and some with few.
    let (budget, part) = (48_u32, 12);
    let many = (0..24).map(|_| buy(Kind::NewCommerce).takes(mins(2)));
    let few = (2..=6).map(|n| customer(n, [buy(Kind::Reservation), buy(Kind::NewCommerce)]));
    let scene = Given::new([customer(1, many)].into_iter().chain(few)).budget(budget);
    let scene = scene.running().await;
    let others = |rows: &[teardownd::core::teardown::Teardown]| {
        rows.iter().filter(|row| row.tenant_id != tenant(1)).all(|row| row.state == State::Deleted)
    };
    scene.until_rows("those with little to do are done", mins(3), others).await;
    scene.settle_within(hours(3)).await;
    scene.assert_all_deleted().await;
    let fullest = fullest_windows(&scene);
    assert!(fullest.values().all(|count| *count <= budget as usize), "{fullest:?}");
    for n in 1..=6 {
        let fullest = fullest_windows_of(&scene, |call| concerns(call, n));
        assert!(fullest.values().all(|count| *count <= part), "customer {n}: {fullest:?}");
        assert!(n > 1 || fullest["subscription"] == part, "its part is used: {fullest:?}");
    }
    assert!(scene.rows().await.iter().all(|row| row.attempts == 0), "waiting spends no attempt");
}

/// The answers with 429.
fn refused(scene: &Scene) -> Vec<Entry> {
    scene.calls().into_iter().filter(|entry| entry.status == Some(429)).collect()
}

/// Nothing arrives from the answer of a 429 until its `Retry-After` has passed; what was on the wire
/// already may.
fn assert_heeded(scene: &Scene, refused: &Entry, retry_after: Duration) {
    let answered = refused.at + LATENCY;
    let opens = answered + retry_after;
    let inside: Vec<Entry> =
        scene.calls().into_iter().filter(|e| e.at > answered && e.at < opens).collect();
    assert!(inside.is_empty(), "between {answered} and {opens}: {inside:#?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_429_closes_the_whole_account_for_its_retry_after() {
    for form in [RetryAfterForm::Seconds, RetryAfterForm::Date] {
        let scene = given_mix(12, 5).api(|api| api.retry_after = form).queued().await;
        let mut scene = scene;
        for nth in [3, 40, 90] {
            scene.rule(Rule::new(When::Nth(nth), Effect::Throttle(secs(45))));
        }
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        let refused = refused(&scene);
        assert_eq!(refused.len(), 3);
        for entry in &refused {
            // A date has whole seconds, so that up to one of them is lost.
            assert_heeded(&scene, entry, secs(44));
        }
        assert!(scene.rows().await.iter().all(|row| row.attempts == 0), "no attempt is spent");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_an_api_that_allows_less_than_the_budget_is_heeded() {
    for form in [RetryAfterForm::Seconds, RetryAfterForm::Date] {
        let scene = given_mix(8, 13)
            .budget(100)
            .api(|api| {
                api.limit_per_minute = Some(25);
                api.budget_per_minute = Some(100);
                api.retry_after = form;
            })
            .running()
            .await;
        scene.settle_within(hours(4)).await;
        scene.assert_all_deleted().await;
        assert!(scene.simulator.journal().throttled() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_closure_survives_a_restart() {
    for form in [RetryAfterForm::Seconds, RetryAfterForm::Date] {
        for graceful in [false, true] {
            let given = given_each(3, &[buy(Kind::Reservation)]);
            let mut scene = given.api(|api| api.retry_after = form).queued().await;
            scene.rule(Rule::new(When::Nth(9), Effect::Throttle(mins(10))));
            scene.start().await;
            scene.until_call("the 429", |entry| entry.status == Some(429)).await;
            scene.pass(secs(1)).await;
            scene.end(graceful).await;
            scene.pass(secs(20)).await;
            scene.start().await;
            scene.settle().await;
            scene.assert_all_deleted().await;
            let refused = refused(&scene);
            assert_eq!(refused.len(), 1);
            let calls = scene.calls();
            let next = calls.iter().find(|e| e.at > refused[0].at + secs(1)).unwrap();
            assert!(next.at >= refused[0].at + LATENCY + mins(10) - secs(1), "{next:#?}");
            assert!(next.at < refused[0].at + mins(12), "and then goes on: {next:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_429_of_the_token_endpoint_closes_the_account_too() {
    let mut scene = given_each(3, &[buy(Kind::Reservation)]).queued().await;
    scene.rule(Rule::new(When::Nth(1), Effect::Throttle(mins(5))).on(Template::TokenV2));
    let begun = scene.now();
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert!(scene.calls()[1].at >= begun + mins(5), "{:#?}", scene.calls()[1]);
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_small_budget_slows_a_full_sandbox_down_and_does_not_choke_it() {
    // With as many tenants at once as there are slots, what each has read would be stale before it
    // has the budget for its next step.
    for budget in [60_u32, 30] {
        let scene = given_mix(75, 11).budget(budget).running().await;
        scene.settle_within(hours(1)).await;
        scene.assert_all_deleted().await;
        let calls = scene.calls().len();
        assert!(calls < 75 * 20, "budget {budget}: {calls} calls, most of them in vain");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_short_closure_is_waited_for_and_what_was_read_is_kept() {
    for form in [RetryAfterForm::Seconds, RetryAfterForm::Date] {
        let given = given([buy(Kind::Reservation)]).api(|api| api.retry_after = form);
        let mut scene = given.queued().await;
        scene.rule(Rule::new(When::Nth(1), Effect::Throttle(secs(4))).on(Template::Subscriptions));
        scene.start().await;
        scene.until_call("the first write", is_write).await;
        let refused = &refused(&scene)[0];
        assert_heeded(&scene, refused, secs(3));
        let calls = scene.calls();
        let before = |wanted: Template| calls.iter().filter(|e| e.template == wanted).count();
        assert_eq!((before(Template::Customer), before(Template::Orders)), (1, 1), "{form:?}");
        assert_eq!(before(Template::Subscriptions), 2, "{form:?}");
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}
