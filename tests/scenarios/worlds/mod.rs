//! Random worlds: operators' requests, steps of the clock, kills, faults and re-enqueues, and at the end
//! of each a fair hour with no faults and nothing held. After it no row is waiting, and nothing careless
//! was done on the way: liveness and safety.
//!
//! A world is its seed. A failing one prints its script and how to play it again:
//! `TEARDOWND_WORLD_SEED=7` plays one world, `TEARDOWND_WORLD_ONLY=0,3,4` only these steps of its script,
//! and `TEARDOWND_WORLD_SHRINK=1` looks for the fewest steps that fail alike. `TEARDOWND_WORLDS=2000`
//! plays so many, from `TEARDOWND_WORLDS_FROM` on, and shows them by what was wrong.

mod course;
mod draw;
mod faults;
mod luck;
mod play;
mod stops;
mod verdict;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use verdict::{Finding, Verdict};
use world::World;

/// So many worlds are played by each run of the tests.
const WORLDS: u64 = 4;

fn setting<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")))
}

/// Plays a world under a time of its own.
fn play(world: &World) -> Verdict {
    let run = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play::play(world))
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Verdict::new(vec![Finding::new("panic", text.unwrap_or_default())], String::new())
    })
}

/// The fewest steps of the script that fail alike.
fn shrunk(world: &World, cause: &str) -> Vec<usize> {
    let fails = |kept: &[usize]| play(&world.only(kept)).causes().iter().any(|own| own == cause);
    let mut kept: Vec<usize> = (0..world.script.len()).collect();
    let mut stretch = kept.len().div_ceil(2);
    while stretch > 0 {
        let mut from = 0;
        while from < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(from..(from + stretch).min(kept.len()));
            if fails(&fewer) {
                kept = fewer;
            } else {
                from += stretch;
            }
        }
        stretch /= 2;
    }
    kept
}

fn report(world: &World, verdict: &Verdict) -> String {
    let mut text = format!("{world}\n");
    for finding in verdict.findings.iter().take(20) {
        writeln!(text, "  ! {finding}").unwrap();
    }
    writeln!(text, "{}", verdict.outstanding).unwrap();
    let seed = world.seed;
    let again = "cargo test --test scenarios worlds -- --nocapture";
    writeln!(text, "again: TEARDOWND_WORLD_SEED={seed} {again}").unwrap();
    text
}

#[test]
fn after_a_fair_hour_no_row_is_waiting_and_nothing_careless_was_done() {
    if let Some(seed) = setting("TEARDOWND_WORLD_SEED") {
        return one(seed);
    }
    let from = setting("TEARDOWND_WORLDS_FROM").unwrap_or(0);
    let count = setting("TEARDOWND_WORLDS").unwrap_or(WORLDS);
    let mut first = None;
    let mut by_cause = BTreeMap::<String, Vec<u64>>::new();
    for seed in from..from + count {
        let world = World::of(seed);
        let verdict = play(&world);
        for cause in verdict.causes() {
            by_cause.entry(cause).or_default().push(seed);
        }
        if first.is_none() && !verdict.findings.is_empty() {
            first = Some(report(&world, &verdict));
        }
    }
    let Some(first) = first else { return };
    let mut table = String::new();
    for (cause, seeds) in &by_cause {
        writeln!(table, "{:>5}  {cause}: {seeds:?}", seeds.len()).unwrap();
    }
    panic!("{first}\nworlds by what was wrong, of {count}:\n{table}");
}

fn one(seed: u64) {
    let mut world = World::of(seed);
    if let Some(only) = setting::<String>("TEARDOWND_WORLD_ONLY") {
        let kept: Vec<usize> = only.split(',').filter_map(|step| step.parse().ok()).collect();
        world = world.only(&kept);
    }
    let mut verdict = play(&world);
    if verdict.findings.is_empty() {
        return;
    }
    let mut kept = None;
    if setting::<u8>("TEARDOWND_WORLD_SHRINK") == Some(1) {
        let steps = shrunk(&world, &verdict.causes()[0]);
        world = world.only(&steps);
        verdict = play(&world);
        kept = Some(format!(
            "TEARDOWND_WORLD_ONLY={}",
            steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        ));
    }
    panic!("{}{}", report(&world, &verdict), kept.unwrap_or_default());
}
