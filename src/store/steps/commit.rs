//! One step of a reconcile pass, and the saving of rows (invariants 3, 4 and 11).

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Row as _, SqliteConnection};

use super::{accounts, clock, consent, faults, forged, protect, queue, send};
use crate::core::account::Account;
use crate::core::command::{Action, Command};
use crate::core::gates::{SafetyPolicy, StoredFacts};
use crate::core::ids::{CommandId, TeardownId};
use crate::core::teardown::{State, Teardown};
use crate::store::model::time::before;
use crate::store::rules::admission::{self, Admission};
use crate::store::rules::{self, Event};
use crate::store::tables::sqlite::rows::{self, Fields, time_text};
use crate::store::{Commit, Committed, PurchaseRecord, PurchasesRead, Result};

pub(super) async fn commit(
    conn: &mut SqliteConnection,
    commit: &Commit<'_>,
    now: Timestamp,
) -> Result<Committed> {
    let mut row = queue::teardown(conn, commit.teardown).await?;
    rules::check_commit(&row, commit)?;
    // First, or a reading would settle a forged command as if it had been one.
    let forged = match commit.settled.is_empty() && commit.commands.is_empty() {
        true => None,
        false => forged::set_aside(conn, &row, now).await?,
    };
    for (id, outcome, text) in &commit.settled {
        send::settle(conn, *id, *outcome, text, now).await?;
    }
    if let Some(read) = &commit.purchases {
        save_purchases(conn, row.id, read, now).await?;
    }
    let admission = match forged {
        Some(verdict) => Admission { admitted: Vec::new(), verdict: Some(verdict) },
        None => admit(conn, &row, commit, now).await?,
    };
    let from = row.state;
    let step = rules::apply(&mut row, commit, &admission, now);
    save(conn, &row, from).await?;
    record(conn, &row, &step.events, now).await?;
    let reason = rules::failure_reason(commit, &admission);
    faults::append(conn, &row, reason, &commit.failures).await?;
    if row.state.is_terminal() {
        send::withdraw_unsent(conn, &row, now).await?;
    }
    if let Some((guard, text)) = &step.halt {
        accounts::halt(conn, &row.account, guard.as_str(), text, now).await?;
    }
    Ok(Committed { teardown: row, admitted: admission.admitted, verdict: admission.verdict })
}

/// Asks the gates and stores the commands they allow.
async fn admit(
    conn: &mut SqliteConnection,
    row: &Teardown,
    commit: &Commit<'_>,
    now: Timestamp,
) -> Result<Admission> {
    if commit.commands.is_empty() {
        return Ok(Admission { admitted: Vec::new(), verdict: None });
    }
    let deleting = commit.commands.iter().any(|c| c.intent.action == Action::DeleteCustomer);
    let mut facts = facts(conn, row, None, deleting, commit.policy, now).await?;
    let busy = busy(conn, row).await?;
    let admission = admission::admit(commit, &mut facts, busy, now);
    if !admission.admitted.is_empty() {
        insert(conn, &admission.admitted).await?;
        if let Some(canary) = facts.account.canary {
            accounts::set_canary(conn, &row.account, canary).await?;
        }
    }
    Ok(admission)
}

/// What the gates ask of the store, without the command in question. Past deletions are read only
/// when a DELETE asks.
pub(super) async fn facts(
    conn: &mut SqliteConnection,
    row: &Teardown,
    command: Option<CommandId>,
    deleting: bool,
    policy: &SafetyPolicy,
    now: Timestamp,
) -> Result<StoredFacts> {
    let (account, every) = accounts::load_with_every(conn, &row.account).await?;
    let question = command.map(|id| id.to_string());
    let deletions = if deleting {
        deletions(conn, &account, question.as_deref(), now).await?
    } else {
        Vec::new()
    };
    let unapproved = consent::unapproved(conn, &row.account, policy).await?;
    Ok(StoredFacts {
        teardown: row.clone(),
        command,
        calls: 0,
        account,
        every,
        deletions,
        resource_busy: false,
        unapproved,
        protections: protect::load_for(conn, row).await?,
        ahead: clock::ahead(conn).await?,
    })
}

/// The deletions under every name that the partner has had.
pub(super) async fn deletions(
    conn: &mut SqliteConnection,
    account: &Account,
    question: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Timestamp>> {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let found = sqlx::query(
        "SELECT id, created_at FROM commands
         WHERE account IN (
               SELECT ?1 UNION SELECT other.account FROM identities AS own
               JOIN identities AS other USING (cloud, partner_tenant)
               WHERE own.account = ?1 AND own.left_at IS NULL)
           AND action = 'delete_customer' AND created_at >= ?2 AND id IS NOT ?3
           AND (outcome IS NULL OR outcome IN ('accepted', 'goal_reached'))
         ORDER BY created_at",
    )
    .bind(account.name.as_str())
    .bind(time_text(before(now, DAY)))
    .bind(question)
    .fetch_all(conn)
    .await?;
    // One whose time cannot be read counts as of now: a cap may be reached early, never passed.
    let time = |row| Fields::new(row, "commands", "id").time("created_at").unwrap_or(now);
    Ok(found.iter().map(time).collect())
}

/// Resources of the tenant with an unsettled command.
async fn busy(conn: &mut SqliteConnection, row: &Teardown) -> Result<BTreeSet<String>> {
    let found = sqlx::query(
        "SELECT resource FROM commands WHERE account = ? AND tenant_id = ? AND outcome IS NULL",
    )
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .fetch_all(conn)
    .await?;
    Ok(found.iter().map(|row| row.try_get("resource")).collect::<Result<_, _>>()?)
}

async fn insert(conn: &mut SqliteConnection, commands: &[Command]) -> Result<()> {
    let values: Vec<_> = commands
        .iter()
        .map(|command| {
            json!({
                "id": command.id,
                "account": command.account,
                "tenant_id": command.tenant_id,
                "teardown_id": command.teardown_id,
                "action": command.intent.action,
                "reservation": i64::from(command.intent.reservation),
                "resource": command.intent.resource,
                "method": command.method,
                "path": command.path,
                "body": command.intent.body,
                "if_match": command.intent.if_match,
                "created_at": time_text(command.created_at),
            })
        })
        .collect();
    sqlx::query(
        "INSERT INTO commands (id, account, tenant_id, teardown_id, action, reservation, resource,
             method, path, body, if_match, created_at)
         SELECT value ->> 'id', value ->> 'account', value ->> 'tenant_id',
             value ->> 'teardown_id', value ->> 'action', value ->> 'reservation',
             value ->> 'resource', value ->> 'method', value ->> 'path', value ->> 'body',
             value ->> 'if_match', value ->> 'created_at'
         FROM json_each(?)",
    )
    .bind(json!(values).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

async fn save_purchases(
    conn: &mut SqliteConnection,
    teardown: TeardownId,
    read: &PurchasesRead,
    now: Timestamp,
) -> Result<()> {
    let now = time_text(now);
    let sql = match read {
        PurchasesRead::All(_) => UPSERT_PURCHASES,
        PurchasesRead::Some(_) => UPDATE_PURCHASES,
    };
    let (PurchasesRead::All(records) | PurchasesRead::Some(records)) = read;
    let records = json!(records.iter().map(purchase).collect::<Vec<_>>()).to_string();
    sqlx::query(sql).bind(teardown.0).bind(&records).bind(&now).execute(&mut *conn).await?;
    if matches!(read, PurchasesRead::All(_)) {
        sqlx::query(RETIRE_PURCHASES)
            .bind(teardown.0)
            .bind(&records)
            .bind(&now)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// A purchase as JSON, with its time in the form in which times are stored.
fn purchase(record: &PurchaseRecord) -> Value {
    let mut value = json!(record);
    value["cancellable_until"] = json!(record.cancellable_until.map(time_text));
    value
}

/// Of each: teardown, records as JSON, now.
const UPSERT_PURCHASES: &str = "
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
const UPDATE_PURCHASES: &str = "
    UPDATE purchases SET status = read.value ->> 'status', standing = read.value ->> 'standing',
        last_seen_at = ?3,
        inactive_at = CASE WHEN read.value ->> 'standing' = 'inactive' THEN ?3
                           ELSE inactive_at END
    FROM json_each(?2) AS read
    WHERE teardown_id = ?1 AND purchases.key = read.value ->> 'key'";
const RETIRE_PURCHASES: &str = "
    UPDATE purchases SET standing = 'inactive', status = 'gone', blocked = NULL, inactive_at = ?3
    WHERE teardown_id = ?1 AND status <> 'gone'
      AND key NOT IN (SELECT value ->> 'key' FROM json_each(?2))";

// ---- rows ----------------------------------------------------------------------------------------

/// Saves everything of a row that may change. `from` is the state it had: a move is counted, so
/// that the trigger for typed-in changes leaves its history to [`record`].
pub(super) async fn save(conn: &mut SqliteConnection, row: &Teardown, from: State) -> Result<()> {
    let (operator, guard) = (row.holds.operator(), row.holds.guard());
    let lease = row.lease.as_ref();
    let used = i64::try_from(row.eligible_used.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE teardowns SET domain = ?, state = ?, state_since = ?, run_since = ?, try_anyway = ?,
             reason = ?, reason_text = ?,
             operator_hold_text = ?, operator_hold_by = ?, operator_hold_since = ?,
             hold_code = ?, hold_text = ?, hold_by = ?, hold_since = ?, attempts = ?, polls = ?,
             rounds = ?, next_attempt_at = ?, eligible_since = ?, eligible_used_ms = ?,
             suspects = ?, cross_checked = ?, uncancellable_at = ?, lease_owner = ?, lease_until = ?, fence = ?, moves = moves + ?,
             updated_at = ?, finished_at = ?
         WHERE id = ?",
    )
    .bind(&row.domain)
    .bind(row.state.as_str())
    .bind(time_text(row.state_since))
    .bind(time_text(row.run_since))
    .bind(row.try_anyway)
    .bind(row.reason.map(|reason| reason.as_str()))
    .bind(&row.reason_text)
    .bind(operator.map(|hold| &hold.text))
    .bind(operator.map(|hold| &hold.actor))
    .bind(operator.map(|hold| time_text(hold.since)))
    .bind(guard.map(|hold| hold.code.as_str()))
    .bind(guard.map(|hold| &hold.text))
    .bind(guard.map(|hold| &hold.actor))
    .bind(guard.map(|hold| time_text(hold.since)))
    .bind(row.attempts)
    .bind(row.polls)
    .bind(row.rounds)
    .bind(row.next_attempt_at.map(time_text))
    .bind(row.eligible_since.map(time_text))
    .bind(used)
    .bind(json!(row.suspects).to_string())
    .bind(row.cross_checked)
    .bind(row.uncancellable_at.map(time_text))
    .bind(lease.map(|lease| &lease.owner))
    .bind(lease.map(|lease| time_text(lease.until)))
    .bind(row.fence.0)
    .bind(i64::from(row.state != from))
    .bind(time_text(row.updated_at))
    .bind(row.finished_at.map(time_text))
    .bind(row.id.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes history.
pub(super) async fn record(
    conn: &mut SqliteConnection,
    row: &Teardown,
    events: &[Event],
    now: Timestamp,
) -> Result<()> {
    for event in events {
        sqlx::query(
            "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state,
                 reason, text, actor)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.id.0)
        .bind(row.account.as_str())
        .bind(row.tenant_id.to_string())
        .bind(time_text(now))
        .bind(event.from.as_str())
        .bind(event.to.as_str())
        .bind(event.reason.map(|reason| reason.as_str()))
        .bind(&event.text)
        .bind(&event.actor)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A command, for the transaction that changes it.
pub(super) async fn command(conn: &mut SqliteConnection, id: CommandId) -> Result<Command> {
    let row = sqlx::query("SELECT * FROM commands WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| crate::store::StoreError::NotFound(format!("command {id}")))?;
    rows::command(&row)
}
