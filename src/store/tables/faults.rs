//! Failed calls: appended by commits, bounded and removed by the triggers of the table.

use crate::store::sql::{self, Sql};
use serde_json::json;

use super::rows;
use super::rows::time_text;
use crate::core::fault::FailedCall;
use crate::core::ids::{AccountName, TenantId};
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::model::time::millis;
use crate::store::{Result, StoredFault, Tx};

pub(in crate::store) async fn append(
    tx: &mut Tx,
    row: &Teardown,
    reason: Option<Reason>,
    calls: &[FailedCall],
) -> Result<()> {
    if calls.is_empty() {
        return Ok(());
    }
    let values: Vec<_> = calls
        .iter()
        .map(|call| {
            json!({
                "at": time_text(millis(call.at)),
                "method": call.method,
                "route": call.route,
                "request_id": call.request_id,
                "correlation_id": call.correlation_id,
                "http_status": call.http_status,
                "ms_code": call.ms_code,
                "text": call.text,
                "answer_ids": call.answer_ids,
                "body": call.body,
            })
        })
        .collect();
    sql::query(Sql {
        sqlite: "INSERT INTO faults (teardown_id, account, tenant_id, reason, at, method, route, request_id,
             correlation_id, http_status, ms_code, text, answer_ids, body)
         SELECT $1, $2, $3, $4, value ->> 'at', value ->> 'method', value ->> 'route',
             value ->> 'request_id', value ->> 'correlation_id', value ->> 'http_status',
             value ->> 'ms_code', value ->> 'text', value ->> 'answer_ids',
             value ->> 'body'
         FROM json_each($5)",
        postgres: "INSERT INTO faults (teardown_id, account, tenant_id, reason, at, method, route, request_id,
             correlation_id, http_status, ms_code, text, answer_ids, body)
         SELECT $1, $2, $3, $4, at, method, route, request_id, correlation_id, http_status, ms_code,
             text, answer_ids, body
         FROM jsonb_to_recordset($5::jsonb) AS new (at timestamptz, method text, route text,
             request_id text, correlation_id text, http_status bigint, ms_code text, text text,
             answer_ids text, body text)",
    })
    .bind(row.id.0)
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .bind(reason.map(|reason| reason.as_str()))
    .bind(json!(values))
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn of_tenant(
    tx: &mut Tx,
    account: &AccountName,
    tenant: TenantId,
) -> Result<Vec<StoredFault>> {
    let found =
        sql::query("SELECT * FROM faults WHERE account = $1 AND tenant_id = $2 ORDER BY id")
            .bind(account.as_str())
            .bind(tenant.to_string())
            .fetch_all(tx)
            .await?;
    rows::readable(&found, rows::fault)
}
