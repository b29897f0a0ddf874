//! Where a process's clock and the database's meet: placing the one in the time of the other, and
//! following the wall clock when that is stepped (invariant 14).

use crate::core::clock::Clock;
use crate::core::database_time::{self, Anchor, Step, Timekeeping};
use crate::store::{Presence, Result, Store};

/// Continues the database's clock, as the daemon does, and follows a step of the wall clock.
///
/// # Errors
/// The store's: the clock then stays as it was placed.
pub async fn keep(store: &Store, clock: &dyn Clock) -> Result<()> {
    let kept = store.keep_time(&clock.reading()).await?;
    take_up(clock, kept);
    Ok(())
}

/// Places the clock where the database's was continued, and tells of a step that was followed.
pub fn take_up(clock: &dyn Clock, (kept, step): (Timekeeping, Option<Step>)) {
    clock.place(kept);
    if let Some(step) = step {
        let direction = if step.by.is_negative() { "back" } else { "forward" };
        metrics::counter!("teardownd_clock_steps_total", "direction" => direction).increment(1);
        tracing::warn!(
            seconds = step.by.as_secs_f64(),
            "the system's clock was stepped, and is followed"
        );
    }
}

/// Follows a step of the wall clock, if there was one since the last look: whatever goes by that clock
/// goes by the new time from here on.
///
/// # Errors
/// The store's.
pub async fn follow(store: &Store, clock: &dyn Clock) -> Result<()> {
    match clock.stepped() {
        Some(_) => keep(store, clock).await,
        None => Ok(()),
    }
}

/// Places the clock of a command beside the daemon. While one works, the wall clock is its to follow: a
/// command with another one changes nothing for it. Without one the command follows, unless it writes
/// nowhere.
///
/// # Errors
/// The store's.
pub async fn join(store: &Store, clock: &dyn Clock, may_write: bool) -> Result<()> {
    let reading = clock.reading();
    if let Some(told) = store.told_time(&reading).await? {
        clock.place(told);
        return Ok(());
    }
    let known = store.timekeeping().await?;
    let (here, step) =
        database_time::follow(known.as_ref().map(|known| &known.anchor), None, &reading);
    let replicas = store.replicas().await?;
    let is_silent = replicas.iter().all(|replica| replica.presence(here.at) != Presence::Working);
    let is_kept = known
        .as_ref()
        .is_some_and(|known| known.anchor.boot == reading.boot && (step.is_none() || !is_silent));
    if may_write && !is_kept {
        match keep(store, clock).await {
            // Where the command itself writes, it meets the same; one that only looks goes on.
            Err(error) if error.is_out_of_reach() => {}
            done => return done,
        }
    }
    clock.place(match known {
        Some(known) if is_kept => {
            Timekeeping { anchor: Anchor { ahead: known.anchor.ahead, ..here }, ..known }
        }
        known => Timekeeping {
            anchor: here,
            steps: known.as_ref().map_or(0, |known| known.steps),
            last: known.and_then(|known| known.last),
            is_told: false,
        },
    });
    Ok(())
}
