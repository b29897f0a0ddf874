//! The record of what was asked for and done, over all tenants.

use crate::store::sql::{self, Row};
use jiff::Timestamp;

use super::rows;
use super::rows::Fields;
use crate::core::ids::AccountName;
use crate::store::model::merged;
use crate::store::{AuditEntry, AuditRange, RequestRecord, Result, Tx};

const REQUESTS: &str = "
    SELECT * FROM operator_requests WHERE created_at >= $1 AND created_at < $2
      AND ($3 IS NULL OR account IS NULL OR lower(account) = $3) ORDER BY created_at, id";

const TRANSITIONS: &str = "
    SELECT * FROM transitions WHERE at >= $1 AND at < $2
      AND ($3 IS NULL OR account = $3) ORDER BY at, id";

const COMMANDS: &str = "
    SELECT * FROM commands WHERE created_at >= $1 AND created_at < $2
      AND ($3 IS NULL OR account = $3) ORDER BY created_at, seq";

async fn select(tx: &mut Tx, sql: &'static str, range: &AuditRange) -> Result<Vec<Row>> {
    let found = sql::query(sql)
        .bind(range.since)
        .bind(range.until)
        .bind(range.account.as_ref().map(AccountName::as_str))
        .fetch_all(tx)
        .await?;
    Ok(found)
}

fn request(row: &Row) -> Result<RequestRecord> {
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
        try_anyway: f.flag("try_anyway")?,
        priority: f.get("priority")?,
        not_before: f.get("not_before")?,
        created_at: f.time("created_at")?,
        answered_at: f.time_opt("answered_at")?,
        answer: f.get("answer")?,
    })
}

pub(in crate::store) async fn begins(tx: &mut Tx) -> Result<Option<Timestamp>> {
    let row = sql::query(
        "SELECT 'oldest' AS entry, min(at) AS at FROM (
             SELECT min(at) AS at FROM transitions
             UNION ALL SELECT min(created_at) FROM commands
             UNION ALL SELECT min(created_at) FROM operator_requests) AS times",
    )
    .fetch_one(tx)
    .await?;
    Fields::new(&row, "transitions", "entry").time_opt("at")
}

pub(in crate::store) async fn entries(tx: &mut Tx, range: &AuditRange) -> Result<Vec<AuditEntry>> {
    let found = select(tx, REQUESTS, range).await?;
    let mut entries =
        rows::readable(&found, |row| Ok(AuditEntry::Request(Box::new(request(row)?))))?;
    let found = select(tx, TRANSITIONS, range).await?;
    let moves = rows::readable(&found, |row| Ok(AuditEntry::Transition(rows::transition(row)?)))?;
    entries.extend(moves);
    let found = select(tx, COMMANDS, range).await?;
    let command = |row: &Row| Ok(AuditEntry::Command(Box::new(rows::command(row)?)));
    entries.extend(rows::readable(&found, command)?);
    Ok(merged(entries))
}
