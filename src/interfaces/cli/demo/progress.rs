//! What the demo shows while it runs: bars on a terminal, plain lines in a pipe.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::super::args::Output;
use super::closed_for;
use crate::core::teardown::{State, Teardown};
use crate::simulator::Snapshot;

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The states in the order of the flow.
const SHOWN: [State; 8] = [
    State::Queued,
    State::EntitlementsFetched,
    State::OrdersCancelling,
    State::Polling,
    State::Deleting,
    State::Deleted,
    State::Failed,
    State::Aborted,
];

/// Where progress goes: standard error, so that standard output holds the report alone.
pub(super) enum Progress {
    Bars { bars: Vec<(State, ProgressBar)>, line: ProgressBar },
    Lines { last: Mutex<Option<Duration>> },
    Silent,
}

impl Progress {
    pub(super) fn new(output: Output, tenants: u32) -> Self {
        match output {
            Output::Json => Self::Silent,
            Output::Text if !io::stderr().is_terminal() => Self::Lines { last: Mutex::new(None) },
            Output::Text => Self::bars(tenants),
        }
    }

    fn bars(tenants: u32) -> Self {
        let all = MultiProgress::new();
        // The templates are constants; a style that cannot be parsed falls back to the default.
        let style = ProgressStyle::with_template("{prefix:>21} {bar:40} {pos:>3}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let plain = ProgressStyle::with_template("{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bars = SHOWN
            .into_iter()
            .map(|state| {
                let bar = all.add(ProgressBar::new(u64::from(tenants)));
                bar.set_style(style.clone());
                bar.set_prefix(state.as_str());
                (state, bar)
            })
            .collect();
        let line = all.add(ProgressBar::new_spinner());
        line.set_style(plain);
        Self::Bars { bars, line }
    }

    /// Says something once.
    pub(super) fn say(&self, text: &str) {
        match self {
            Self::Bars { line, .. } => line.println(text),
            Self::Lines { .. } => print(text),
            Self::Silent => {}
        }
    }

    /// Shows where everything stands.
    pub(super) fn show(
        &self,
        rows: &[Teardown],
        world: &Snapshot,
        closed_until: Option<Timestamp>,
        now: Timestamp,
        elapsed: Duration,
    ) {
        let count = |state: State| rows.iter().filter(|row| row.state == state).count();
        let throttling = match closed_for(closed_until, now) {
            Some(left) => format!("closed by a 429 for {} s", left.as_secs()),
            None => format!("{} answered 429", world.throttled),
        };
        let minutes = elapsed.as_secs_f64() / 60.0;
        let deleted = count(State::Deleted);
        let pace = if minutes > 0.0 { deleted as f64 / minutes } else { 0.0 };
        let active: usize = world.active.values().sum();
        let tail = format!(
            "{deleted} deleted ({pace:.0} a minute), {active} purchases active, {} calls, {throttling}",
            world.calls
        );
        match self {
            Self::Bars { bars, line } => {
                for (state, bar) in bars {
                    bar.set_position(u64::try_from(count(*state)).unwrap_or(u64::MAX));
                }
                line.set_message(format!("{:>5.1} s  {tail}", elapsed.as_secs_f64()));
            }
            Self::Lines { last } => {
                let Ok(mut last) = last.lock() else { return };
                if last.is_some_and(|last| elapsed.saturating_sub(last) < LINE_EVERY) {
                    return;
                }
                *last = Some(elapsed);
                let moving: Vec<String> = SHOWN
                    .into_iter()
                    .filter(|state| *state != State::Deleted && count(*state) > 0)
                    .map(|state| format!("{} {}", count(state), state.as_str()))
                    .collect();
                print(&format!("{:>5.1} s  {tail}; {}", elapsed.as_secs_f64(), moving.join(", ")));
            }
            Self::Silent => {}
        }
    }

    /// Takes the bars down.
    pub(super) fn finish(&self) {
        if let Self::Bars { bars, line } = self {
            for (_, bar) in bars {
                bar.abandon();
            }
            line.finish_and_clear();
        }
    }
}

fn print(text: &str) {
    // Progress that nobody can read is lost without harm.
    writeln!(io::stderr(), "{text}").ok();
}
