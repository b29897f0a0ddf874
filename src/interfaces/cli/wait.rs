//! `wait`, also as `enqueue --wait`.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::{Globals, WaitArgs};
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use super::view::counted;
use super::view::standing::Stops;
use crate::core::ids::TeardownId;
use crate::core::teardown::{State, Teardown};
use crate::store::Filter;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &WaitArgs) -> Ending {
    let filter = args.selection.filter()?;
    let context = Context::open(globals).await?;
    let ids: Vec<_> = context.matching(&filter).await?.iter().map(|row| row.id).collect();
    context.warn_if_silent().await?;
    let waited = until_ended(&context, &ids, args.timeout).await?;
    Ok(waited.report())
}

/// How a wait ended.
#[derive(Debug)]
pub(crate) struct Waited {
    exit: Exit,
    rows: Vec<Value>,
    text: String,
    message: String,
}

impl Waited {
    fn report(self) -> Report {
        let report = Report::done(self.text.clone(), json!({"teardowns": self.rows}));
        self.ended(report)
    }

    /// The report of what came before, with how the wait ended.
    pub(crate) fn after(self, mut report: Report) -> Report {
        report.text.push_str(&self.text);
        if let Value::Object(fields) = &mut report.json {
            fields.insert("teardowns".to_owned(), Value::Array(self.rows.clone()));
        }
        self.ended(report)
    }

    fn ended(self, report: Report) -> Report {
        if self.exit == Exit::Done {
            return report;
        }
        let failure = Failure::new(self.exit, self.message)
            .hint("`teardownd why TENANT` says what it takes to go on");
        Report { exit: self.exit, failure: Some(failure), ..report }
    }
}

/// Looks until all have ended, all that have not are held, or the time is over.
pub(crate) async fn until_ended(
    context: &Context,
    ids: &[TeardownId],
    timeout: Option<Duration>,
) -> Result<Waited, Failure> {
    let filter = Filter { ids: ids.to_vec(), ..Filter::default() };
    let start = context.clock.uptime();
    loop {
        let rows = context.store.list(&filter).await?;
        let stops = context.stops().await?;
        let passed = context.clock.uptime().saturating_sub(start);
        let over = timeout.is_some_and(|timeout| timeout <= passed);
        if let Some(exit) = judge(&rows, &stops, over) {
            let look = context.look();
            let listing = context.listing(&rows, &stops, &look);
            let (rows_json, text) = (listing.json(), listing.text());
            return Ok(Waited { exit, rows: rows_json, text, message: summary(&rows, exit) });
        }
        let left = timeout.map_or(LOOK_EVERY, |timeout| timeout.saturating_sub(passed));
        context.clock.sleep(left.min(LOOK_EVERY)).await;
    }
}

/// How to exit, or `None` to look again.
fn judge(rows: &[Teardown], stops: &Stops, over: bool) -> Option<Exit> {
    // A pass on its way still moves its row, also where its account has just been halted.
    let needs_person =
        |row: &Teardown| row.holds.stand() || row.lease.is_none() && stops.halted(&row.account);
    let mut open = rows.iter().filter(|row| !row.state.is_terminal()).peekable();
    if open.peek().is_none() {
        let all = rows.iter().all(|row| row.state == State::Deleted);
        return Some(if all { Exit::Done } else { Exit::Failed });
    }
    if open.all(needs_person) {
        return Some(Exit::Held);
    }
    over.then_some(Exit::TimedOut)
}

fn summary(rows: &[Teardown], exit: Exit) -> String {
    let count = |what: fn(&Teardown) -> bool| rows.iter().filter(|row| what(row)).count();
    let of = counted(rows.len(), "teardown");
    match exit {
        Exit::Held => {
            let open = count(|row| !row.state.is_terminal());
            format!("{open} of {of} held and in need of a person")
        }
        Exit::TimedOut => {
            let open = count(|row| !row.state.is_terminal());
            format!("the time is over while {open} of {of} still move")
        }
        _ => {
            let lost = count(|row| row.state != State::Deleted);
            format!("{lost} of {of} ended without a deletion")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::account::Account;
    use crate::core::teardown::Lease;
    use crate::interfaces::cli::testing::{halted, held, now, row};

    #[test]
    fn a_wait_ends_when_nothing_can_move_without_a_person() {
        let none = Stops::default();
        let (deleted, failed) = (row(1, State::Deleted), row(2, State::Failed));
        let (polling, stuck) = (row(3, State::Polling), held(row(4, State::Polling)));
        let of = |rows: &[&Teardown], stops: &Stops, over| {
            let rows: Vec<_> = rows.iter().map(|row| (*row).clone()).collect();
            judge(&rows, stops, over)
        };
        assert_eq!(of(&[&deleted], &none, false), Some(Exit::Done));
        assert_eq!(of(&[&deleted, &failed], &none, false), Some(Exit::Failed));
        assert_eq!(of(&[&deleted, &polling], &none, false), None);
        assert_eq!(of(&[&stuck, &polling], &none, false), None);
        assert_eq!(of(&[&stuck, &polling], &none, true), Some(Exit::TimedOut));
        assert_eq!(of(&[&stuck, &deleted], &none, true), Some(Exit::Held));
        let halted = Stops(vec![halted(Account::fresh(polling.account.clone()))]);
        assert_eq!(of(&[&polling], &halted, false), Some(Exit::Held));
        let lease = Some(Lease { owner: "daemon".to_owned(), until: now() });
        let in_a_pass = Teardown { lease, ..polling };
        assert_eq!(of(&[&in_a_pass], &halted, false), None, "its pass has not ended");
    }
}
