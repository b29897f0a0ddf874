//! The rows that wait behind gates of their account.

use crate::store::sql::{self, Sql};
use jiff::Timestamp;
use serde_json::json;

use super::rows::Fields;
use crate::core::gates::{GATE_NET, GATES_OF_ACCOUNTS};
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::store::model::time::after;
use crate::store::{Result, Tx};

/// A statement that finds rows behind gates. SQLite has to be told by which index.
macro_rules! waiting {
    ($table:literal, $($rest:expr),+) => {
        Sql {
            sqlite: concat!($table, " INDEXED BY teardowns_waiting ", $($rest),+),
            postgres: concat!($table, " ", $($rest),+),
        }
    };
}

/// The gates of [`GATES_OF_ACCOUNTS`] behind which rows of an account wait, each with the time at which
/// the first of them is due. Parameters: account, the gates as JSON.
pub(in crate::store) const WAITING: Sql = Sql {
    sqlite: concat!(
        "
    SELECT * FROM (
        SELECT value AS gate,
            (SELECT min(next_attempt_at) FROM teardowns INDEXED BY teardowns_waiting
             WHERE lower(account) = $1 AND reason = value AND lease_owner IS NULL
               AND next_attempt_at IS NOT NULL
               AND ",
        open!(),
        ") AS due
        FROM json_each($2))
    WHERE due IS NOT NULL"
    ),
    postgres: concat!(
        "
    SELECT * FROM (
        SELECT gate,
            (SELECT min(next_attempt_at) FROM teardowns
             WHERE lower(account) = $1 AND reason = gate AND lease_owner IS NULL
               AND next_attempt_at IS NOT NULL AND ",
        open!(),
        ") AS due
        FROM jsonb_array_elements_text($2::jsonb) AS gate) AS gates
    WHERE due IS NOT NULL"
    ),
};

/// The gates behind which rows of an account wait, each with the time at which the first of them is due.
pub(in crate::store) async fn gates(
    tx: &mut Tx,
    name: &AccountName,
) -> Result<Vec<(Reason, Timestamp)>> {
    let found = sql::query(WAITING)
        .bind(name.as_str())
        .bind(json!(GATES_OF_ACCOUNTS))
        .fetch_all(tx)
        .await?;
    let read = |row| {
        let f = Fields::new(row, "teardowns", "gate");
        Ok((f.parse("gate", Reason::parse)?, f.time("due")?))
    };
    found.iter().map(read).collect()
}

/// Since when the oldest row behind a gate has been queued.
pub(in crate::store) async fn oldest(
    tx: &mut Tx,
    name: &AccountName,
    gate: Reason,
) -> Result<Timestamp> {
    let found = sql::query(waiting!(
        "SELECT id, created_at FROM teardowns",
        "WHERE lower(account) = $1 AND reason = $2 AND lease_owner IS NULL
           AND next_attempt_at IS NOT NULL AND ",
        open!(),
        " ORDER BY created_at LIMIT 1"
    ))
    .bind(name.as_str())
    .bind(gate.as_str())
    .fetch_one(tx)
    .await?;
    Fields::new(&found, "teardowns", "id").time("created_at")
}

/// Makes the rows due that have waited longest.
pub(in crate::store) async fn let_go(
    tx: &mut Tx,
    name: &AccountName,
    gate: Reason,
    go: usize,
    queued_by: Timestamp,
    now: Timestamp,
) -> Result<()> {
    sql::query(waiting!(
        "UPDATE teardowns SET next_attempt_at = NULL, updated_at = $3 WHERE id IN (
             SELECT id FROM teardowns",
        "WHERE lower(account) = $1 AND reason = $2 AND lease_owner IS NULL
               AND next_attempt_at IS NOT NULL AND ",
        open!(),
        "
               AND created_at <= $5
             ORDER BY updated_at, id LIMIT $4)"
    ))
    .bind(name.as_str())
    .bind(gate.as_str())
    .bind(now)
    .bind(i64::try_from(go).unwrap_or(i64::MAX))
    .bind(queued_by)
    .execute(tx)
    .await?;
    Ok(())
}

/// Lets the rows wait on whose net has been reached.
pub(in crate::store) async fn keep(
    tx: &mut Tx,
    name: &AccountName,
    gate: Reason,
    now: Timestamp,
) -> Result<()> {
    sql::query(waiting!(
        "UPDATE teardowns SET next_attempt_at = $4 WHERE id IN (
             SELECT id FROM teardowns",
        "WHERE lower(account) = $1 AND reason = $2 AND lease_owner IS NULL
               AND next_attempt_at <= $3 AND ",
        open!(),
        ")"
    ))
    .bind(name.as_str())
    .bind(gate.as_str())
    .bind(now)
    .bind(after(now, GATE_NET))
    .execute(tx)
    .await?;
    Ok(())
}

/// Makes the rows due that wait for one of these reasons.
pub(in crate::store) async fn wake(tx: &mut Tx, reasons: &[Reason], now: Timestamp) -> Result<()> {
    sql::query(Sql {
        sqlite: concat!(
            "UPDATE teardowns SET next_attempt_at = NULL, updated_at = $1 WHERE ",
            open!(),
            " AND lease_owner IS NULL AND reason IN (SELECT value FROM json_each($2))"
        ),
        postgres: concat!(
            "UPDATE teardowns SET next_attempt_at = NULL, updated_at = $1 WHERE ",
            open!(),
            " AND lease_owner IS NULL
               AND reason IN (SELECT jsonb_array_elements_text($2::jsonb))"
        ),
    })
    .bind(now)
    .bind(json!(reasons))
    .execute(tx)
    .await?;
    Ok(())
}
