//! Requests to read the configuration anew, and what each replica answered.

use crate::store::sql::{self, Row, Sql};
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

/// The requests that a replica has to answer: those since it started, and those that nobody has answered.
pub(in crate::store) async fn open(tx: &mut Tx, replica: &str) -> Result<Vec<i64>> {
    let found = sql::query(
        "SELECT id FROM reloads
         WHERE NOT EXISTS (SELECT 1 FROM reload_answers WHERE reload = reloads.id AND replica = $1)
           AND (NOT EXISTS (SELECT 1 FROM reload_answers WHERE reload = reloads.id)
                OR created_at >= (SELECT started_at FROM replicas WHERE name = $1))
         ORDER BY id",
    )
    .bind(replica)
    .fetch_all(tx)
    .await?;
    found.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// When a request was made, and the answers to it, each with the replica's name.
pub(in crate::store) async fn answers(
    tx: &mut Tx,
    id: i64,
) -> Result<(Timestamp, Vec<(String, ReloadAnswer)>)> {
    let asked = sql::query("SELECT * FROM reloads WHERE id = $1").bind(id).fetch_optional(&mut *tx);
    let asked =
        asked.await?.ok_or_else(|| StoreError::NotFound(format!("request {id} to reload")))?;
    let asked_at = Fields::new(&asked, "reloads", "id").time("created_at")?;
    let found = sql::query("SELECT * FROM reload_answers WHERE reload = $1 ORDER BY replica")
        .bind(id)
        .fetch_all(tx)
        .await?;
    Ok((asked_at, found.iter().map(answer_of).collect::<Result<_>>()?))
}

fn answer_of(row: &Row) -> Result<(String, ReloadAnswer)> {
    let f = Fields::new(row, "reload_answers", "reload");
    let keys = |column| {
        let text: &str = f.get(column)?;
        serde_json::from_str(text).map_err(|error| StoreError::Damaged {
            table: "reload_answers",
            row: f.get::<i64>("reload").unwrap_or_default().to_string(),
            text: format!("{column}: {error}"),
        })
    };
    let answer = ReloadAnswer {
        taken_up: f.flag("taken_up")?,
        text: f.get("answer")?,
        changed: keys("changed")?,
        restart: keys("restart")?,
    };
    Ok((f.get("replica")?, answer))
}

/// Stores the answer of a replica to these requests. An earlier one stays.
pub(in crate::store) async fn answer(
    tx: &mut Tx,
    replica: &str,
    ids: &[i64],
    answer: &ReloadAnswer,
    now: Timestamp,
) -> Result<()> {
    sql::query(Sql {
        sqlite: "INSERT INTO reload_answers
                 (reload, replica, answered_at, taken_up, answer, changed, restart)
             SELECT value, $1, $2, $3, $4, $5, $6 FROM json_each($7) WHERE 1 ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO reload_answers
                 (reload, replica, answered_at, taken_up, answer, changed, restart)
             SELECT value::bigint, $1, $2, $3, $4, $5, $6
             FROM jsonb_array_elements_text($7::jsonb) ON CONFLICT DO NOTHING",
    })
    .bind(replica)
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

/// Forgets all but the latest requests that were answered.
pub(in crate::store) async fn forget(tx: &mut Tx) -> Result<()> {
    let forgotten = sql::query(
        "DELETE FROM reloads WHERE EXISTS (SELECT 1 FROM reload_answers WHERE reload = reloads.id)
           AND id NOT IN (SELECT id FROM reloads ORDER BY id DESC LIMIT $1)",
    );
    if forgotten.bind(KEPT as i64).execute(&mut *tx).await? > 0 {
        sql::query("DELETE FROM reload_answers WHERE reload NOT IN (SELECT id FROM reloads)")
            .execute(tx)
            .await?;
    }
    Ok(())
}
