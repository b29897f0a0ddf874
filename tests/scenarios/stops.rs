//! What people and caps stop.

use std::time::Duration;

use teardownd::core::teardown::{Status, Teardown};
use teardownd::simulator::Entry;

use crate::harness::*;

fn writes_after(scene: &Scene, at: jiff::Timestamp) -> Vec<Entry> {
    scene.writes().into_iter().filter(|entry| entry.at > at).collect()
}

#[tokio::test(start_paused = true)]
async fn invariant_3_no_write_starts_after_a_pause_whenever_it_comes() {
    // A pause in each part of a run that takes about ten seconds.
    for parts in 0..12 {
        let mut scene = given_mix(20, 5).queued().await;
        scene.start().await;
        scene.pass(Duration::from_millis(970) * parts).await;
        let paused_at = scene.now();
        assert!(scene.ask(Verb::Pause).await[0].applied);
        scene.pass(mins(30)).await;
        let late = writes_after(&scene, paused_at);
        assert!(late.is_empty(), "paused at {paused_at}: {late:#?}");
        for row in scene.rows().await {
            let fine = row.state.is_terminal() || row.eligible_since.is_none();
            assert!(fine && !row.holds.stand() && row.state != State::Failed, "{row:?}");
        }
        assert!(scene.ask(Verb::Resume).await[0].applied);
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_3_a_pause_of_everything_holds_for_the_account_too() {
    let scene = given_each(3, &[buy(Kind::Reservation)]).queued().await;
    let mut scene = scene;
    scene.ask_everything(Verb::Pause).await;
    scene.start().await;
    scene.pass(mins(10)).await;
    assert_eq!(scene.writes().len(), 0);
    scene.ask_everything(Verb::Resume).await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_3_a_held_tenant_is_left_alone_and_the_others_go_on() {
    let scene = given_each(4, &[buy(Kind::Reservation), buy(Kind::NewCommerce)]).running().await;
    scene.until_call("a write of the second", |e| is_write(e) && concerns(e, 2)).await;
    assert!(scene.ask_about(Verb::Hold, 2).await.applied);
    let held_at = scene.now();
    scene.settle().await;
    scene.pass(mins(30)).await;
    scene.assert_held(2, Reason::Operator).await;
    assert!(writes_after(&scene, held_at).iter().all(|entry| !concerns(entry, 2)));
    for n in [1, 3, 4] {
        assert_deleted(&scene.row(n).await);
    }
    assert!(scene.ask_about(Verb::Release, 2).await.applied);
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_3_an_abort_says_what_was_cancelled_and_stops_the_rest() {
    let slow = [buy(Kind::Reservation).takes(mins(5)), buy(Kind::NewCommerce).takes(mins(5))];
    let scene = given_each(2, &slow).running().await;
    let accepted = |rows: &[Teardown]| rows.iter().all(|row| row.state == State::Polling);
    scene.until_rows("both poll", mins(1), accepted).await;
    let effect = scene.ask_about(Verb::Abort, 1).await;
    assert!(effect.applied);
    let bought = scene.simulator.purchases(tenant(1).as_uuid());
    for told in [
        format!("cancel_order order:{}", bought[0].order_id),
        format!("delete_subscription subscription:{}", bought[1].subscriptions[0].id),
    ] {
        assert!(effect.text.contains(&told), "{}", effect.text);
    }
    let aborted_at = scene.now();
    scene.settle().await;
    assert_eq!(scene.row(1).await.state, State::Aborted);
    assert!(writes_after(&scene, aborted_at).iter().all(|entry| concerns(entry, 2)));
    assert_deleted(&scene.row(2).await);
    scene.assert_once_each();
}

#[tokio::test(start_paused = true)]
async fn invariant_3_an_abort_before_the_first_write_says_that_nothing_was_cancelled() {
    let scene = given([buy(Kind::Reservation)]).queued().await;
    let effect = scene.ask_about(Verb::Abort, 1).await;
    assert_eq!(
        (effect.applied, effect.text.as_str()),
        (true, "aborted; nothing had been cancelled")
    );
    let mut scene = scene;
    scene.start().await;
    scene.pass(mins(10)).await;
    assert!(scene.calls().iter().all(|entry| entry.tenant.is_none()));
}

#[tokio::test(start_paused = true)]
async fn invariant_3_an_abort_is_refused_once_a_delete_is_out() {
    let given = given([]).api(|api| api.removal = (mins(5), mins(5)));
    let mut scene = given.queued().await;
    scene.rule(Rule::new(When::Nth(1), Effect::Delay(secs(20))).method("DELETE"));
    scene.start().await;
    scene.until_call("the DELETE", is_delete).await;
    let unanswered = scene.ask_about(Verb::Abort, 1).await;
    assert!(!unanswered.applied && unanswered.text.contains("not answered"), "{unanswered:?}");
    scene.pass(mins(1)).await;
    let accepted = scene.ask_about(Verb::Abort, 1).await;
    assert!(!accepted.applied && accepted.text.contains("was accepted"), "{accepted:?}");
    scene.settle().await;
    scene.assert_all_deleted().await;
}

/// When each DELETE was sent.
fn deletions(scene: &Scene) -> Vec<jiff::Timestamp> {
    scene.writes().iter().filter(|entry| is_delete(entry)).map(|entry| entry.at).collect()
}

#[tokio::test(start_paused = true)]
async fn invariant_3_a_full_hourly_cap_means_waiting_not_held() {
    let given = given_each(5, &[]).safety(|safety| safety.max_deletions_per_hour = 2);
    let scene = given.running().await;
    scene.pass(mins(50)).await;
    assert_eq!(deletions(&scene).len(), 2);
    let waiting: Vec<Teardown> =
        scene.rows().await.into_iter().filter(|row| !row.state.is_terminal()).collect();
    assert_eq!(waiting.len(), 3);
    for row in waiting {
        assert_eq!(row.status(scene.now()), Status::Waiting, "{row:?}");
        assert_eq!((row.reason, row.attempts), (Some(Reason::CapHour), 0));
        assert!(row.next_attempt_at.is_some_and(|at| at > scene.now()));
    }
    scene.settle().await;
    scene.assert_all_deleted().await;
    let sent = deletions(&scene);
    for (index, at) in sent.iter().enumerate().skip(2) {
        let gap = at.duration_since(sent[index - 2]);
        assert!(gap.as_secs() >= 3600 - 1, "{sent:?}");
        assert!(gap.as_secs() < 3600 + 60, "goes on when the oldest has aged out: {sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_3_a_full_daily_cap_means_waiting_not_held() {
    let given = given_each(2, &[]).safety(|safety| safety.max_deletions_per_day = 1);
    let scene = given.running().await;
    scene.pass(hours(20)).await;
    assert_eq!(deletions(&scene).len(), 1);
    scene.settle_within(hours(10)).await;
    scene.assert_all_deleted().await;
    let sent = deletions(&scene);
    assert!(sent[1].duration_since(sent[0]).as_secs() >= 24 * 3600 - 1, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_3_the_first_write_waits_for_the_grace_since_the_enqueue() {
    let given = given([buy(Kind::Reservation)]).safety(|safety| safety.grace = hours(1));
    let scene = given.queued().await;
    let queued_at = scene.now();
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert!(scene.writes()[0].at >= queued_at + hours(1));
    assert!(scene.writes()[0].at < queued_at + hours(1) + mins(2));
}

#[tokio::test(start_paused = true)]
async fn invariant_3_a_dry_run_sends_no_write() {
    let given = given_each(2, &[buy(Kind::AzurePlan)]).safety(|safety| safety.dry_run = true);
    let scene = given.running().await;
    scene.pass(hours(2)).await;
    assert_eq!(scene.writes().len(), 0);
    assert!(scene.rows().await.iter().all(|row| row.reason == Some(Reason::DryRun)));
}

#[tokio::test(start_paused = true)]
async fn invariant_3_nothing_is_touched_before_its_not_before() {
    let scene = given([buy(Kind::Reservation)]).set();
    let opens = scene.now() + hours(3);
    let later =
        teardownd::core::teardown::NewTeardown { not_before: Some(opens), ..scene.new_teardown(1) };
    scene.enqueue_rows(&[later]).await;
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert!(scene.calls().iter().all(|entry| entry.at >= opens), "{:?}", scene.calls()[0]);
}

/// Waits until so many writes have gone out, no longer than a look or two of the scheduler take.
async fn goes_on_at_once(scene: &Scene, writes: usize) {
    let asked_at = scene.now();
    scene.until_call("a write", |_| scene.writes().len() >= writes).await;
    assert!(
        scene.now().duration_since(asked_at).as_secs() <= 3,
        "from {asked_at}: {}",
        scene.now()
    );
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_grace_or_a_cap_that_a_reload_changes_is_in_effect_at_once() {
    let given = given_each(3, &[buy(Kind::Reservation)]).safety(|safety| safety.grace = hours(20));
    let mut scene = given.queued().await;
    scene.start().await;
    scene.pass(hours(2)).await;
    let reads = scene.calls().len();
    scene.pass(hours(2)).await;
    assert_eq!(scene.calls().len(), reads, "nothing is read behind a closed gate");
    // A shorter one is not over yet, and opens in its time.
    scene.reload(|safety| safety.grace = hours(5));
    scene.pass(mins(55)).await;
    assert_eq!(scene.writes().len(), 0);
    scene.pass(mins(6)).await;
    assert!(!scene.writes().is_empty());

    let given = given_each(5, &[]).safety(|safety| safety.grace = hours(20));
    let mut scene = given.queued().await;
    scene.start().await;
    scene.pass(hours(2)).await;
    scene.reload(|safety| (safety.grace, safety.max_deletions_per_hour) = (secs(0), 1));
    goes_on_at_once(&scene, 1).await;
    scene.pass(mins(10)).await;
    assert_eq!(deletions(&scene).len(), 1);
    scene.reload(|safety| (safety.max_deletions_per_hour, safety.max_deletions_per_day) = (75, 2));
    goes_on_at_once(&scene, 2).await;
    scene.pass(mins(10)).await;
    assert_eq!(deletions(&scene).len(), 2);
    scene.reload(|safety| safety.max_deletions_per_day = 75);
    goes_on_at_once(&scene, 3).await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}
