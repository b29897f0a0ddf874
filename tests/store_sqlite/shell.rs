//! The `sqlite3` shell, where it is installed, and rows typed in with it.

use std::path::Path;
use std::process::Command;

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use teardownd::core::teardown::State;

use crate::suite::{at, tenant};
use crate::{Place, plain, value};

/// Whether the shell is installed; says so if it is not.
pub(crate) fn is_there() -> bool {
    let there = Command::new("sqlite3").arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("SKIPPED: the sqlite3 shell is not installed");
    }
    there
}

/// Runs a statement in the shell; the error is what it prints.
pub(crate) fn run(path: &Path, sql: &str) -> Result<String, String> {
    let output = Command::new("sqlite3").arg(path).arg(sql).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Everything that the protected tables hold, as text.
pub(crate) async fn dump(conn: &mut SqliteConnection) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, columns) in [
        ("teardowns", "id, account, tenant_id, state, note, next_attempt_at, fence, updated_at"),
        ("transitions", "id, teardown_id, from_state, to_state, actor, at"),
        ("commands", "seq, id, method, path, body, if_match, resource, sends, outcome, settled_at"),
    ] {
        let sql = format!("SELECT json_array({columns}) FROM {table} ORDER BY 1");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *conn).await.unwrap();
        lines.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    lines
}

#[tokio::test]
async fn a_row_typed_in_picks_every_default_and_is_claimed() {
    if !is_there() {
        return;
    }
    let place = Place::new();
    let bench = place.bench().await;
    let id = tenant(0xabcdef).to_string().to_uppercase();
    run(&place.path(), &format!("INSERT INTO teardowns (tenant_id) VALUES ('{id}')")).unwrap();
    let row = bench.row(0xabcdef).await;
    assert_eq!((row.account.as_str(), row.state, row.priority), ("default", State::Queued, 0));
    assert_eq!(row.requested_by.as_deref(), Some("sql"));
    assert_eq!((row.holds.first(), &row.lease, row.attempts), (None, &None, 0));
    assert!(row.eligible_since.is_some());
    let history = bench.store.history(None, tenant(0xabcdef)).await.unwrap();
    assert_eq!((history.len(), history[0].from, history[0].to), (1, None, State::Queued));
    assert_eq!(history[0].actor, "sql");
    // It is the same row to the program: claimed, and refused a second time.
    let claimed = bench.claim_one(row.created_at).await;
    assert_eq!(claimed.teardown.id, row.id);
    let again =
        bench.store.enqueue(&[crate::suite::wanted(0xabcdef)], row.created_at).await.unwrap();
    assert_eq!(again[0].0, row.id);
}

#[tokio::test]
async fn a_change_of_state_typed_in_has_its_history() {
    if !is_there() {
        return;
    }
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1], at(0)).await;
    run(&place.path(), "UPDATE teardowns SET state = 'aborted' WHERE id = 1").unwrap();
    run(&place.path(), "UPDATE teardowns SET priority = 1 WHERE id = 1").unwrap_err();
    let history = bench.store.history(None, tenant(1)).await.unwrap();
    let last = history.last().unwrap();
    assert_eq!(
        (last.from, last.to, last.actor.as_str()),
        (Some(State::Queued), State::Aborted, "sql")
    );
    // Retention removes it all the same.
    assert_eq!(bench.store.purge(jiff::Timestamp::MAX, at(0)).await.unwrap(), 1);
    assert_eq!(bench.store.history(None, tenant(1)).await.unwrap().len(), 2);
    // An id that was in use is not used again.
    let sql = format!("INSERT INTO teardowns (id, tenant_id) VALUES (1, '{}')", tenant(2));
    assert!(run(&place.path(), &sql).unwrap_err().contains("was in use"));
}

#[tokio::test]
async fn every_millisecond_reads_back_as_it_was_written() {
    let all = "WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t WHERE n < 999)
        SELECT count(*) FROM (SELECT printf('2027-12-31T23:59:59.%03dZ', n) AS x FROM t)
        WHERE strftime('%Y-%m-%dT%H:%M:%fZ', x, '+0 days') IS x";
    let place = Place::new();
    place.bench().await;
    let mut conn = plain(&place.path()).await;
    assert_eq!(value(&mut conn, all).await, "1000");
    if is_there() {
        assert_eq!(run(&place.path(), all).unwrap().trim(), "1000");
    }
}
