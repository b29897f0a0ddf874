//! SIGKILL at any instant loses nothing and repeats nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use teardownd::simulator::{Customer, Effect, Kind, Options, Purchase, When};
use uuid::Uuid;

use crate::daemon::Daemon;
use crate::gate::{pause, until};
use crate::stage::{Settings, Stage, brisk};

/// How often it is killed.
const KILLS: usize = 32;
/// A sandbox is full with so many.
const CUSTOMERS: usize = 75;

/// When a kill strikes. Each kind has a random delay of its own besides.
#[derive(Debug, Clone, Copy)]
enum Instant {
    /// At any time from its start on, whatever it does.
    Any,
    /// Writes were applied, and their answers are still out.
    Unanswered,
    /// The connection of a write broke before the write was applied.
    NeverApplied,
    /// The connection of a write broke after the write was applied.
    BrokenAfterwards,
}

const TURNS: [Instant; 4] =
    [Instant::Any, Instant::Unanswered, Instant::NeverApplied, Instant::BrokenAfterwards];

fn up_to(millis: u64, dice: &mut StdRng) -> Duration {
    Duration::from_millis(dice.random_range(0..=millis))
}

/// Lets a daemon come to the instant at which it is to be killed. Returns the number of the call from
/// which on no write is answered, if there is one.
async fn arrive(stage: &Stage, instant: Instant, dice: &mut StdRng) -> Option<u64> {
    pause(up_to(800, dice)).await;
    let first = |effect| stage.strike_writes(When::First(1), &effect);
    let (struck, unanswered) = match instant {
        Instant::Any => return None,
        Instant::Unanswered => {
            let held = stage.hold_answers_to_writes();
            (held, Some(held))
        }
        Instant::NeverApplied => {
            // The repetition, if it comes to that before the kill, is not answered either.
            first(Effect::DropBefore);
            let held = stage.hold_answers_to_writes();
            (held, Some(held))
        }
        Instant::BrokenAfterwards => (first(Effect::DropAfter), None),
    };
    stage.until_written(struck).await;
    pause(up_to(150, dice)).await;
    unanswered
}

/// Kills a daemon, and waits until the simulator knows that nobody is there to take its answers.
async fn kill(stage: &Stage, daemon: Daemon, unanswered: Option<u64>) {
    daemon.kill().await;
    if let Some(from) = unanswered {
        until("the simulator notices that the client is gone", async || {
            stage.writes_since(from).iter().all(|write| !write.delivered).then_some(())
        })
        .await;
    }
    stage.simulator.clear_rules();
}

/// What one kill has left behind.
#[derive(Debug)]
struct Left {
    unsettled: i64,
    of_these_sent: i64,
    open: i64,
    customers: usize,
}

async fn look_at_what_is_left(stage: &Stage) -> Left {
    let mut database = stage.left_behind().await;
    let unsettled = "SELECT count(*) FROM commands WHERE outcome IS NULL";
    let open = "SELECT count(*) FROM teardowns WHERE state <> 'deleted'";
    let left = Left {
        unsettled: database.number(unsettled).await,
        of_these_sent: database.number(&format!("{unsettled} AND sends > 0")).await,
        open: database.number(open).await,
        customers: stage.simulator.snapshot().customers_left,
    };
    // Invariant 4: whatever has arrived was committed and counted before it left.
    let sends = database.sends().await;
    let mut arrivals: BTreeMap<String, i64> = BTreeMap::new();
    for write in stage.writes_since(0) {
        *arrivals.entry(write.request_id.unwrap_or_default()).or_default() += 1;
    }
    for (id, arrived) in arrivals {
        let counted = sends.get(&id).copied().unwrap_or_default();
        assert!(arrived <= counted, "{id} arrived {arrived} times and was counted {counted} times");
    }
    database.close().await;
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_4_and_10_killed_at_random_instants_everything_is_applied_exactly_once() {
    let mut dice = StdRng::seed_from_u64(2);
    let millis = |least, most| (Duration::from_millis(least), Duration::from_millis(most));
    let options = Options { latency: millis(60, 120), cancellation: millis(200, 3000), ..brisk() };
    let stage = Stage::populated(CUSTOMERS, options).await;
    // Few at once, so that there is work for every kill, and leases that outlive the test: whoever
    // did not take them over at once would never end.
    let slow = Settings { max_in_flight: 8, lease_ttl: "1h", ..Settings::default() };
    stage.configure(&slow);
    stage.enqueue_all().await;

    let mut kills = Vec::new();
    for turn in 0..KILLS {
        let instant = TURNS[turn % TURNS.len()];
        let daemon = stage.start();
        let unanswered = arrive(&stage, instant, &mut dice).await;
        kill(&stage, daemon, unanswered).await;
        let left = look_at_what_is_left(&stage).await;
        eprintln!("kill {turn}, {instant:?}: {left:?}");
        if unanswered.is_some() {
            assert!(left.of_these_sent > 0, "an unanswered write is sent and unsettled: {left:?}");
        }
        assert!(left.open > 0 && left.customers > 0, "work remains: {left:?}");
        kills.push(left);
    }
    assert!(kills.len() >= 25);
    let unsettled = kills.iter().filter(|left| left.unsettled > 0).count();
    assert!(unsettled >= 10, "{unsettled} kills left an unsettled command");

    stage.configure(&Settings { max_in_flight: 64, ..slow });
    let daemon = stage.ready().await;
    let rows = stage.until_all_ended().await;
    daemon.stop().await;
    let other: Vec<_> = rows.iter().filter(|row| row["state"] != "deleted").collect();
    assert!(rows.len() == CUSTOMERS && other.is_empty(), "{other:?}");
    stage.assert_all_torn_down();
    let mut database = stage.database().await;
    let open = "SELECT count(*) FROM commands WHERE outcome IS NULL";
    assert_eq!(database.number(open).await, 0);
    database.close().await;
    stage.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_creates_its_database_it_starts_all_the_same() {
    let stage = Stage::populated(1, brisk()).await;
    for millis in [0, 20, 40, 60, 80, 120, 160, 240] {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(stage.path(&format!("t.db{suffix}"))).ok();
        }
        let daemon = stage.start();
        pause(Duration::from_millis(millis)).await;
        daemon.kill().await;
        stage.ready().await.stop().await;
        assert_eq!(stage.done(&["list"]).await["teardowns"].as_array().unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_2_and_4_a_first_write_that_got_lost_does_not_wait_for_itself() {
    let mut sandbox = Stage::sandbox();
    let customer = Customer::new(Uuid::from_u128(1), "two.onmicrosoft.com");
    let licence = || Purchase::new(Kind::NewCommerce);
    sandbox.add(customer.with(licence()).with(licence())).unwrap();
    let stage = Stage::with(sandbox, brisk()).await;
    stage.strike_writes(When::First(1), &Effect::DropBefore);
    stage.enqueue_all().await;
    let daemon = stage.ready().await;
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}
