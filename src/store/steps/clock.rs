//! The database's own clock, and what moves when the wall clock is stepped.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;

use super::accounts;
use crate::core::database_time::{self, Anchor, Reading, Step, Timekeeping};
use crate::core::ids::AccountName;
use crate::store::Result;
use crate::store::tables::sqlite::rows::{Fields, time_text};

/// The clock as it is stored; `None` in a database that was never worked on.
pub(super) async fn load(conn: &mut SqliteConnection) -> Result<Option<Timekeeping>> {
    let row = sqlx::query("SELECT * FROM clock").fetch_optional(conn).await?;
    row.map(|row| {
        let f = Fields::new(&row, "clock", "id");
        let millis = |column| f.get(column).map(SignedDuration::from_millis);
        let last = match f.time_opt("stepped_at")? {
            Some(at) => Some(Step { at, by: millis("step_ms")? }),
            None => None,
        };
        Ok(Timekeeping {
            anchor: Anchor {
                boot: f.get("boot")?,
                uptime: Duration::from_nanos(f.number("uptime_ns")?),
                at: f.time("at")?,
                ahead: millis("ahead_ms")?,
            },
            steps: f.number("steps")?,
            last,
        })
    })
    .transpose()
}

/// How far the wall clock is ahead of database time.
pub(super) async fn ahead(conn: &mut SqliteConnection) -> Result<SignedDuration> {
    let millis: Option<i64> =
        sqlx::query_scalar("SELECT ahead_ms FROM clock").fetch_optional(conn).await?;
    Ok(SignedDuration::from_millis(millis.unwrap_or_default()))
}

/// Continues the clock, follows a step of the wall clock and moves what is meant by that one.
pub(super) async fn keep(
    conn: &mut SqliteConnection,
    reading: &Reading,
) -> Result<(Timekeeping, Option<Step>)> {
    let known = load(conn).await?;
    let stored = known.as_ref().map(|known| &known.anchor);
    // Only a crash of the machine loses the end of what is stored.
    let latest = match stored {
        Some(stored) if stored.boot == reading.boot => None,
        _ => latest(conn).await?,
    };
    let (anchor, by) = database_time::follow(stored, latest, reading);
    let step = by.map(|by| Step { at: anchor.at, by });
    save(conn, &anchor, step).await?;
    if let Some(step) = step {
        shift(conn, step).await?;
    }
    let steps = known.as_ref().map_or(0, |known| known.steps) + u64::from(step.is_some());
    let last = step.or(known.and_then(|known| known.last));
    Ok((Timekeeping { anchor, steps, last }, step))
}

/// The latest time in the database that the program stored as its present.
async fn latest(conn: &mut SqliteConnection) -> Result<Option<Timestamp>> {
    let row = sqlx::query(
        "SELECT 'any' AS name, max(at) AS latest FROM (
             SELECT max(at) AS at FROM sends
             UNION ALL SELECT max(created_at) FROM commands
             UNION ALL SELECT max(last_sent_at) FROM commands
             UNION ALL SELECT max(settled_at) FROM commands
             UNION ALL SELECT ticked_at FROM daemon)",
    )
    .fetch_one(conn)
    .await?;
    Fields::new(&row, "sends", "name").time_opt("latest")
}

async fn save(conn: &mut SqliteConnection, anchor: &Anchor, step: Option<Step>) -> Result<()> {
    sqlx::query(
        "INSERT INTO clock (id, boot, uptime_ns, at, ahead_ms)
         SELECT 1, '', 0, '0000-01-01T00:00:00.000Z', 0 WHERE NOT EXISTS (SELECT 1 FROM clock)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE clock SET boot = ?1, uptime_ns = ?2, at = ?3, ahead_ms = ?4,
             steps = steps + (?5 IS NOT NULL), stepped_at = coalesce(?5, stepped_at),
             step_ms = coalesce(?6, step_ms)",
    )
    .bind(&anchor.boot)
    .bind(i64::try_from(anchor.uptime.as_nanos()).unwrap_or(i64::MAX))
    .bind(time_text(anchor.at))
    .bind(i64::try_from(anchor.ahead.as_millis()).unwrap_or_default())
    .bind(step.map(|step| time_text(step.at)))
    .bind(step.map(|step| i64::try_from(step.by.as_millis()).unwrap_or_default()))
    .execute(conn)
    .await?;
    Ok(())
}

/// A length as SQLite adds it to a time.
fn seconds(length: SignedDuration) -> String {
    format!("{:+.3} seconds", length.as_secs_f64())
}

/// Moves what people mean by the clock on the wall.
async fn shift(conn: &mut SqliteConnection, step: Step) -> Result<()> {
    let by = seconds(-step.by);
    sqlx::query(
        "UPDATE teardowns SET
             not_before = coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', not_before, ?), not_before)
         WHERE not_before IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')",
    )
    .bind(&by)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE accounts SET
             paused_until = coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', paused_until, ?), paused_until)
         WHERE paused_until IS NOT NULL",
    )
    .bind(&by)
    .execute(conn)
    .await?;
    Ok(())
}

// ---- what is typed in ----------------------------------------------------------------------------

/// Gives rows that a shell has queued times of the database: SQLite gave them the wall clock's, which may
/// have been stepped since. A row that is new and some seconds old keeps the time of its making.
pub(super) async fn adopt(conn: &mut SqliteConnection, now: Timestamp) -> Result<()> {
    let by = seconds(-ahead(conn).await?);
    sqlx::query(
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
         WHERE typed = 1 AND state NOT IN ('deleted', 'aborted', 'failed')",
    )
    .bind(time_text(now))
    .bind(by)
    .execute(&mut *conn)
    .await?;
    accounts::set_clocks(conn, &AccountName::every(), now).await
}
