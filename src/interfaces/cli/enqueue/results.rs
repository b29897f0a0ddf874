//! What became of each tenant of an `enqueue`.

use serde_json::{Value, json};

use crate::core::ids::TeardownId;
use crate::core::reason::Reason;
use crate::interfaces::cli::view::counted;
use crate::interfaces::cli::view::table::Table;
use crate::store::EnqueueOutcome;

/// The outcome of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored(EnqueueOutcome),
    /// A guard refused it; nothing of the call was queued.
    Refused(Reason),
    /// It is malformed; nothing of the call was queued.
    Invalid,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stored(EnqueueOutcome::Queued) => "queued",
            Self::Stored(EnqueueOutcome::AlreadyActive) => "already_active",
            Self::Stored(EnqueueOutcome::AlreadyDeleted) => "already_deleted",
            Self::Refused(_) => "refused",
            Self::Invalid => "invalid",
        }
    }
}

/// One tenant of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// As it was written.
    pub(super) tenant: String,
    pub(super) id: Option<TeardownId>,
    pub(super) outcome: Outcome,
    /// Line of the file.
    pub(super) line: Option<u64>,
    /// More in words.
    pub(super) text: String,
}

/// The lines as `enqueue` prints them. The field names are a contract with scripts.
pub(super) fn json_of(lines: &[Line]) -> Value {
    let results: Vec<Value> = lines
        .iter()
        .map(|line| {
            let guard = match line.outcome {
                Outcome::Refused(guard) => Some(guard),
                Outcome::Stored(_) | Outcome::Invalid => None,
            };
            json!({
                "tenant_id": line.tenant,
                "id": line.id,
                "outcome": line.outcome.as_str(),
                "guard": guard,
                "line": line.line,
            })
        })
        .collect();
    json!({"results": results})
}

/// The lines as a table, and how many of each there are.
pub(super) fn text_of(lines: &[Line]) -> String {
    let mut table = Table::new(&["", "", "", "", ""]);
    for line in lines {
        table.row([
            line.outcome.as_str().replace('_', " "),
            line.tenant.clone(),
            line.id.map(|id| format!("#{id}")).unwrap_or_default(),
            line.line.map(|number| format!("line {number}")).unwrap_or_default(),
            line.text.clone(),
        ]);
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for line in lines {
        let name = line.outcome.as_str();
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let counts: Vec<_> =
        counts.iter().map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect();
    format!("{}{}: {}\n", table.draw(), counted(lines.len(), "tenant"), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let line = |tenant: &str, id, outcome, line| Line {
            tenant: tenant.to_owned(),
            id,
            outcome,
            line,
            text: String::new(),
        };
        vec![
            line("a", Some(TeardownId(7)), Outcome::Stored(EnqueueOutcome::Queued), Some(2)),
            line("b", None, Outcome::Refused(Reason::ProtectedTenant), None),
            line("c", None, Outcome::Invalid, None),
        ]
    }

    #[test]
    fn the_json_has_exactly_the_fields_of_the_contract() {
        assert_eq!(
            json_of(&lines()).to_string(),
            r#"{"results":[{"tenant_id":"a","id":7,"outcome":"queued","guard":null,"line":2},"#
                .to_owned()
                + r#"{"tenant_id":"b","id":null,"outcome":"refused","guard":"protected_tenant","line":null},"#
                + r#"{"tenant_id":"c","id":null,"outcome":"invalid","guard":null,"line":null}]}"#
        );
    }

    #[test]
    fn the_text_ends_with_the_counts() {
        assert_eq!(
            text_of(&lines()),
            "queued   a  #7  line 2\nrefused  b\ninvalid  c\n3 tenants: 1 queued, 1 refused, 1 invalid\n"
        );
    }
}
