//! The rows of teardowns.

use crate::store::sql::{self, Row, Sql};
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

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
    let row = sql::query("SELECT * FROM teardowns WHERE id = $1")
        .bind(id.0)
        .fetch_optional(tx)
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("teardown {id}")))?;
    rows::teardown(&row)
}

pub(in crate::store) async fn list(tx: &mut Tx, filter: &Filter) -> Result<Vec<Teardown>> {
    rows::readable(&select(tx, filter).await?, rows::shown)
}

/// The conditions of a filter.
#[derive(Debug, Default)]
struct Select {
    sqlite: String,
    postgres: String,
    values: Vec<sql::Value>,
}

impl Select {
    fn equal(&mut self, what: &str, value: impl Into<sql::Value>) {
        self.values.push(value.into());
        self.and(&format!("{what} = ${}", self.values.len()));
    }

    fn among(&mut self, what: &str, kind: &str, values: serde_json::Value) {
        self.values.push(values.into());
        let list = self.values.len();
        let of = format!(" AND {what} IN (SELECT value");
        self.sqlite.push_str(&format!("{of} FROM json_each(${list}))"));
        let from = format!("::{kind} FROM jsonb_array_elements_text(${list}::jsonb))");
        self.postgres.push_str(&format!("{of}{from}"));
    }

    fn and(&mut self, condition: &str) {
        for sql in [&mut self.sqlite, &mut self.postgres] {
            sql.push_str(&format!(" AND {condition}"));
        }
    }

    fn newest_first(self) -> sql::Query {
        let all = |conditions: &str| {
            format!("SELECT * FROM teardowns AS t WHERE true{conditions} ORDER BY id DESC")
        };
        sql::Query::made(all(&self.sqlite), all(&self.postgres), self.values)
    }
}

async fn select(tx: &mut Tx, filter: &Filter) -> Result<Vec<Row>> {
    let mut select = Select::default();
    if !filter.ids.is_empty() {
        select.among("id", "bigint", json!(filter.ids));
    }
    if let Some(account) = &filter.account {
        select.equal("lower(account)", account.as_str());
    }
    if !filter.tenants.is_empty() {
        select.among("lower(tenant_id)", "text", json!(filter.tenants));
    }
    if let Some(batch) = &filter.batch {
        select.equal("batch", batch);
    }
    if !filter.states.is_empty() {
        select.among("state", "text", json!(filter.states));
    }
    if filter.latest_only {
        select.and(
            "NOT EXISTS (SELECT 1 FROM teardowns AS newer
               WHERE lower(newer.account) = lower(t.account)
                 AND lower(newer.tenant_id) = lower(t.tenant_id) AND newer.id > t.id)",
        );
    }
    select.newest_first().fetch_all(tx).await
}

/// Stores the priority and the earliest time of a row, and a lease that was taken away.
pub(in crate::store) async fn reorder(tx: &mut Tx, row: &Teardown) -> Result<()> {
    let lease = row.lease.as_ref();
    sql::query(
        "UPDATE teardowns SET priority = $1, not_before = $2, lease_owner = $3, lease_until = $4,
             updated_at = $5 WHERE id = $6",
    )
    .bind(row.priority)
    .bind(row.not_before)
    .bind(lease.map(|lease| &lease.owner))
    .bind(lease.map(|lease| lease.until))
    .bind(row.updated_at)
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
    let row = sql::query(concat!(
        "SELECT id FROM teardowns WHERE lower(account) = $1 AND lower(tenant_id) = $2
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
    let found = sql::query(Sql {
        sqlite: "SELECT t.* FROM json_each($1) AS wanted CROSS JOIN teardowns AS t
             ON lower(t.account) = wanted.value ->> 0 AND lower(t.tenant_id) = wanted.value ->> 1
             WHERE t.state NOT IN ('aborted', 'failed') ORDER BY t.id",
        postgres:
            "SELECT t.* FROM jsonb_array_elements($1::jsonb) AS wanted (value) JOIN teardowns AS t
             ON lower(t.account) = wanted.value ->> 0 AND lower(t.tenant_id) = wanted.value ->> 1
             WHERE t.state NOT IN ('aborted', 'failed') ORDER BY t.id",
    })
    .bind(json!(keys))
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
    let inserted = sql::query(Sql {
        sqlite: "INSERT INTO teardowns (account, tenant_id, expected_domain, batch, priority, note,
             requested_by, not_before, created_at, run_since, state_since, updated_at, eligible_since,
             typed)
         SELECT value ->> 'account', value ->> 'tenant_id', value ->> 'expected_domain',
             value ->> 'batch', value ->> 'priority', value ->> 'note',
             value ->> 'requested_by', value ->> 'not_before', $2, $2, $2, $2, NULL,
             0
         FROM json_each($1)
         RETURNING *",
        postgres: "INSERT INTO teardowns (account, tenant_id, expected_domain, batch, priority, note,
             requested_by, not_before, created_at, run_since, state_since, updated_at, eligible_since,
             typed)
         SELECT account, tenant_id, expected_domain, batch, priority, note, requested_by, not_before,
             $2, $2, $2, $2, NULL, false
         FROM jsonb_to_recordset($1::jsonb) AS new (account text, tenant_id text,
             expected_domain text, batch text, priority bigint, note text, requested_by text,
             not_before timestamptz)
         RETURNING *",
    })
    .bind(json!(values))
    .bind(now)
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
    sql::query(
        "UPDATE teardowns SET domain = $1, state = $2, state_since = $3, run_since = $4, try_anyway = $5,
             reason = $6, reason_text = $7,
             operator_hold_text = $8, operator_hold_by = $9, operator_hold_since = $10,
             hold_code = $11, hold_text = $12, hold_by = $13, hold_since = $14, attempts = $15, polls = $16,
             rounds = $17, next_attempt_at = $18, eligible_since = $19, eligible_used_ms = $20,
             suspects = $21, cross_checked = $22, uncancellable_at = $23, lease_owner = $24, lease_until = $25, fence = $26, moves = moves + $27,
             updated_at = $28, finished_at = $29
         WHERE id = $30",
    )
    .bind(&row.domain)
    .bind(row.state.as_str())
    .bind(row.state_since)
    .bind(row.run_since)
    .bind(row.try_anyway)
    .bind(row.reason.map(|reason| reason.as_str()))
    .bind(&row.reason_text)
    .bind(operator.map(|hold| &hold.text))
    .bind(operator.map(|hold| &hold.actor))
    .bind(operator.map(|hold| hold.since))
    .bind(guard.map(|hold| hold.code.as_str()))
    .bind(guard.map(|hold| &hold.text))
    .bind(guard.map(|hold| &hold.actor))
    .bind(guard.map(|hold| hold.since))
    .bind(row.attempts)
    .bind(row.polls)
    .bind(row.rounds)
    .bind(row.next_attempt_at)
    .bind(row.eligible_since)
    .bind(used)
    .bind(json!(row.suspects).to_string())
    .bind(row.cross_checked)
    .bind(row.uncancellable_at)
    .bind(lease.map(|lease| &lease.owner))
    .bind(lease.map(|lease| lease.until))
    .bind(row.fence.0)
    .bind(i64::from(row.state != from))
    .bind(row.updated_at)
    .bind(row.finished_at)
    .bind(row.id.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// Counted, so that the trigger can tell it from one that was typed in.
pub(in crate::store) async fn save_approval(tx: &mut Tx, row: &Teardown) -> Result<()> {
    let approval = row.approval.as_ref();
    sql::query(
        "UPDATE teardowns SET approvals = approvals + 1, approved_by = $1, approved_at = $2,
             approved_run = $3, approved = $4
         WHERE id = $5",
    )
    .bind(approval.map(|approval| &approval.actor))
    .bind(approval.map(|approval| approval.at))
    .bind(approval.map(|approval| approval.run))
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
    let found = sql::query(concat!(
        "SELECT * FROM teardowns
         WHERE lower(account) = $1 AND ",
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
    ($columns:literal, $order:literal) => {
        Sql {
            sqlite: of_unknown_accounts!($columns, "SELECT value FROM json_each($1)", $order),
            postgres: of_unknown_accounts!(
                $columns,
                "SELECT jsonb_array_elements_text($1::jsonb)",
                $order
            ),
        }
    };
    ($columns:literal, $known:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM teardowns WHERE ",
            open!(),
            " AND (hold_code IS NOT DISTINCT FROM 'unknown_account'
                   OR (hold_code IS NULL AND lower(account) NOT IN (",
            $known,
            "))) ",
            $order
        )
    };
}

/// Whether [`of_unknown_accounts()`] would find a row to look at.
pub(in crate::store) async fn is_any_account_unknown(
    tx: &mut Tx,
    known: &[AccountName],
) -> Result<bool> {
    let found = sql::query(of_unknown_accounts!("1", "LIMIT 1"))
        .bind(serde_json::json!(known))
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
    let held = sql::query(concat!(
        "UPDATE teardowns SET hold_code = $1, hold_text = $2, hold_by = $1, hold_since = $3,
             lease_owner = NULL, lease_until = NULL, eligible_since = NULL, updated_at = $3
         WHERE id = $4 AND ",
        open!()
    ))
    .bind(guard.as_str())
    .bind(text)
    .bind(now)
    .bind(id.0)
    .execute(tx)
    .await?;
    Ok(held > 0)
}

/// The row under this lease, as it is shown; `None` once the lease is lost.
pub(in crate::store) async fn shown_leased(
    tx: &mut Tx,
    id: TeardownId,
    fence: Fence,
) -> Result<Option<Teardown>> {
    let found = sql::query(
        "SELECT * FROM teardowns WHERE id = $1 AND fence = $2 AND lease_owner IS NOT NULL",
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
    let found = sql::query(of_unknown_accounts!("*", "ORDER BY id"))
        .bind(json!(known))
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
    sql::query(Sql {
        sqlite: concat!(
            "UPDATE teardowns SET typed = 0,
             created_at = CASE
                 WHEN created_at <> run_since
                   OR strftime('%s', $1) - strftime('%s', created_at) BETWEEN 0 AND 30
                 THEN created_at
                 ELSE $1 END,
             not_before = CASE WHEN created_at <> run_since THEN not_before
                 ELSE coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', not_before,
                     printf('%+.3f seconds', $2 / 1000.0)), not_before) END,
             run_since = $1, state_since = $1, updated_at = $1, eligible_since = NULL,
             eligible_used_ms = 0
         WHERE typed = 1 AND ",
            open!()
        ),
        postgres: concat!(
            "UPDATE teardowns SET typed = false,
             created_at = CASE
                 WHEN created_at <> run_since
                   OR floor(extract(epoch FROM $1)) - floor(extract(epoch FROM created_at))
                      BETWEEN 0 AND 30
                 THEN created_at
                 ELSE $1 END,
             not_before = CASE WHEN created_at <> run_since THEN not_before
                 ELSE not_before + $2 * interval '1 millisecond' END,
             run_since = $1, state_since = $1, updated_at = $1, eligible_since = NULL,
             eligible_used_ms = 0
         WHERE typed AND ",
            open!()
        ),
    })
    .bind(now)
    .bind(super::clock::millis(ahead))
    .execute(tx)
    .await?;
    Ok(())
}
