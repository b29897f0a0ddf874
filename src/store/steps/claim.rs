//! Leases (invariant 10): claim, renew, give back, take over.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{accounts, forged, queue};
use crate::core::account::Account;
use crate::core::gates::Verdict;
use crate::core::ids::{AccountName, Fence, TeardownId};
use crate::core::reason::Reason;
use crate::core::teardown::{Lease, Teardown};
use crate::store::model::time::{after, millis};
use crate::store::rules;
use crate::store::rules::stops;
use crate::store::tables::sqlite::rows::{self, Fields, time_text};
use crate::store::{ClaimRequest, Claimed, Result, StoreError};

pub(super) async fn take_over(conn: &mut SqliteConnection, now: Timestamp) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE teardowns SET lease_owner = NULL, lease_until = NULL,
             fence = fence + (fence < 1000000000000000), next_attempt_at = NULL, updated_at = ?
         WHERE lease_owner IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')",
    )
    .bind(time_text(now))
    .execute(&mut *conn)
    .await?;
    // The process that made these calls is gone.
    sqlx::query("UPDATE commands SET calling = 0 WHERE calling = 1").execute(conn).await?;
    Ok(done.rows_affected())
}

pub(super) async fn claim(
    conn: &mut SqliteConnection,
    request: &ClaimRequest,
    now: Timestamp,
) -> Result<Vec<Claimed>> {
    let mut stored = accounts::load_all_halting_damaged(conn, now).await?;
    accounts::expire_pauses(conn, &mut stored, now).await?;
    let row_of = |name: &AccountName| {
        let row = stored.iter().find(|account| account.name == *name);
        row.cloned().unwrap_or_else(|| Account::fresh(name.clone()))
    };
    let every = row_of(&AccountName::every());
    let until = millis(after(now, request.ttl));
    let mut claimed = Vec::new();
    for (name, wanted) in &request.slots {
        let account = row_of(name);
        let leased = match account.trouble {
            Some(_) => leased(conn, name, now).await?,
            None => 0,
        };
        let slots = stops::allowance(&account, &every, leased, *wanted, now);
        if slots == 0 {
            continue;
        }
        for mut row in due(conn, name, slots, &request.working, now).await? {
            rules::lease(&mut row, Lease { owner: request.owner.clone(), until }, now);
            claimed.push(Claimed { fence: row.fence, teardown: row });
        }
    }
    save_leases(conn, &claimed).await?;
    Ok(claimed)
}

/// How many rows of the account are out under a lease that has not lapsed.
async fn leased(conn: &mut SqliteConnection, name: &AccountName, now: Timestamp) -> Result<usize> {
    let row = sqlx::query(
        "SELECT count(*) AS leased, ?1 AS name FROM teardowns
         WHERE lower(account) = ?1 AND lease_owner IS NOT NULL AND lease_until > ?2",
    )
    .bind(name.as_str())
    .bind(time_text(now))
    .fetch_one(conn)
    .await?;
    Fields::new(&row, "teardowns", "name").number("leased")
}

/// The rows to claim, in order. A damaged one is set aside and another one looked for.
async fn due(
    conn: &mut SqliteConnection,
    name: &AccountName,
    slots: usize,
    working: &[TeardownId],
    now: Timestamp,
) -> Result<Vec<Teardown>> {
    loop {
        let found = due_rows(conn, name, slots, working, now).await?;
        let mut sound = Vec::with_capacity(found.len());
        let mut damaged = false;
        for row in &found {
            match rows::teardown(row) {
                Ok(row) => sound.push(row),
                Err(error) => {
                    let id = TeardownId(row.try_get("id")?);
                    tracing::error!(teardown = %id, %error, "a damaged row is held");
                    set_aside(conn, id, Reason::DamagedRow, &error.to_string(), now).await?;
                    damaged = true;
                }
            }
        }
        if !damaged {
            return Ok(sound);
        }
    }
}

/// The rows of an account that are due, in the order of claims: by priority, then by what becomes
/// impossible to cancel soonest, then by how long they have been due. Parameters: account, now, how many,
/// and which are left out. A bare parameter as the limit would have SQLite plan the statement anew each
/// time it runs.
pub(super) const DUE: &str = "
    SELECT * FROM teardowns INDEXED BY teardowns_claim
    WHERE lower(account) = ?1 AND state NOT IN ('deleted', 'aborted', 'failed')
      AND NOT held AND (lease_until IS NULL OR lease_until <= ?2)
      AND (next_attempt_at IS NULL OR next_attempt_at <= ?2)
      AND (not_before IS NULL OR not_before <= ?2)
      AND id NOT IN (SELECT value FROM json_each(?4))
    ORDER BY priority DESC, coalesce(uncancellable_at, '9999'),
        max(coalesce(next_attempt_at, updated_at), coalesce(not_before, '')), id
    LIMIT ?3 + 0";

async fn due_rows(
    conn: &mut SqliteConnection,
    name: &AccountName,
    slots: usize,
    working: &[TeardownId],
    now: Timestamp,
) -> Result<Vec<SqliteRow>> {
    let found = sqlx::query(DUE)
        .bind(name.as_str())
        .bind(time_text(now))
        .bind(i64::try_from(slots).unwrap_or(i64::MAX))
        .bind(json!(working).to_string())
        .fetch_all(conn)
        .await?;
    Ok(found)
}

/// Holds a row that cannot be read, or whose records cannot, until a person has looked. Nothing of it
/// need be understood for that.
pub(super) async fn set_aside(
    conn: &mut SqliteConnection,
    id: TeardownId,
    guard: Reason,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    let held = sqlx::query(
        "UPDATE teardowns SET hold_code = ?1, hold_text = ?2, hold_by = ?1, hold_since = ?3,
             lease_owner = NULL, lease_until = NULL, eligible_since = NULL, updated_at = ?3
         WHERE id = ?4 AND state NOT IN ('deleted', 'aborted', 'failed')",
    )
    .bind(guard.as_str())
    .bind(text)
    .bind(time_text(now))
    .bind(id.0)
    .execute(&mut *conn)
    .await?;
    if held.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, reason,
             text, actor)
         SELECT id, lower(account), lower(tenant_id), ?1, state, state, ?2, ?3, ?2
         FROM teardowns WHERE id = ?4",
    )
    .bind(time_text(now))
    .bind(guard.as_str())
    .bind(text)
    .bind(id.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets a row aside whose pass has met damage, if its lease is still the pass's own. What is forged among
/// its commands is settled with it.
pub(super) async fn set_aside_leased(
    conn: &mut SqliteConnection,
    id: TeardownId,
    fence: Fence,
    text: &str,
    now: Timestamp,
) -> Result<Verdict> {
    let found = sqlx::query(
        "SELECT * FROM teardowns WHERE id = ? AND fence = ? AND lease_owner IS NOT NULL",
    )
    .bind(id.0)
    .bind(fence.0)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Err(StoreError::LeaseLost(id)) };
    let damage = || Verdict::Hold { guard: Reason::DamagedRow, text: text.to_owned() };
    let verdict = forged::set_aside(conn, &rows::shown(&found)?, now).await?;
    let verdict = verdict.unwrap_or_else(damage);
    if let Verdict::Hold { guard, text } = &verdict {
        set_aside(conn, id, *guard, text, now).await?;
    }
    Ok(verdict)
}

async fn save_leases(conn: &mut SqliteConnection, claimed: &[Claimed]) -> Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    let leases: Vec<_> = claimed
        .iter()
        .map(|Claimed { teardown: row, fence }| {
            json!({
                "id": row.id,
                "fence": fence,
                "owner": row.lease.as_ref().map(|lease| &lease.owner),
                "until": row.lease.as_ref().map(|lease| time_text(lease.until)),
                "eligible_since": row.eligible_since.map(time_text),
            })
        })
        .collect();
    sqlx::query(
        "UPDATE teardowns SET fence = new.value ->> 'fence', lease_owner = new.value ->> 'owner',
             lease_until = new.value ->> 'until', eligible_since = new.value ->> 'eligible_since'
         FROM json_each(?) AS new WHERE teardowns.id = new.value ->> 'id'",
    )
    .bind(json!(leases).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn next_due(
    conn: &mut SqliteConnection,
    names: &[AccountName],
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let stored = accounts::load_all(conn).await?;
    let row_of = |name: &AccountName| {
        let row = stored.iter().find(|account| account.name == *name);
        row.cloned().unwrap_or_else(|| Account::fresh(name.clone()))
    };
    let every = row_of(&AccountName::every());
    let earliest = sqlx::query(
        "SELECT lower(account) AS name,
             min(coalesce(nullif(max(coalesce(next_attempt_at, ''), coalesce(not_before, ''),
                                     coalesce(lease_until, '')), ''), ?2)) AS due,
             max(CASE WHEN lease_until > ?2 THEN lease_until END) AS leased_until
         FROM teardowns
         WHERE lower(account) IN (SELECT value FROM json_each(?1))
           AND state NOT IN ('deleted', 'aborted', 'failed') AND NOT held
         GROUP BY lower(account)",
    )
    .bind(json!(names).to_string())
    .bind(time_text(now))
    .fetch_all(&mut *conn)
    .await?;
    let mut due = None;
    for row in &earliest {
        let f = Fields::new(row, "teardowns", "name");
        let account = row_of(&AccountName::new(f.get::<&str>("name")?));
        let (at, leased_until) = match (f.time("due"), f.time_opt("leased_until")) {
            (Ok(at), Ok(leased_until)) => (at, leased_until),
            (Err(error), _) | (_, Err(error)) => {
                // The regular tick finds the account's sound rows.
                tracing::error!(%error, "a damaged row hides when others are due");
                continue;
            }
        };
        if let Some(opens) = stops::next_opens_at(&account, &every, leased_until) {
            let at = at.max(opens);
            due = Some(due.map_or(at, |earlier: Timestamp| earlier.min(at)));
        }
    }
    Ok(due)
}

pub(super) async fn renew(
    conn: &mut SqliteConnection,
    owner: &str,
    leases: &[(TeardownId, Fence)],
    ttl: Duration,
    now: Timestamp,
) -> Result<Vec<TeardownId>> {
    let until = time_text(millis(after(now, ttl)));
    let kept = match renew_together(conn, owner, leases, &until).await {
        Err(StoreError::Refused(_)) => {
            // The table refuses one of them, which is no reason to lose the others.
            let mut kept = BTreeSet::new();
            for lease in leases {
                match renew_together(conn, owner, std::slice::from_ref(lease), &until).await {
                    Ok(renewed) => kept.extend(renewed),
                    Err(StoreError::Refused(why)) => {
                        tracing::error!(teardown = %lease.0, why, "a lease cannot be renewed");
                    }
                    Err(error) => return Err(error),
                }
            }
            kept
        }
        kept => kept?,
    };
    Ok(leases.iter().map(|(id, _)| *id).filter(|id| !kept.contains(id)).collect())
}

/// Renews these leases, and returns the rows that have theirs. A row that has ended is passed over.
async fn renew_together(
    conn: &mut SqliteConnection,
    owner: &str,
    leases: &[(TeardownId, Fence)],
    until: &str,
) -> Result<BTreeSet<TeardownId>> {
    let kept = sqlx::query(
        "UPDATE teardowns SET lease_until = ?3 FROM json_each(?1) AS held
         WHERE teardowns.id = held.value ->> 0 AND fence = held.value ->> 1 AND lease_owner = ?2
           AND state NOT IN ('deleted', 'aborted', 'failed')
         RETURNING teardowns.id",
    )
    .bind(json!(leases).to_string())
    .bind(owner)
    .bind(until)
    .fetch_all(conn)
    .await?;
    kept.iter().map(|row| Ok(TeardownId(row.try_get("id")?))).collect()
}

pub(super) async fn release(
    conn: &mut SqliteConnection,
    id: TeardownId,
    fence: Fence,
    now: Timestamp,
) -> Result<()> {
    let row = queue::teardown(conn, id).await?;
    rules::check_lease(&row, fence)?;
    sqlx::query(
        "UPDATE teardowns SET lease_owner = NULL, lease_until = NULL, next_attempt_at = NULL,
             updated_at = ? WHERE id = ?",
    )
    .bind(time_text(now))
    .bind(id.0)
    .execute(conn)
    .await?;
    Ok(())
}
