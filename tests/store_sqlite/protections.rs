//! Invariants 10 to 12, held by the tables themselves: the same statements through a plain
//! connection and through the `sqlite3` shell.

use teardownd::core::machine::is_edge;
use teardownd::core::teardown::State;

use crate::suite::{Bench, at, cancel, delete, start, tenant};
use crate::{Place, plain, run, shell};

/// Statements that the tables refuse, with a part of the message that says why. They run against
/// what [`fill`] stores.
fn refused() -> Vec<(String, &'static str)> {
    let (one, two) = (tenant(1).to_string(), tenant(9));
    let insert = |columns: &str, values: &str| {
        format!("INSERT INTO teardowns ({columns}) VALUES ({values})")
    };
    let upper = one.to_uppercase();
    let mut all = vec![
        // What is inserted.
        (insert("tenant_id", "'contoso'"), "not a GUID"),
        (insert("tenant_id", "''"), "not a GUID"),
        (insert("tenant_id", "NULL"), "not a GUID"),
        (insert("tenant_id", "17"), "not a GUID"),
        (insert("tenant_id", &format!("' {one}'")), "not a GUID"),
        (insert("tenant_id", "'{a0000000-0000-4000-8000-00000000aaaa}'"), "not a GUID"),
        (insert("tenant_id", "'a0000000000040008000000000000001----'"), "not a GUID"),
        (insert("tenant_id", "'g0000000-0000-4000-8000-000000000009'"), "not a GUID"),
        (insert("tenant_id", &format!("'{one}'")), "already has an active teardown"),
        (insert("tenant_id", &format!("'{upper}'")), "already has an active teardown"),
        (insert("tenant_id, account", &format!("'{one}', 'Default'")), "already has an active"),
        (insert("tenant_id, account", &format!("'{two}', '*'")), "account is not a name"),
        (insert("tenant_id, account", &format!("'{two}', ''")), "account is not a name"),
        (insert("tenant_id, state", &format!("'{two}', 'deleted'")), "starts as queued"),
        (insert("tenant_id, state", &format!("'{two}', 'failed'")), "starts as queued"),
        (insert("tenant_id, id", &format!("'{two}', 1")), "is or was in use"),
        (insert("tenant_id, not_before", &format!("'{two}', '2027-01-31'")), "must be UTC text"),
        (
            insert("tenant_id, not_before", &format!("'{two}', '2027-02-30T00:00:00.000Z'")),
            "must be UTC text",
        ),
        (
            insert("tenant_id, suspects", &format!("'{two}', 'o-1'")),
            "leave the column suspects out",
        ),
        (insert("tenant_id, hold_code", &format!("'{two}', 'operator'")), "leave the column"),
        (insert("tenant_id, operator_hold_by", &format!("'{two}', 'bo'")), "teardownd hold"),
    ];
    let statements = [
        // Replacement.
        ("INSERT OR REPLACE INTO teardowns (id, tenant_id) VALUES (1, 'TENANT9')", "in use"),
        ("INSERT OR REPLACE INTO teardowns (tenant_id) VALUES ('TENANT1')", "already has an active"),
        ("REPLACE INTO teardowns (id, tenant_id) VALUES (2, 'TENANT9')", "in use"),
        ("INSERT OR IGNORE INTO teardowns (tenant_id) VALUES ('TENANT1')", "already has an active"),
        ("UPDATE OR REPLACE teardowns SET id = 1 WHERE id = 3", "never change"),
        ("UPDATE OR REPLACE teardowns SET state = 'queued' WHERE id = 2", "beside it"),
        // Edits.
        ("UPDATE teardowns SET tenant_id = 'TENANT9' WHERE id = 1", "never change"),
        ("UPDATE teardowns SET tenant_id = upper(tenant_id) WHERE id = 1", "never change"),
        ("UPDATE teardowns SET account = 'other' WHERE id = 1", "never change"),
        ("UPDATE teardowns SET note = 'x' WHERE id = 2", "stays as it is"),
        ("UPDATE teardowns SET state = 'aborted' WHERE id = 2", "stays as it is"),
        ("UPDATE teardowns SET state = 'queued' WHERE id = 4", "stays as it is"),
        ("UPDATE teardowns SET state = 'nonsense' WHERE id = 1", "cannot go"),
        ("UPDATE teardowns SET state = 'aborted' WHERE id = 5", "may have been carried out"),
        ("UPDATE teardowns SET next_attempt_at = 'soon' WHERE id = 1", "must be UTC text"),
        // Approvals.
        ("UPDATE teardowns SET approved_by = 'x' WHERE id = 1", "teardownd approve"),
        ("UPDATE teardowns SET approved_run = run_since WHERE id = 1", "teardownd approve"),
        ("UPDATE teardowns SET approvals = approvals + 2 WHERE id = 1", "teardownd approve"),
        ("UPDATE teardowns SET uncancellable_at = 'soon' WHERE id = 1", "must be UTC text"),
        (
            "INSERT INTO teardowns (tenant_id, approved_by) VALUES ('TENANT9', 'x')",
            "teardownd approve",
        ),
        // Removal.
        ("DELETE FROM teardowns", "cannot be removed"),
        ("DELETE FROM teardowns WHERE id = 1", "cannot be removed"),
        // History.
        ("UPDATE transitions SET actor = 'nobody'", "only appended to"),
        ("DELETE FROM transitions WHERE id = 1", "only appended to"),
        (
            "REPLACE INTO transitions (id, teardown_id, account, tenant_id, at, to_state, actor)
             VALUES (1, 1, 'default', 'TENANT1', '2026-01-01T00:00:00.000Z', 'queued', 'x')",
            "only appended to",
        ),
        // Failures.
        ("UPDATE faults SET text = 'all was well'", "only appended to"),
        ("DELETE FROM faults", "only appended to"),
        ("REPLACE INTO faults SELECT * FROM faults WHERE id = 1", "only appended to"),
        // Commands: 1 is accepted, 2 is sent and unsettled, 3 is unsent.
        ("UPDATE commands SET path = '/v1/customers/y' WHERE seq = 1", "repeated unchanged"),
        ("UPDATE commands SET body = '{}' WHERE seq = 2", "repeated unchanged"),
        ("UPDATE commands SET body = NULL WHERE seq = 2", "repeated unchanged"),
        ("UPDATE commands SET method = 'DELETE' WHERE seq = 2", "repeated unchanged"),
        ("UPDATE commands SET if_match = '\"other\"' WHERE seq = 2", "repeated unchanged"),
        ("UPDATE commands SET resource = 'order:z' WHERE seq = 2", "repeated unchanged"),
        ("UPDATE commands SET id = lower(hex(randomblob(16))) WHERE seq = 2", "repeated unchanged"),
        ("UPDATE commands SET outcome = NULL WHERE seq = 1", "stays settled"),
        ("UPDATE commands SET outcome = 'refused' WHERE seq = 1", "stays settled"),
        ("UPDATE commands SET sends = 9 WHERE seq = 1", "stays settled"),
        ("UPDATE commands SET sends = 0 WHERE seq = 2", "counted up only"),
        ("UPDATE commands SET outcome = 'withdrawn' WHERE seq = 2", "cannot be withdrawn"),
        ("UPDATE commands SET outcome = 'fine' WHERE seq = 2", "CHECK"),
        ("DELETE FROM commands WHERE seq = 1", "only retention removes"),
        ("DELETE FROM commands WHERE seq = 2", "only retention removes"),
        ("REPLACE INTO commands SELECT * FROM commands WHERE seq = 2", "stands already"),
        (
            "INSERT OR REPLACE INTO commands SELECT 99, 'other-id', account, tenant_id, teardown_id,
             action, reservation, resource, method, path, body, if_match, created_at, 0, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, 0 FROM commands WHERE seq = 2",
            "is unsettled",
        ),
        (
            "INSERT INTO commands SELECT 99, 'other-id', account, tenant_id, 2,
             'cancel_order', reservation, 'order:z', 'PATCH', '/v1/customers/' || tenant_id || '/orders/z',
             json_object('id', 'z', 'status', 'cancelled'), if_match, created_at, 0, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, 0 FROM commands WHERE seq = 2",
            "needs an active teardown",
        ),
    ];
    all.extend(statements.map(|(sql, part)| {
        let sql = sql.replace("TENANT1", &tenant(1).to_string());
        (sql.replace("TENANT9", &tenant(9).to_string()), part)
    }));
    all
}

/// Rows 1 active with commands, 2 failed, 3 active (the same tenant as 2), 4 aborted, 5 with a
/// DELETE sent.
async fn fill(place: &Place, bench: &Bench) {
    let proven =
        "INSERT INTO accounts (name, proven_write, proven_delete) VALUES ('default', 1, 1)";
    run(&mut plain(&place.path()).await, proven).await.unwrap();
    bench.queue([1, 2], start()).await;
    let rows = bench.claim(2, start()).await;
    bench.walk(&rows[0], &[State::EntitlementsFetched], start()).await;
    let commands = vec![cancel(1, "a"), cancel(2, "b"), cancel(3, "c")];
    bench.command(&rows[0], State::OrdersCancelling, commands, start()).await;
    bench.send_accepted(&rows[0], 1, start()).await;
    bench.send(&rows[0], 2, start()).await;
    bench.walk(&rows[1], &[State::Failed], start()).await;
    bench.queue([2, 4], at(1)).await;
    assert!(bench.ask(teardownd::store::Verb::Abort, 4, at(1)).await.applied);
    bench.queue([5], at(1)).await;
    let rows = bench.claim(9, at(2)).await;
    let row = rows.iter().find(|row| row.teardown.tenant_id == tenant(5)).unwrap();
    bench.walk(row, &[State::EntitlementsFetched], at(2)).await;
    bench.command(row, State::Deleting, vec![delete(5)], at(2)).await;
    bench.send(row, 5, at(2)).await;
    let fault = "INSERT INTO faults (teardown_id, account, tenant_id, at, method, route, text)
                 SELECT id, account, tenant_id, '2026-01-01T00:00:00.000Z', 'GET', '/v1', 'down'
                 FROM teardowns WHERE id = 1";
    run(&mut plain(&place.path()).await, fault).await.unwrap();
    let ids: Vec<_> = [1, 2, 4, 5].map(|n| bench.row(n)).into_iter().collect();
    let mut stored = Vec::new();
    for row in ids {
        stored.push(row.await.id.0);
    }
    assert_eq!(stored, [1, 3, 4, 5]);
}

#[tokio::test]
async fn invariants_10_to_12_hold_for_any_connection() {
    let place = Place::new();
    let bench = place.bench().await;
    fill(&place, &bench).await;
    let mut conn = plain(&place.path()).await;
    let before = shell::dump(&mut conn).await;
    for (sql, part) in refused() {
        let error = run(&mut conn, &sql).await.expect_err(&sql);
        assert!(error.contains(part), "{sql}\n  said: {error}\n  not:  {part}");
    }
    assert_eq!(shell::dump(&mut conn).await, before);
}

#[tokio::test]
async fn invariants_10_to_12_hold_in_the_sqlite3_shell() {
    if !shell::is_there() {
        return;
    }
    let place = Place::new();
    let bench = place.bench().await;
    fill(&place, &bench).await;
    let mut conn = plain(&place.path()).await;
    let before = shell::dump(&mut conn).await;
    for (sql, part) in refused() {
        let error = shell::run(&place.path(), &sql).expect_err(&sql);
        assert!(error.contains(part), "{sql}\n  said: {error}\n  not:  {part}");
    }
    assert_eq!(shell::dump(&mut conn).await, before);
}

/// Every pair of states, as the triggers see them.
#[tokio::test]
async fn invariant_11_the_table_allows_the_moves_of_the_design_only() {
    let place = Place::new();
    let bench = place.bench().await;
    let paths: [(State, &[State]); 7] = [
        (State::Queued, &[]),
        (State::EntitlementsFetched, &[State::EntitlementsFetched]),
        (State::OrdersCancelling, &[State::EntitlementsFetched, State::OrdersCancelling]),
        (State::Polling, &[State::EntitlementsFetched, State::OrdersCancelling, State::Polling]),
        (State::Deleting, &[State::EntitlementsFetched, State::Deleting]),
        (State::Deleted, &[State::EntitlementsFetched, State::Deleting, State::Deleted]),
        (State::Failed, &[State::Failed]),
    ];
    let mut conn = plain(&place.path()).await;
    for (number, (from, path)) in (1u32..).zip(paths) {
        bench.queue([number], start()).await;
        let claimed = bench.claim_one(start()).await;
        bench.walk(&claimed, path, start()).await;
        let id = claimed.teardown.id;
        let ends = (from == State::Deleting).then_some(State::Deleted);
        let others = State::ALL.into_iter().filter(|to| *to != from && Some(*to) != ends);
        // An end is reached only by an accepted DELETE, after which nothing else is.
        for to in others.chain(ends) {
            if ends == Some(to) {
                bench.delete_accepted(&claimed, start()).await;
            }
            run(&mut conn, "BEGIN").await.unwrap();
            let sql = format!("UPDATE teardowns SET state = '{}' WHERE id = {id}", to.as_str());
            let moved = run(&mut conn, &sql).await;
            run(&mut conn, "ROLLBACK").await.unwrap();
            assert_eq!(moved.is_ok(), is_edge(from, to), "{from:?} to {to:?}: {moved:?}");
        }
    }
}
