//! The configurations that the replicas work with.

use crate::store::sql::{self, Sql};
use std::collections::BTreeMap;

use serde_json::json;

use crate::store::{Result, Tx};

pub(in crate::store) async fn put(
    tx: &mut Tx,
    replica: &str,
    values: &BTreeMap<String, String>,
) -> Result<()> {
    sql::query("DELETE FROM configurations WHERE replica = $1")
        .bind(replica)
        .execute(&mut *tx)
        .await?;
    sql::query(Sql {
        sqlite: "INSERT INTO configurations (replica, key, value) SELECT $1, key, value FROM json_each($2)",
        postgres: "INSERT INTO configurations (replica, key, value)
             SELECT $1, key, value FROM jsonb_each_text($2::jsonb)",
    })
    .bind(replica)
    .bind(json!(values))
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn of(tx: &mut Tx, replica: &str) -> Result<BTreeMap<String, String>> {
    let found =
        sql::query("SELECT key, value FROM configurations WHERE replica = $1").bind(replica);
    let found = found.fetch_all(tx).await?;
    found.iter().map(|row| Ok((row.try_get("key")?, row.try_get("value")?))).collect()
}
