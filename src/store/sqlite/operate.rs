//! Operators' requests: those made by the program, and those typed into `operator_requests`.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::rows::{self, Fields, time_text};
use super::{accounts, commit, queue, send};
use crate::core::ids::AccountName;
use crate::core::teardown::Teardown;
use crate::store::requests::{self, Surroundings, TypedRequest};
use crate::store::{OperatorRequest, RequestEffect, Result, StoreError, Verb, rules, stops};

/// Applies a request and keeps it with its answer.
pub(super) async fn request(
    conn: &mut SqliteConnection,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<Vec<RequestEffect>> {
    let effects = apply(conn, request, now).await?;
    let filter = &request.filter;
    sqlx::query(
        "INSERT INTO operator_requests (verb, account, tenant_id, teardown_id, batch, state,
             latest_only, actor, reason, until, try_anyway, created_at, answered_at, answer)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)",
    )
    .bind(request.verb.as_str())
    .bind(filter.account.as_ref().map(AccountName::as_str))
    .bind(requests::joined(&filter.tenants, ToString::to_string))
    .bind(requests::joined(&filter.ids, ToString::to_string))
    .bind(&filter.batch)
    .bind(requests::joined(&filter.states, |state| state.as_str().to_owned()))
    .bind(filter.latest_only)
    .bind(&request.actor)
    .bind(&request.reason)
    .bind(request.until.map(time_text))
    .bind(request.try_anyway)
    .bind(time_text(now))
    .bind(requests::answer(&effects))
    .execute(conn)
    .await?;
    Ok(effects)
}

async fn apply(
    conn: &mut SqliteConnection,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<Vec<RequestEffect>> {
    let mut effects = Vec::new();
    match request.verb {
        Verb::Pause | Verb::Resume => {
            effects.push(about_account(conn, &stops::scope(request), request, now).await?);
        }
        Verb::Unhalt => {
            for name in halted(conn, request.filter.account.as_ref()).await? {
                effects.push(about_account(conn, &name, request, now).await?);
            }
        }
        Verb::Hold | Verb::Release | Verb::Abort | Verb::Retry => {
            for row in queue::list(conn, &request.filter).await? {
                effects.push(about_row(conn, row, request, now).await?);
            }
        }
    }
    Ok(effects)
}

/// The account named, or every account that is halted.
async fn halted(
    conn: &mut SqliteConnection,
    named: Option<&AccountName>,
) -> Result<Vec<AccountName>> {
    if let Some(name) = named {
        return Ok(vec![name.clone()]);
    }
    let stored = accounts::load_all(conn).await?;
    Ok(stored.into_iter().filter(|row| row.halted.is_some()).map(|row| row.name).collect())
}

async fn about_account(
    conn: &mut SqliteConnection,
    name: &AccountName,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<RequestEffect> {
    let mut account = accounts::load(conn, name).await?;
    let effect = stops::act(&mut account, request, now);
    if effect.applied {
        accounts::save(conn, &account).await?;
        accounts::set_clocks(conn, name, now).await?;
        if let Some(reason) = stops::wakes(request.verb) {
            accounts::wake(conn, name, &[reason], now).await?;
        }
    }
    Ok(effect)
}

async fn about_row(
    conn: &mut SqliteConnection,
    mut row: Teardown,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<RequestEffect> {
    let (account, every) = accounts::load_with_every(conn, &row.account).await?;
    let commands = match request.verb {
        Verb::Abort => queue::commands(conn, &row.account, row.tenant_id).await?,
        _ => Vec::new(),
    };
    let active = queue::active(conn, &row.account, row.tenant_id).await?;
    let around = Surroundings {
        commands: &commands,
        active: active.filter(|id| *id != row.id),
        account_runs: rules::runs(&account, &every, now),
    };
    let from = row.state;
    let (effect, event) = requests::act(&mut row, request, &around, now);
    if let Some(event) = event {
        commit::save(conn, &row, from).await?;
        commit::record(conn, &row, &[event], now).await?;
        if row.state.is_terminal() {
            send::withdraw_unsent(conn, &row, now).await?;
        }
    }
    Ok(effect)
}

// ---- typed in by SQL -------------------------------------------------------------------------------

/// Whether a request waits for its answer.
pub(super) async fn is_any_open(conn: &mut SqliteConnection) -> Result<bool> {
    let row = sqlx::query("SELECT 1 FROM operator_requests WHERE answered_at IS NULL LIMIT 1")
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// Applies and answers the open requests, each by itself: one that fails changes nothing.
pub(super) async fn apply_typed(conn: &mut SqliteConnection, now: Timestamp) -> Result<u64> {
    let open = sqlx::query("SELECT * FROM operator_requests WHERE answered_at IS NULL ORDER BY id")
        .fetch_all(&mut *conn)
        .await?;
    for row in &open {
        let mut attempt = conn.begin().await?;
        let answer = match apply_one(&mut attempt, row, now).await {
            Ok(answer) => {
                attempt.commit().await?;
                answer
            }
            Err(error @ StoreError::Engine(_)) => return Err(error),
            Err(refused) => {
                attempt.rollback().await?;
                format!("not done: {refused}")
            }
        };
        sqlx::query("UPDATE operator_requests SET answered_at = ?, answer = ? WHERE id = ?")
            .bind(time_text(now))
            .bind(answer)
            .bind(row.try_get::<i64, _>("id")?)
            .execute(&mut *conn)
            .await?;
    }
    Ok(open.len() as u64)
}

async fn apply_one(conn: &mut SqliteConnection, row: &SqliteRow, now: Timestamp) -> Result<String> {
    let f = Fields::new(row, "operator_requests", "id");
    let typed = TypedRequest {
        verb: f.get("verb")?,
        account: f.get("account")?,
        tenant_id: f.get("tenant_id")?,
        teardown_id: f.get("teardown_id")?,
        batch: f.get("batch")?,
        state: f.get("state")?,
        latest_only: f.get::<i64>("latest_only")? != 0,
        actor: f.get("actor")?,
        reason: f.get("reason")?,
        until: f.get("until")?,
        try_anyway: f.get::<i64>("try_anyway")? != 0,
    };
    let request = typed.read().map_err(StoreError::Refused)?;
    Ok(requests::answer(&apply(conn, &request, now).await?))
}

// ---- accounts of the configuration -------------------------------------------------------------------

pub(super) async fn check_accounts(
    conn: &mut SqliteConnection,
    known: &[AccountName],
    now: Timestamp,
) -> Result<u64> {
    let found = sqlx::query(
        "SELECT * FROM teardowns WHERE state NOT IN ('deleted', 'aborted', 'failed')
           AND (hold_code = 'unknown_account'
                OR lower(account) NOT IN (SELECT value FROM json_each(?)))
         ORDER BY id",
    )
    .bind(serde_json::json!(known).to_string())
    .fetch_all(&mut *conn)
    .await?;
    let mut changed = 0;
    for mut row in rows::readable(&found, rows::teardown)? {
        let (account, every) = accounts::load_with_every(conn, &row.account).await?;
        let runs = rules::runs(&account, &every, now);
        let is_known = known.contains(&row.account);
        if let Some(event) = rules::check_known(&mut row, is_known, runs, now) {
            commit::save(conn, &row, row.state).await?;
            commit::record(conn, &row, &[event], now).await?;
            changed += 1;
        }
    }
    Ok(changed)
}
