//! The daemon's sign of life.

use super::rows::{Fields, time_text};
use crate::store::{DaemonInfo, Result, Tx};

pub(in crate::store) async fn save(tx: &mut Tx, info: &DaemonInfo) -> Result<()> {
    sqlx::query(
        "REPLACE INTO daemon (id, owner, version, started_at, ticked_at) VALUES (1, ?, ?, ?, ?)",
    )
    .bind(&info.owner)
    .bind(&info.version)
    .bind(time_text(info.started_at))
    .bind(time_text(info.ticked_at))
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn load(tx: &mut Tx) -> Result<Option<DaemonInfo>> {
    let row = sqlx::query("SELECT * FROM daemon").fetch_optional(tx).await?;
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
