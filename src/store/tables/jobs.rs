//! When the jobs of the schedule were last done.

use crate::store::sql;
use jiff::Timestamp;

use super::rows::Fields;
use crate::store::{Result, Tx};

pub(in crate::store) async fn last_run(
    tx: &mut Tx,
    job: &str,
    now: Timestamp,
) -> Result<Timestamp> {
    sql::query("INSERT INTO jobs (name, ran_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(job)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let row = sql::query("SELECT * FROM jobs WHERE name = $1").bind(job).fetch_one(tx).await?;
    Fields::new(&row, "jobs", "name").time("ran_at")
}

pub(in crate::store) async fn note_run(tx: &mut Tx, job: &str, at: Timestamp) -> Result<()> {
    sql::query(
        "INSERT INTO jobs (name, ran_at) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET ran_at = excluded.ran_at",
    )
    .bind(job)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}
