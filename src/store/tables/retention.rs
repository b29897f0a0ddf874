//! Retention (invariant 12).

use crate::store::sql;
use jiff::Timestamp;

use super::rows::time_text;
use crate::store::{Result, Tx};

/// Retention (invariant 12). The triggers ask the same questions again.
pub(in crate::store) async fn purge(
    tx: &mut Tx,
    finished: Timestamp,
    history: Timestamp,
) -> Result<u64> {
    let gone = sql::query(concat!(
        "DELETE FROM teardowns WHERE ",
        ended!(),
        "
           AND coalesce(finished_at, updated_at) < $1"
    ))
    .bind(finished)
    .execute(&mut *tx)
    .await?;
    sql::query(
        "INSERT INTO meta (key, value) VALUES ('history_cutoff', $1)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(time_text(history))
    .execute(&mut *tx)
    .await?;
    sql::query(
        "DELETE FROM transitions WHERE at < $1
           AND NOT EXISTS (SELECT 1 FROM teardowns WHERE id = transitions.teardown_id)",
    )
    .bind(history)
    .execute(&mut *tx)
    .await?;
    sql::query(
        "DELETE FROM commands AS c WHERE outcome IS NOT NULL AND settled_at < $1
           AND NOT EXISTS (SELECT 1 FROM teardowns WHERE id = c.teardown_id)
           AND NOT (action = 'delete_customer' AND outcome IN ('accepted', 'goal_reached')
                    AND EXISTS (SELECT 1 FROM teardowns AS t WHERE lower(t.account) = c.account
                                  AND lower(t.tenant_id) = c.tenant_id))",
    )
    .bind(history)
    .execute(&mut *tx)
    .await?;
    sql::query("DELETE FROM operator_requests WHERE answered_at IS NOT NULL AND created_at < $1")
        .bind(history)
        .execute(tx)
        .await?;
    Ok(gone)
}
