//! Operators' requests.

use crate::store::sql::{self, Row, Sql};
use jiff::Timestamp;

use super::rows::Fields;
use crate::store::rules::typed::TypedRequest;
use crate::store::{RequestRecord, Result, Tx};

/// Keeps a request that was answered at once.
pub(in crate::store) async fn insert(
    tx: &mut Tx,
    record: &RequestRecord,
    latest_only: bool,
) -> Result<()> {
    sql::query(
        "INSERT INTO operator_requests (verb, account, tenant_id, teardown_id, batch, state,
             latest_only, actor, reason, until, try_anyway, domain, priority, not_before,
             created_at, answered_at, answer)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)",
    )
    .bind(&record.verb)
    .bind(&record.account)
    .bind(&record.tenant_id)
    .bind(&record.teardown_id)
    .bind(&record.batch)
    .bind(&record.state)
    .bind(latest_only)
    .bind(&record.actor)
    .bind(&record.reason)
    .bind(&record.until)
    .bind(record.try_anyway)
    .bind(&record.domain)
    .bind(record.priority)
    .bind(&record.not_before)
    .bind(record.created_at)
    .bind(&record.answer)
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether a request waits for its answer, or a row for times of the database.
pub(in crate::store) async fn is_any_open(tx: &mut Tx) -> Result<bool> {
    let row = sql::query(Sql {
        sqlite: concat!(
            "SELECT 1 FROM operator_requests WHERE answered_at IS NULL UNION ALL
             SELECT 1 FROM teardowns WHERE typed = 1 AND ",
            open!(),
            " LIMIT 1"
        ),
        postgres: concat!(
            "SELECT 1 FROM operator_requests WHERE answered_at IS NULL UNION ALL
             SELECT 1 FROM teardowns WHERE typed AND ",
            open!(),
            " LIMIT 1"
        ),
    })
    .fetch_optional(tx)
    .await?;
    Ok(row.is_some())
}

/// The requests that wait for their answer, each as it was typed.
pub(in crate::store) async fn open(tx: &mut Tx) -> Result<Vec<(i64, Result<TypedRequest>)>> {
    let found = sql::query("SELECT * FROM operator_requests WHERE answered_at IS NULL ORDER BY id")
        .fetch_all(tx)
        .await?;
    found.iter().map(|row| Ok((row.try_get("id")?, typed(row)))).collect()
}

fn typed(row: &Row) -> Result<TypedRequest> {
    let f = Fields::new(row, "operator_requests", "id");
    Ok(TypedRequest {
        verb: f.get("verb")?,
        account: f.get("account")?,
        tenant_id: f.get("tenant_id")?,
        teardown_id: f.get("teardown_id")?,
        batch: f.get("batch")?,
        state: f.get("state")?,
        latest_only: f.flag("latest_only")?,
        actor: f.get("actor")?,
        reason: f.get("reason")?,
        until: f.get("until")?,
        try_anyway: f.flag("try_anyway")?,
        domain: f.get("domain")?,
        priority: f.get("priority")?,
        not_before: f.get("not_before")?,
    })
}

/// Answers a request.
pub(in crate::store) async fn answer(
    tx: &mut Tx,
    id: i64,
    answer: &str,
    now: Timestamp,
) -> Result<()> {
    sql::query("UPDATE operator_requests SET answered_at = $1, answer = $2 WHERE id = $3")
        .bind(now)
        .bind(answer)
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}
