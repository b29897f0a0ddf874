//! The rows of teardowns.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::rows::time_text;
use super::{accounts, rows};
use crate::core::gates::SafetyPolicy;
use crate::core::ids::{AccountName, Fence, TeardownId, TenantId};
use crate::core::reason::Reason;
use crate::core::teardown::{NewTeardown, State, Teardown};
use crate::store::model::time::millis_up;
use crate::store::{Filter, Result, StoreError, Tx};

/// One row, for the transaction that changes it.
pub(in crate::store) async fn load(tx: &mut Tx, id: TeardownId) -> Result<Teardown> {
    let row = sqlx::query("SELECT * FROM teardowns WHERE id = ?")
        .bind(id.0)
        .fetch_optional(tx)
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("teardown {id}")))?;
    rows::teardown(&row)
}

pub(in crate::store) async fn list(tx: &mut Tx, filter: &Filter) -> Result<Vec<Teardown>> {
    rows::readable(&select(tx, filter).await?, rows::shown)
}

async fn select(tx: &mut Tx, filter: &Filter) -> Result<Vec<SqliteRow>> {
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
    Ok(query.build().fetch_all(tx).await?)
}

/// Stores the priority and the earliest time of a row, and a lease that was taken away.
pub(in crate::store) async fn reorder(tx: &mut Tx, row: &Teardown) -> Result<()> {
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
    .execute(tx)
    .await?;
    Ok(())
}

/// The active row of a tenant.
pub(in crate::store) async fn active(
    tx: &mut Tx,
    account: &AccountName,
    tenant: TenantId,
) -> Result<Option<TeardownId>> {
    let row = sqlx::query(concat!(
        "SELECT id FROM teardowns WHERE lower(account) = ? AND lower(tenant_id) = ?
         AND ",
        open!()
    ))
    .bind(account.as_str())
    .bind(tenant.to_string())
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| row.try_get("id").map(TeardownId)).transpose()?)
}

pub(in crate::store) async fn standing(
    tx: &mut Tx,
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
    .fetch_all(tx)
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

pub(in crate::store) async fn insert(
    tx: &mut Tx,
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
    .fetch_all(&mut *tx)
    .await?;
    for account in accounts {
        accounts::set_clocks(tx, account, now).await?;
    }
    inserted
        .iter()
        .map(|row| rows::teardown(row).map(|row| ((row.account, row.tenant_id), row.id)))
        .collect()
}

/// What stands for a tenant already.
#[derive(Debug, Default)]
pub(in crate::store) struct Standing {
    pub(in crate::store) active: Option<TeardownId>,
    /// Of the active one.
    pub(in crate::store) expected_domain: Option<String>,
    pub(in crate::store) deleted: Option<TeardownId>,
}

pub(in crate::store) type Key = (AccountName, TenantId);

/// Saves everything of a row that may change. `from` is the state it had: a move is counted, so
/// that the trigger for typed-in changes leaves its history to [`transitions::record`](super::transitions::record).
pub(in crate::store) async fn save(tx: &mut Tx, row: &Teardown, from: State) -> Result<()> {
    let (operator, guard) = (row.holds.operator(), row.holds.guard());
    let lease = row.lease.as_ref();
    let used = i64::try_from(row.eligible_used.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE teardowns SET domain = ?, state = ?, state_since = ?, run_since = ?, try_anyway = ?,
             reason = ?, reason_text = ?,
             operator_hold_text = ?, operator_hold_by = ?, operator_hold_since = ?,
             hold_code = ?, hold_text = ?, hold_by = ?, hold_since = ?, attempts = ?, polls = ?,
             rounds = ?, next_attempt_at = ?, eligible_since = ?, eligible_used_ms = ?,
             suspects = ?, cross_checked = ?, uncancellable_at = ?, lease_owner = ?, lease_until = ?, fence = ?, moves = moves + ?,
             updated_at = ?, finished_at = ?
         WHERE id = ?",
    )
    .bind(&row.domain)
    .bind(row.state.as_str())
    .bind(time_text(row.state_since))
    .bind(time_text(row.run_since))
    .bind(row.try_anyway)
    .bind(row.reason.map(|reason| reason.as_str()))
    .bind(&row.reason_text)
    .bind(operator.map(|hold| &hold.text))
    .bind(operator.map(|hold| &hold.actor))
    .bind(operator.map(|hold| time_text(hold.since)))
    .bind(guard.map(|hold| hold.code.as_str()))
    .bind(guard.map(|hold| &hold.text))
    .bind(guard.map(|hold| &hold.actor))
    .bind(guard.map(|hold| time_text(hold.since)))
    .bind(row.attempts)
    .bind(row.polls)
    .bind(row.rounds)
    .bind(row.next_attempt_at.map(time_text))
    .bind(row.eligible_since.map(time_text))
    .bind(used)
    .bind(json!(row.suspects).to_string())
    .bind(row.cross_checked)
    .bind(row.uncancellable_at.map(time_text))
    .bind(lease.map(|lease| &lease.owner))
    .bind(lease.map(|lease| time_text(lease.until)))
    .bind(row.fence.0)
    .bind(i64::from(row.state != from))
    .bind(time_text(row.updated_at))
    .bind(row.finished_at.map(time_text))
    .bind(row.id.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// Counted, so that the trigger can tell it from one that was typed in.
pub(in crate::store) async fn save_approval(tx: &mut Tx, row: &Teardown) -> Result<()> {
    let approval = row.approval.as_ref();
    sqlx::query(
        "UPDATE teardowns SET approvals = approvals + 1, approved_by = ?, approved_at = ?,
             approved_run = ?, approved = ?
         WHERE id = ?",
    )
    .bind(approval.map(|approval| &approval.actor))
    .bind(approval.map(|approval| time_text(approval.at)))
    .bind(approval.map(|approval| time_text(approval.run)))
    .bind(approval.map(|approval| json!(approval.inventory).to_string()))
    .bind(row.id.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// How many teardowns of the account have not ended and have no approval that counts; 0 where the
/// policy does not ask for it.
pub(in crate::store) async fn unapproved(
    tx: &mut Tx,
    account: &AccountName,
    policy: &SafetyPolicy,
) -> Result<usize> {
    if policy.hold_batch_over.is_zero() {
        return Ok(0);
    }
    let found = sqlx::query(concat!(
        "SELECT * FROM teardowns
         WHERE lower(account) = ? AND ",
        open!()
    ))
    .bind(account.as_str())
    .fetch_all(tx)
    .await?;
    // A damaged row counts: nobody can tell whether it was approved.
    let approved = |row| {
        rows::teardown(row).is_ok_and(|row| row.counting_approval(policy.approve_by_other).is_ok())
    };
    Ok(found.iter().filter(|row| !approved(row)).count())
}

/// Rows of accounts that are not known, and rows held because theirs was not. Parameter: the known ones.
macro_rules! of_unknown_accounts {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            concat!(
                " FROM teardowns
             WHERE ",
                open!(),
                "
               AND (hold_code IS 'unknown_account'
                    OR (hold_code IS NULL
                        AND lower(account) NOT IN (SELECT value FROM json_each(?))))"
            )
        )
    };
}

/// Whether [`of_unknown_accounts()`] would find a row to look at.
pub(in crate::store) async fn is_any_account_unknown(
    tx: &mut Tx,
    known: &[AccountName],
) -> Result<bool> {
    let found = sqlx::query(concat!(of_unknown_accounts!("1"), " LIMIT 1"))
        .bind(serde_json::json!(known).to_string())
        .fetch_optional(tx)
        .await?;
    Ok(found.is_some())
}

/// Holds a row of which nothing need be understood. Returns whether it has not ended before.
pub(in crate::store) async fn hold_unread(
    tx: &mut Tx,
    id: TeardownId,
    guard: Reason,
    text: &str,
    now: Timestamp,
) -> Result<bool> {
    let held = sqlx::query(concat!(
        "UPDATE teardowns SET hold_code = ?1, hold_text = ?2, hold_by = ?1, hold_since = ?3,
             lease_owner = NULL, lease_until = NULL, eligible_since = NULL, updated_at = ?3
         WHERE id = ?4 AND ",
        open!()
    ))
    .bind(guard.as_str())
    .bind(text)
    .bind(time_text(now))
    .bind(id.0)
    .execute(tx)
    .await?;
    Ok(held.rows_affected() > 0)
}

/// The row under this lease, as it is shown; `None` once the lease is lost.
pub(in crate::store) async fn shown_leased(
    tx: &mut Tx,
    id: TeardownId,
    fence: Fence,
) -> Result<Option<Teardown>> {
    let found = sqlx::query(
        "SELECT * FROM teardowns WHERE id = ? AND fence = ? AND lease_owner IS NOT NULL",
    )
    .bind(id.0)
    .bind(fence.0)
    .fetch_optional(tx)
    .await?;
    found.as_ref().map(rows::shown).transpose()
}

/// Rows of accounts that are not known, and rows held because theirs was not.
pub(in crate::store) async fn of_unknown_accounts(
    tx: &mut Tx,
    known: &[AccountName],
) -> Result<Vec<Teardown>> {
    let found = sqlx::query(concat!(of_unknown_accounts!("*"), " ORDER BY id"))
        .bind(json!(known).to_string())
        .fetch_all(tx)
        .await?;
    Ok(rows::sound(&found, rows::teardown))
}

/// The rows that match, to be changed: those that are sound, and the damaged ones as they are shown.
pub(in crate::store) async fn to_change(
    tx: &mut Tx,
    filter: &Filter,
) -> Result<Vec<std::result::Result<Teardown, (Teardown, StoreError)>>> {
    let found = select(tx, filter).await?;
    Ok(rows::sound(&found, |row| match rows::teardown(row) {
        Ok(sound) => Ok(Ok(sound)),
        Err(damage) => Ok(Err((rows::shown(row)?, damage))),
    }))
}

/// Dates the rows that were typed in by the clock of the database, which is so far ahead of the one on the
/// wall.
pub(in crate::store) async fn adopt_times(
    tx: &mut Tx,
    ahead: SignedDuration,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(concat!(
        "UPDATE teardowns SET typed = 0,
             created_at = CASE
                 WHEN created_at <> run_since
                   OR strftime('%s', ?1) - strftime('%s', created_at) BETWEEN 0 AND 30
                 THEN created_at
                 ELSE ?1 END,
             not_before = CASE WHEN created_at <> run_since THEN not_before
                 ELSE coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', not_before, ?2), not_before) END,
             run_since = ?1, state_since = ?1, updated_at = ?1, eligible_since = NULL,
             eligible_used_ms = 0
         WHERE typed = 1 AND ",
        open!()
    ))
    .bind(time_text(now))
    .bind(super::clock::seconds(ahead))
    .execute(tx)
    .await?;
    Ok(())
}
