//! The rows that wait behind gates of their account: those that are open now let them go, and the others
//! keep them, without a look at the API in between.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::{accounts, commit};
use crate::core::gates::{GATE_NET, GATES_OF_ACCOUNTS, SafetyPolicy, StoredGates};
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::store::model::time::{after, before};
use crate::store::tables::sqlite::rows::{Fields, time_text};
use crate::store::{Result, Waiting};

/// The gates of [`GATES_OF_ACCOUNTS`] behind which rows of an account wait, each with the time at which
/// the first of them is due. Parameters: account, the gates as JSON.
pub(super) const WAITING: &str = "
    SELECT * FROM (
        SELECT value AS gate,
            (SELECT min(next_attempt_at) FROM teardowns INDEXED BY teardowns_waiting
             WHERE lower(account) = ?1 AND reason = value AND lease_owner IS NULL
               AND next_attempt_at IS NOT NULL
               AND state NOT IN ('deleted', 'aborted', 'failed')) AS due
        FROM json_each(?2))
    WHERE due IS NOT NULL";

/// The next step with the rows behind one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// How many of them may go on.
    go: usize,
    /// Rows that were queued later than this wait on all the same.
    queued_by: Timestamp,
}

/// The gates behind which rows of an account wait, with the next step for those that do not just wait.
/// The rest of the rows whose time has come waits on.
async fn steps(
    conn: &mut SqliteConnection,
    name: &AccountName,
    policy: &SafetyPolicy,
    now: Timestamp,
    wall: Timestamp,
) -> Result<Vec<(Reason, Option<Step>)>> {
    let waiting = sqlx::query(WAITING)
        .bind(name.as_str())
        .bind(json!(GATES_OF_ACCOUNTS).to_string())
        .fetch_all(&mut *conn)
        .await?;
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let (account, every) = accounts::load_with_every(conn, name).await?;
    let mut steps = Vec::new();
    // Both caps count the same deletions.
    let mut deletions = None;
    for row in &waiting {
        let f = Fields::new(row, "teardowns", "gate");
        let (gate, due) = (f.parse("gate", Reason::parse)?, f.time("due")?);
        if matches!(gate, Reason::CapHour | Reason::CapDay) && deletions.is_none() {
            deletions = Some(commit::deletions(conn, &account, None, now).await?);
        }
        let (oldest, queued_by) = match gate {
            Reason::Grace => (oldest(conn, name, gate).await?, before(now, policy.grace)),
            _ => (now, Timestamp::MAX),
        };
        let counted = deletions.as_deref().unwrap_or_default();
        let (account, every, deletions) = (&account, &every, counted);
        let gates = StoredGates { account, every, policy, deletions, oldest, now, wall };
        let go = gates.room(gate);
        steps.push((gate, (go > 0 || due <= now).then_some(Step { go, queued_by })));
    }
    Ok(steps)
}

/// Since when the oldest row behind a gate has been queued.
async fn oldest(
    conn: &mut SqliteConnection,
    name: &AccountName,
    gate: Reason,
) -> Result<Timestamp> {
    let found = sqlx::query(
        "SELECT id, created_at FROM teardowns INDEXED BY teardowns_waiting
         WHERE lower(account) = ? AND reason = ? AND lease_owner IS NULL
           AND next_attempt_at IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')
         ORDER BY created_at LIMIT 1",
    )
    .bind(name.as_str())
    .bind(gate.as_str())
    .fetch_one(conn)
    .await?;
    Fields::new(&found, "teardowns", "id").time("created_at")
}

/// Whether somebody waits, and [`recheck`] would change a row.
pub(super) async fn look(
    conn: &mut SqliteConnection,
    policies: &BTreeMap<AccountName, SafetyPolicy>,
    now: Timestamp,
    wall: Timestamp,
) -> Result<Waiting> {
    let mut found = Waiting::Nobody;
    for (name, policy) in policies {
        let steps = steps(conn, name, policy, now, wall).await?;
        if steps.iter().any(|(_, step)| step.is_some()) {
            return Ok(Waiting::Changed);
        }
        if !steps.is_empty() {
            found = Waiting::Closed;
        }
    }
    Ok(found)
}

/// Asks the gates behind which somebody waits.
pub(super) async fn recheck(
    conn: &mut SqliteConnection,
    policies: &BTreeMap<AccountName, SafetyPolicy>,
    now: Timestamp,
    wall: Timestamp,
) -> Result<()> {
    for (name, policy) in policies {
        for (gate, step) in steps(conn, name, policy, now, wall).await? {
            if let Some(step) = step {
                let_go(conn, name, gate, step, now).await?;
                keep(conn, name, gate, now).await?;
            }
        }
    }
    Ok(())
}

/// Makes the rows due that have waited longest.
async fn let_go(
    conn: &mut SqliteConnection,
    name: &AccountName,
    gate: Reason,
    step: Step,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE teardowns SET next_attempt_at = NULL, updated_at = ?3 WHERE id IN (
             SELECT id FROM teardowns INDEXED BY teardowns_waiting
             WHERE lower(account) = ?1 AND reason = ?2 AND lease_owner IS NULL
               AND next_attempt_at IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')
               AND created_at <= ?5
             ORDER BY updated_at, id LIMIT ?4)",
    )
    .bind(name.as_str())
    .bind(gate.as_str())
    .bind(time_text(now))
    .bind(i64::try_from(step.go).unwrap_or(i64::MAX))
    .bind(time_text(step.queued_by))
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the rows wait on whose net has been reached.
async fn keep(
    conn: &mut SqliteConnection,
    name: &AccountName,
    gate: Reason,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE teardowns SET next_attempt_at = ?4 WHERE id IN (
             SELECT id FROM teardowns INDEXED BY teardowns_waiting
             WHERE lower(account) = ?1 AND reason = ?2 AND lease_owner IS NULL
               AND next_attempt_at <= ?3 AND state NOT IN ('deleted', 'aborted', 'failed'))",
    )
    .bind(name.as_str())
    .bind(gate.as_str())
    .bind(time_text(now))
    .bind(time_text(after(now, GATE_NET)))
    .execute(conn)
    .await?;
    Ok(())
}
