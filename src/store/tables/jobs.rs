//! When the jobs of the schedule were last done, and who does one now.

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

/// Leases a job, unless somebody else does it now. Returns whether that was done.
pub(in crate::store) async fn lease(
    tx: &mut Tx,
    job: &str,
    owner: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let leased = sql::query(
        "UPDATE jobs SET lease_owner = $2, lease_until = $3
         WHERE name = $1 AND (lease_until IS NULL OR lease_until <= $4)",
    );
    Ok(leased.bind(job).bind(owner).bind(until).bind(now).execute(tx).await? > 0)
}

/// Gives the lease of a job back, and notes when it was done, if it was.
pub(in crate::store) async fn end(
    tx: &mut Tx,
    job: &str,
    owner: &str,
    done: Option<Timestamp>,
) -> Result<()> {
    sql::query(
        "UPDATE jobs SET lease_owner = NULL, lease_until = NULL, ran_at = coalesce($3, ran_at)
         WHERE name = $1 AND lease_owner = $2",
    )
    .bind(job)
    .bind(owner)
    .bind(done)
    .execute(tx)
    .await?;
    Ok(())
}

/// Gives back the leases of processes of a replica that are gone; of all where none is named.
pub(in crate::store) async fn take_over(tx: &mut Tx, replica: Option<&str>) -> Result<()> {
    sql::query(concat!(
        "UPDATE jobs SET lease_owner = NULL, lease_until = NULL WHERE ",
        owned_by!("$1")
    ))
    .bind(replica)
    .execute(tx)
    .await?;
    Ok(())
}
