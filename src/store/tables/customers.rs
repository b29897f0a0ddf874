//! The customers of an account, and since when each is known.

use crate::store::sql::{self, Sql};
use serde_json::json;

use super::rows::Fields;
use crate::core::ids::AccountName;
use crate::store::{CustomersRead, KnownCustomer, KnownCustomers, Result, Tx};

pub(in crate::store) async fn note(
    tx: &mut Tx,
    account: &AccountName,
    read: &CustomersRead,
) -> Result<()> {
    let newest = sql::query(
        "INSERT INTO customer_lists (account, read_at, customers) VALUES ($1, $2, $3)
         ON CONFLICT (account) DO UPDATE SET read_at = $2, customers = $3
         WHERE customer_lists.read_at <= $2",
    )
    .bind(account.as_str())
    .bind(read.at)
    .bind(i64::try_from(read.count).unwrap_or(i64::MAX))
    .execute(&mut *tx)
    .await?;
    if newest == 0 {
        return Ok(());
    }
    let customers: Vec<_> = read.customers.iter().map(|c| json!([c.tenant_id, c.domain])).collect();
    let customers = json!(customers);
    // One statement of PostgreSQL changes a row once: of a customer that is listed twice the last counts.
    sql::query(Sql {
        sqlite: "INSERT INTO customers (account, tenant_id, domain, first_seen_at)
             SELECT $1, value ->> 0, value ->> 1, $2 FROM json_each($3) WHERE 1
             ON CONFLICT DO UPDATE SET domain = excluded.domain WHERE domain IS NOT excluded.domain",
        postgres: "INSERT INTO customers AS known (account, tenant_id, domain, first_seen_at)
             SELECT DISTINCT ON (listed.value ->> 0) $1, listed.value ->> 0, listed.value ->> 1, $2
             FROM jsonb_array_elements($3::jsonb) WITH ORDINALITY AS listed (value, place)
             ORDER BY listed.value ->> 0, listed.place DESC
             ON CONFLICT (account, tenant_id) DO UPDATE SET domain = excluded.domain
             WHERE known.domain IS DISTINCT FROM excluded.domain",
    })
    .bind(account.as_str())
    .bind(read.at)
    .bind(&customers)
    .execute(&mut *tx)
    .await?;
    sql::query(Sql {
        sqlite: "DELETE FROM customers WHERE account = $1
               AND tenant_id NOT IN (SELECT value ->> 0 FROM json_each($2))",
        postgres: "DELETE FROM customers WHERE account = $1
               AND tenant_id NOT IN (SELECT value ->> 0 FROM jsonb_array_elements($2::jsonb))",
    })
    .bind(account.as_str())
    .bind(&customers)
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn known(
    tx: &mut Tx,
    account: &AccountName,
) -> Result<Option<KnownCustomers>> {
    let list = sql::query("SELECT * FROM customer_lists WHERE account = $1")
        .bind(account.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(list) = list else { return Ok(None) };
    let found = sql::query("SELECT * FROM customers WHERE account = $1 ORDER BY tenant_id")
        .bind(account.as_str())
        .fetch_all(tx)
        .await?;
    let f = Fields::new(&list, "customer_lists", "account");
    let customers = found.iter().map(|row| {
        let f = Fields::new(row, "customers", "tenant_id");
        Ok(KnownCustomer {
            tenant_id: f.parse("tenant_id", |text| text.parse().ok())?,
            domain: f.get("domain")?,
            first_seen_at: f.time("first_seen_at")?,
        })
    });
    Ok(Some(KnownCustomers {
        read_at: f.time("read_at")?,
        count: f.number("customers")?,
        customers: customers.collect::<Result<_>>()?,
    }))
}
