//! The database's own clock, and what moves when the wall clock is stepped.

use crate::store::sql::{self, Sql};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::rows::Fields;
use crate::core::database_time::{Anchor, Step, Timekeeping};
use crate::store::{Result, Tx};

/// The clock as it is stored; `None` in a database that was never worked on.
pub(in crate::store) async fn load(tx: &mut Tx) -> Result<Option<Timekeeping>> {
    let row = sql::query("SELECT * FROM clock").fetch_optional(tx).await?;
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
            is_told: false,
        })
    })
    .transpose()
}

/// How far the wall clock is ahead of database time.
pub(in crate::store) async fn ahead(tx: &mut Tx) -> Result<SignedDuration> {
    let row = sql::query("SELECT id, ahead_ms FROM clock").fetch_optional(tx).await?;
    let millis = row.map(|row| Fields::new(&row, "clock", "id").get("ahead_ms")).transpose()?;
    Ok(SignedDuration::from_millis(millis.unwrap_or_default()))
}

/// The latest time in the database that the program stored as its present.
pub(in crate::store) async fn latest(tx: &mut Tx) -> Result<Option<Timestamp>> {
    let row = sql::query(
        "SELECT 'any' AS name, max(at) AS latest FROM (
             SELECT max(at) AS at FROM sends
             UNION ALL SELECT max(created_at) FROM commands
             UNION ALL SELECT max(last_sent_at) FROM commands
             UNION ALL SELECT max(settled_at) FROM commands
             UNION ALL SELECT max(ticked_at) FROM replicas) AS times",
    )
    .fetch_one(tx)
    .await?;
    Fields::new(&row, "sends", "name").time_opt("latest")
}

pub(in crate::store) async fn save(tx: &mut Tx, anchor: &Anchor, step: Option<Step>) -> Result<()> {
    sql::query(
        "INSERT INTO clock (id, boot, uptime_ns, at, ahead_ms)
         SELECT 1, '', 0, '0001-01-01T00:00:00.000Z', 0 WHERE NOT EXISTS (SELECT 1 FROM clock)",
    )
    .execute(&mut *tx)
    .await?;
    sql::query(
        "UPDATE clock SET boot = $1, uptime_ns = $2, at = $3, ahead_ms = $4,
             steps = steps + CASE WHEN $5 IS NULL THEN 0 ELSE 1 END, stepped_at = coalesce($5, stepped_at),
             step_ms = coalesce($6, step_ms)",
    )
    .bind(&anchor.boot)
    .bind(i64::try_from(anchor.uptime.as_nanos()).unwrap_or(i64::MAX))
    .bind(anchor.at)
    .bind(millis(anchor.ahead))
    .bind(step.map(|step| step.at))
    .bind(step.map(|step| millis(step.by)))
    .execute(tx)
    .await?;
    Ok(())
}

/// A length as it is bound where it is added to a time.
pub(in crate::store) fn millis(length: SignedDuration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or_default()
}

/// Moves what people mean by the clock on the wall.
pub(in crate::store) async fn shift(tx: &mut Tx, step: Step) -> Result<()> {
    let by = millis(-step.by);
    sql::query(Sql {
        sqlite: concat!(
            "UPDATE teardowns SET not_before = coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', not_before,
                 printf('%+.3f seconds', $1 / 1000.0)), not_before)
             WHERE not_before IS NOT NULL AND ",
            open!()
        ),
        postgres: concat!(
            "UPDATE teardowns SET not_before = not_before + $1 * interval '1 millisecond'
             WHERE not_before IS NOT NULL AND ",
            open!()
        ),
    })
    .bind(by)
    .execute(&mut *tx)
    .await?;
    sql::query(Sql {
        sqlite: "UPDATE accounts SET paused_until = coalesce(strftime('%Y-%m-%dT%H:%M:%fZ',
                 paused_until, printf('%+.3f seconds', $1 / 1000.0)), paused_until)
             WHERE paused_until IS NOT NULL",
        postgres: "UPDATE accounts SET paused_until = paused_until + $1 * interval '1 millisecond'
             WHERE paused_until IS NOT NULL",
    })
    .bind(by)
    .execute(tx)
    .await?;
    Ok(())
}
