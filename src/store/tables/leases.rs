//! Leases (invariant 10).

use crate::store::sql::{self, Row, Sql};
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::rows;
use super::rows::{Fields, time_text};
use crate::core::ids::{AccountName, Fence, TeardownId, TenantId};
use crate::core::teardown::Teardown;
use crate::store::{Claimed, Result, StoreError, Tx};

/// Takes leases away, and makes their rows due at once: those of a replica, where one is named, and those on
/// the rows of an account, where one is named.
pub(in crate::store) async fn take_away(
    tx: &mut Tx,
    replica: Option<&str>,
    account: Option<&AccountName>,
    now: Timestamp,
) -> Result<u64> {
    sql::query(concat!(
        "UPDATE teardowns SET lease_owner = NULL, lease_until = NULL,
             fence = fence + CASE WHEN fence < 1000000000000000 THEN 1 ELSE 0 END,
              next_attempt_at = NULL, updated_at = $1
         WHERE lease_owner IS NOT NULL AND ",
        owned_by!("$2"),
        " AND ($3 IS NULL OR lower(account) = $3) AND ",
        open!()
    ))
    .bind(now)
    .bind(replica)
    .bind(account.map(AccountName::as_str))
    .execute(tx)
    .await
}

/// How many rows of the account are out under a lease that has not lapsed.
pub(in crate::store) async fn count(
    tx: &mut Tx,
    name: &AccountName,
    now: Timestamp,
) -> Result<usize> {
    let row = sql::query(
        "SELECT count(*) AS leased, $1 AS name FROM teardowns
         WHERE lower(account) = $1 AND lease_owner IS NOT NULL AND lease_until > $2",
    )
    .bind(name.as_str())
    .bind(now)
    .fetch_one(tx)
    .await?;
    Fields::new(&row, "teardowns", "name").number("leased")
}

/// Whether somebody works on a tenant.
pub(in crate::store) async fn is_leased(
    tx: &mut Tx,
    name: &AccountName,
    tenant: TenantId,
    now: Timestamp,
) -> Result<bool> {
    let leased = sql::query(concat!(
        "SELECT id FROM teardowns WHERE lower(account) = $1 AND lower(tenant_id) = $2 AND ",
        open!(),
        " AND lease_owner IS NOT NULL AND lease_until > $3"
    ));
    let leased = leased.bind(name.as_str()).bind(tenant.to_string()).bind(now);
    Ok(leased.fetch_optional(tx).await?.is_some())
}

/// The rows of an account that are due, in the order of claims: by priority, then by what becomes
/// impossible to cancel soonest, then by how long they have been due. Parameters: account, now, how many,
/// and which are left out. A bare parameter as the limit would have SQLite plan the statement anew each
/// time it runs.
pub(in crate::store) const DUE: Sql = Sql {
    sqlite: concat!(
        "
    SELECT * FROM teardowns INDEXED BY teardowns_claim
    WHERE lower(account) = $1 AND ",
        open!(),
        "
      AND NOT held AND (lease_until IS NULL OR lease_until <= $2)
      AND (next_attempt_at IS NULL OR next_attempt_at <= $2)
      AND (not_before IS NULL OR not_before <= $2)
      AND id NOT IN (SELECT value FROM json_each($4))
    ORDER BY priority DESC, coalesce(uncancellable_at, '9999'),
        ",
        due!(sqlite),
        ", id
    LIMIT $3 + 0"
    ),
    postgres: concat!(
        "
    SELECT * FROM teardowns
    WHERE lower(account) = $1 AND ",
        open!(),
        "
      AND NOT held AND (lease_until IS NULL OR lease_until <= $2)
      AND (next_attempt_at IS NULL OR next_attempt_at <= $2)
      AND (not_before IS NULL OR not_before <= $2)
      AND id NOT IN (SELECT value::bigint FROM jsonb_array_elements_text($4::jsonb))
    ORDER BY priority DESC, uncancellable_at, ",
        due!(postgres),
        ", id
    LIMIT $3
    FOR UPDATE SKIP LOCKED"
    ),
};

/// A row that is due, or which one is damaged and how.
pub(in crate::store) type Due = std::result::Result<Teardown, (TeardownId, StoreError)>;

pub(in crate::store) async fn due(
    tx: &mut Tx,
    name: &AccountName,
    slots: usize,
    working: &[TeardownId],
    now: Timestamp,
) -> Result<Vec<Due>> {
    let found = sql::query(DUE)
        .bind(name.as_str())
        .bind(now)
        .bind(i64::try_from(slots).unwrap_or(i64::MAX))
        .bind(json!(working))
        .fetch_all(tx)
        .await?;
    let read = |row: &Row| match rows::teardown(row) {
        Ok(row) => Ok(Ok(row)),
        Err(damage) => Ok(Err((TeardownId(row.try_get("id")?), damage))),
    };
    found.iter().map(read).collect()
}

pub(in crate::store) async fn save(tx: &mut Tx, claimed: &[Claimed]) -> Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    let leases: Vec<_> = claimed
        .iter()
        .map(|Claimed { teardown: row, fence, .. }| {
            json!({
                "id": row.id,
                "fence": fence,
                "owner": row.lease.as_ref().map(|lease| &lease.owner),
                "until": row.lease.as_ref().map(|lease| time_text(lease.until)),
                "eligible_since": row.eligible_since.map(time_text),
            })
        })
        .collect();
    sql::query(Sql {
        sqlite: "UPDATE teardowns SET fence = new.value ->> 'fence', lease_owner = new.value ->> 'owner',
             lease_until = new.value ->> 'until', eligible_since = new.value ->> 'eligible_since'
         FROM json_each($1) AS new WHERE teardowns.id = new.value ->> 'id'",
        postgres: "UPDATE teardowns SET fence = new.fence, lease_owner = new.owner, lease_until = new.until,
             eligible_since = new.eligible_since
         FROM jsonb_to_recordset($1::jsonb) AS new (id bigint, fence bigint, owner text,
             until timestamptz, eligible_since timestamptz)
         WHERE teardowns.id = new.id",
    })
    .bind(json!(leases))
    .execute(tx)
    .await?;
    Ok(())
}

/// Renews these leases, and returns the rows that have theirs. A row that has ended is passed over.
pub(in crate::store) async fn renew(
    tx: &mut Tx,
    owner: &str,
    leases: &[(TeardownId, Fence)],
    until: Timestamp,
) -> Result<BTreeSet<TeardownId>> {
    let kept = sql::query(Sql {
        sqlite: concat!(
            "UPDATE teardowns SET lease_until = $3 FROM json_each($1) AS lease
             WHERE teardowns.id = lease.value ->> 0 AND fence = lease.value ->> 1
               AND lease_owner = $2 AND ",
            open!(),
            " RETURNING teardowns.id"
        ),
        postgres: concat!(
            "UPDATE teardowns SET lease_until = $3 FROM jsonb_array_elements($1::jsonb) AS lease (value)
             WHERE teardowns.id = (lease.value ->> 0)::bigint
               AND fence = (lease.value ->> 1)::bigint AND lease_owner = $2 AND ",
            open!(),
            " RETURNING teardowns.id"
        ),
    })
    .bind(json!(leases))
    .bind(owner)
    .bind(until)
    .fetch_all(tx)
    .await?;
    kept.iter().map(|row| Ok(TeardownId(row.try_get("id")?))).collect()
}

/// Of each of these accounts with rows that wait for a time: when the first is due, and when the last lease
/// lapses.
pub(in crate::store) async fn earliest(
    tx: &mut Tx,
    names: &[AccountName],
    now: Timestamp,
) -> Result<Vec<(AccountName, Timestamp, Option<Timestamp>)>> {
    let earliest = sql::query(Sql {
        sqlite: concat!(
            "SELECT lower(account) AS name,
             min(coalesce(nullif(max(coalesce(next_attempt_at, ''), coalesce(not_before, ''),
                                     coalesce(lease_until, '')), ''), $2)) AS due,
             max(CASE WHEN lease_until > $2 THEN lease_until END) AS leased_until
         FROM teardowns
         WHERE lower(account) IN (SELECT value FROM json_each($1))
           AND ",
            open!(),
            " AND NOT held
         GROUP BY lower(account)"
        ),
        postgres: concat!(
            "SELECT lower(account) AS name,
             min(COALESCE(GREATEST(next_attempt_at, not_before, lease_until), $2)) AS due,
             max(CASE WHEN lease_until > $2 THEN lease_until END) AS leased_until
         FROM teardowns
         WHERE lower(account) IN (SELECT jsonb_array_elements_text($1::jsonb)) AND ",
            open!(),
            " AND NOT held GROUP BY lower(account)"
        ),
    })
    .bind(json!(names))
    .bind(now)
    .fetch_all(tx)
    .await?;
    let read = |row: &Row| {
        let f = Fields::new(row, "teardowns", "name");
        let name = AccountName::new(f.get::<&str>("name")?);
        Ok((name, f.time("due")?, f.time_opt("leased_until")?))
    };
    // The regular tick finds the sound rows of an account whose earliest row is damaged.
    Ok(rows::sound(&earliest, read))
}

/// Gives a lease back; the row is due again at once.
pub(in crate::store) async fn give_back(tx: &mut Tx, id: TeardownId, now: Timestamp) -> Result<()> {
    sql::query(
        "UPDATE teardowns SET lease_owner = NULL, lease_until = NULL, next_attempt_at = NULL,
             updated_at = $1 WHERE id = $2",
    )
    .bind(now)
    .bind(id.0)
    .execute(tx)
    .await?;
    Ok(())
}
