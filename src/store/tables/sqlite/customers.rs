//! The customers of an account, and since when each is known.

use serde_json::json;

use super::rows::{Fields, time_text};
use crate::core::ids::AccountName;
use crate::store::{CustomersRead, KnownCustomer, KnownCustomers, Result, Tx};

pub(in crate::store) async fn note(
    tx: &mut Tx,
    account: &AccountName,
    read: &CustomersRead,
) -> Result<()> {
    let at = time_text(read.at);
    let newest = sqlx::query(
        "INSERT INTO customer_lists (account, read_at, customers) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET read_at = ?2, customers = ?3 WHERE read_at <= ?2",
    )
    .bind(account.as_str())
    .bind(&at)
    .bind(i64::try_from(read.count).unwrap_or(i64::MAX))
    .execute(&mut *tx)
    .await?;
    if newest.rows_affected() == 0 {
        return Ok(());
    }
    let customers: Vec<_> = read.customers.iter().map(|c| json!([c.tenant_id, c.domain])).collect();
    let customers = json!(customers).to_string();
    sqlx::query(
        "INSERT INTO customers (account, tenant_id, domain, first_seen_at)
         SELECT ?1, value ->> 0, value ->> 1, ?2 FROM json_each(?3) WHERE 1
         ON CONFLICT DO UPDATE SET domain = excluded.domain WHERE domain IS NOT excluded.domain",
    )
    .bind(account.as_str())
    .bind(&at)
    .bind(&customers)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM customers WHERE account = ?
           AND tenant_id NOT IN (SELECT value ->> 0 FROM json_each(?))",
    )
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
    let list = sqlx::query("SELECT * FROM customer_lists WHERE account = ?")
        .bind(account.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(list) = list else { return Ok(None) };
    let found = sqlx::query("SELECT * FROM customers WHERE account = ? ORDER BY tenant_id")
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
