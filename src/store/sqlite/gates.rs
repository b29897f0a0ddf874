//! The rows that wait behind gates of their account: those that are open now let them go, and the others
//! keep them, without a look at the API in between.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::accounts;
use super::rows::{Fields, time_text};
use crate::core::account::Proven;
use crate::core::gates::{GATE_NET, GATES_OF_ACCOUNTS, SafetyPolicy, is_open};
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::store::rules::after;
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
enum Step {
    /// So many of them may go on.
    LetGo(i64),
    /// Their time has come and the gate is closed: they wait on.
    Keep,
}

/// The gates behind which rows of an account wait, with the next step for those that do not just wait.
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
    for row in &waiting {
        let f = Fields::new(row, "teardowns", "gate");
        let (gate, due) = (f.parse("gate", Reason::parse)?, f.time("due")?);
        let step = if !is_open(gate, &account, &every, policy, now, wall) {
            (due <= now).then_some(Step::Keep)
        } else if gate == Reason::Canary && !account.proven.covers(EVERY_STEP) {
            // The next one to go is alone too: the others would only read in vain.
            Some(Step::LetGo(1))
        } else {
            Some(Step::LetGo(i64::MAX))
        };
        steps.push((gate, step));
    }
    Ok(steps)
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
            match step {
                Some(Step::LetGo(at_most)) => let_go(conn, name, gate, at_most, now).await?,
                Some(Step::Keep) => keep(conn, name, gate, now).await?,
                None => {}
            }
        }
    }
    Ok(())
}

/// The steps whose proof every account comes to; one of a reservation may never be needed.
const EVERY_STEP: Proven = Proven { write: true, reservation: false, delete: true };

/// Makes the rows due that have waited longest.
async fn let_go(
    conn: &mut SqliteConnection,
    name: &AccountName,
    gate: Reason,
    at_most: i64,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE teardowns SET next_attempt_at = NULL, updated_at = ?3 WHERE id IN (
             SELECT id FROM teardowns INDEXED BY teardowns_waiting
             WHERE lower(account) = ?1 AND reason = ?2 AND lease_owner IS NULL
               AND next_attempt_at IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')
             ORDER BY updated_at, id LIMIT ?4)",
    )
    .bind(name.as_str())
    .bind(gate.as_str())
    .bind(time_text(now))
    .bind(at_most)
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
