//! Enqueue and the plain reads.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{accounts, protect};
use crate::core::command::Command;
use crate::core::ids::{AccountName, TeardownId, TenantId};
use crate::core::teardown::{NewTeardown, State, Teardown};
use crate::store::model::time::millis_up;
use crate::store::rules;
use crate::store::rules::protect::check_enqueue;
use crate::store::rules::requests;
use crate::store::tables::sqlite::rows::{self, time_text};
use crate::store::{
    EnqueueOutcome, Filter, RequestEffect, Result, StoreError, StoredPurchase, TransitionRecord,
};

/// What stands for a tenant already.
#[derive(Debug, Default)]
struct Standing {
    active: Option<TeardownId>,
    /// Of the active one.
    expected_domain: Option<String>,
    deleted: Option<TeardownId>,
}

type Key = (AccountName, TenantId);

pub(super) async fn enqueue(
    conn: &mut SqliteConnection,
    rows: &[NewTeardown],
    now: Timestamp,
) -> Result<Vec<(TeardownId, EnqueueOutcome)>> {
    rows.iter().try_for_each(|row| rules::check_account(&row.account))?;
    check_enqueue(rows, &protect::load_all(conn).await?)?;
    let mut standing = standing(conn, rows).await?;
    rules::check_named_domains(rows, |row| {
        let found = standing.get(&(row.account.clone(), row.tenant_id))?;
        Some((found.active?, found.expected_domain.as_deref()))
    })?;
    // A tenant that occurs twice is inserted once.
    let mut taken = BTreeSet::<Key>::new();
    let wanted = rows.iter().filter(|row| {
        let key = (row.account.clone(), row.tenant_id);
        let is_free = standing
            .get(&key)
            .is_none_or(|found| found.active.is_none() && (found.deleted.is_none() || row.again));
        is_free && taken.insert(key)
    });
    let mut fresh = insert(conn, wanted, now).await?;
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows {
        let key = (row.account.clone(), row.tenant_id);
        let found = standing.entry(key.clone()).or_default();
        let outcome = match (found.active, found.deleted) {
            (Some(id), _) => (id, EnqueueOutcome::AlreadyActive),
            (None, Some(id)) if !row.again => (id, EnqueueOutcome::AlreadyDeleted),
            (None, _) => {
                let id = fresh.remove(&key).ok_or_else(|| {
                    StoreError::Engine(format!("tenant {} was not inserted", row.tenant_id))
                })?;
                found.active = Some(id);
                (id, EnqueueOutcome::Queued)
            }
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn standing(
    conn: &mut SqliteConnection,
    rows: &[NewTeardown],
) -> Result<BTreeMap<Key, Standing>> {
    let keys: Vec<_> = rows.iter().map(|row| json!([row.account, row.tenant_id])).collect();
    // CROSS JOIN keeps the order, so that each tenant is one look into the index.
    let found = sqlx::query(
        "SELECT t.* FROM json_each(?) AS wanted CROSS JOIN teardowns AS t
         ON lower(t.account) = wanted.value ->> 0 AND lower(t.tenant_id) = wanted.value ->> 1
         WHERE t.state NOT IN ('aborted', 'failed') ORDER BY t.id",
    )
    .bind(json!(keys).to_string())
    .fetch_all(conn)
    .await?;
    let mut standing = BTreeMap::<Key, Standing>::new();
    for row in &found {
        let row = rows::shown(row)?;
        let entry = standing.entry((row.account, row.tenant_id)).or_default();
        if row.state == State::Deleted {
            entry.deleted = Some(row.id);
        } else {
            entry.active = Some(row.id);
            entry.expected_domain = row.expected_domain;
        }
    }
    Ok(standing)
}

async fn insert(
    conn: &mut SqliteConnection,
    rows: impl Iterator<Item = &NewTeardown>,
    now: Timestamp,
) -> Result<BTreeMap<Key, TeardownId>> {
    let mut accounts = BTreeSet::new();
    let mut values = Vec::new();
    for row in rows {
        accounts.insert(&row.account);
        values.push(json!({
            "account": row.account,
            "tenant_id": row.tenant_id,
            "expected_domain": row.expected_domain,
            "batch": row.batch,
            "priority": row.priority,
            "note": row.note,
            "requested_by": row.requested_by,
            "not_before": row.not_before.map(|at| time_text(millis_up(at))),
        }));
    }
    if values.is_empty() {
        return Ok(BTreeMap::new());
    }
    let inserted = sqlx::query(
        "INSERT INTO teardowns (account, tenant_id, expected_domain, batch, priority, note,
             requested_by, not_before, created_at, run_since, state_since, updated_at, eligible_since,
             typed)
         SELECT value ->> 'account', value ->> 'tenant_id', value ->> 'expected_domain',
             value ->> 'batch', value ->> 'priority', value ->> 'note',
             value ->> 'requested_by', value ->> 'not_before', ?2, ?2, ?2, ?2, NULL,
             0
         FROM json_each(?1)
         RETURNING *",
    )
    .bind(json!(values).to_string())
    .bind(time_text(now))
    .fetch_all(&mut *conn)
    .await?;
    for account in accounts {
        accounts::set_clocks(conn, account, now).await?;
    }
    inserted
        .iter()
        .map(|row| rows::teardown(row).map(|row| ((row.account, row.tenant_id), row.id)))
        .collect()
}

pub(super) async fn list(conn: &mut SqliteConnection, filter: &Filter) -> Result<Vec<Teardown>> {
    rows::readable(&select(conn, filter).await?, rows::shown)
}

/// The same rows, to be changed. A damaged one is left as it is; the effect says so.
pub(super) async fn to_change(
    conn: &mut SqliteConnection,
    filter: &Filter,
) -> Result<Vec<std::result::Result<Teardown, RequestEffect>>> {
    let found = select(conn, filter).await?;
    Ok(rows::sound(&found, |row| match rows::teardown(row) {
        Ok(sound) => Ok(Ok(sound)),
        Err(damage) => {
            let shown = rows::shown(row)?;
            Ok(Err(requests::effect(&shown, Err(damage.to_string())).0))
        }
    }))
}

async fn select(conn: &mut SqliteConnection, filter: &Filter) -> Result<Vec<SqliteRow>> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM teardowns AS t WHERE 1");
    if !filter.ids.is_empty() {
        query.push(" AND id IN (SELECT value FROM json_each(");
        query.push_bind(json!(filter.ids).to_string()).push("))");
    }
    if let Some(account) = &filter.account {
        query.push(" AND lower(account) = ").push_bind(account.as_str().to_owned());
    }
    if !filter.tenants.is_empty() {
        query.push(" AND lower(tenant_id) IN (SELECT value FROM json_each(");
        query.push_bind(json!(filter.tenants).to_string()).push("))");
    }
    if let Some(batch) = &filter.batch {
        query.push(" AND batch = ").push_bind(batch.clone());
    }
    if !filter.states.is_empty() {
        query.push(" AND state IN (SELECT value FROM json_each(");
        query.push_bind(json!(filter.states).to_string()).push("))");
    }
    if filter.latest_only {
        query.push(
            " AND NOT EXISTS (SELECT 1 FROM teardowns AS newer
               WHERE lower(newer.account) = lower(t.account)
                 AND lower(newer.tenant_id) = lower(t.tenant_id) AND newer.id > t.id)",
        );
    }
    query.push(" ORDER BY id DESC");
    Ok(query.build().fetch_all(conn).await?)
}

/// One row, for the transaction that changes it.
pub(super) async fn teardown(conn: &mut SqliteConnection, id: TeardownId) -> Result<Teardown> {
    let row = sqlx::query("SELECT * FROM teardowns WHERE id = ?")
        .bind(id.0)
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("teardown {id}")))?;
    rows::teardown(&row)
}

/// Stores the priority and the earliest time of a row, and a lease that was taken away.
pub(super) async fn reorder(conn: &mut SqliteConnection, row: &Teardown) -> Result<()> {
    let lease = row.lease.as_ref();
    sqlx::query(
        "UPDATE teardowns SET priority = ?, not_before = ?, lease_owner = ?, lease_until = ?,
             updated_at = ? WHERE id = ?",
    )
    .bind(row.priority)
    .bind(row.not_before.map(time_text))
    .bind(lease.map(|lease| &lease.owner))
    .bind(lease.map(|lease| time_text(lease.until)))
    .bind(time_text(row.updated_at))
    .bind(row.id.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// The active row of a tenant.
pub(super) async fn active(
    conn: &mut SqliteConnection,
    account: &AccountName,
    tenant: TenantId,
) -> Result<Option<TeardownId>> {
    let row = sqlx::query(
        "SELECT id FROM teardowns WHERE lower(account) = ? AND lower(tenant_id) = ?
         AND state NOT IN ('deleted', 'aborted', 'failed')",
    )
    .bind(account.as_str())
    .bind(tenant.to_string())
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.try_get("id").map(TeardownId)).transpose()?)
}

pub(super) async fn purchases(
    conn: &mut SqliteConnection,
    teardown: TeardownId,
) -> Result<Vec<StoredPurchase>> {
    let found = sqlx::query("SELECT * FROM purchases WHERE teardown_id = ? ORDER BY key")
        .bind(teardown.0)
        .fetch_all(conn)
        .await?;
    found.iter().map(rows::purchase).collect()
}

pub(super) async fn commands(
    conn: &mut SqliteConnection,
    account: &AccountName,
    tenant: TenantId,
) -> Result<Vec<Command>> {
    let found =
        sqlx::query("SELECT * FROM commands WHERE account = ? AND tenant_id = ? ORDER BY seq")
            .bind(account.as_str())
            .bind(tenant.to_string())
            .fetch_all(conn)
            .await?;
    // All or nothing: a reconciler must not overlook a command. Those that decide nothing any more may be
    // damaged, as one is that was typed in and set aside.
    let mut commands = Vec::with_capacity(found.len());
    for row in &found {
        let outcome: Option<&str> = row.try_get("outcome").unwrap_or_default();
        match rows::command(row) {
            Ok(command) => commands.push(command),
            Err(error) if matches!(outcome, Some("withdrawn" | "refused")) => {
                tracing::debug!(%error, "a damaged command that decides nothing is left out");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(commands)
}

pub(super) async fn history(
    conn: &mut SqliteConnection,
    account: Option<&AccountName>,
    tenant: TenantId,
) -> Result<Vec<TransitionRecord>> {
    let found = sqlx::query(
        "SELECT * FROM transitions WHERE tenant_id = ?1 AND (?2 IS NULL OR account = ?2)
         ORDER BY id",
    )
    .bind(tenant.to_string())
    .bind(account.map(AccountName::as_str))
    .fetch_all(conn)
    .await?;
    rows::readable(&found, rows::transition)
}
