//! The configuration that the daemon works with, and the facts that its guards would ask for: read by
//! commands that only look.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row as _, SqliteConnection};

use super::{Store, commit, queue};
use crate::core::gates::{SafetyPolicy, StoredFacts};
use crate::core::ids::{CommandId, TeardownId};
use crate::store::Result;
use crate::store::model::time::millis;

impl Store {
    /// The facts that the gates ask for before the next write of a teardown, as the transaction that
    /// commits it reads it. `question` is the command that is to be sent again; `None` for one that is not
    /// stored yet.
    ///
    /// # Errors
    /// [`NotFound`](crate::store::StoreError::NotFound) for a teardown that is gone.
    pub async fn facts(
        &self,
        teardown: TeardownId,
        question: Option<CommandId>,
        policy: &SafetyPolicy,
        now: Timestamp,
    ) -> Result<StoredFacts> {
        self.read("facts", async |tx| {
            let row = queue::teardown(tx, teardown).await?;
            commit::facts(tx, &row, question, true, policy, millis(now)).await
        })
        .await
    }

    /// Stores the configuration that the daemon works with, by key.
    ///
    /// # Errors
    /// The engine's.
    pub async fn put_in_force(&self, values: &BTreeMap<String, String>) -> Result<()> {
        self.write("put_in_force", async |tx| put(tx, values).await).await
    }

    /// The configuration that the daemon works with; empty where none has told it yet.
    ///
    /// # Errors
    /// The engine's.
    pub async fn in_force(&self) -> Result<BTreeMap<String, String>> {
        self.read("in_force", async |tx| get(tx).await).await
    }
}

async fn put(conn: &mut SqliteConnection, values: &BTreeMap<String, String>) -> Result<()> {
    sqlx::query("DELETE FROM in_force").execute(&mut *conn).await?;
    sqlx::query("INSERT INTO in_force (key, value) SELECT key, value FROM json_each(?)")
        .bind(json!(values).to_string())
        .execute(conn)
        .await?;
    Ok(())
}

async fn get(conn: &mut SqliteConnection) -> Result<BTreeMap<String, String>> {
    let found = sqlx::query("SELECT key, value FROM in_force").fetch_all(conn).await?;
    found.iter().map(|row| Ok((row.try_get("key")?, row.try_get("value")?))).collect()
}
