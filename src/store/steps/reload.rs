//! Requests to read the configuration anew.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use crate::core::reason::Reason;
use crate::store::model::KEPT;
use crate::store::tables::sqlite::rows::{Fields, time_text};
use crate::store::{ReloadAnswer, Result, StoreError};

/// The waits that an answer of the API leads to.
const WAITING_FOR_AN_ANSWER: [Reason; 4] = [
    Reason::CancellationPending,
    Reason::PurchasePending,
    Reason::ProofPending,
    Reason::RetryBackoff,
];

pub(super) async fn ask(conn: &mut SqliteConnection, actor: &str, now: Timestamp) -> Result<i64> {
    let id =
        sqlx::query_scalar("INSERT INTO reloads (actor, created_at) VALUES (?, ?) RETURNING id")
            .bind(actor)
            .bind(time_text(now))
            .fetch_one(conn)
            .await?;
    Ok(id)
}

pub(super) async fn open(conn: &mut SqliteConnection) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar("SELECT id FROM reloads WHERE answered_at IS NULL ORDER BY id")
        .fetch_all(conn)
        .await?;
    Ok(ids)
}

pub(super) async fn answer(
    conn: &mut SqliteConnection,
    ids: &[i64],
    answer: &ReloadAnswer,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE reloads SET answered_at = ?, taken_up = ?, answer = ?, changed = ?, restart = ?
         WHERE answered_at IS NULL AND id IN (SELECT value FROM json_each(?))",
    )
    .bind(time_text(now))
    .bind(answer.taken_up)
    .bind(&answer.text)
    .bind(json!(answer.changed).to_string())
    .bind(json!(answer.restart).to_string())
    .bind(json!(ids).to_string())
    .execute(&mut *conn)
    .await?;
    if answer.changed.iter().any(|key| key.starts_with("codes.")) {
        // The meaning of an answer may have changed for rows that wait because of one.
        sqlx::query(
            "UPDATE teardowns SET next_attempt_at = NULL, updated_at = ?1
             WHERE state NOT IN ('deleted', 'aborted', 'failed') AND lease_owner IS NULL
               AND reason IN (SELECT value FROM json_each(?2))",
        )
        .bind(time_text(now))
        .bind(json!(WAITING_FOR_AN_ANSWER).to_string())
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query(
        "DELETE FROM reloads WHERE answered_at IS NOT NULL
           AND id NOT IN (SELECT id FROM reloads ORDER BY id DESC LIMIT ?)",
    )
    .bind(KEPT as i64)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn answered(conn: &mut SqliteConnection, id: i64) -> Result<Option<ReloadAnswer>> {
    let row =
        sqlx::query("SELECT * FROM reloads WHERE id = ?").bind(id).fetch_optional(conn).await?;
    let row = row.ok_or_else(|| StoreError::NotFound(format!("request {id} to reload")))?;
    let f = Fields::new(&row, "reloads", "id");
    let Some(taken_up) = f.get::<Option<i64>>("taken_up")? else { return Ok(None) };
    let keys = |column| {
        let text: &str = f.get(column)?;
        serde_json::from_str(text).map_err(|error| StoreError::Damaged {
            table: "reloads",
            row: id.to_string(),
            text: format!("{column}: {error}"),
        })
    };
    Ok(Some(ReloadAnswer {
        taken_up: taken_up != 0,
        text: f.get::<Option<String>>("answer")?.unwrap_or_default(),
        changed: keys("changed")?,
        restart: keys("restart")?,
    }))
}
