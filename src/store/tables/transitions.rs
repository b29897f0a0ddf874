//! History.

use crate::store::sql;
use jiff::Timestamp;

use super::rows;
use crate::core::ids::{AccountName, TeardownId, TenantId};
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::rules::Event;
use crate::store::{Result, TransitionRecord, Tx};

pub(in crate::store) async fn of_tenant(
    tx: &mut Tx,
    account: Option<&AccountName>,
    tenant: TenantId,
) -> Result<Vec<TransitionRecord>> {
    let found = sql::query(
        "SELECT * FROM transitions WHERE tenant_id = $1 AND ($2 IS NULL OR account = $2)
         ORDER BY id",
    )
    .bind(tenant.to_string())
    .bind(account.map(AccountName::as_str))
    .fetch_all(tx)
    .await?;
    rows::readable(&found, rows::transition)
}

/// Writes history.
pub(in crate::store) async fn record(
    tx: &mut Tx,
    row: &Teardown,
    events: &[Event],
    now: Timestamp,
) -> Result<()> {
    for event in events {
        sql::query(
            "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state,
                 reason, text, actor)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(row.id.0)
        .bind(row.account.as_str())
        .bind(row.tenant_id.to_string())
        .bind(now)
        .bind(event.from.as_str())
        .bind(event.to.as_str())
        .bind(event.reason.map(|reason| reason.as_str()))
        .bind(&event.text)
        .bind(&event.actor)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Writes history of a row of which nothing need be understood: a guard holds it.
pub(in crate::store) async fn record_unread(
    tx: &mut Tx,
    id: TeardownId,
    guard: Reason,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, reason,
             text, actor)
         SELECT id, lower(account), lower(tenant_id), $1, state, state, $2, $3, $2
         FROM teardowns WHERE id = $4",
    )
    .bind(now)
    .bind(guard.as_str())
    .bind(text)
    .bind(id.0)
    .execute(tx)
    .await?;
    Ok(())
}
