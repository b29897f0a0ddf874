//! A daemon that is killed or stopped anywhere, and another one that goes on from what is stored.

use teardownd::store::EnqueueOutcome;

use crate::harness::*;

/// Three tenants that need every kind of write.
fn three() -> Given {
    Given::new([
        customer(1, [buy(Kind::Reservation), buy(Kind::NewCommerce).add_ons(1)]),
        customer(2, [buy(Kind::AzurePlan), buy(Kind::LegacyLicence)]),
        customer(3, [buy(Kind::SoftwareSubscription)]),
    ])
}

/// How many steps a run takes that nobody disturbs.
async fn steps_of_a_whole_run() -> usize {
    let scene = three().running().await;
    scene.settle().await;
    scene.steps() as usize
}

/// So many runs are killed, at steps spread over the whole run.
const KILLED_RUNS: usize = 90;

#[tokio::test(start_paused = true)]
async fn invariant_10_a_daemon_killed_at_any_step_is_followed_by_one_that_repeats_nothing() {
    let steps = steps_of_a_whole_run().await;
    assert!(steps > KILLED_RUNS, "{steps}");
    for step in (1..steps).step_by(steps / KILLED_RUNS) {
        let mut scene = three().queued().await;
        scene.start_until(Some(step as u64)).await;
        scene.until_dead_or_ended().await;
        scene.kill();
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_10_daemons_killed_again_and_again_get_there_and_repeat_nothing() {
    for seed in 0..8_u64 {
        let mut scene = given_mix(6, seed).seed(seed).queued().await;
        let mut kills = 0;
        // Prime strides, so that the kills fall on different steps each time.
        for stride in [7, 41, 13, 89, 29, 3, 61, 17, 47, 23, 71, 5, 37, 11, 53].repeat(3) {
            scene.start_until(Some(stride + seed)).await;
            scene.until_dead_or_ended().await;
            if !scene.is_dead() {
                scene.kill();
                break;
            }
            scene.kill();
            kills += 1;
        }
        assert!(kills >= 25, "{kills}");
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_10_kills_in_the_middle_of_faults_repeat_nothing() {
    for seed in 0..6_u64 {
        let mut scene = given_mix(5, 20 + seed)
            .seed(seed)
            .api(|api| api.latency = (secs(0), secs(2)))
            .queued()
            .await;
        for effect in [Effect::DropAfter, Effect::DropBefore, Effect::bad_gateway(), Effect::CutOff]
        {
            scene.rule(Rule::new(When::Chance(0.04), effect));
        }
        for kill in 0..30 {
            scene.start_until(Some(20 + 17 * ((kill + seed) % 9))).await;
            scene.until_dead_or_ended().await;
            scene.kill();
        }
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_10_a_stop_at_any_moment_leaves_no_lease_and_repeats_nothing() {
    for tenths in (1..90).step_by(4) {
        let mut scene = three().queued().await;
        scene.start().await;
        scene.pass(std::time::Duration::from_millis(tenths * 100 + 30)).await;
        assert_eq!(scene.stop().await, 0, "everything comes to rest within the drain limit");
        for row in scene.rows().await {
            assert!(row.lease.is_none(), "{row:?}");
        }
        let calls = scene.calls().len();
        scene.pass(mins(5)).await;
        assert_eq!(scene.calls().len(), calls, "a stopped daemon sends nothing");
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_10_a_stop_waits_for_the_answer_of_a_write() {
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    scene.rule(Rule::new(When::Nth(1), Effect::Delay(secs(15))).method("PATCH"));
    scene.start().await;
    scene.until_call("the write", is_write).await;
    assert_eq!(scene.stop().await, 0);
    let commands = scene.commands(1).await;
    assert!(commands[0].outcome.is_some(), "its answer was stored: {:?}", commands[0]);
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn invariant_10_a_write_that_outlasts_the_drain_limit_is_taken_up_under_its_own_id() {
    let mut scene = given([buy(Kind::Reservation).takes(mins(3))]).queued().await;
    scene.rule(Rule::new(When::Nth(1), Effect::Delay(secs(50))).method("PATCH"));
    scene.start().await;
    scene.until_call("the write", is_write).await;
    assert_eq!(scene.stop().await, 1, "told of at the end");
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let writes = scene.writes();
    assert_eq!(writes[0].request_id, writes[1].request_id);
}

#[tokio::test(start_paused = true)]
async fn invariant_12_terminal_rows_stay_as_they_are_across_restarts() {
    let customers = [
        customer(1, []),
        customer(2, []).cannot_be_deleted(),
        customer(3, [buy(Kind::Reservation).takes(hours(1))]),
    ];
    let scene = Given::new(customers).running().await;
    scene
        .until_rows("two have ended", mins(10), |rows| {
            rows.iter().filter(|row| row.state.is_terminal()).count() == 2
        })
        .await;
    scene.ask_about(Verb::Abort, 3).await;
    let ended = scene.rows().await;
    let writes = scene.writes().len();
    let mut scene = scene;
    for _ in 0..3 {
        scene.stop().await;
        scene.start().await;
        scene.pass(hours(2)).await;
    }
    assert_eq!(scene.rows().await, ended);
    assert_eq!(scene.writes().len(), writes);
}

#[tokio::test(start_paused = true)]
async fn invariant_12_a_deleted_tenant_is_not_queued_again_unless_asked_to() {
    let mut scene = given([buy(Kind::Reservation)]).running().await;
    assert_eq!(scene.enqueue(&[1]).await, [EnqueueOutcome::AlreadyActive]);
    scene.settle().await;
    assert_eq!(scene.enqueue(&[1]).await, [EnqueueOutcome::AlreadyDeleted]);
    let writes = scene.writes().len();
    scene.stop().await;
    scene.start().await;
    let again = teardownd::core::teardown::NewTeardown { again: true, ..scene.new_teardown(1) };
    let begun = scene.passed();
    assert_eq!(scene.enqueue_rows(&[again]).await, [EnqueueOutcome::Queued]);
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.rows().await.len(), 2);
    assert_eq!(scene.writes().len(), writes, "the proof alone, by the DELETE on record");
    assert!(scene.passed() < begun + secs(30), "at once");
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_guard_that_is_new_after_a_restart_stops_what_was_begun() {
    let slow = buy(Kind::AzurePlan).takes(mins(5));
    let mut scene = given([slow, buy(Kind::NewCommerce)]).queued().await;
    scene.start().await;
    scene.until_call("a write", is_write).await;
    scene.pass(mins(1)).await;
    scene.kill();
    let writes = scene.writes().len();
    scene.given.safety.protected_tenants.push(tenant(1));
    scene.start().await;
    scene.settle().await;
    scene.assert_held(1, Reason::ProtectedTenant).await;
    assert_eq!(scene.writes().len(), writes);
}
