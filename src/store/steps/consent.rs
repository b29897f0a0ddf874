//! Approvals and the arming of accounts.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::{accounts, commit, queue};
use crate::core::approval;
use crate::core::gates::SafetyPolicy;
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::rules;
use crate::store::rules::consent;
use crate::store::rules::requests;
use crate::store::tables::sqlite::rows::{self, time_text};
use crate::store::{ApproveRequest, ArmRequest};
use crate::store::{Filter, RequestEffect, Result};

/// Applies an approval and keeps it with its answer.
pub(super) async fn approve(
    conn: &mut SqliteConnection,
    request: &ApproveRequest,
    now: Timestamp,
) -> Result<Vec<RequestEffect>> {
    let mut effects = Vec::new();
    for row in queue::to_change(conn, &request.filter).await? {
        let mut row = match row {
            Ok(row) => row,
            Err(damaged) => {
                effects.push(damaged);
                continue;
            }
        };
        let (account, every) = accounts::load_with_every(conn, &row.account).await?;
        let runs = rules::runs(&account, &every, now);
        let stored = queue::purchases(conn, row.id).await?;
        let (effect, event) = consent::approve(&mut row, request, &stored, runs, now);
        if let Some(event) = event {
            commit::save(conn, &row, row.state).await?;
            save_approval(conn, &row).await?;
            commit::record(conn, &row, &[event], now).await?;
        }
        effects.push(effect);
    }
    let record = Record {
        verb: "approve",
        account: None,
        filter: &request.filter,
        actor: &request.actor,
        reason: request.reason.as_deref(),
        effects: &effects,
    };
    record.keep(conn, now).await?;
    Ok(effects)
}

/// Counted, so that the trigger can tell it from one that was typed in.
async fn save_approval(conn: &mut SqliteConnection, row: &Teardown) -> Result<()> {
    let approval = row.approval.as_ref();
    sqlx::query(
        "UPDATE teardowns SET approvals = approvals + 1, approved_by = ?, approved_at = ?,
             approved_run = ?, approved = ?
         WHERE id = ?",
    )
    .bind(approval.map(|approval| &approval.actor))
    .bind(approval.map(|approval| time_text(approval.at)))
    .bind(approval.map(|approval| time_text(approval.run)))
    .bind(approval.map(|approval| json!(approval.inventory).to_string()))
    .bind(row.id.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// How many teardowns of the account have not ended and have no approval that counts; 0 where the
/// policy does not ask for it.
pub(super) async fn unapproved(
    conn: &mut SqliteConnection,
    account: &AccountName,
    policy: &SafetyPolicy,
) -> Result<usize> {
    if policy.hold_batch_over.is_zero() {
        return Ok(0);
    }
    let found = sqlx::query(
        "SELECT * FROM teardowns
         WHERE lower(account) = ? AND state NOT IN ('deleted', 'aborted', 'failed')",
    )
    .bind(account.as_str())
    .fetch_all(conn)
    .await?;
    // A damaged row counts: nobody can tell whether it was approved.
    let approved = |row| {
        rows::teardown(row)
            .is_ok_and(|row| approval::counting(&row, policy.approve_by_other).is_ok())
    };
    Ok(found.iter().filter(|row| !approved(row)).count())
}

/// Arms or disarms an account and keeps the request with its answer.
pub(super) async fn arm(
    conn: &mut SqliteConnection,
    request: &ArmRequest,
    now: Timestamp,
) -> Result<RequestEffect> {
    let (mut account, every) = accounts::load_with_every(conn, &request.account).await?;
    let effect = consent::arm(&mut account, request, now);
    if effect.applied {
        accounts::save(conn, &account).await?;
    }
    let runs = rules::runs(&account, &every, now);
    let filter = Filter { account: Some(request.account.clone()), ..Filter::default() };
    if account.armed.is_some() {
        for mut row in held_for_arming(conn, &filter).await? {
            if let Some(event) = consent::account_was_armed(&mut row, &request.actor, runs, now) {
                commit::save(conn, &row, row.state).await?;
                commit::record(conn, &row, &[event], now).await?;
            }
        }
    }
    let record = Record {
        verb: request.verb(),
        account: Some(&request.account),
        filter: &Filter::default(),
        actor: &request.actor,
        reason: request.reason.as_deref(),
        effects: std::slice::from_ref(&effect),
    };
    record.keep(conn, now).await?;
    Ok(effect)
}

async fn held_for_arming(conn: &mut SqliteConnection, filter: &Filter) -> Result<Vec<Teardown>> {
    let mut rows = queue::list(conn, filter).await?;
    rows.retain(|row| row.holds.guard().is_some_and(|hold| hold.code == Reason::Arming));
    Ok(rows)
}

/// A request as it is kept among those of operators.
struct Record<'a> {
    verb: &'a str,
    account: Option<&'a AccountName>,
    filter: &'a Filter,
    actor: &'a str,
    reason: Option<&'a str>,
    effects: &'a [RequestEffect],
}

impl Record<'_> {
    async fn keep(&self, conn: &mut SqliteConnection, now: Timestamp) -> Result<()> {
        let filter = self.filter;
        sqlx::query(
            "INSERT INTO operator_requests (verb, account, tenant_id, teardown_id, batch, state,
                 latest_only, actor, reason, created_at, answered_at, answer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11)",
        )
        .bind(self.verb)
        .bind(self.account.or(filter.account.as_ref()).map(AccountName::as_str))
        .bind(crate::store::model::joined(&filter.tenants, ToString::to_string))
        .bind(crate::store::model::joined(&filter.ids, ToString::to_string))
        .bind(&filter.batch)
        .bind(crate::store::model::joined(&filter.states, |state| state.as_str().to_owned()))
        .bind(filter.latest_only)
        .bind(self.actor)
        .bind(self.reason)
        .bind(time_text(now))
        .bind(requests::answer(self.effects))
        .execute(conn)
        .await?;
        Ok(())
    }
}
