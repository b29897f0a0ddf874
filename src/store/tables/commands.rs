//! Commands: outbox, idempotency record and audit (invariant 4).

use crate::store::sql::{self, Row, Sql};
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::rows;
use super::rows::{Fields, time_text};
use crate::core::account::Account;
use crate::core::command::{Answer, Command, Outcome};
use crate::core::ids::{AccountName, CommandId, TenantId};
use crate::core::key::ResourceKey;
use crate::core::teardown::Teardown;
use crate::store::model::time::before;
use crate::store::{Result, Tx};

pub(in crate::store) async fn of_tenant(
    tx: &mut Tx,
    account: &AccountName,
    tenant: TenantId,
) -> Result<Vec<Command>> {
    let found =
        sql::query("SELECT * FROM commands WHERE account = $1 AND tenant_id = $2 ORDER BY seq")
            .bind(account.as_str())
            .bind(tenant.to_string())
            .fetch_all(tx)
            .await?;
    // All or nothing: a reconciler must not overlook a command. Those that decide nothing any more may be
    // damaged, as one is that was typed in and set aside.
    let mut commands = Vec::with_capacity(found.len());
    for row in &found {
        let outcome: Option<&str> = row.try_get("outcome").unwrap_or_default();
        match rows::command(row) {
            Ok(command) => commands.push(command),
            Err(error) if matches!(outcome, Some("withdrawn" | "refused")) => {
                tracing::debug!(%error, "a damaged command that decides nothing is left out");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(commands)
}

/// A command, for the transaction that changes it.
pub(in crate::store) async fn load(tx: &mut Tx, id: CommandId) -> Result<Command> {
    let row = sql::query("SELECT * FROM commands WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx)
        .await?
        .ok_or_else(|| crate::store::StoreError::NotFound(format!("command {id}")))?;
    rows::command(&row)
}

/// The deletions under every name that the partner has had.
pub(in crate::store) async fn deletions(
    tx: &mut Tx,
    account: &Account,
    question: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Timestamp>> {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let found = sql::query(
        "SELECT id, created_at FROM commands
         WHERE account IN (
               SELECT $1 UNION SELECT other.account FROM identities AS own
               JOIN identities AS other USING (cloud, partner_tenant)
               WHERE own.account = $1 AND own.left_at IS NULL)
           AND action = 'delete_customer' AND created_at >= $2 AND id IS DISTINCT FROM $3
           AND (outcome IS NULL OR outcome IN ('accepted', 'goal_reached'))
         ORDER BY created_at",
    )
    .bind(account.name.as_str())
    .bind(before(now, DAY))
    .bind(question)
    .fetch_all(tx)
    .await?;
    // One whose time cannot be read counts as of now: a cap may be reached early, never passed.
    let time = |row| Fields::new(row, "commands", "id").time("created_at").unwrap_or(now);
    Ok(found.iter().map(time).collect())
}

/// Resources of the tenant with an unsettled command.
pub(in crate::store) async fn unsettled_resources(
    tx: &mut Tx,
    row: &Teardown,
) -> Result<BTreeSet<ResourceKey>> {
    let found = sql::query(
        "SELECT resource FROM commands WHERE account = $1 AND tenant_id = $2 AND outcome IS NULL",
    )
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .fetch_all(tx)
    .await?;
    // One that cannot be understood is nobody's resource; its row is set aside before it decides anything.
    let key = |row: &Row| Ok(ResourceKey::parse(row.try_get("resource")?));
    Ok(found.iter().map(key).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

pub(in crate::store) async fn insert(tx: &mut Tx, commands: &[Command]) -> Result<()> {
    let values: Vec<_> = commands
        .iter()
        .map(|command| {
            json!({
                "id": command.id,
                "account": command.account,
                "tenant_id": command.tenant_id,
                "teardown_id": command.teardown_id,
                "action": command.intent.action,
                "reservation": command.intent.reservation,
                "resource": command.intent.resource,
                "method": command.method,
                "path": command.path,
                "body": command.intent.body,
                "if_match": command.intent.if_match,
                "created_at": time_text(command.created_at),
            })
        })
        .collect();
    sql::query(Sql {
        sqlite: "INSERT INTO commands (id, account, tenant_id, teardown_id, action, reservation, resource,
             method, path, body, if_match, created_at)
         SELECT value ->> 'id', value ->> 'account', value ->> 'tenant_id',
             value ->> 'teardown_id', value ->> 'action', value ->> 'reservation',
             value ->> 'resource', value ->> 'method', value ->> 'path', value ->> 'body',
             value ->> 'if_match', value ->> 'created_at'
         FROM json_each($1)",
        postgres: "INSERT INTO commands (id, account, tenant_id, teardown_id, action, reservation, resource,
             method, path, body, if_match, created_at)
         SELECT * FROM jsonb_to_recordset($1::jsonb) AS new (id text, account text, tenant_id text,
             teardown_id bigint, action text, reservation boolean, resource text, method text,
             path text, body text, if_match text, created_at timestamptz)",
    })
    .bind(json!(values))
    .execute(tx)
    .await?;
    Ok(())
}

/// Parameters: account, the command that is left out, how long ago a call may have begun.
pub(in crate::store) const CALLS: Sql = Sql {
    sqlite: "
    SELECT $1 AS account, count(*) AS calls FROM commands INDEXED BY commands_calling
    WHERE account = $1 AND calling = 1 AND id <> $2 AND last_sent_at > $3",
    postgres: "
    SELECT $1 AS account, count(*) AS calls FROM commands
    WHERE account = $1 AND calling AND id <> $2 AND last_sent_at > $3",
};

/// How many calls of other commands of the account are under way.
pub(in crate::store) async fn calls(
    tx: &mut Tx,
    row: &Teardown,
    command: CommandId,
    now: Timestamp,
) -> Result<usize> {
    let found = sql::query(CALLS)
        .bind(row.account.as_str())
        .bind(command.to_string())
        .bind(crate::store::model::time::before(now, LONGEST_CALL))
        .fetch_one(tx)
        .await?;
    Fields::new(&found, "commands", "account").number("calls")
}

/// The processes that made calls are gone.
pub(in crate::store) async fn end_calls(tx: &mut Tx) -> Result<()> {
    sql::query(Sql {
        sqlite: "UPDATE commands SET calling = 0 WHERE calling = 1",
        postgres: "UPDATE commands SET calling = false WHERE calling",
    })
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn count_send(
    tx: &mut Tx,
    id: CommandId,
    correlation: Uuid,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "UPDATE commands SET calling = true, sends = sends + 1, first_sent_at = coalesce(first_sent_at, $1),
             last_sent_at = $1, correlation_id = $2
         WHERE id = $3",
    )
    .bind(now)
    .bind(correlation.as_hyphenated().to_string())
    .bind(id.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn withdraw(tx: &mut Tx, id: CommandId, now: Timestamp) -> Result<()> {
    sql::query("UPDATE commands SET outcome = 'withdrawn', settled_at = $1 WHERE id = $2")
        .bind(now)
        .bind(id.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// Withdraws what was committed for the tenant and never sent.
pub(in crate::store) async fn withdraw_unsent(
    tx: &mut Tx,
    row: &Teardown,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "UPDATE commands SET outcome = 'withdrawn', settled_at = $1
         WHERE account = $2 AND tenant_id = $3 AND outcome IS NULL AND sends = 0",
    )
    .bind(now)
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

/// A call is given up after this, whatever became of it: `Timeouts::write` is a minute.
const LONGEST_CALL: Duration = Duration::from_secs(120);

/// Without an answer of the API, so that nobody takes it for one: see `Command::was_set_aside`.
pub(in crate::store) async fn settle_forged(
    tx: &mut Tx,
    seq: i64,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "UPDATE commands SET outcome = CASE sends WHEN 0 THEN 'withdrawn' ELSE 'refused' END,
             settled_at = $1, calling = false, http_status = NULL, ms_code = NULL, text = $2
         WHERE seq = $3",
    )
    .bind(now)
    .bind(why)
    .bind(seq)
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::store) async fn settle(
    tx: &mut Tx,
    id: CommandId,
    outcome: Outcome,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    sql::query("UPDATE commands SET outcome = $1, settled_at = $2, text = $3 WHERE id = $4")
        .bind(outcome.as_str())
        .bind(now)
        .bind(text)
        .bind(id.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// Stores an answer. An outcome that is stored already stays. The answer to a send that was not the latest, as
/// a process gets it that was frozen, tells only that the command was accepted.
pub(in crate::store) async fn answer(
    tx: &mut Tx,
    id: CommandId,
    answer: &Answer,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "UPDATE commands SET calling = false, http_status = $1, ms_code = $2, text = $3,
             settled_at = CASE WHEN outcome IS NULL AND $4 IS NOT NULL THEN $5
                               ELSE settled_at END,
             outcome = coalesce(outcome, $4)
         WHERE id = $6 AND (coalesce(correlation_id = $7, true) OR outcome IS NULL AND $4 = 'accepted')",
    )
    .bind(answer.http_status)
    .bind(&answer.ms_code)
    .bind(&answer.text)
    .bind(answer.outcome.map(Outcome::as_str))
    .bind(now)
    .bind(id.to_string())
    .bind(answer.sent_as.map(|id| id.as_hyphenated().to_string()))
    .execute(tx)
    .await?;
    Ok(())
}

/// The unsettled commands of a tenant, readable or not, each with its number and its id.
pub(in crate::store) async fn unsettled(
    tx: &mut Tx,
    row: &Teardown,
) -> Result<Vec<(i64, String, Result<Command>)>> {
    let found = sql::query(
        "SELECT * FROM commands WHERE account = $1 AND tenant_id = $2 AND outcome IS NULL ORDER BY seq",
    )
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .fetch_all(tx)
    .await?;
    let read = |row: &Row| {
        let id = row.try_get("id").unwrap_or_default();
        Ok((row.try_get("seq")?, id, rows::command(row)))
    };
    found.iter().map(read).collect()
}
