//! Requests to read the configuration anew.

use jiff::Timestamp;
use serde_json::json;

use super::rows::{Fields, time_text};
use crate::store::model::KEPT;
use crate::store::{ReloadAnswer, Result, StoreError, Tx};

pub(in crate::store) async fn insert(tx: &mut Tx, actor: &str, now: Timestamp) -> Result<i64> {
    let id =
        sqlx::query_scalar("INSERT INTO reloads (actor, created_at) VALUES (?, ?) RETURNING id")
            .bind(actor)
            .bind(time_text(now))
            .fetch_one(tx)
            .await?;
    Ok(id)
}

pub(in crate::store) async fn open(tx: &mut Tx) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar("SELECT id FROM reloads WHERE answered_at IS NULL ORDER BY id")
        .fetch_all(tx)
        .await?;
    Ok(ids)
}

pub(in crate::store) async fn answered(tx: &mut Tx, id: i64) -> Result<Option<ReloadAnswer>> {
    let row = sqlx::query("SELECT * FROM reloads WHERE id = ?").bind(id).fetch_optional(tx).await?;
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

pub(in crate::store) async fn answer(
    tx: &mut Tx,
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
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets all but the latest answers.
pub(in crate::store) async fn forget(tx: &mut Tx) -> Result<()> {
    sqlx::query(
        "DELETE FROM reloads WHERE answered_at IS NOT NULL
           AND id NOT IN (SELECT id FROM reloads ORDER BY id DESC LIMIT ?)",
    )
    .bind(KEPT as i64)
    .execute(tx)
    .await?;
    Ok(())
}
