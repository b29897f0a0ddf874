//! `audit export`: the whole record as JSON lines.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{ExportArgs, Globals};
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use super::view::details::{command_json, transition_json};
use super::view::{json_time, meant};
use crate::store::{AuditEntry, AuditRange, RequestRecord};

/// The record is read in pieces of this length, so that its size does not matter.
const PIECE: Duration = Duration::from_secs(24 * 3600);

/// `audit export`
pub(crate) async fn export(globals: &Globals, args: &ExportArgs) -> Ending {
    let context = Context::open(globals).await?;
    let Some(begins) = context.store.audit_begins().await? else { return Ok(Report::printed()) };
    let until = args.until.map_or(Timestamp::MAX, meant);
    let mut since = args.since.map_or(begins, |since| meant(since).max(begins));
    let mut out = BufWriter::new(io::stdout());
    // Entries may be made while this runs: what is newer than now comes in one last piece.
    let now = context.clock.now();
    while since < until {
        let end = since.checked_add(PIECE).unwrap_or(Timestamp::MAX);
        let end = if now < end { until } else { end.min(until) };
        let range = AuditRange { since, until: end, account: args.account.clone() };
        for entry in context.store.audit(&range).await? {
            match writeln!(out, "{}", entry_json(&entry)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Report::printed());
                }
                other => other.map_err(|error| unwritable(&error))?,
            }
        }
        since = end;
    }
    out.flush().map_err(|error| unwritable(&error))?;
    Ok(Report::printed())
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the record cannot be printed: {error}"))
}

/// An entry as a line: `at` and `entry` first, then what the entry is about.
fn entry_json(entry: &AuditEntry) -> Value {
    let (kind, fields) = match entry {
        AuditEntry::Transition(transition) => {
            let mut fields = transition_json(transition);
            fields["tenant_id"] = json!(transition.tenant_id);
            ("transition", fields)
        }
        AuditEntry::Command(command) => {
            let mut fields = command_json(command);
            fields["account"] = json!(command.account);
            fields["tenant_id"] = json!(command.tenant_id);
            ("command", fields)
        }
        AuditEntry::Request(request) => ("request", request_json(request)),
    };
    let mut line = json!({"at": json_time(entry.at()), "entry": kind});
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields.into_iter().filter(|(name, _)| name != "at"));
    }
    line
}

fn request_json(request: &RequestRecord) -> Value {
    json!({
        "id": request.id,
        "verb": request.verb,
        "account": request.account,
        "tenant_id": request.tenant_id,
        "domain": request.domain,
        "teardown_id": request.teardown_id,
        "batch": request.batch,
        "state": request.state,
        "actor": request.actor,
        "reason": request.reason,
        "until": request.until,
        "priority": request.priority,
        "not_before": request.not_before,
        "try_anyway": request.try_anyway,
        "answered_at": json_time(request.answered_at),
        "answer": request.answer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_time_and_kind() {
        let request = RequestRecord {
            id: 7,
            verb: "hold".to_owned(),
            actor: "anna".to_owned(),
            created_at: "2027-01-31T10:00:00Z".parse().unwrap(),
            ..RequestRecord::default()
        };
        let line = entry_json(&AuditEntry::Request(Box::new(request))).to_string();
        assert!(
            line.starts_with(
                r#"{"at":"2027-01-31T10:00:00.000Z","entry":"request","id":7,"verb":"hold","#
            ),
            "{line}"
        );
        let asked = r#""until":null,"priority":null,"not_before":null,"try_anyway":false"#;
        assert!(line.contains(asked), "{line}");
    }
}
