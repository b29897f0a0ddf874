//! Sends and answers of commands (invariant 4).

use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{accounts, commit, forged, queue};
use crate::core::account::Proven;
use crate::core::command::{Action, Answer, Outcome};
use crate::core::gates::{self, SafetyPolicy, Verdict};
use crate::core::ids::{CommandId, Fence, TeardownId};
use crate::core::observation::Observation;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::Result;
use crate::store::rules::{self, admission};
use crate::store::tables::sqlite::rows::{Fields, time_text};

/// A send about to begin.
pub(super) struct Send<'a> {
    pub(super) command: CommandId,
    pub(super) teardown: TeardownId,
    pub(super) fence: Fence,
    pub(super) correlation: Uuid,
    pub(super) seen: &'a Observation,
    pub(super) policy: &'a SafetyPolicy,
}

pub(super) async fn begin(
    conn: &mut SqliteConnection,
    send: &Send<'_>,
    now: Timestamp,
) -> Result<Verdict> {
    let mut row = queue::teardown(conn, send.teardown).await?;
    rules::check_lease(&row, send.fence)?;
    let verdict = match forged::set_aside(conn, &row, now).await? {
        Some(verdict) => verdict,
        None => ask(conn, &row, send, now).await?,
    };
    match &verdict {
        Verdict::Hold { guard, text } => {
            if let Some(event) = rules::hold(&mut row, *guard, text, guard.as_str(), now) {
                commit::save(conn, &row, row.state).await?;
                commit::record(conn, &row, &[event], now).await?;
            }
        }
        Verdict::Halt { guard, text } => {
            accounts::halt(conn, &row.account, guard.as_str(), text, now).await?;
        }
        Verdict::Allow | Verdict::Wait { .. } | Verdict::Stale => {}
    }
    Ok(verdict)
}

/// Asks the gates about a command that is as it was derived, and counts the send or withdraws it.
async fn ask(
    conn: &mut SqliteConnection,
    row: &Teardown,
    send: &Send<'_>,
    now: Timestamp,
) -> Result<Verdict> {
    let command = commit::command(conn, send.command).await?;
    admission::check_send(&command, row)?;
    let deleting = command.intent.action == Action::DeleteCustomer;
    let mut facts = commit::facts(conn, row, Some(command.id), deleting, send.policy, now).await?;
    facts.calls = calls(conn, row, command.id, now).await?;
    let verdict = gates::admit(&command.intent, &facts, send.seen, send.policy, now);
    match &verdict {
        Verdict::Allow => {
            count_send(conn, send, now).await?;
            if let Some(canary) = facts.as_canary(&command.intent) {
                accounts::set_canary(conn, &row.account, canary).await?;
            }
        }
        Verdict::Hold { .. } | Verdict::Halt { .. } if !command.was_sent() => {
            withdraw(conn, command.id, now).await?;
        }
        Verdict::Hold { .. } | Verdict::Halt { .. } | Verdict::Wait { .. } | Verdict::Stale => {}
    }
    Ok(verdict)
}

/// A call is given up after this, whatever became of it: `Timeouts::write` is a minute.
const LONGEST_CALL: Duration = Duration::from_secs(120);

/// Parameters: account, the command that is left out, how long ago a call may have begun.
pub(super) const CALLS: &str = "
    SELECT ?1 AS account, count(*) AS calls FROM commands INDEXED BY commands_calling
    WHERE account = ?1 AND calling = 1 AND id <> ?2 AND last_sent_at > ?3";

/// How many calls of other commands of the account are under way.
async fn calls(
    conn: &mut SqliteConnection,
    row: &Teardown,
    command: CommandId,
    now: Timestamp,
) -> Result<usize> {
    let found = sqlx::query(CALLS)
        .bind(row.account.as_str())
        .bind(command.to_string())
        .bind(time_text(crate::store::model::time::before(now, LONGEST_CALL)))
        .fetch_one(conn)
        .await?;
    Fields::new(&found, "commands", "account").number("calls")
}

async fn count_send(conn: &mut SqliteConnection, send: &Send<'_>, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET calling = 1, sends = sends + 1, first_sent_at = coalesce(first_sent_at, ?1),
             last_sent_at = ?1, correlation_id = ?2
         WHERE id = ?3",
    )
    .bind(time_text(now))
    .bind(send.correlation.as_hyphenated().to_string())
    .bind(send.command.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

async fn withdraw(conn: &mut SqliteConnection, id: CommandId, now: Timestamp) -> Result<()> {
    sqlx::query("UPDATE commands SET outcome = 'withdrawn', settled_at = ? WHERE id = ?")
        .bind(time_text(now))
        .bind(id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Withdraws what was committed for the tenant and never sent.
pub(super) async fn withdraw_unsent(
    conn: &mut SqliteConnection,
    row: &Teardown,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET outcome = 'withdrawn', settled_at = ?
         WHERE account = ? AND tenant_id = ? AND outcome IS NULL AND sends = 0",
    )
    .bind(time_text(now))
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Settles a command by what was read. One that an answer has settled since stays as it is.
pub(super) async fn settle(
    conn: &mut SqliteConnection,
    id: CommandId,
    outcome: Outcome,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    let command = commit::command(conn, id).await?;
    admission::check_settle(&command, outcome)?;
    if !command.is_unsettled() {
        return Ok(());
    }
    sqlx::query("UPDATE commands SET outcome = ?, settled_at = ?, text = ? WHERE id = ?")
        .bind(outcome.as_str())
        .bind(time_text(now))
        .bind(text)
        .bind(id.to_string())
        .execute(&mut *conn)
        .await?;
    if outcome == Outcome::Accepted {
        accounts::prove(conn, &command.account, Proven::of(&command.intent)).await?;
    }
    Ok(())
}

pub(super) async fn record_answer(
    conn: &mut SqliteConnection,
    id: CommandId,
    answer: &Answer,
    now: Timestamp,
) -> Result<()> {
    let command = commit::command(conn, id).await?;
    sqlx::query(
        "UPDATE commands SET calling = 0, http_status = ?1, ms_code = ?2, text = ?3,
             settled_at = CASE WHEN outcome IS NULL AND ?4 IS NOT NULL THEN ?5
                               ELSE settled_at END,
             outcome = coalesce(outcome, ?4)
         WHERE id = ?6",
    )
    .bind(answer.http_status)
    .bind(&answer.ms_code)
    .bind(&answer.text)
    .bind(answer.outcome.map(Outcome::as_str))
    .bind(time_text(now))
    .bind(id.to_string())
    .execute(&mut *conn)
    .await?;
    if answer.outcome == Some(Outcome::Accepted) {
        accounts::prove(conn, &command.account, Proven::of(&command.intent)).await?;
    }
    // One step with the answer: there is no moment at which the one is known and not the other.
    if let Some(text) = &answer.halts {
        accounts::halt(conn, &command.account, Reason::Halted.as_str(), text, now).await?;
    }
    Ok(())
}
