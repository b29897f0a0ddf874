//! The configuration that the daemon works with.

use crate::store::sql::{self, Sql};
use std::collections::BTreeMap;

use serde_json::json;

use crate::store::{Result, Tx};

pub(in crate::store) async fn put(tx: &mut Tx, values: &BTreeMap<String, String>) -> Result<()> {
    sql::query("DELETE FROM in_force").execute(&mut *tx).await?;
    sql::query(Sql {
        sqlite: "INSERT INTO in_force (key, value) SELECT key, value FROM json_each($1)",
        postgres: "INSERT INTO in_force (key, value) SELECT key, value FROM jsonb_each_text($1::jsonb)",
    })
    .bind(json!(values))
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn get(tx: &mut Tx) -> Result<BTreeMap<String, String>> {
    let found = sql::query("SELECT key, value FROM in_force").fetch_all(tx).await?;
    found.iter().map(|row| Ok((row.try_get("key")?, row.try_get("value")?))).collect()
}
