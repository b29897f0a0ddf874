//! Purchases, as they were last read.

use crate::store::sql::{self, Sql};
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
    let found = sql::query("SELECT * FROM purchases WHERE teardown_id = $1 ORDER BY key")
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
    let sql = match read {
        PurchasesRead::All(_) => UPSERT,
        PurchasesRead::Some(_) => UPDATE,
    };
    let (PurchasesRead::All(records) | PurchasesRead::Some(records)) = read;
    let records = json!(records.iter().map(json_of).collect::<Vec<_>>());
    sql::query(sql).bind(teardown.0).bind(&records).bind(now).execute(&mut *tx).await?;
    if matches!(read, PurchasesRead::All(_)) {
        sql::query(RETIRE).bind(teardown.0).bind(&records).bind(now).execute(tx).await?;
    }
    Ok(())
}

/// A purchase as JSON, with its time in the form in which times are stored.
fn json_of(record: &PurchaseRecord) -> Value {
    let mut value = json!(record);
    value["cancellable_until"] = json!(record.cancellable_until.map(time_text));
    value
}

/// Parameters of each statement here: teardown, records as JSON, now. Of two records with one key the last
/// counts.
const UPSERT: Sql = Sql {
    sqlite: "
    INSERT INTO purchases (teardown_id, key, kind, name, route, status, standing, order_id,
        blocked, cancellable_until, first_seen_at, last_seen_at, inactive_at)
    SELECT $1, value ->> 'key', value ->> 'kind', value ->> 'name', value ->> 'route',
        value ->> 'status', value ->> 'standing', value ->> 'order_id', value ->> 'blocked',
        value ->> 'cancellable_until', $3, $3,
        CASE WHEN value ->> 'standing' = 'inactive' THEN $3 END
    FROM json_each($2) WHERE 1
    ON CONFLICT DO UPDATE SET kind = excluded.kind, name = excluded.name,
        route = excluded.route, status = excluded.status, standing = excluded.standing,
        order_id = excluded.order_id, blocked = excluded.blocked,
        cancellable_until = excluded.cancellable_until, last_seen_at = excluded.last_seen_at,
        inactive_at = coalesce(excluded.inactive_at, inactive_at)",
    postgres: "
    INSERT INTO purchases AS known (teardown_id, key, kind, name, route, status, standing, order_id,
        blocked, cancellable_until, first_seen_at, last_seen_at, inactive_at)
    SELECT DISTINCT ON (read.key) $1, read.key, read.kind, read.name, read.route,
        read.status, read.standing, read.order_id, read.blocked, read.cancellable_until, $3, $3,
        CASE WHEN read.standing = 'inactive' THEN $3 END
    FROM ROWS FROM (jsonb_to_recordset($2::jsonb) AS (key text, kind text, name text, route text,
        status text, standing text, order_id text, blocked text, cancellable_until timestamptz))
        WITH ORDINALITY AS read (key, kind, name, route, status, standing, order_id, blocked,
            cancellable_until, place)
    ORDER BY read.key, read.place DESC
    ON CONFLICT (teardown_id, key) DO UPDATE SET kind = excluded.kind, name = excluded.name,
        route = excluded.route, status = excluded.status, standing = excluded.standing,
        order_id = excluded.order_id, blocked = excluded.blocked,
        cancellable_until = excluded.cancellable_until, last_seen_at = excluded.last_seen_at,
        inactive_at = COALESCE(excluded.inactive_at, known.inactive_at)",
};

const UPDATE: Sql = Sql {
    sqlite: "
    UPDATE purchases SET status = read.value ->> 'status', standing = read.value ->> 'standing',
        last_seen_at = $3,
        inactive_at = CASE WHEN read.value ->> 'standing' = 'inactive' THEN $3
                           ELSE inactive_at END
    FROM json_each($2) AS read
    WHERE teardown_id = $1 AND purchases.key = read.value ->> 'key'",
    postgres: "
    UPDATE purchases SET status = read.status, standing = read.standing, last_seen_at = $3,
        inactive_at = CASE WHEN read.standing = 'inactive' THEN $3 ELSE inactive_at END
    FROM jsonb_to_recordset($2::jsonb) AS read (key text, status text, standing text)
    WHERE teardown_id = $1 AND purchases.key = read.key",
};

const RETIRE: Sql = Sql {
    sqlite: "
    UPDATE purchases SET standing = 'inactive', status = 'gone', blocked = NULL, inactive_at = $3
    WHERE teardown_id = $1 AND status <> 'gone'
      AND key NOT IN (SELECT value ->> 'key' FROM json_each($2))",
    postgres: "
    UPDATE purchases SET standing = 'inactive', status = 'gone', blocked = NULL, inactive_at = $3
    WHERE teardown_id = $1 AND status <> 'gone'
      AND key NOT IN (SELECT value ->> 'key' FROM jsonb_array_elements($2::jsonb))",
};
