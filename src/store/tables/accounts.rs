//! The rows of accounts, and what follows from them for the clocks of their teardowns.

use crate::store::sql::{self, Sql};
use jiff::Timestamp;

use super::rows;
use crate::core::account::{Account, Canary};
use crate::core::ids::AccountName;
use crate::store::{Result, Tx};

pub(in crate::store) async fn load(tx: &mut Tx, name: &AccountName) -> Result<Account> {
    let row = sql::query("SELECT * FROM accounts WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(tx)
        .await?;
    let Some(row) = row else { return Ok(Account::fresh(name.clone())) };
    Ok(rows::counted_account(&row)?.0)
}

/// Every account as it counts, and whether its row is damaged.
pub(in crate::store) async fn counted(tx: &mut Tx) -> Result<Vec<(Account, bool)>> {
    let found = sql::query("SELECT * FROM accounts ORDER BY name").fetch_all(tx).await?;
    Ok(rows::sound(&found, rows::counted_account))
}

pub(in crate::store) async fn load_all(tx: &mut Tx) -> Result<Vec<Account>> {
    Ok(counted(tx).await?.into_iter().map(|(account, _)| account).collect())
}

/// No command of the account goes out alone any more.
pub(in crate::store) async fn clear_canary(tx: &mut Tx, name: &AccountName) -> Result<()> {
    sql::query("UPDATE accounts SET canary = NULL, canary_tenant = NULL WHERE name = $1")
        .bind(name.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// The row of an account, and the row of everything, in one statement.
pub(in crate::store) async fn load_with_every(
    tx: &mut Tx,
    name: &AccountName,
) -> Result<(Account, Account)> {
    let found = sql::query("SELECT * FROM accounts WHERE name IN ($1, '*')")
        .bind(name.as_str())
        .fetch_all(tx)
        .await?;
    let mut pair = (Account::fresh(name.clone()), Account::fresh(AccountName::every()));
    for row in &found {
        let (row, _) = rows::counted_account(row)?;
        if row.name == AccountName::every() { pair.1 = row } else { pair.0 = row }
    }
    Ok(pair)
}

pub(in crate::store) async fn save(tx: &mut Tx, account: &Account) -> Result<()> {
    let (paused, halted) = (account.paused.as_ref(), account.halted.as_ref());
    let trouble = account.trouble.as_ref();
    let armed = account.armed.as_ref();
    sql::query(Sql {
        sqlite: "REPLACE INTO accounts (name, paused_reason, paused_by, paused_since, paused_until,
             halted_reason, halted_by, halted_since, throttled_until, throttled_since, trouble_kind,
             trouble_text, trouble_since, trouble_next_probe_at, proven_write, proven_reservation,
             proven_delete, armed_by, armed_since, armed_partner_tenant, armed_cloud,
             armed_client_id, canary, canary_tenant, armings)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22, (SELECT canary FROM accounts WHERE name = $1),
             (SELECT canary_tenant FROM accounts WHERE name = $1),
             coalesce((SELECT armings + (armed_by IS NOT $18 OR armed_since IS NOT $19
                           OR armed_partner_tenant IS NOT $20 OR armed_cloud IS NOT $21
                           OR armed_client_id IS NOT $22)
                       FROM accounts WHERE name = $1), $18 IS NOT NULL))",
        postgres: "INSERT INTO accounts AS a (name, paused_reason, paused_by, paused_since, paused_until,
             halted_reason, halted_by, halted_since, throttled_until, throttled_since, trouble_kind,
             trouble_text, trouble_since, trouble_next_probe_at, proven_write, proven_reservation,
             proven_delete, armed_by, armed_since, armed_partner_tenant, armed_cloud,
             armed_client_id, armings)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22, ($18 IS NOT NULL)::int)
         ON CONFLICT (name) DO UPDATE SET
             paused_reason = excluded.paused_reason, paused_by = excluded.paused_by,
             paused_since = excluded.paused_since, paused_until = excluded.paused_until,
             halted_reason = excluded.halted_reason, halted_by = excluded.halted_by,
             halted_since = excluded.halted_since, throttled_until = excluded.throttled_until,
             throttled_since = excluded.throttled_since, trouble_kind = excluded.trouble_kind,
             trouble_text = excluded.trouble_text, trouble_since = excluded.trouble_since,
             trouble_next_probe_at = excluded.trouble_next_probe_at,
             proven_write = excluded.proven_write, proven_reservation = excluded.proven_reservation,
             proven_delete = excluded.proven_delete, armed_by = excluded.armed_by,
             armed_since = excluded.armed_since, armed_partner_tenant = excluded.armed_partner_tenant,
             armed_cloud = excluded.armed_cloud, armed_client_id = excluded.armed_client_id,
             armings = a.armings + ((a.armed_by, a.armed_since, a.armed_partner_tenant, a.armed_cloud,
                     a.armed_client_id)
                 IS DISTINCT FROM (excluded.armed_by, excluded.armed_since,
                     excluded.armed_partner_tenant, excluded.armed_cloud,
                     excluded.armed_client_id))::int",
    })
    .bind(account.name.as_str())
    .bind(paused.map(|stop| &stop.reason))
    .bind(paused.map(|stop| &stop.actor))
    .bind(paused.map(|stop| stop.since))
    .bind(paused.and_then(|stop| stop.until))
    .bind(halted.map(|stop| &stop.reason))
    .bind(halted.map(|stop| &stop.actor))
    .bind(halted.map(|stop| stop.since))
    .bind(account.throttled_until)
    .bind(account.throttled_since)
    .bind(trouble.map(|trouble| trouble.kind.as_str()))
    .bind(trouble.map(|trouble| &trouble.text))
    .bind(trouble.map(|trouble| trouble.since))
    .bind(trouble.map(|trouble| trouble.next_probe_at))
    .bind(account.proven.write)
    .bind(account.proven.reservation)
    .bind(account.proven.delete)
    .bind(armed.map(|armed| &armed.actor))
    .bind(armed.map(|armed| armed.since))
    .bind(armed.map(|armed| armed.identity.partner_tenant.to_string()))
    .bind(armed.map(|armed| &armed.identity.cloud))
    .bind(armed.map(|armed| armed.identity.client_id.to_string()))
    .execute(tx)
    .await?;
    Ok(())
}

/// Stores which command goes out alone from now on. It ends by triggers: with its call, and with the
/// lease of its teardown.
pub(in crate::store) async fn set_canary(
    tx: &mut Tx,
    name: &AccountName,
    canary: Canary,
) -> Result<()> {
    const UPDATE: &str = "UPDATE accounts SET canary = $2, canary_tenant = $3 WHERE name = $1";
    const INSERT: &str = "INSERT INTO accounts (name, canary, canary_tenant) VALUES ($1, $2, $3)";
    for sql in [UPDATE, INSERT] {
        let done = sql::query(sql)
            .bind(name.as_str())
            .bind(canary.command.to_string())
            .bind(canary.tenant_id.to_string())
            .execute(&mut *tx)
            .await?;
        if done > 0 {
            break;
        }
    }
    Ok(())
}

/// Starts and stops the clocks of eligible time of an account's rows (or of every row), as their
/// holds and their accounts' stops say now.
pub(in crate::store) async fn set_clocks(
    tx: &mut Tx,
    name: &AccountName,
    now: Timestamp,
) -> Result<()> {
    sql::query(Sql {
        sqlite: concat!("UPDATE teardowns SET
             eligible_used_ms = CASE WHEN eligible_used_ms > 3153600000000 THEN eligible_used_ms
                 ELSE min(3153600000000, eligible_used_ms + coalesce(
                     max(0, (strftime('%s', $2) * 1000 + substr($2, 21, 3))
                          - (strftime('%s', eligible_since) * 1000 + substr(eligible_since, 21, 3))),
                     0)) END,
             eligible_since = CASE WHEN eligible_since IS NULL THEN $2 END
         WHERE ", open!(), "
           AND ($1 = '*' OR lower(account) = $1)
           AND (eligible_since IS NULL) = (NOT held
               AND NOT (reason IS 'window' AND coalesce(next_attempt_at > $2, 0))
               AND NOT EXISTS (
               SELECT 1 FROM accounts
               WHERE name IN ('*', lower(teardowns.account))
                 AND (halted_reason IS NOT NULL
                      OR (paused_reason IS NOT NULL
                          AND (paused_until IS NULL OR paused_until > $2)))))"),
        postgres: concat!("UPDATE teardowns SET
             eligible_used_ms = CASE WHEN eligible_used_ms > 3153600000000 THEN eligible_used_ms
                 ELSE LEAST(3153600000000, eligible_used_ms + COALESCE(
                     GREATEST(0, (extract(epoch FROM $2 - eligible_since) * 1000)::bigint), 0)) END,
             eligible_since = CASE WHEN eligible_since IS NULL THEN $2 END
         WHERE ", open!(), "
           AND ($1 = '*' OR lower(account) = $1)
           AND (eligible_since IS NULL) = (NOT held
               AND NOT (reason IS NOT DISTINCT FROM 'window'
                        AND COALESCE(next_attempt_at > $2, false))
               AND NOT EXISTS (
               SELECT 1 FROM accounts
               WHERE name IN ('*', lower(teardowns.account))
                 AND (halted_reason IS NOT NULL
                      OR (paused_reason IS NOT NULL
                          AND (paused_until IS NULL OR paused_until > $2)))))"),
    })
    .bind(name.as_str())
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
