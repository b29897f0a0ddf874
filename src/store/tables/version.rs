//! The number that changes with each commit of another connection, and how much room the database takes.

use jiff::Timestamp;

use super::rows::Fields;
use crate::store::sql::{self, Sql};
use crate::store::{Result, Tx};

/// The version of the schema that the migrations of this program make, on either engine.
pub(in crate::store) const OWN: i64 = 16;

/// On PostgreSQL it is the number that the next transaction gets: it changes with those of other databases
/// of the server, too.
const VERSION: Sql = Sql {
    sqlite: "PRAGMA data_version",
    postgres: "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS data_version",
};

pub(in crate::store) async fn load(tx: &mut Tx) -> Result<Option<i64>> {
    let row = sql::query(VERSION).fetch_optional(tx).await?;
    Ok(row.map(|row| row.try_get("data_version")).transpose()?)
}

/// Bytes that the database takes on its server.
pub(in crate::store) async fn size(tx: &mut Tx) -> Result<i64> {
    let row = sql::query("SELECT pg_database_size(current_database()) AS bytes");
    Ok(row.fetch_one(tx).await?.try_get("bytes")?)
}

/// The time of the server, or of the replica that is furthest on where the server's clock was set back.
pub(in crate::store) async fn time(tx: &mut Tx) -> Result<Timestamp> {
    let row = sql::query(
        "SELECT 'server' AS clock, GREATEST(clock_timestamp(),
             (SELECT max(ticked_at) FROM replicas WHERE stopped_at IS NULL)) AS at",
    )
    .fetch_one(tx)
    .await?;
    Fields::new(&row, "server", "clock").time("at")
}

/// The version of the schema: that of the newest program that has worked on the database.
pub(in crate::store) async fn schema(tx: &mut Tx) -> Result<i64> {
    let row = sql::query("SELECT coalesce(max(version), 0) AS version FROM _sqlx_migrations");
    Ok(row.fetch_one(tx).await?.try_get("version")?)
}
