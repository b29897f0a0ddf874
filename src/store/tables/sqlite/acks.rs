//! Acknowledgements.

use jiff::Timestamp;

use super::rows;
use super::rows::{Fields, time_text};
use crate::core::ids::TeardownId;
use crate::store::{Ack, OperatorRequest, Result, Tx};

/// Acknowledges a row as it stands; the latest who did is kept.
pub(in crate::store) async fn save(
    tx: &mut Tx,
    id: TeardownId,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("REPLACE INTO acks (teardown_id, at, actor, reason) VALUES (?, ?, ?, ?)")
        .bind(id.0)
        .bind(time_text(now))
        .bind(&request.actor)
        .bind(&request.reason)
        .execute(tx)
        .await?;
    Ok(())
}

pub(in crate::store) async fn load_all(tx: &mut Tx) -> Result<Vec<Ack>> {
    let found = sqlx::query("SELECT * FROM acks ORDER BY teardown_id").fetch_all(tx).await?;
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
