//! The replicas and their heartbeats.

use jiff::Timestamp;
use serde_json::json;

use super::rows::Fields;
use crate::core::ids::AccountName;
use crate::store::model::time::before;
use crate::store::model::{FORGOTTEN, Presence};
use crate::store::sql::{self, Row};
use crate::store::{Replica, Result, StoreError, Tx};

/// Stores the heartbeat of a replica, and forgets those that have been silent for long.
pub(in crate::store) async fn save(tx: &mut Tx, replica: &Replica) -> Result<()> {
    sql::query(
        "INSERT INTO replicas (name, owner, version, accounts, started_at, ticked_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, version = excluded.version,
             accounts = excluded.accounts, started_at = excluded.started_at,
             ticked_at = excluded.ticked_at, stopped_at = NULL",
    )
    .bind(&replica.name)
    .bind(&replica.owner)
    .bind(&replica.version)
    .bind(json!(replica.accounts))
    .bind(replica.started_at)
    .bind(replica.ticked_at)
    .execute(&mut *tx)
    .await?;
    let forgotten = sql::query("DELETE FROM replicas WHERE ticked_at < $1")
        .bind(before(replica.ticked_at, FORGOTTEN))
        .execute(&mut *tx)
        .await?;
    if forgotten > 0 {
        sql::query("DELETE FROM configurations WHERE replica NOT IN (SELECT name FROM replicas)")
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Notes that a replica has ended in good order.
pub(in crate::store) async fn stop(tx: &mut Tx, owner: &str, now: Timestamp) -> Result<()> {
    // Another process may have the name by now.
    sql::query("UPDATE replicas SET stopped_at = $1 WHERE owner = $2")
        .bind(now)
        .bind(owner)
        .execute(tx)
        .await?;
    Ok(())
}

/// Every replica, by name.
pub(in crate::store) async fn load_all(tx: &mut Tx) -> Result<Vec<Replica>> {
    let found = sql::query("SELECT * FROM replicas ORDER BY name").fetch_all(tx).await?;
    found.iter().map(replica).collect()
}

fn replica(row: &Row) -> Result<Replica> {
    let f = Fields::new(row, "replicas", "name");
    let accounts: Vec<String> =
        serde_json::from_str(f.get("accounts")?).map_err(|error| StoreError::Damaged {
            table: "replicas",
            row: f.get::<String>("name").unwrap_or_default(),
            text: format!("accounts: {error}"),
        })?;
    Ok(Replica {
        name: f.get("name")?,
        owner: f.get("owner")?,
        version: f.get("version")?,
        accounts: accounts.into_iter().map(AccountName::new).collect(),
        started_at: f.time("started_at")?,
        ticked_at: f.time("ticked_at")?,
        stopped_at: f.time_opt("stopped_at")?,
    })
}

/// The replicas that work.
pub(in crate::store) async fn working(tx: &mut Tx, now: Timestamp) -> Result<Vec<Replica>> {
    let mut replicas = load_all(tx).await?;
    replicas.retain(|replica| replica.presence(now) == Presence::Working);
    Ok(replicas)
}

/// Forgets every replica but this one.
pub(in crate::store) async fn forget_others(tx: &mut Tx, name: &str) -> Result<()> {
    for forget in
        ["DELETE FROM replicas WHERE name <> $1", "DELETE FROM configurations WHERE replica <> $1"]
    {
        sql::query(forget).bind(name).execute(&mut *tx).await?;
    }
    Ok(())
}
