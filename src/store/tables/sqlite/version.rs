//! The number that changes with each commit of another connection.

use crate::store::{Result, Tx};

pub(in crate::store) async fn load(tx: &mut Tx) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar("PRAGMA data_version").fetch_optional(tx).await?)
}
