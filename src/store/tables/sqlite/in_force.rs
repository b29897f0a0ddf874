//! The configuration that the daemon works with.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::Row as _;

use crate::store::{Result, Tx};

pub(in crate::store) async fn put(tx: &mut Tx, values: &BTreeMap<String, String>) -> Result<()> {
    sqlx::query("DELETE FROM in_force").execute(&mut *tx).await?;
    sqlx::query("INSERT INTO in_force (key, value) SELECT key, value FROM json_each(?)")
        .bind(json!(values).to_string())
        .execute(tx)
        .await?;
    Ok(())
}

pub(in crate::store) async fn get(tx: &mut Tx) -> Result<BTreeMap<String, String>> {
    let found = sqlx::query("SELECT key, value FROM in_force").fetch_all(tx).await?;
    found.iter().map(|row| Ok((row.try_get("key")?, row.try_get("value")?))).collect()
}
