//! One teardown in a list.

use std::time::Duration;

use serde_json::{Value, json};

use super::standing::{Standing, Stops};
use super::table::Table;
use super::{Look, json_time};
use crate::core::teardown::{Status, Teardown};
use crate::store::Ack;

/// Teardowns with what their printing needs.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    /// The rows, in the order of printing.
    pub(crate) rows: &'a [Teardown],
    /// What stops their accounts.
    pub(crate) stops: &'a Stops,
    /// What was acknowledged.
    pub(crate) acks: &'a [Ack],
    /// `engine.deadline`.
    pub(crate) deadline: Duration,
    /// `engine.stuck_after`.
    pub(crate) stuck_after: Duration,
    /// When and where.
    pub(crate) look: &'a Look,
}

impl Listing<'_> {
    /// The rows as `list` prints them.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.rows.iter().map(|row| self.row_json(row)).collect()
    }

    /// One row as `list` prints it. The field names are a contract with scripts.
    pub(crate) fn row_json(&self, row: &Teardown) -> Value {
        let standing = Standing::of(row, self.stops, self.look.now);
        json!({
            "id": row.id,
            "account": row.account,
            "tenant_id": row.tenant_id,
            "domain": row.domain.as_ref().or(row.expected_domain.as_ref()),
            "batch": row.batch,
            "state": row.state,
            "status": standing.status,
            "reason": row.reason_text,
            "blocked_by": standing.blocked_by,
            "hold": row.holds.first().map(|hold| &hold.text),
            "attempts": row.attempts,
            "since": json_time(row.state_since),
            "next_attempt_at": json_time(row.next_attempt_at),
            "deadline_at": json_time(row.deadline_at(self.deadline)),
            "requested_by": row.requested_by,
            "created_at": json_time(row.created_at),
            "updated_at": json_time(row.updated_at),
            "finished_at": json_time(row.finished_at),
        })
    }

    /// The rows as a table, with the account only where there are several.
    pub(crate) fn text(&self) -> String {
        let several = self.rows.windows(2).any(|pair| pair[0].account != pair[1].account);
        let mut table = Table::new(&[
            "ID", "ACCOUNT", "TENANT", "DOMAIN", "BATCH", "STATE", "FOR", "STATUS", "BECAUSE",
            "NEXT",
        ]);
        for row in self.rows {
            let standing = Standing::of(row, self.stops, self.look.now);
            let told = row.holds.iter().map(|hold| format!("{}: {}", hold.code, hold.text));
            let because = if standing.status == Status::Held {
                told.collect::<Vec<_>>().join("; ")
            } else {
                standing.blocked_by.map(|code| code.to_string()).unwrap_or_default()
            };
            let domain = row.domain.clone().or_else(|| row.expected_domain.clone());
            let next =
                row.next_attempt_at.filter(|at| !row.state.is_terminal() && self.look.now < *at);
            table.row([
                row.id.to_string(),
                if several { row.account.to_string() } else { String::new() },
                row.tenant_id.to_string(),
                domain.unwrap_or_default(),
                row.batch.clone().unwrap_or_default(),
                row.state.as_str().to_owned(),
                self.look.since(row.state_since),
                self.status(row, standing),
                because,
                next.map(|at| self.look.distance(at)).unwrap_or_default(),
            ]);
        }
        table.draw()
    }

    /// The status, and whether it is stuck or acknowledged.
    fn status(&self, row: &Teardown, standing: Standing) -> String {
        let mut text = standing.status.as_str().to_owned();
        if row.is_stuck(self.stuck_after, self.look.now) {
            text.push_str(", stuck");
        }
        if self.acks.iter().any(|ack| ack.id == row.id) {
            text.push_str(", acked");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::core::account::Account;
    use crate::core::reason::Reason;
    use crate::core::teardown::State;
    use crate::interfaces::cli::testing::{halted, held, now, row};

    fn with<T>(rows: &[Teardown], accounts: Vec<Account>, show: impl Fn(&Listing<'_>) -> T) -> T {
        show(&Listing {
            rows,
            stops: &Stops(accounts),
            acks: &[],
            deadline: Duration::from_secs(14 * 24 * 3600),
            stuck_after: Duration::from_secs(24 * 3600),
            look: &Look { now: now(), zone: TimeZone::UTC },
        })
    }

    fn waiting() -> Teardown {
        Teardown {
            reason: Some(Reason::CancellationPending),
            reason_text: Some("2 of 5 are being cancelled".to_owned()),
            next_attempt_at: Some(now() + Duration::from_secs(8)),
            ..row(7, State::Polling)
        }
    }

    #[test]
    fn the_json_has_exactly_the_fields_of_the_contract() {
        let json = with(&[waiting()], vec![], |listing| listing.json()[0].to_string());
        assert_eq!(
            json,
            concat!(
                r#"{"id":7,"account":"lab","tenant_id":"aaaaaaaa-0000-4000-8000-000000000007","#,
                r#""domain":"lab.example","batch":null,"state":"polling","status":"waiting","#,
                r#""reason":"2 of 5 are being cancelled","blocked_by":"cancellation_pending","#,
                r#""hold":null,"attempts":0,"since":"2027-01-31T09:55:00.000Z","#,
                r#""next_attempt_at":"2027-01-31T10:00:08.000Z","#,
                r#""deadline_at":"2027-02-14T09:55:00.000Z","requested_by":"anna","#,
                r#""created_at":"2027-01-31T09:55:00.000Z","#,
                r#""updated_at":"2027-01-31T09:55:00.000Z","finished_at":null}"#,
            )
        );
    }

    #[test]
    fn waiting_held_and_failed_are_told_apart() {
        let failed = Teardown { reason: Some(Reason::ApiRefused), ..row(2, State::Failed) };
        let rows = [
            waiting(),
            held(row(1, State::Polling)),
            failed,
            row(3, State::Deleted),
            row(4, State::Queued),
        ];
        let pairs = with(&rows, vec![], |listing| {
            let field = |json: &Value, name: &str| json[name].as_str().unwrap_or("-").to_owned();
            let json = listing.json();
            json.iter()
                .map(|row| [field(row, "status"), field(row, "blocked_by")].join(" "))
                .collect::<Vec<_>>()
        });
        assert_eq!(
            pairs,
            [
                "waiting cancellation_pending",
                "held operator",
                "failed api_refused",
                "done -",
                "moving -"
            ]
        );
    }

    #[test]
    fn what_is_due_does_not_move_while_its_account_is_stopped() {
        let rows = [row(1, State::Queued)];
        let accounts = vec![halted(Account::fresh(rows[0].account.clone()))];
        let json = with(&rows, accounts, |listing| listing.json());
        assert_eq!(json[0]["status"], "waiting");
        assert_eq!(json[0]["blocked_by"], "halted");
    }

    #[test]
    fn what_is_stuck_or_acknowledged_is_marked() {
        let rows = [held(row(12, State::Polling)), waiting()];
        let ack = Ack { id: rows[0].id, at: now(), actor: "anna".to_owned(), reason: None };
        let text = with(&rows, vec![], |listing| {
            let stuck_after = Duration::from_secs(299);
            Listing { acks: std::slice::from_ref(&ack), stuck_after, ..*listing }.text()
        });
        assert!(text.contains("held, stuck, acked  operator"), "{text}");
        assert!(text.contains("waiting, stuck      cancellation"), "{text}");
    }

    #[test]
    fn the_table_is_aligned() {
        let text =
            with(&[held(row(12, State::Polling)), waiting()], vec![], |listing| listing.text());
        assert_eq!(
            text,
            "ID  TENANT                                DOMAIN       STATE    FOR    STATUS   BECAUSE               NEXT\n\
             12  aaaaaaaa-0000-4000-8000-000000000012  lab.example  polling  5m 0s  held     operator: look first\n\
             7   aaaaaaaa-0000-4000-8000-000000000007  lab.example  polling  5m 0s  waiting  cancellation_pending  in 8s\n"
        );
    }
}
