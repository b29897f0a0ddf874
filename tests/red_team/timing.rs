//! Writes at the wrong time, or too many of them.

use teardownd::core::gates::{Guard, SafetyPolicy};
use teardownd::core::window::Window;

use super::harness::*;
use super::{Written, as_it_is, attempts, buyer, let_loose, one, written, written_since};

attempts! {
    red_team_a_first_write_within_the_grace, guard_mutation_grace = Grace => |without| {
        one(without, as_it_is, |safety: &mut SafetyPolicy| safety.grace = hours(4), as_it_is)
    };
    red_team_a_write_outside_the_window, guard_mutation_window = Window => |without| {
        // The scenarios begin at 10 in the morning and last three hours.
        let nights = |safety: &mut SafetyPolicy| {
            let utc = |_: &str| Some(jiff::tz::TimeZone::UTC);
            safety.windows = vec![Window::parse("Mon-Sun 22:00-04:00 UTC", utc).unwrap()];
        };
        one(without, as_it_is, nights, as_it_is)
    };
    red_team_a_write_in_a_dry_run, guard_mutation_dry_run = DryRun => |without| {
        one(without, as_it_is, |safety: &mut SafetyPolicy| safety.dry_run = true, as_it_is)
    };
    red_team_more_deletions_than_an_hour_allows, guard_mutation_cap_hour = CapHour => |without| {
        deletions_beyond(without, |safety| safety.max_deletions_per_hour = 2, false)
    };
    red_team_more_deletions_than_a_day_allows, guard_mutation_cap_day = CapDay => |without| {
        deletions_beyond(without, |safety| safety.max_deletions_per_day = 2, false)
    };
    red_team_a_restart_to_dodge_the_hourly_cap => |without| {
        deletions_beyond(without, |safety| safety.max_deletions_per_hour = 2, true)
    };
    red_team_a_restart_to_dodge_the_daily_cap => |without| {
        deletions_beyond(without, |safety| safety.max_deletions_per_day = 2, true)
    };
    red_team_no_deletions_at_all_allowed => |without| async move {
        let given = Given::new([customer(1, [])]).safety(|safety| {
            safety.max_deletions_per_hour = 0;
            safety.skip = without;
        });
        let mut scene = given.queued().await;
        let_loose(&mut scene).await
    };
    red_team_many_writes_before_the_first_is_accepted, guard_mutation_canary = Canary => |without| async move {
        let given = Given::new((1..=10).map(buyer)).safety(|safety| safety.skip = without);
        let mut scene = given.queued().await;
        scene.rule(Rule::new(When::First(1), Effect::Delay(secs(50))).method("PATCH"));
        scene.start().await;
        scene.until_call("the first write", |call| call.method == "PATCH").await;
        scene.pass(secs(40)).await;
        written_since(&scene, 1)
    };
}

/// Five customers with nothing to cancel; the deletions beyond the two that are allowed within the
/// next fifty minutes.
async fn deletions_beyond(
    without: Option<Guard>,
    cap: impl FnOnce(&mut SafetyPolicy),
    restart: bool,
) -> Written {
    let given = Given::new((1..=5).map(|n| customer(n, []))).safety(|safety| {
        cap(safety);
        safety.skip = without;
    });
    let mut scene = given.running().await;
    for _ in 0..5 {
        scene.pass(mins(10)).await;
        if restart {
            scene.kill();
            scene.start().await;
        }
    }
    written(&scene).split_off(2)
}
