//! When the jobs of the schedule were last done.

use jiff::Timestamp;

use super::rows::{Fields, time_text};
use crate::store::{Result, Tx};

pub(in crate::store) async fn last_run(
    tx: &mut Tx,
    job: &str,
    now: Timestamp,
) -> Result<Timestamp> {
    sqlx::query("INSERT INTO jobs (name, ran_at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(job)
        .bind(time_text(now))
        .execute(&mut *tx)
        .await?;
    let row = sqlx::query("SELECT * FROM jobs WHERE name = ?").bind(job).fetch_one(tx).await?;
    Fields::new(&row, "jobs", "name").time("ran_at")
}

pub(in crate::store) async fn note_run(tx: &mut Tx, job: &str, at: Timestamp) -> Result<()> {
    sqlx::query("REPLACE INTO jobs (name, ran_at) VALUES (?, ?)")
        .bind(job)
        .bind(time_text(at))
        .execute(tx)
        .await?;
    Ok(())
}
