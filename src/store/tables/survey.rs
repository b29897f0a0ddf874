//! The survey, as a handful of statements that work on sets.

use crate::store::sql::{self, Row, Sql};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::rows;
use super::rows::Fields;
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::teardown::{State, Status};
use crate::store::model::time::{before, elapsed};
use crate::store::model::{ENQUEUE, MOVES_AT_ONCE};
use crate::store::{AccountSurvey, Move, Result, Survey, SurveyRequest, Tally, Tx};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether a person has taken note of the row that stands under this name.
macro_rules! acknowledged {
    ($row:literal) => {
        concat!("EXISTS (SELECT 1 FROM acks WHERE acks.teardown_id = ", $row, ".id)")
    };
}

pub(in crate::store) async fn survey(
    tx: &mut Tx,
    request: &SurveyRequest,
    ended_before: &Mutex<Option<Ended>>,
    now: Timestamp,
) -> Result<Survey> {
    let mut tallies = active(tx, request.stuck_after, now).await?;
    let known = ended_before.lock().unwrap_or_else(PoisonError::into_inner).take();
    let ended = ended(tx, known).await?;
    tallies.extend(ended.tallies.iter().cloned());
    *ended_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    let mut accounts = BTreeMap::new();
    count_unsettled(tx, &mut accounts).await?;
    note_uncancellable(tx, &mut accounts).await?;
    count_refused(tx, &mut accounts).await?;
    count_deletions(tx, &mut accounts, now).await?;
    count_customers(tx, &mut accounts).await?;
    count_requests(tx, &mut accounts, before(now, request.budget_window)).await?;
    let (moves, last_move) = match request.moves_after {
        Some(after) => moves(tx, after).await?,
        None => (Vec::new(), latest_move(tx).await?),
    };
    Ok(Survey { tallies, accounts, moves, last_move })
}

// ---- teardowns --------------------------------------------------------------------------------------

/// The rows before their end. They are few, whatever has ended: an index holds them alone.
async fn active(tx: &mut Tx, stuck_after: Duration, now: Timestamp) -> Result<Vec<Tally>> {
    macro_rules! statement {
        ($engine:ident) => { concat!(
        "SELECT account, state, status, reason, leased, stuck, acknowledged, false AS superseded,
                count(*) AS teardowns,
                min(CASE WHEN status = 'moving' AND NOT leased THEN due END) AS due_since
         FROM (SELECT lower(account) AS account, state,
                   CASE WHEN held THEN 'held'
                        WHEN lease_owner IS NULL AND (next_attempt_at > $1 OR not_before > $1)
                        THEN 'waiting' ELSE 'moving' END AS status,
                   CASE WHEN operator_hold_since IS NOT NULL THEN 'operator'
                        WHEN held THEN hold_code
                        WHEN lease_owner IS NULL AND state = 'queued' AND not_before > $1
                        THEN 'not_before'
                        WHEN lease_owner IS NULL AND (next_attempt_at > $1 OR not_before > $1)
                        THEN reason
                        WHEN state_since < $2 THEN reason END AS reason,
                   lease_owner IS NOT NULL AS leased, state_since < $2 AS stuck,
                   ",
        acknowledged!("teardowns"),
        " AS acknowledged,
                   ",
        due!($engine),
        " AS due
               FROM teardowns WHERE ",
        open!(),
        ") AS row
         GROUP BY 1, 2, 3, 4, 5, 6, 7"
    ) };
    }
    let sql = Sql { sqlite: statement!(sqlite), postgres: statement!(postgres) };
    let found = sql::query(sql).bind(now).bind(before(now, stuck_after)).fetch_all(tx).await?;
    Ok(rows::sound(&found, tally))
}

/// What has ended, as it was last counted. That takes a scan of the whole table, which retention may
/// leave a hundred thousand rows in, so it is done only after something has changed there.
#[derive(Debug)]
pub(in crate::store) struct Ended {
    mark: Mark,
    tallies: Vec<Tally>,
}

/// How far the history goes that tells of ends, retries and new rows, how far retention has gone, and
/// which rows are acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Mark {
    history: i64,
    cutoff: String,
    acks: String,
}

async fn mark(tx: &mut Tx, after: i64) -> Result<Mark> {
    let row = sql::query(
        "SELECT coalesce((SELECT max(id) FROM transitions WHERE id > $1
                 AND to_state IN ('deleted', 'aborted', 'failed', 'queued')), $1) AS history,
             (SELECT value FROM meta WHERE key = 'history_cutoff') AS cutoff,
             (SELECT count(*) || ' ' || coalesce(CAST(max(at) AS text), '') FROM acks) AS acks",
    )
    .bind(after)
    .fetch_one(tx)
    .await?;
    let f = Fields::new(&row, "transitions", "history");
    Ok(Mark { history: f.get("history")?, cutoff: f.get("cutoff")?, acks: f.get("acks")? })
}

async fn ended(tx: &mut Tx, known: Option<Ended>) -> Result<Ended> {
    let after = known.as_ref().map_or(0, |ended| ended.mark.history);
    let mark = mark(tx, after).await?;
    if let Some(ended) = known.filter(|ended| ended.mark == mark) {
        return Ok(ended);
    }
    let done = sql::query(Sql {
        sqlite: "SELECT lower(account) AS account, state, 'done' AS status, NULL AS reason,
                 false AS leased, false AS stuck, false AS acknowledged, false AS superseded,
                 count(*) AS teardowns, NULL AS due_since
             FROM teardowns NOT INDEXED WHERE state IN ('deleted', 'aborted') GROUP BY 1, 2",
        postgres: "SELECT lower(account) AS account, state, 'done' AS status, NULL::text AS reason,
                 false AS leased, false AS stuck, false AS acknowledged, false AS superseded,
                 count(*) AS teardowns, NULL::timestamptz AS due_since
             FROM teardowns WHERE state IN ('deleted', 'aborted') GROUP BY 1, 2",
    })
    .fetch_all(&mut *tx)
    .await?;
    // Of those of one tenant that failed, the newest counts for operators.
    macro_rules! statement {
        ($no_time:literal, $table:literal) => {
            concat!(
                "SELECT account, state, 'failed' AS status, reason, false AS leased, false AS stuck,
                     acknowledged, superseded, count(*) AS teardowns, ",
                $no_time,
                " AS due_since
                 FROM (SELECT lower(account) AS account, state, reason, ",
                acknowledged!("t"),
                " AS acknowledged,
                         EXISTS (SELECT 1 FROM teardowns AS newer
                                 WHERE lower(newer.account) = lower(t.account)
                                   AND lower(newer.tenant_id) = lower(t.tenant_id)
                                   AND newer.id > t.id) AS superseded
                       FROM ",
                $table,
                " WHERE state = 'failed') AS row
                 GROUP BY account, state, reason, acknowledged, superseded"
            )
        };
    }
    let sql = Sql {
        sqlite: statement!("NULL", "teardowns AS t NOT INDEXED"),
        postgres: statement!("NULL::timestamptz", "teardowns AS t"),
    };
    let failed = sql::query(sql).fetch_all(tx).await?;
    let tallies = [rows::sound(&done, tally), rows::sound(&failed, tally)].concat();
    Ok(Ended { mark, tallies })
}

fn tally(row: &Row) -> Result<Tally> {
    let f = Fields::new(row, "teardowns", "state");
    Ok(Tally {
        account: f.account()?,
        state: f.parse("state", State::parse)?,
        status: f.parse("status", Status::parse)?,
        reason: f.parse_opt("reason", Reason::parse).unwrap_or(Some(Reason::DamagedRow)),
        leased: f.flag("leased")?,
        stuck: f.flag("stuck")?,
        acknowledged: f.flag("acknowledged")?,
        superseded: f.flag("superseded")?,
        teardowns: f.number("teardowns")?,
        due_since: f.time_opt("due_since").unwrap_or_default(),
    })
}

// ---- accounts ---------------------------------------------------------------------------------------

type Accounts = BTreeMap<AccountName, AccountSurvey>;

/// What is unsettled of a tenant without an active teardown waits for a `retry`, not for the API.
async fn count_unsettled(tx: &mut Tx, accounts: &mut Accounts) -> Result<()> {
    macro_rules! statement {
        ($commands:literal) => { concat!(
        "SELECT c.account AS account, count(*) AS commands,
                min(CASE WHEN NOT ",
        acknowledged!("t"),
        " THEN c.created_at END) AS since
         FROM ", $commands, " CROSS JOIN teardowns AS t
         WHERE c.outcome IS NULL
           AND lower(t.account) = lower(c.account) AND lower(t.tenant_id) = lower(c.tenant_id)
           AND t.",
        open!(),
        "
         GROUP BY c.account"
    ) };
    }
    let sql = Sql {
        sqlite: statement!("commands AS c INDEXED BY commands_unsettled"),
        postgres: statement!("commands AS c"),
    };
    let found = sql::query(sql).fetch_all(tx).await?;
    for row in &found {
        let f = Fields::new(row, "commands", "account");
        let account = accounts.entry(f.account()?).or_default();
        account.unsettled = f.number("commands")?;
        account.unsettled_since = f.time_opt("since").unwrap_or_default();
    }
    Ok(())
}

async fn note_uncancellable(tx: &mut Tx, accounts: &mut Accounts) -> Result<()> {
    let sql = concat!(
        "SELECT lower(account) AS account, min(uncancellable_at) AS soonest FROM teardowns
         WHERE ",
        open!(),
        " AND uncancellable_at IS NOT NULL
           AND NOT ",
        acknowledged!("teardowns"),
        "
         GROUP BY 1"
    );
    let found = sql::query(sql).fetch_all(tx).await?;
    for row in &found {
        let f = Fields::new(row, "teardowns", "account");
        accounts.entry(f.account()?).or_default().uncancellable_at = f.time_opt("soonest")?;
    }
    Ok(())
}

async fn count_refused(tx: &mut Tx, accounts: &mut Accounts) -> Result<()> {
    let found = sql::query(
        "SELECT lower(account) AS account, reason, count(*) AS refused FROM operator_requests
         WHERE verb = $1 AND answered_at IS NOT NULL AND account IS NOT NULL AND reason IS NOT NULL
         GROUP BY 1, 2",
    )
    .bind(ENQUEUE)
    .fetch_all(tx)
    .await?;
    for row in &found {
        let f = Fields::new(row, "operator_requests", "account");
        // Another version, or a person, may have stored what is no guard here.
        if let Some(guard) = Reason::parse(f.get("reason")?) {
            accounts.entry(f.account()?).or_default().refused.insert(guard, f.number("refused")?);
        }
    }
    Ok(())
}

async fn count_deletions(tx: &mut Tx, accounts: &mut Accounts, now: Timestamp) -> Result<()> {
    let found = sql::query(
        "SELECT account, created_at FROM commands
         WHERE action = 'delete_customer' AND created_at >= $1
           AND (outcome IS NULL OR outcome IN ('accepted', 'goal_reached'))
         ORDER BY account, created_at",
    )
    .bind(before(now, DAY))
    .fetch_all(tx)
    .await?;
    for row in &found {
        let f = Fields::new(row, "commands", "account");
        accounts
            .entry(f.account()?)
            .or_default()
            .deletions
            .push(f.time("created_at").unwrap_or(now));
    }
    Ok(())
}

/// As they were last listed, by whichever replica.
async fn count_customers(tx: &mut Tx, accounts: &mut Accounts) -> Result<()> {
    let found = sql::query("SELECT account, customers FROM customer_lists").fetch_all(tx).await?;
    for row in &found {
        let f = Fields::new(row, "customer_lists", "account");
        accounts.entry(f.account()?).or_default().customers = Some(f.number("customers")?);
    }
    Ok(())
}

async fn count_requests(tx: &mut Tx, accounts: &mut Accounts, since: Timestamp) -> Result<()> {
    let found = sql::query(
        "SELECT account, resource, CAST(sum(reads + writes) AS bigint) AS sends FROM sends WHERE at >= $1
         GROUP BY account, resource",
    )
    .bind(since)
    .fetch_all(tx)
    .await?;
    for row in &found {
        let f = Fields::new(row, "sends", "account");
        let resource = f.parse("resource", super::sends::resource)?;
        let account = accounts.entry(f.account()?).or_default();
        account.requests.insert(resource, f.number("sends")?);
    }
    Ok(())
}

// ---- moves ------------------------------------------------------------------------------------------

async fn latest_move(tx: &mut Tx) -> Result<i64> {
    let row = sql::query("SELECT coalesce(max(id), 0) AS id FROM transitions").fetch_one(tx);
    Fields::new(&row.await?, "transitions", "id").get("id")
}

/// Holds and releases stand in the history too, with one state on both sides; they are no moves.
async fn moves(tx: &mut Tx, after: i64) -> Result<(Vec<Move>, i64)> {
    let found = sql::query(
        "SELECT id, account, at, from_state, to_state,
             (SELECT at FROM transitions AS p WHERE p.teardown_id = t.teardown_id AND p.id < t.id
                AND p.from_state IS DISTINCT FROM p.to_state ORDER BY p.id DESC LIMIT 1) AS entered_at,
             (SELECT at FROM transitions AS p WHERE p.teardown_id = t.teardown_id AND p.id < t.id
                AND p.to_state = 'queued' AND p.from_state IS DISTINCT FROM 'queued'
              ORDER BY p.id DESC LIMIT 1) AS queued_at
         FROM transitions AS t WHERE id > $1 AND from_state IS DISTINCT FROM to_state ORDER BY id LIMIT $2",
    )
    .bind(after)
    .bind(i64::try_from(MOVES_AT_ONCE).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await?;
    let last = match found.last() {
        Some(row) => Fields::new(row, "transitions", "id").get("id")?,
        None => after,
    };
    let moves = rows::sound(&found, |row| {
        let f = Fields::new(row, "transitions", "id");
        let at = f.time("at")?;
        let since = |time: Option<Timestamp>| time.map(|time| elapsed(time, at));
        Ok(Move {
            account: f.account()?,
            from: f.parse_opt("from_state", State::parse)?,
            to: f.parse("to_state", State::parse)?,
            in_state: since(f.time_opt("entered_at")?),
            in_run: since(f.time_opt("queued_at")?),
        })
    });
    Ok((moves, last))
}
