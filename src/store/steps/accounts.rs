//! The rows of accounts, what follows from them for many teardowns, and the request budget.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use crate::core::account::{Account, Canary, Proven, TroubleKind};
use crate::core::budget::{Ask, Bucket, Budget, Grant, Resource};
use crate::core::ids::AccountName;
use crate::store::Result;
use crate::store::model::time::before;
use crate::store::rules::{stops, window};
use crate::store::tables::sqlite::rows::{self, Fields, time_text};

// ---- rows --------------------------------------------------------------------------------------

pub(super) async fn load(conn: &mut SqliteConnection, name: &AccountName) -> Result<Account> {
    let row = sqlx::query("SELECT * FROM accounts WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(Account::fresh(name.clone())) };
    Ok(rows::counted_account(&row)?.0)
}

pub(super) async fn load_all(conn: &mut SqliteConnection) -> Result<Vec<Account>> {
    let found = sqlx::query("SELECT * FROM accounts ORDER BY name").fetch_all(conn).await?;
    let found = rows::sound(&found, rows::counted_account);
    Ok(found.into_iter().map(|(account, _)| account).collect())
}

/// Every account, as [`load_all`] reads them. The halt that stands for a damaged row is stored, so that it is
/// seen, reported once, and lifted by a person alone.
pub(super) async fn load_all_halting_damaged(
    conn: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<Account>> {
    let found = sqlx::query("SELECT * FROM accounts ORDER BY name").fetch_all(&mut *conn).await?;
    let mut accounts = Vec::with_capacity(found.len());
    for (account, damaged) in rows::sound(&found, rows::counted_account) {
        if let Some(halt) = account.halted.as_ref().filter(|_| damaged) {
            let text = &halt.reason;
            tracing::error!(account = %account.name, text, "a damaged account is halted");
            sqlx::query("UPDATE accounts SET canary = NULL, canary_tenant = NULL WHERE name = ?")
                .bind(account.name.as_str())
                .execute(&mut *conn)
                .await?;
            save(conn, &account).await?;
            set_clocks(conn, &account.name, now).await?;
        }
        accounts.push(account);
    }
    Ok(accounts)
}

/// The row of an account, and the row of everything, in one statement.
pub(super) async fn load_with_every(
    conn: &mut SqliteConnection,
    name: &AccountName,
) -> Result<(Account, Account)> {
    let found = sqlx::query("SELECT * FROM accounts WHERE name IN (?, '*')")
        .bind(name.as_str())
        .fetch_all(conn)
        .await?;
    let mut pair = (Account::fresh(name.clone()), Account::fresh(AccountName::every()));
    for row in &found {
        let (row, _) = rows::counted_account(row)?;
        if row.name == AccountName::every() { pair.1 = row } else { pair.0 = row }
    }
    Ok(pair)
}

pub(super) async fn save(conn: &mut SqliteConnection, account: &Account) -> Result<()> {
    let (paused, halted) = (account.paused.as_ref(), account.halted.as_ref());
    let trouble = account.trouble.as_ref();
    let armed = account.armed.as_ref();
    sqlx::query(
        "REPLACE INTO accounts (name, paused_reason, paused_by, paused_since, paused_until,
             halted_reason, halted_by, halted_since, throttled_until, throttled_since, trouble_kind,
             trouble_text, trouble_since, trouble_next_probe_at, proven_write, proven_reservation,
             proven_delete, armed_by, armed_since, armed_partner_tenant, armed_cloud,
             armed_client_id, canary, canary_tenant, armings)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
             ?19, ?20, ?21, ?22, (SELECT canary FROM accounts WHERE name = ?1),
             (SELECT canary_tenant FROM accounts WHERE name = ?1),
             coalesce((SELECT armings + (armed_by IS NOT ?18 OR armed_since IS NOT ?19
                           OR armed_partner_tenant IS NOT ?20 OR armed_cloud IS NOT ?21
                           OR armed_client_id IS NOT ?22)
                       FROM accounts WHERE name = ?1), ?18 IS NOT NULL))",
    )
    .bind(account.name.as_str())
    .bind(paused.map(|stop| &stop.reason))
    .bind(paused.map(|stop| &stop.actor))
    .bind(paused.map(|stop| time_text(stop.since)))
    .bind(paused.and_then(|stop| stop.until).map(time_text))
    .bind(halted.map(|stop| &stop.reason))
    .bind(halted.map(|stop| &stop.actor))
    .bind(halted.map(|stop| time_text(stop.since)))
    .bind(account.throttled_until.map(time_text))
    .bind(account.throttled_since.map(time_text))
    .bind(trouble.map(|trouble| trouble.kind.as_str()))
    .bind(trouble.map(|trouble| &trouble.text))
    .bind(trouble.map(|trouble| time_text(trouble.since)))
    .bind(trouble.map(|trouble| time_text(trouble.next_probe_at)))
    .bind(account.proven.write)
    .bind(account.proven.reservation)
    .bind(account.proven.delete)
    .bind(armed.map(|armed| &armed.actor))
    .bind(armed.map(|armed| time_text(armed.since)))
    .bind(armed.map(|armed| armed.identity.partner_tenant.to_string()))
    .bind(armed.map(|armed| &armed.identity.cloud))
    .bind(armed.map(|armed| armed.identity.client_id.to_string()))
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores which command goes out alone from now on. It ends by triggers: with its call, and with the
/// lease of its teardown.
pub(super) async fn set_canary(
    conn: &mut SqliteConnection,
    name: &AccountName,
    canary: Canary,
) -> Result<()> {
    const UPDATE: &str = "UPDATE accounts SET canary = ?2, canary_tenant = ?3 WHERE name = ?1";
    const INSERT: &str = "INSERT INTO accounts (name, canary, canary_tenant) VALUES (?1, ?2, ?3)";
    for sql in [UPDATE, INSERT] {
        let done = sqlx::query(sql)
            .bind(name.as_str())
            .bind(canary.command.to_string())
            .bind(canary.tenant_id.to_string())
            .execute(&mut *conn)
            .await?;
        if done.rows_affected() > 0 {
            break;
        }
    }
    Ok(())
}

// ---- what follows for teardowns ------------------------------------------------------------------

/// Starts and stops the clocks of eligible time of an account's rows (or of every row), as their
/// holds and their accounts' stops say now.
pub(super) async fn set_clocks(
    conn: &mut SqliteConnection,
    name: &AccountName,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE teardowns SET
             eligible_used_ms = CASE WHEN eligible_used_ms > 3153600000000 THEN eligible_used_ms
                 ELSE min(3153600000000, eligible_used_ms + coalesce(
                     max(0, (strftime('%s', ?2) * 1000 + substr(?2, 21, 3))
                          - (strftime('%s', eligible_since) * 1000 + substr(eligible_since, 21, 3))),
                     0)) END,
             eligible_since = CASE WHEN eligible_since IS NULL THEN ?2 END
         WHERE state NOT IN ('deleted', 'aborted', 'failed')
           AND (?1 = '*' OR lower(account) = ?1)
           AND (eligible_since IS NULL) = (NOT held
               AND NOT (reason IS 'window' AND coalesce(next_attempt_at > ?2, 0))
               AND NOT EXISTS (
               SELECT 1 FROM accounts
               WHERE name IN ('*', lower(teardowns.account))
                 AND (halted_reason IS NOT NULL
                      OR (paused_reason IS NOT NULL
                          AND (paused_until IS NULL OR paused_until > ?2)))))",
    )
    .bind(name.as_str())
    .bind(time_text(now))
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the pauses whose time has come.
pub(super) async fn expire_pauses(
    conn: &mut SqliteConnection,
    accounts: &mut [Account],
    now: Timestamp,
) -> Result<()> {
    for account in accounts {
        if stops::expire_pause(account, now) {
            save(conn, account).await?;
            set_clocks(conn, &account.name, now).await?;
        }
    }
    Ok(())
}

/// Stores that first steps were accepted.
pub(super) async fn prove(
    conn: &mut SqliteConnection,
    name: &AccountName,
    class: Proven,
) -> Result<()> {
    let mut account = load(conn, name).await?;
    let before = account.proven;
    account.proven.write |= class.write;
    account.proven.reservation |= class.reservation;
    account.proven.delete |= class.delete;
    if account.proven != before {
        save(conn, &account).await?;
    }
    Ok(())
}

pub(super) async fn halt(
    conn: &mut SqliteConnection,
    name: &AccountName,
    guard: &str,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    let mut account = load(conn, name).await?;
    if stops::halt(&mut account, guard, text, now) {
        save(conn, &account).await?;
        set_clocks(conn, name, now).await?;
    }
    Ok(())
}

pub(super) async fn set_trouble(
    conn: &mut SqliteConnection,
    name: &AccountName,
    kind: TroubleKind,
    text: &str,
    next_probe_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let mut account = load(conn, name).await?;
    stops::set_trouble(&mut account, kind, text, next_probe_at, now);
    save(conn, &account).await
}

pub(super) async fn probe_now(
    conn: &mut SqliteConnection,
    name: &AccountName,
    now: Timestamp,
) -> Result<()> {
    let mut account = load(conn, name).await?;
    if stops::probe_now(&mut account, now) {
        save(conn, &account).await?;
    }
    Ok(())
}

pub(super) async fn clear_trouble(conn: &mut SqliteConnection, name: &AccountName) -> Result<()> {
    let mut account = load(conn, name).await?;
    if account.trouble.take().is_some() {
        save(conn, &account).await?;
    }
    Ok(())
}

pub(super) async fn throttle(
    conn: &mut SqliteConnection,
    name: &AccountName,
    until: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let mut account = load(conn, name).await?;
    stops::throttle(&mut account, until, now);
    save(conn, &account).await
}

// ---- budget (invariant 9) --------------------------------------------------------------------------

pub(super) async fn reserve(
    conn: &mut SqliteConnection,
    name: &AccountName,
    asks: &[Ask],
    budget: &Budget,
    now: Timestamp,
) -> Result<Vec<Grant>> {
    let head = sqlx::query(
        "SELECT name, (SELECT throttled_until FROM accounts WHERE name = ?1) AS throttled_until,
                (SELECT min(at) FROM sends WHERE account = ?1) AS oldest
         FROM (SELECT ?1 AS name)",
    )
    .bind(name.as_str())
    .fetch_one(&mut *conn)
    .await?;
    let head = Fields::new(&head, "sends", "name");
    let closed_until = head.time_opt("throttled_until")?;
    if let Some(until) = closed_until.filter(|until| now < *until) {
        return Ok(window::closed(asks, until));
    }
    let budget = &window::paced(budget, closed_until, now);
    let window_start = before(now, budget.window);
    if head.time_opt("oldest")?.is_some_and(|oldest| oldest < window_start) {
        sqlx::query("DELETE FROM sends WHERE account = ? AND at < ?")
            .bind(name.as_str())
            .bind(time_text(window_start))
            .execute(&mut *conn)
            .await?;
    }
    let mut used = used(conn, name).await?;
    let mut grants = window::grant(asks, &mut used, budget);
    insert_grants(conn, name, &grants, now).await?;
    // Many asks are blocked by the same thing.
    let mut known = BTreeMap::new();
    for (ask, grant) in asks.iter().zip(&mut grants) {
        for (scope, limit) in window::blocked_by(ask, grant, &used, budget) {
            let opens = match known.get(&(scope, limit)) {
                Some(opens) => *opens,
                None => {
                    let blocking = blocking(conn, name, scope, limit).await?;
                    window::opens_at(blocking, budget.window, now)
                }
            };
            known.insert((scope, limit), opens);
            window::put_off(grant, scope, opens);
        }
    }
    Ok(grants)
}

async fn used(conn: &mut SqliteConnection, name: &AccountName) -> Result<window::Used> {
    let found = sqlx::query(
        "SELECT resource, nullif(customer, '') AS customer, sum(reads + writes) AS sends
         FROM sends WHERE account = ? GROUP BY resource, customer",
    )
    .bind(name.as_str())
    .fetch_all(conn)
    .await?;
    let mut used = window::Used::default();
    for row in &found {
        let f = Fields::new(row, "sends", "resource");
        let customer = f.parse_opt("customer", |text| text.parse().ok())?;
        let bucket = Bucket { resource: f.parse("resource", resource)?, customer };
        used.add(bucket, f.number("sends")?);
    }
    Ok(used)
}

/// A customer as the table has it.
fn customer_text(bucket: Bucket) -> String {
    bucket.customer.map(|customer| customer.to_string()).unwrap_or_default()
}

pub(super) fn resource(name: &str) -> Option<Resource> {
    Resource::ALL.into_iter().find(|resource| resource.as_str() == name)
}

async fn insert_grants(
    conn: &mut SqliteConnection,
    name: &AccountName,
    grants: &[Grant],
    now: Timestamp,
) -> Result<()> {
    let granted: Vec<_> = grants
        .iter()
        .filter(|grant| grant.reads + grant.writes > 0)
        .map(|grant| {
            let bucket = grant.bucket;
            json!([bucket.resource, customer_text(bucket), grant.reads, grant.writes])
        })
        .collect();
    if granted.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO sends (account, resource, at, customer, reads, writes)
         SELECT ?1, value ->> 0, ?2, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?3) WHERE 1
         ON CONFLICT DO UPDATE SET reads = reads + excluded.reads, writes = writes + excluded.writes",
    )
    .bind(name.as_str())
    .bind(time_text(now))
    .bind(json!(granted).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// The oldest reservation that blocks: once it has left the window, less than `limit` is used.
async fn blocking(
    conn: &mut SqliteConnection,
    name: &AccountName,
    scope: Bucket,
    limit: u32,
) -> Result<Option<Timestamp>> {
    let row = sqlx::query(
        "SELECT ?1 AS account, max(at) AS blocking FROM (
             SELECT at, sum(reads + writes) OVER (ORDER BY at DESC) AS newer
             FROM sends WHERE account = ?1 AND resource = ?2 AND ?3 IN ('', customer))
         WHERE newer >= ?4",
    )
    .bind(name.as_str())
    .bind(scope.resource.as_str())
    .bind(customer_text(scope))
    .bind(limit)
    .fetch_one(conn)
    .await?;
    Fields::new(&row, "sends", "account").time_opt("blocking")
}
