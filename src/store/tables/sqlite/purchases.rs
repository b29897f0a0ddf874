//! Purchases, as they were last read.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rows;
use super::rows::time_text;
use crate::core::ids::TeardownId;
use crate::store::{PurchaseRecord, PurchasesRead, Result, StoredPurchase, Tx};

pub(in crate::store) async fn of_teardown(
    tx: &mut Tx,
    teardown: TeardownId,
) -> Result<Vec<StoredPurchase>> {
    let found = sqlx::query("SELECT * FROM purchases WHERE teardown_id = ? ORDER BY key")
        .bind(teardown.0)
        .fetch_all(tx)
        .await?;
    found.iter().map(rows::purchase).collect()
}

pub(in crate::store) async fn save(
    tx: &mut Tx,
    teardown: TeardownId,
    read: &PurchasesRead,
    now: Timestamp,
) -> Result<()> {
    let now = time_text(now);
    let sql = match read {
        PurchasesRead::All(_) => UPSERT,
        PurchasesRead::Some(_) => UPDATE,
    };
    let (PurchasesRead::All(records) | PurchasesRead::Some(records)) = read;
    let records = json!(records.iter().map(json_of).collect::<Vec<_>>()).to_string();
    sqlx::query(sql).bind(teardown.0).bind(&records).bind(&now).execute(&mut *tx).await?;
    if matches!(read, PurchasesRead::All(_)) {
        sqlx::query(RETIRE).bind(teardown.0).bind(&records).bind(&now).execute(tx).await?;
    }
    Ok(())
}

/// A purchase as JSON, with its time in the form in which times are stored.
fn json_of(record: &PurchaseRecord) -> Value {
    let mut value = json!(record);
    value["cancellable_until"] = json!(record.cancellable_until.map(time_text));
    value
}

/// Of each: teardown, records as JSON, now.
const UPSERT: &str = "
    INSERT INTO purchases (teardown_id, key, kind, name, route, status, standing, order_id,
        blocked, cancellable_until, first_seen_at, last_seen_at, inactive_at)
    SELECT ?1, value ->> 'key', value ->> 'kind', value ->> 'name', value ->> 'route',
        value ->> 'status', value ->> 'standing', value ->> 'order_id', value ->> 'blocked',
        value ->> 'cancellable_until', ?3, ?3,
        CASE WHEN value ->> 'standing' = 'inactive' THEN ?3 END
    FROM json_each(?2) WHERE 1
    ON CONFLICT DO UPDATE SET kind = excluded.kind, name = excluded.name,
        route = excluded.route, status = excluded.status, standing = excluded.standing,
        order_id = excluded.order_id, blocked = excluded.blocked,
        cancellable_until = excluded.cancellable_until, last_seen_at = excluded.last_seen_at,
        inactive_at = coalesce(excluded.inactive_at, inactive_at)";

const UPDATE: &str = "
    UPDATE purchases SET status = read.value ->> 'status', standing = read.value ->> 'standing',
        last_seen_at = ?3,
        inactive_at = CASE WHEN read.value ->> 'standing' = 'inactive' THEN ?3
                           ELSE inactive_at END
    FROM json_each(?2) AS read
    WHERE teardown_id = ?1 AND purchases.key = read.value ->> 'key'";

const RETIRE: &str = "
    UPDATE purchases SET standing = 'inactive', status = 'gone', blocked = NULL, inactive_at = ?3
    WHERE teardown_id = ?1 AND status <> 'gone'
      AND key NOT IN (SELECT value ->> 'key' FROM json_each(?2))";
