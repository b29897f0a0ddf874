//! Reservations in the request budget (invariant 9).

use crate::store::sql::{self, Sql};
use jiff::Timestamp;
use serde_json::json;

use super::rows::Fields;
use crate::core::budget::{Bucket, Grant, Resource};
use crate::core::ids::AccountName;
use crate::store::rules::window;
use crate::store::{Result, Tx};

pub(in crate::store) async fn used(tx: &mut Tx, name: &AccountName) -> Result<window::Used> {
    let found = sql::query(
        "SELECT resource, nullif(customer, '') AS customer, CAST(sum(reads + writes) AS bigint) AS sends
         FROM sends WHERE account = $1 GROUP BY resource, customer",
    )
    .bind(name.as_str())
    .fetch_all(tx)
    .await?;
    let mut used = window::Used::default();
    for row in &found {
        let f = Fields::new(row, "sends", "resource");
        let customer = f.parse_opt("customer", |text| text.parse().ok())?;
        let bucket = Bucket { resource: f.parse("resource", resource)?, customer };
        used.add(bucket, f.number("sends")?);
    }
    Ok(used)
}

/// A customer as the table has it.
fn customer_text(bucket: Bucket) -> String {
    bucket.customer.map(|customer| customer.to_string()).unwrap_or_default()
}

pub(in crate::store) fn resource(name: &str) -> Option<Resource> {
    Resource::ALL.into_iter().find(|resource| resource.as_str() == name)
}

pub(in crate::store) async fn insert(
    tx: &mut Tx,
    name: &AccountName,
    grants: &[Grant],
    now: Timestamp,
) -> Result<()> {
    let granted: Vec<_> = grants
        .iter()
        .filter(|grant| grant.reads + grant.writes > 0)
        .map(|grant| {
            let bucket = grant.bucket;
            json!([bucket.resource, customer_text(bucket), grant.reads, grant.writes])
        })
        .collect();
    if granted.is_empty() {
        return Ok(());
    }
    sql::query(Sql {
        sqlite: "INSERT INTO sends (account, resource, at, customer, reads, writes)
             SELECT $1, value ->> 0, $2, value ->> 1, value ->> 2, value ->> 3
             FROM json_each($3) WHERE 1
             ON CONFLICT DO UPDATE
             SET reads = reads + excluded.reads, writes = writes + excluded.writes",
        postgres: "INSERT INTO sends AS known (account, resource, at, customer, reads, writes)
             SELECT $1, value ->> 0, $2, value ->> 1, sum((value ->> 2)::bigint)::bigint,
                 sum((value ->> 3)::bigint)::bigint
             FROM jsonb_array_elements($3::jsonb) GROUP BY value ->> 0, value ->> 1
             ON CONFLICT (account, resource, at, customer) DO UPDATE
             SET reads = known.reads + excluded.reads, writes = known.writes + excluded.writes",
    })
    .bind(name.as_str())
    .bind(now)
    .bind(json!(granted))
    .execute(tx)
    .await?;
    Ok(())
}

/// The oldest reservation that blocks: once it has left the window, less than `limit` is used.
pub(in crate::store) async fn blocking(
    tx: &mut Tx,
    name: &AccountName,
    scope: Bucket,
    limit: u32,
) -> Result<Option<Timestamp>> {
    let row = sql::query(
        "SELECT $1 AS account, max(at) AS blocking FROM (
             SELECT at, sum(reads + writes) OVER (ORDER BY at DESC) AS newer
             FROM sends WHERE account = $1 AND resource = $2 AND $3 IN ('', customer)) AS sums
         WHERE newer >= $4",
    )
    .bind(name.as_str())
    .bind(scope.resource.as_str())
    .bind(customer_text(scope))
    .bind(limit)
    .fetch_one(tx)
    .await?;
    Fields::new(&row, "sends", "account").time_opt("blocking")
}

/// The state of an account's budget.
pub(in crate::store) struct Head {
    /// The end of its latest closure.
    pub(in crate::store) closed_until: Option<Timestamp>,
    /// Its oldest reservation.
    pub(in crate::store) oldest: Option<Timestamp>,
}

pub(in crate::store) async fn head(tx: &mut Tx, name: &AccountName) -> Result<Head> {
    let head = sql::query(
        "SELECT $1 AS name, (SELECT throttled_until FROM accounts WHERE name = $1) AS throttled_until,
                (SELECT min(at) FROM sends WHERE account = $1) AS oldest",
    )
    .bind(name.as_str())
    .fetch_one(tx)
    .await?;
    let f = Fields::new(&head, "sends", "name");
    Ok(Head { closed_until: f.time_opt("throttled_until")?, oldest: f.time_opt("oldest")? })
}

/// Forgets the reservations from before this time.
pub(in crate::store) async fn forget(
    tx: &mut Tx,
    name: &AccountName,
    before: Timestamp,
) -> Result<()> {
    sql::query("DELETE FROM sends WHERE account = $1 AND at < $2")
        .bind(name.as_str())
        .bind(before)
        .execute(tx)
        .await?;
    Ok(())
}
