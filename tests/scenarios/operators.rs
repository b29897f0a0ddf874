//! What operators do while many tenants are being driven.

use jiff::Timestamp;
use teardownd::simulator::Entry;
use teardownd::store::{EnqueueOutcome, Filter, OperatorRequest, StoreError};

use crate::harness::*;

const MANY: usize = 50;

fn writes_after(scene: &Scene, at: Timestamp) -> Vec<Entry> {
    scene.writes().into_iter().filter(|entry| entry.at > at).collect()
}

/// Fifty tenants, so far under way that writes go out.
async fn fifty_driven() -> Scene {
    let scene = given_mix(MANY, 11).running().await;
    scene.until_call("the twentieth write", |_| scene.writes().len() >= 20).await;
    assert!(scene.rows().await.iter().any(|row| !row.state.is_terminal()));
    scene
}

#[tokio::test(start_paused = true)]
async fn invariant_3_no_write_starts_two_seconds_after_a_pause_of_fifty_and_none_is_repeated() {
    let scene = fifty_driven().await;
    assert!(scene.ask(Verb::Pause).await[0].applied);
    let heeded_by = scene.now() + secs(2);
    scene.pass(mins(30)).await;
    let late = writes_after(&scene, heeded_by);
    assert!(late.is_empty(), "{late:#?}");
    let open = scene.rows().await.iter().filter(|row| !row.state.is_terminal()).count();
    assert!(open > 0, "the pause came too late to show anything");
    let before = scene.writes().len();
    assert!(scene.ask(Verb::Resume).await[0].applied);
    scene.settle().await;
    assert!(scene.writes().len() > before);
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_3_no_write_starts_two_seconds_after_one_of_fifty_is_protected() {
    let scene = fifty_driven().await;
    let open = |n: &usize| {
        let simulator = &scene.simulator;
        simulator.purchases(tenant(*n).as_uuid()).len() > 1 && !scene.writes_of(*n).is_empty()
    };
    let chosen = (1..=MANY).find(open).expect("one of them is being written to");
    let filter = Filter { tenants: vec![tenant(chosen)], ..Filter::default() };
    let effects = scene.request(Verb::Protect, filter).await;
    assert!(effects[0].applied, "{effects:?}");
    let heeded_by = scene.now() + secs(2);
    scene.settle().await;
    scene.pass(mins(30)).await;
    let late: Vec<_> = writes_after(&scene, heeded_by);
    assert!(late.iter().all(|entry| !concerns(entry, chosen)), "{late:#?}");
    assert!(!late.is_empty(), "the others go on");
    assert_eq!(scene.row(chosen).await.state, State::Aborted, "{effects:?}");
    for n in (1..=MANY).filter(|n| *n != chosen) {
        assert_deleted(&scene.row(n).await);
    }
    scene.assert_once_each();
    let refused = scene.store.enqueue(&[scene.new_teardown(chosen)], scene.now()).await;
    assert!(matches!(refused, Err(StoreError::Protected(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_beside_an_idle_daemon_is_in_effect_within_two_seconds_without_cron() {
    let mut scene = given([buy(Kind::NewCommerce)]).set();
    scene.start().await;
    // Nothing is due, and nothing wakes it: the look at the queue that takes up a new row is the one
    // that applies what was typed in.
    scene.pass(secs(11)).await;
    assert_eq!(scene.enqueue(&[1]).await, [EnqueueOutcome::Queued]);
    scene.pass(secs(2)).await;
    assert!(!scene.calls().is_empty(), "nobody has looked at the queue");
    assert!(scene.ask_about(Verb::Hold, 1).await.applied);
    scene.pass(mins(1)).await;
    let held = scene.calls().len();
    assert!(scene.ask_about(Verb::Release, 1).await.applied);
    scene.pass(secs(2)).await;
    assert!(scene.calls().len() > held, "nobody has seen the release");
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_protection_stands_and_the_proof_goes_on_once_a_delete_was_accepted() {
    let given = given([]).api(|api| api.removal = (mins(5), mins(5)));
    let scene = given.running().await;
    let accepted =
        |rows: &[teardownd::core::teardown::Teardown]| rows[0].reason == Some(Reason::ProofPending);
    scene.until_rows("the DELETE is accepted", mins(2), accepted).await;
    let filter = Filter { tenants: vec![tenant(1)], ..Filter::default() };
    let effects = scene.request(Verb::Protect, filter).await;
    let applied: Vec<bool> = effects.iter().map(|effect| effect.applied).collect();
    assert_eq!(applied, [true, false], "{effects:?}");
    assert_eq!(scene.store.protections().await.unwrap().len(), 1);
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn an_earliest_time_stops_a_tenant_that_is_being_worked_on() {
    let slow = [buy(Kind::Reservation), buy(Kind::NewCommerce).takes(mins(2))];
    let scene = given_each(2, &slow).running().await;
    scene.until_call("a write of the first", |e| is_write(e) && concerns(e, 1)).await;
    let opens = scene.now() + hours(3);
    let set = OperatorRequest {
        not_before: Some(opens),
        ..OperatorRequest::new(
            Verb::Set,
            Filter { tenants: vec![tenant(1)], ..Filter::default() },
            "ops",
        )
    };
    assert!(scene.store.request(&set, scene.now()).await.unwrap()[0].applied);
    let heeded_by = scene.now() + secs(2);
    scene.settle().await;
    scene.assert_all_deleted().await;
    let between = |entry: &Entry| entry.at > heeded_by && entry.at < opens;
    assert!(scene.calls().iter().all(|entry| !(concerns(entry, 1) && between(entry))));
    assert!(scene.writes_of(1).last().unwrap().at >= opens);
    assert!(scene.writes_of(2).last().unwrap().at < opens, "the other one went on");
}
