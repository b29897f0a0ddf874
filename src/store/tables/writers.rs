//! The processes that write to a PostgreSQL server, each with the number of its latest write. It is changed in
//! the same transaction, so that it tells whether that was committed.

use crate::store::sql;
use crate::store::{Result, StoreError, Tx};

/// A row for a process. Those that processes have left behind go with it: a daemon writes every few seconds.
pub(in crate::store) async fn insert(tx: &mut Tx) -> Result<i64> {
    let row = sql::query(
        "WITH left_behind AS (DELETE FROM writers WHERE at < clock_timestamp() - interval '7 days')
         INSERT INTO writers DEFAULT VALUES RETURNING id",
    );
    Ok(row.fetch_one(tx).await?.try_get("id")?)
}

/// Numbers a transaction, and says whether it has changed anything: otherwise it needs no number.
pub(in crate::store) async fn mark(tx: &mut Tx, writer: i64, mark: i64) -> Result<bool> {
    let changed = sql::query(
        "UPDATE writers SET mark = $2, at = clock_timestamp()
         WHERE id = $1 AND pg_current_xact_id_if_assigned() IS NOT NULL
         RETURNING id",
    );
    let marked = changed.bind(writer).bind(mark).fetch_optional(tx).await?;
    if marked.is_none() && has_changed_something(tx).await? {
        // Without the row nobody could tell later whether this was committed.
        let text = "the row of this process among the writers was removed: start it again";
        return Err(StoreError::Engine(text.to_owned()));
    }
    Ok(marked.is_some())
}

async fn has_changed_something(tx: &mut Tx) -> Result<bool> {
    let row = sql::query("SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS changed")
        .fetch_one(tx)
        .await?;
    Ok(row.try_get("changed")?)
}

/// The number of the latest write that was committed. Waits for one that is under way.
pub(in crate::store) async fn latest(tx: &mut Tx, writer: i64) -> Result<Option<i64>> {
    let row = sql::query("SELECT mark FROM writers WHERE id = $1 FOR UPDATE")
        .bind(writer)
        .fetch_optional(tx)
        .await?;
    Ok(row.map(|row| row.try_get("mark")).transpose()?)
}

/// Takes the row of a process away that ends in good order.
pub(in crate::store) async fn remove(tx: &mut Tx, writer: i64) -> Result<()> {
    sql::query("DELETE FROM writers WHERE id = $1").bind(writer).execute(tx).await?;
    Ok(())
}
