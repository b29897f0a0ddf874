//! Sends and answers of commands (invariant 4).

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::rows::time_text;
use super::{accounts, commit, queue};
use crate::core::command::{Action, Answer, Outcome};
use crate::core::gates::{self, SafetyPolicy, Verdict};
use crate::core::ids::{CommandId, Fence, TeardownId};
use crate::core::observation::Observation;
use crate::core::teardown::Teardown;
use crate::store::{Result, admission, rules};

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
    let command = commit::command(conn, send.command).await?;
    admission::check_send(&command, &row)?;
    let deleting = command.intent.action == Action::DeleteCustomer;
    let facts = commit::facts(conn, &row, Some(command.id), deleting, send.policy, now).await?;
    let verdict = gates::admit(&command.intent, &facts, send.seen, send.policy, now);
    match &verdict {
        Verdict::Allow => count_send(conn, send, now).await?,
        Verdict::Hold { .. } | Verdict::Halt { .. } if !command.was_sent() => {
            withdraw(conn, command.id, now).await?;
        }
        Verdict::Hold { .. } | Verdict::Halt { .. } | Verdict::Wait { .. } | Verdict::Stale => {}
    }
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

async fn count_send(conn: &mut SqliteConnection, send: &Send<'_>, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET sends = sends + 1, first_sent_at = coalesce(first_sent_at, ?1),
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
        accounts::prove(conn, &command.account, admission::proves(&command.intent), now).await?;
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
        "UPDATE commands SET http_status = ?1, ms_code = ?2, text = ?3,
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
        accounts::prove(conn, &command.account, admission::proves(&command.intent), now).await?;
    }
    Ok(())
}
