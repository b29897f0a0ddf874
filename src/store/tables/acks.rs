//! Acknowledgements.

use crate::store::sql;
use jiff::Timestamp;

use super::rows;
use super::rows::Fields;
use crate::core::ids::TeardownId;
use crate::store::{Ack, OperatorRequest, Result, Tx};

/// Acknowledges a row as it stands; the latest who did is kept.
pub(in crate::store) async fn save(
    tx: &mut Tx,
    id: TeardownId,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "INSERT INTO acks (teardown_id, at, actor, reason) VALUES ($1, $2, $3, $4)
         ON CONFLICT (teardown_id) DO UPDATE
         SET at = excluded.at, actor = excluded.actor, reason = excluded.reason",
    )
    .bind(id.0)
    .bind(now)
    .bind(&request.actor)
    .bind(&request.reason)
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn load_all(tx: &mut Tx) -> Result<Vec<Ack>> {
    let found = sql::query("SELECT * FROM acks ORDER BY teardown_id").fetch_all(tx).await?;
    rows::readable(&found, |row| {
        let f = Fields::new(row, "acks", "teardown_id");
        Ok(Ack {
            id: TeardownId(f.get("teardown_id")?),
            at: f.time("at")?,
            actor: f.get("actor")?,
            reason: f.get("reason")?,
        })
    })
}
