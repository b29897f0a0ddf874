//! Requests to read the configuration anew.

use crate::store::sql::{self, Sql};
use jiff::Timestamp;
use serde_json::json;

use super::rows::Fields;
use crate::store::model::KEPT;
use crate::store::{ReloadAnswer, Result, StoreError, Tx};

pub(in crate::store) async fn insert(tx: &mut Tx, actor: &str, now: Timestamp) -> Result<i64> {
    let row = sql::query("INSERT INTO reloads (actor, created_at) VALUES ($1, $2) RETURNING id")
        .bind(actor)
        .bind(now)
        .fetch_one(tx)
        .await?;
    Ok(row.try_get("id")?)
}

pub(in crate::store) async fn open(tx: &mut Tx) -> Result<Vec<i64>> {
    let found = sql::query("SELECT id FROM reloads WHERE answered_at IS NULL ORDER BY id")
        .fetch_all(tx)
        .await?;
    found.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

pub(in crate::store) async fn answered(tx: &mut Tx, id: i64) -> Result<Option<ReloadAnswer>> {
    let row = sql::query("SELECT * FROM reloads WHERE id = $1").bind(id).fetch_optional(tx).await?;
    let row = row.ok_or_else(|| StoreError::NotFound(format!("request {id} to reload")))?;
    let f = Fields::new(&row, "reloads", "id");
    let Some(taken_up) = f.flag_opt("taken_up")? else { return Ok(None) };
    let keys = |column| {
        let text: &str = f.get(column)?;
        serde_json::from_str(text).map_err(|error| StoreError::Damaged {
            table: "reloads",
            row: id.to_string(),
            text: format!("{column}: {error}"),
        })
    };
    Ok(Some(ReloadAnswer {
        taken_up,
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
    sql::query(Sql {
        sqlite: "UPDATE reloads SET answered_at = $1, taken_up = $2, answer = $3, changed = $4, restart = $5
             WHERE answered_at IS NULL AND id IN (SELECT value FROM json_each($6))",
        postgres: "UPDATE reloads SET answered_at = $1, taken_up = $2, answer = $3, changed = $4, restart = $5
             WHERE answered_at IS NULL
               AND id IN (SELECT value::bigint FROM jsonb_array_elements_text($6::jsonb))",
    })
    .bind(now)
    .bind(answer.taken_up)
    .bind(&answer.text)
    .bind(json!(answer.changed).to_string())
    .bind(json!(answer.restart).to_string())
    .bind(json!(ids))
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets all but the latest answers.
pub(in crate::store) async fn forget(tx: &mut Tx) -> Result<()> {
    sql::query(
        "DELETE FROM reloads WHERE answered_at IS NOT NULL
           AND id NOT IN (SELECT id FROM reloads ORDER BY id DESC LIMIT $1)",
    )
    .bind(KEPT as i64)
    .execute(tx)
    .await?;
    Ok(())
}
