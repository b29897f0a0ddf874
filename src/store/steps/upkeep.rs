//! Upkeep: the daemon's sign of life, counts and retention.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::store::tables::sqlite::rows::{Fields, time_text};
use crate::store::{DaemonInfo, Result};

pub(super) async fn tick(conn: &mut SqliteConnection, info: &DaemonInfo) -> Result<()> {
    sqlx::query(
        "REPLACE INTO daemon (id, owner, version, started_at, ticked_at) VALUES (1, ?, ?, ?, ?)",
    )
    .bind(&info.owner)
    .bind(&info.version)
    .bind(time_text(info.started_at))
    .bind(time_text(info.ticked_at))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn daemon(conn: &mut SqliteConnection) -> Result<Option<DaemonInfo>> {
    let row = sqlx::query("SELECT * FROM daemon").fetch_optional(conn).await?;
    row.map(|row| {
        let f = Fields::new(&row, "daemon", "id");
        Ok(DaemonInfo {
            owner: f.get("owner")?,
            version: f.get("version")?,
            started_at: f.time("started_at")?,
            ticked_at: f.time("ticked_at")?,
        })
    })
    .transpose()
}

pub(super) async fn last_run(
    conn: &mut SqliteConnection,
    job: &str,
    now: Timestamp,
) -> Result<Timestamp> {
    sqlx::query("INSERT INTO jobs (name, ran_at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(job)
        .bind(time_text(now))
        .execute(&mut *conn)
        .await?;
    let row = sqlx::query("SELECT * FROM jobs WHERE name = ?").bind(job).fetch_one(conn).await?;
    Fields::new(&row, "jobs", "name").time("ran_at")
}

pub(super) async fn note_run(conn: &mut SqliteConnection, job: &str, at: Timestamp) -> Result<()> {
    sqlx::query("REPLACE INTO jobs (name, ran_at) VALUES (?, ?)")
        .bind(job)
        .bind(time_text(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// Retention (invariant 12). The triggers ask the same questions again.
pub(super) async fn purge(
    conn: &mut SqliteConnection,
    finished: Timestamp,
    history: Timestamp,
) -> Result<u64> {
    let gone = sqlx::query(
        "DELETE FROM teardowns WHERE state IN ('deleted', 'aborted', 'failed')
           AND coalesce(finished_at, updated_at) < ?",
    )
    .bind(time_text(finished))
    .execute(&mut *conn)
    .await?;
    let history = time_text(history);
    sqlx::query("REPLACE INTO meta (key, value) VALUES ('history_cutoff', ?)")
        .bind(&history)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "DELETE FROM transitions WHERE at < ?
           AND NOT EXISTS (SELECT 1 FROM teardowns WHERE id = transitions.teardown_id)",
    )
    .bind(&history)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM commands AS c WHERE outcome IS NOT NULL AND settled_at < ?
           AND NOT EXISTS (SELECT 1 FROM teardowns WHERE id = c.teardown_id)
           AND NOT (action = 'delete_customer' AND outcome IN ('accepted', 'goal_reached')
                    AND EXISTS (SELECT 1 FROM teardowns AS t WHERE lower(t.account) = c.account
                                  AND lower(t.tenant_id) = c.tenant_id))",
    )
    .bind(&history)
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM operator_requests WHERE answered_at IS NOT NULL AND created_at < ?")
        .bind(&history)
        .execute(conn)
        .await?;
    Ok(gone.rows_affected())
}
