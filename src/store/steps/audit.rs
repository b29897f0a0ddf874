//! The record of what was asked for and done, over all tenants.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::core::ids::AccountName;
use crate::store::model::merged;
use crate::store::tables::sqlite::rows::{self, Fields, time_text};
use crate::store::{AuditEntry, AuditRange, RequestRecord, Result};

/// Keeps a request that was answered at once.
pub(super) async fn insert_request(
    conn: &mut SqliteConnection,
    record: &RequestRecord,
    latest_only: bool,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO operator_requests (verb, account, tenant_id, teardown_id, batch, state,
             latest_only, actor, reason, until, try_anyway, domain, priority, not_before,
             created_at, answered_at, answer)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?16)",
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
    .bind(time_text(record.created_at))
    .bind(&record.answer)
    .execute(conn)
    .await?;
    Ok(())
}

const REQUESTS: &str = "
    SELECT * FROM operator_requests WHERE created_at >= ?1 AND created_at < ?2
      AND (?3 IS NULL OR account IS NULL OR lower(account) = ?3) ORDER BY created_at, id";
const TRANSITIONS: &str = "
    SELECT * FROM transitions WHERE at >= ?1 AND at < ?2
      AND (?3 IS NULL OR account = ?3) ORDER BY at, id";
const COMMANDS: &str = "
    SELECT * FROM commands WHERE created_at >= ?1 AND created_at < ?2
      AND (?3 IS NULL OR account = ?3) ORDER BY created_at, seq";

pub(super) async fn entries(
    conn: &mut SqliteConnection,
    range: &AuditRange,
) -> Result<Vec<AuditEntry>> {
    let found = select(conn, REQUESTS, range).await?;
    let mut entries =
        rows::readable(&found, |row| Ok(AuditEntry::Request(Box::new(request(row)?))))?;
    let found = select(conn, TRANSITIONS, range).await?;
    let moves = rows::readable(&found, |row| Ok(AuditEntry::Transition(rows::transition(row)?)))?;
    entries.extend(moves);
    let found = select(conn, COMMANDS, range).await?;
    let command = |row: &SqliteRow| Ok(AuditEntry::Command(Box::new(rows::command(row)?)));
    entries.extend(rows::readable(&found, command)?);
    Ok(merged(entries))
}

async fn select(
    conn: &mut SqliteConnection,
    sql: &'static str,
    range: &AuditRange,
) -> Result<Vec<SqliteRow>> {
    let found = sqlx::query(sql)
        .bind(time_text(range.since))
        .bind(time_text(range.until))
        .bind(range.account.as_ref().map(AccountName::as_str))
        .fetch_all(conn)
        .await?;
    Ok(found)
}

fn request(row: &SqliteRow) -> Result<RequestRecord> {
    let f = Fields::new(row, "operator_requests", "id");
    Ok(RequestRecord {
        id: f.get("id")?,
        verb: f.get("verb")?,
        account: f.get("account")?,
        tenant_id: f.get("tenant_id")?,
        domain: f.get("domain")?,
        teardown_id: f.get("teardown_id")?,
        batch: f.get("batch")?,
        state: f.get("state")?,
        actor: f.get("actor")?,
        reason: f.get("reason")?,
        until: f.get("until")?,
        try_anyway: f.get::<i64>("try_anyway")? != 0,
        priority: f.get("priority")?,
        not_before: f.get("not_before")?,
        created_at: f.time("created_at")?,
        answered_at: f.time_opt("answered_at")?,
        answer: f.get("answer")?,
    })
}

pub(super) async fn begins(conn: &mut SqliteConnection) -> Result<Option<Timestamp>> {
    let row = sqlx::query(
        "SELECT 'oldest' AS entry, min(at) AS at FROM (
             SELECT min(at) AS at FROM transitions
             UNION ALL SELECT min(created_at) FROM commands
             UNION ALL SELECT min(created_at) FROM operator_requests)",
    )
    .fetch_one(conn)
    .await?;
    Fields::new(&row, "transitions", "entry").time_opt("at")
}
