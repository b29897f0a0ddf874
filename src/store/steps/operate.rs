//! Operators' requests: those made by the program, and those typed into `operator_requests`.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::{accounts, audit, clock, commit, protect, queue, send};
use crate::core::ids::AccountName;
use crate::core::protection::Protection;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::rules::requests::{self, Surroundings};
use crate::store::rules::typed::TypedRequest;
use crate::store::rules::{self, stops};
use crate::store::tables::sqlite::rows::{self, Fields, time_text};
use crate::store::{
    Filter, OperatorRequest, RequestEffect, RequestRecord, Result, StoreError, Verb,
};

/// The guards whose holds the lifting of a protection ends.
const FOR_PROTECTION: [Reason; 2] = [Reason::ProtectedTenant, Reason::ProtectedDomain];

/// Applies a request and keeps it with its answer.
pub(super) async fn request(
    conn: &mut SqliteConnection,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<Vec<RequestEffect>> {
    let effects = apply(conn, request, now).await?;
    let record = RequestRecord::of(request, requests::answer(&effects), now);
    audit::insert_request(conn, &record, request.filter.latest_only).await?;
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
        Verb::Protect => {
            let entries = protect::set(conn, request, now, &mut effects).await?;
            abort_protected(conn, request, &entries, now, &mut effects).await?;
        }
        Verb::Unprotect => {
            effects = protect::lift(conn, request).await?;
            let_go_protected(conn, request, now).await?;
        }
        Verb::Hold | Verb::Release | Verb::Abort | Verb::Retry | Verb::Ack | Verb::Set => {
            for row in queue::to_change(conn, &request.filter).await? {
                effects.push(match row {
                    Ok(row) => about_row(conn, row, request, now).await?,
                    Err(damaged) => damaged,
                });
            }
        }
    }
    Ok(effects)
}

/// Aborts what is under way for tenants that are protected from now on. Where a DELETE is out that
/// is refused, and the entry stands all the same.
async fn abort_protected(
    conn: &mut SqliteConnection,
    request: &OperatorRequest,
    entries: &[Protection],
    now: Timestamp,
    effects: &mut Vec<RequestEffect>,
) -> Result<()> {
    let active = Filter { account: request.filter.account.clone(), ..Filter::active() };
    let abort = requests::abort_for_protection(request);
    for row in queue::to_change(conn, &active).await?.into_iter().flatten() {
        if crate::store::rules::protect::concern(entries, &row) {
            effects.push(about_row(conn, row, &abort, now).await?);
        }
    }
    Ok(())
}

/// Lets go of the rows that a guard holds for what is protected no more; the guards are asked again.
async fn let_go_protected(
    conn: &mut SqliteConnection,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<()> {
    let lifted = crate::store::rules::protect::wanted(request, now);
    let active = Filter { account: request.filter.account.clone(), ..Filter::active() };
    for mut row in queue::list(conn, &active).await? {
        if !crate::store::rules::protect::concern(&lifted, &row) {
            continue;
        }
        let (account, every) = accounts::load_with_every(conn, &row.account).await?;
        let runs = rules::runs(&account, &every, now);
        if rules::let_go(&mut row, &FOR_PROTECTION, runs, now) {
            let text = "released: its protection was lifted".to_owned();
            let event = rules::unheld(&row, text, &request.actor);
            commit::save(conn, &row, row.state).await?;
            commit::record(conn, &row, &[event], now).await?;
        }
    }
    Ok(())
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
    let ahead = clock::ahead(conn).await?;
    let effect = stops::act(&mut account, request, ahead, now);
    if effect.applied {
        accounts::save(conn, &account).await?;
        accounts::set_clocks(conn, name, now).await?;
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
        // Where one is damaged, the table itself still refuses to abort what a DELETE is out for.
        Verb::Abort => match queue::commands(conn, &row.account, row.tenant_id).await {
            Err(StoreError::Damaged { .. }) => Vec::new(),
            commands => commands?,
        },
        _ => Vec::new(),
    };
    let protections = match request.verb {
        Verb::Retry => protect::load_all(conn).await?,
        _ => Vec::new(),
    };
    let active = queue::active(conn, &row.account, row.tenant_id).await?;
    let around = Surroundings {
        commands: &commands,
        active: active.filter(|id| *id != row.id),
        account_runs: rules::runs(&account, &every, now),
        protections: &protections,
        ahead: clock::ahead(conn).await?,
    };
    let from = row.state;
    let (effect, event) = requests::act(&mut row, request, &around, now);
    if let Some(event) = event {
        match request.verb {
            // Its own table: the row may have ended, and then stays as it is.
            Verb::Ack => protect::acknowledge(conn, row.id, request, now).await?,
            Verb::Set => queue::reorder(conn, &row).await?,
            _ => commit::save(conn, &row, from).await?,
        }
        commit::record(conn, &row, &[event], now).await?;
        if row.state.is_terminal() {
            send::withdraw_unsent(conn, &row, now).await?;
        }
    }
    Ok(effect)
}

// ---- typed in by SQL -------------------------------------------------------------------------------

/// Whether a request waits for its answer, or a row for times of the database.
pub(super) async fn is_any_open(conn: &mut SqliteConnection) -> Result<bool> {
    let row = sqlx::query(
        "SELECT 1 FROM operator_requests WHERE answered_at IS NULL UNION ALL
         SELECT 1 FROM teardowns
         WHERE typed = 1 AND state NOT IN ('deleted', 'aborted', 'failed') LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Applies and answers the open requests, each by itself: one that fails changes nothing.
pub(super) async fn apply_typed(conn: &mut SqliteConnection, now: Timestamp) -> Result<u64> {
    clock::adopt(conn, now).await?;
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
            Err(error) if error.is_out_of_reach() => return Err(error),
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
        domain: f.get("domain")?,
        priority: f.get("priority")?,
        not_before: f.get("not_before")?,
    };
    let ahead = clock::ahead(conn).await?;
    let request = typed.read(ahead).map_err(StoreError::Refused)?;
    Ok(requests::answer(&apply(conn, &request, now).await?))
}

// ---- accounts of the configuration -------------------------------------------------------------------

/// Rows of accounts that are not known, and rows held because theirs was not. Parameter: the known ones.
macro_rules! of_unknown_accounts {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM teardowns
             WHERE state NOT IN ('deleted', 'aborted', 'failed')
               AND (hold_code IS 'unknown_account'
                    OR (hold_code IS NULL
                        AND lower(account) NOT IN (SELECT value FROM json_each(?))))"
        )
    };
}

/// Whether [`check_accounts`] would find a row to look at.
pub(super) async fn is_any_account_unknown(
    conn: &mut SqliteConnection,
    known: &[AccountName],
) -> Result<bool> {
    let found = sqlx::query(concat!(of_unknown_accounts!("1"), " LIMIT 1"))
        .bind(serde_json::json!(known).to_string())
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

pub(super) async fn check_accounts(
    conn: &mut SqliteConnection,
    known: &[AccountName],
    now: Timestamp,
) -> Result<()> {
    let found = sqlx::query(concat!(of_unknown_accounts!("*"), " ORDER BY id"))
        .bind(serde_json::json!(known).to_string())
        .fetch_all(&mut *conn)
        .await?;
    for mut row in rows::sound(&found, rows::teardown) {
        let (account, every) = accounts::load_with_every(conn, &row.account).await?;
        let runs = rules::runs(&account, &every, now);
        let is_known = known.contains(&row.account);
        if let Some(event) = rules::check_known(&mut row, is_known, runs, now) {
            commit::save(conn, &row, row.state).await?;
            commit::record(conn, &row, &[event], now).await?;
        }
    }
    Ok(())
}
