//! The daemon's sign of life.

use super::rows::Fields;
use crate::store::sql;
use crate::store::{DaemonInfo, Result, Tx};

pub(in crate::store) async fn save(tx: &mut Tx, info: &DaemonInfo) -> Result<()> {
    sql::query(
        "INSERT INTO daemon (id, owner, version, started_at, ticked_at) VALUES (1, $1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, version = excluded.version,
             started_at = excluded.started_at, ticked_at = excluded.ticked_at",
    )
    .bind(&info.owner)
    .bind(&info.version)
    .bind(info.started_at)
    .bind(info.ticked_at)
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn load(tx: &mut Tx) -> Result<Option<DaemonInfo>> {
    let row = sql::query("SELECT * FROM daemon").fetch_optional(tx).await?;
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
