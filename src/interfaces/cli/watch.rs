//! `watch`: what moves, as it moves.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::args::{Globals, Output, WatchArgs};
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use super::view::counted;
use super::view::standing::{Standing, Stops};
use crate::core::ids::TeardownId;
use crate::core::reason::Reason;
use crate::core::teardown::{State, Status, Teardown};
use crate::store::Filter;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Clears the screen below a cursor that was put to its beginning.
const REDRAW: &str = "\u{1b}[H\u{1b}[J";

/// Runs the command. It ends when all has ended, or when it is interrupted.
pub(crate) async fn execute(globals: &Globals, args: &WatchArgs) -> Ending {
    let context = Context::open(globals).await?;
    let filter = Filter { latest_only: true, ..args.filters.filter() };
    context.matching(&filter).await?;
    context.warn_if_silent().await?;
    let live = context.output == Output::Text && io::stdout().is_terminal();
    tokio::select! {
        ended = follow(&context, &filter, live) => ended?,
        // Without a signal to wait for, it is watched to the end.
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
    Ok(Report::printed())
}

async fn follow(context: &Context, filter: &Filter, live: bool) -> Result<(), Failure> {
    let mut seen = Seen::default();
    loop {
        let rows = context.store.list(filter).await?;
        let stops = context.stops().await?;
        let printed = if live {
            print(&format!("{REDRAW}{}", table(context, &rows, &stops)))
        } else {
            print(&changes(context, &rows, &stops, &mut seen))
        };
        match printed {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(|error| {
                Failure::new(Exit::Failed, format!("nothing can be printed: {error}"))
            })?,
        }
        if rows.iter().all(|row| row.state.is_terminal()) {
            return Ok(());
        }
        context.clock.sleep(LOOK_EVERY).await;
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What has not ended, and how many stand how.
fn table(context: &Context, rows: &[Teardown], stops: &Stops) -> String {
    let look = context.look();
    let open: Vec<Teardown> = rows.iter().filter(|row| !row.state.is_terminal()).cloned().collect();
    let text = context.listing(&open, stops, &look).text();
    format!("{text}{}\n", summary(rows, stops, look.now))
}

fn summary(rows: &[Teardown], stops: &Stops, now: jiff::Timestamp) -> String {
    let counts = [Status::Moving, Status::Waiting, Status::Held, Status::Failed, Status::Done]
        .map(|status| {
            let is = |row: &&Teardown| Standing::of(row, stops, now).status == status;
            (rows.iter().filter(is).count(), status)
        })
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, status)| format!("{count} {}", status.as_str()));
    let counts: Vec<String> = counts.collect();
    format!("{}: {}", counted(rows.len(), "teardown"), counts.join(", "))
}

/// How each teardown stood when it was last told.
type Seen = HashMap<TeardownId, (State, Status, Option<Reason>)>;

/// A JSON line for each teardown that stands otherwise than before, in the form of `list`.
fn changes(context: &Context, rows: &[Teardown], stops: &Stops, seen: &mut Seen) -> String {
    let look = context.look();
    let listing = context.listing(rows, stops, &look);
    let changed = rows.iter().filter(|row| {
        let Standing { status, blocked_by } = Standing::of(row, stops, look.now);
        let stands = (row.state, status, blocked_by);
        seen.insert(row.id, stands) != Some(stands)
    });
    changed.map(|row| format!("{}\n", listing.row_json(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::cli::testing::{held, now, row};

    #[test]
    fn the_summary_counts_what_there_is() {
        let rows = [row(1, State::Queued), held(row(2, State::Polling)), row(3, State::Deleted)];
        let text = summary(&rows, &Stops::default(), now());
        assert_eq!(text, "3 teardowns: 1 moving, 1 held, 1 done");
    }
}
