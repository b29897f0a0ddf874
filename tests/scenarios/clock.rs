//! Steps of the system's clock, forward and back, within a run and between two (invariant 14): each costs
//! no more than a minute and opens no window, cap or deadline.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use teardownd::core::clock::Clock;
use teardownd::core::teardown::{NewTeardown, Status};
use teardownd::core::window::Window;
use teardownd::simulator::{Entry, RetryAfterForm};
use teardownd::store::{Filter, OperatorRequest};

use crate::budget::fullest_windows;
use crate::harness::*;

/// As far as a clock was seen to be wrong.
const WRONG: SignedDuration = SignedDuration::from_mins(23 * 60 + 59);

/// When the clock is stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stepped {
    /// Not at all: what the others are held against.
    Never,
    WithinARun,
    BetweenTwo,
    /// It was wrong in the first run, which began with it, and is right in the second.
    AfterTheFirst,
    /// While the machine was off for a moment.
    AtABoot,
}

const EVERY: [Stepped; 4] =
    [Stepped::WithinARun, Stepped::BetweenTwo, Stepped::AfterTheFirst, Stepped::AtABoot];

/// Starts the first run.
async fn begin(scene: &mut Scene, stepped: Stepped, by: SignedDuration) {
    if stepped == Stepped::AfterTheFirst {
        scene.step_clock(-by);
    }
    scene.start().await;
}

/// Steps the clock, and restarts the daemon where the step is one between two runs.
async fn step(scene: &mut Scene, stepped: Stepped, by: SignedDuration) {
    match stepped {
        Stepped::Never => {}
        Stepped::WithinARun => scene.step_clock(by),
        Stepped::BetweenTwo | Stepped::AfterTheFirst | Stepped::AtABoot => {
            scene.kill();
            scene.step_clock(by);
            if stepped == Stepped::AtABoot {
                scene.machine.reboot();
            }
            scene.start().await;
        }
    }
}

/// How long a run takes that is stepped at a moment, which this waits for.
async fn lasts(
    given: &Given,
    rule: Option<&Rule>,
    (stepped, by): (Stepped, SignedDuration),
    moment: impl AsyncFn(&Scene),
) -> Duration {
    let mut scene = given.clone().queued().await;
    if let Some(rule) = rule {
        scene.rule(rule.clone());
    }
    begin(&mut scene, stepped, by).await;
    moment(&scene).await;
    step(&mut scene, stepped, by).await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    scene.passed()
}

/// No step makes it last longer by more than a minute.
async fn assert_steps_cost_no_more_than_a_minute(
    given: Given,
    rule: Option<Rule>,
    moment: impl AsyncFn(&Scene),
) {
    let never = (Stepped::Never, SignedDuration::ZERO);
    let whole = lasts(&given, rule.as_ref(), never, &moment).await;
    for stepped in EVERY {
        for by in [WRONG, -WRONG] {
            // After a boot a clock that is ahead cannot be told from a long time off.
            if stepped == Stepped::AtABoot && by.is_positive() {
                continue;
            }
            let took = lasts(&given, rule.as_ref(), (stepped, by), &moment).await;
            assert!(took <= whole + mins(1), "{stepped:?} by {by}: {took:?}, without {whole:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_step_of_the_clock_does_not_lengthen_an_outage() {
    let out = Rule::new(When::Between(secs(0), mins(10)), Effect::unavailable());
    assert_steps_cost_no_more_than_a_minute(given_mix(4, 9), Some(out), async |scene| {
        scene.pass(mins(5)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_step_of_the_clock_does_not_lengthen_a_retry_after() {
    for form in [RetryAfterForm::Seconds, RetryAfterForm::Date] {
        let given = given_each(3, &[buy(Kind::Reservation)]).api(|api| api.retry_after = form);
        let closed = Rule::new(When::Nth(9), Effect::Throttle(mins(10)));
        assert_steps_cost_no_more_than_a_minute(given, Some(closed), async |scene| {
            scene.until_call("the 429", |entry| entry.status == Some(429)).await;
            scene.pass(secs(5)).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_step_of_the_clock_does_not_lengthen_a_poll() {
    let given = given([buy(Kind::Reservation).takes(mins(10))]);
    assert_steps_cost_no_more_than_a_minute(given, None, async |scene| {
        scene.pass(mins(3)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_step_of_the_clock_does_not_lengthen_a_grace() {
    let given = given([buy(Kind::Reservation)]).safety(|safety| safety.grace = mins(20));
    assert_steps_cost_no_more_than_a_minute(given, None, async |scene| {
        scene.pass(mins(10)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_clock_set_back_with_an_unsettled_delete_causes_no_storm() {
    for stepped in EVERY {
        let mut scene = given([]).queued().await;
        scene.rule(Rule::new(When::Nth(1), Effect::DropBefore).method("DELETE"));
        begin(&mut scene, stepped, -WRONG).await;
        scene.until_call("the DELETE", is_delete).await;
        let before = scene.calls().len();
        step(&mut scene, stepped, -WRONG).await;
        scene.pass(secs(6)).await;
        let calls = scene.calls().len() - before;
        assert!(calls <= 20, "{stepped:?}: {calls} calls in 6 s");
        scene.settle_within(mins(2)).await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_no_step_of_the_clock_opens_a_cap() {
    for stepped in [Stepped::WithinARun, Stepped::BetweenTwo, Stepped::AfterTheFirst] {
        for by in [WRONG, -WRONG] {
            let given = given_each(3, &[]).safety(|safety| safety.max_deletions_per_hour = 1);
            let mut scene = given.queued().await;
            begin(&mut scene, stepped, by).await;
            scene.until_call("a DELETE", |entry| entry.status == Some(204)).await;
            scene.pass(mins(1)).await;
            step(&mut scene, stepped, by).await;
            scene.settle().await;
            scene.assert_all_deleted().await;
            let sent: Vec<Timestamp> =
                scene.writes().iter().filter(|entry| is_delete(entry)).map(|e| e.at).collect();
            for pair in sent.windows(2) {
                let gap = pair[1].duration_since(pair[0]).as_secs();
                assert!((3599..3720).contains(&gap), "{stepped:?} by {by}: {sent:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_no_step_of_the_clock_spends_a_deadline() {
    let month = SignedDuration::from_hours(30 * 24);
    for stepped in [Stepped::WithinARun, Stepped::BetweenTwo, Stepped::AfterTheFirst] {
        for by in [month, -month] {
            let given = given([buy(Kind::Reservation).takes(hours(1))]);
            let mut scene = given.timing(|timing| timing.deadline = hours(2)).queued().await;
            begin(&mut scene, stepped, by).await;
            scene.until_call("a write", is_write).await;
            scene.pass(mins(10)).await;
            step(&mut scene, stepped, by).await;
            scene.settle_within(mins(80)).await;
            scene.assert_all_deleted().await;
        }
    }
}

fn window(text: &str) -> Window {
    Window::parse(text, |zone| jiff::tz::TimeZone::get(zone).ok()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn invariant_14_windows_go_by_the_corrected_clock_at_once() {
    // It is ten o'clock, and the daemon begins with a clock that says half past three.
    let wrong = SignedDuration::from_mins(330);
    let opens: Timestamp = "2026-11-22T15:00:00Z".parse().unwrap();
    for restarts in [false, true] {
        for reads in [2, 5, 9] {
            let given = given_mix(4, 5).safety(|safety| {
                safety.windows = vec![window("Mon-Sun 15:00-16:00 UTC")];
            });
            let mut scene = given.queued().await;
            scene.step_clock(wrong);
            scene.start().await;
            let read = Cell::new(0);
            let enough = |_: &Entry| {
                read.set(read.get() + 1);
                read.get() > reads
            };
            scene.until_call("some reads", enough).await;
            let stepped = if restarts { Stepped::BetweenTwo } else { Stepped::WithinARun };
            step(&mut scene, stepped, -wrong).await;
            let corrected_at = scene.now();
            scene.pass(hours(4)).await;
            let late: Vec<_> =
                scene.writes().into_iter().filter(|w| w.at > corrected_at + LATENCY).collect();
            assert!(late.is_empty(), "{restarts} {reads}: {late:#?}");
            scene.settle_within(mins(70)).await;
            scene.assert_all_deleted().await;
            let after = |at: &Timestamp| *at > corrected_at + LATENCY;
            let first = scene.writes().iter().map(|w| w.at).find(after).unwrap();
            assert!(opens <= first && first < opens + mins(1), "{first}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_window_that_a_corrected_clock_shows_open_is_used_within_a_minute() {
    // It is ten o'clock, and the daemon begins with a clock that says six.
    let wrong = SignedDuration::from_hours(-4);
    for stepped in [Stepped::WithinARun, Stepped::BetweenTwo] {
        let given = given_mix(4, 5)
            .safety(|safety| safety.windows = vec![window("Mon-Sun 10:00-11:00 UTC")]);
        let mut scene = given.queued().await;
        scene.step_clock(wrong);
        scene.start().await;
        scene.pass(mins(5)).await;
        assert_eq!(scene.writes().len(), 0, "{stepped:?}");
        step(&mut scene, stepped, -wrong).await;
        scene.pass(mins(1)).await;
        assert!(!scene.writes().is_empty(), "{stepped:?}");
        scene.settle_within(mins(10)).await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_what_is_meant_by_the_clock_on_the_wall_follows_it() {
    // In three hours by the wall, which is then set forward by one.
    let hour = SignedDuration::from_hours(1);
    for stepped in [Stepped::WithinARun, Stepped::BetweenTwo] {
        let mut scene = given_each(2, &[buy(Kind::Reservation)]).set();
        let later = scene.now() + hours(3);
        let row = NewTeardown { not_before: Some(later), ..scene.new_teardown(1) };
        scene.enqueue_rows(&[row, scene.new_teardown(2)]).await;
        let pause = OperatorRequest {
            until: Some(later),
            ..OperatorRequest::new(Verb::Pause, Filter::default(), "ops")
        };
        assert!(scene.store.request(&pause, scene.now()).await.unwrap()[0].applied);
        scene.start().await;
        scene.pass(mins(10)).await;
        step(&mut scene, stepped, hour).await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        for n in [1, 2] {
            let first = scene.writes_of(n)[0].at;
            let due = scene.begun() + hours(2);
            assert!(due <= first && first < due + mins(1), "{stepped:?} {n}: {first}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_commands_with_another_clock_leave_the_request_ledger_alone() {
    let budget = 12;
    for wrong in [WRONG, -WRONG] {
        let mut scene = given_mix(5, 11).budget(budget).queued().await;
        scene.start().await;
        for _ in 0..40 {
            // The clock is wrong while the command runs, and right again for the daemon.
            scene.step_clock(wrong);
            let account = scene.beside().await;
            scene.step_clock(-wrong);
            let asked = async { account.client.customer_list().await.is_ok() };
            tokio::select! {
                biased;
                _ = asked => {}
                () = scene.pass(secs(3)) => {}
            }
        }
        scene.settle_within(hours(3)).await;
        scene.assert_all_deleted().await;
        let fullest = fullest_windows(&scene);
        assert!(fullest.values().all(|count| *count <= budget as usize), "{wrong}: {fullest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_step_is_noticed_within_one_look_and_counted() {
    let mut scene = given([buy(Kind::Reservation).takes(hours(1))]).queued().await;
    scene.start().await;
    scene.pass(mins(1)).await;
    for (count, by) in [(1, WRONG), (2, -WRONG), (3, SignedDuration::from_secs(-70))] {
        scene.step_clock(by);
        let stepped_at = scene.now();
        scene.pass(secs(2)).await;
        let known = scene.store.timekeeping().await.unwrap().unwrap();
        let last = known.last.unwrap();
        assert_eq!((known.steps, last.by), (count, by));
        assert!(stepped_at <= last.at && last.at <= scene.now());
        scene.pass(mins(1)).await;
        assert_eq!(scene.store.timekeeping().await.unwrap().unwrap().steps, count, "once");
    }
    assert_eq!(scene.row(1).await.status(scene.now()), Status::Waiting);
    let clock = scene.machine.of_another_process();
    assert_eq!(clock.wall().duration_since(scene.now()), SignedDuration::from_secs(-70));
}
