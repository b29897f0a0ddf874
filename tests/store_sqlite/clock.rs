//! The clock of the database (invariant 14), and rows that a shell has given times of its own.

use std::time::Duration;

use jiff::SignedDuration;
use teardownd::core::clock::Clock as _;
use teardownd::core::database_time::Reading;
use teardownd::core::teardown::{NewTeardown, State};
use teardownd::runtime::clock::TokioClock;
use teardownd::runtime::timekeeping;
use teardownd::store::{Filter, OperatorRequest, Verb};

use crate::suite::{at, cancel, default_account, start, tenant, wanted};
use crate::{Place, plain, run, value};

/// What a machine says that has been up for so long, with a wall clock that many seconds ahead.
fn reading(boot: &str, uptime: u64, ahead: i64) -> Reading {
    let passed = i64::try_from(uptime).unwrap() - 100;
    let uptime = Duration::from_secs(uptime);
    Reading { boot: boot.to_owned(), uptime, wall: at(passed + ahead) }
}

#[tokio::test]
async fn invariant_14_a_step_moves_what_is_meant_by_the_wall_and_nothing_else() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.store.keep_time(&reading("a", 100, 0)).await.unwrap();
    let row = NewTeardown { not_before: Some(at(7200)), ..wanted(1) };
    bench.store.enqueue(&[row, wanted(2)], start()).await.unwrap();
    let pause = OperatorRequest {
        until: Some(at(7200)),
        ..OperatorRequest::new(
            Verb::Pause,
            Filter { account: Some(default_account()), ..Filter::default() },
            "ann",
        )
    };
    bench.store.request(&pause, start()).await.unwrap();
    bench.store.throttle(&default_account(), at(900), start()).await.unwrap();
    let before = bench.row(2).await;

    let (kept, step) = bench.store.keep_time(&reading("a", 110, 3600)).await.unwrap();
    assert_eq!((kept.anchor.at, kept.anchor.ahead), (at(10), SignedDuration::from_hours(1)));
    assert_eq!(step.map(|step| (step.at, step.by)), Some((at(10), SignedDuration::from_hours(1))));
    assert_eq!(bench.row(1).await.not_before, Some(at(3600)), "two hours from now became one");
    let account = bench.store.account(&default_account()).await.unwrap();
    assert_eq!(account.paused.unwrap().until, Some(at(3600)));
    assert_eq!(account.throttled_until, Some(at(900)), "a length stays as long as it is");
    assert_eq!(bench.row(2).await, before);

    let (kept, step) = bench.store.keep_time(&reading("a", 120, 0)).await.unwrap();
    assert_eq!((kept.anchor.at, step.unwrap().by), (at(20), SignedDuration::from_hours(-1)));
    assert_eq!((kept.steps, bench.row(1).await.not_before), (2, Some(at(7200))));
    assert_eq!(bench.store.timekeeping().await.unwrap(), Some(kept));
}

#[tokio::test]
async fn invariant_14_after_a_boot_with_a_clock_set_back_no_time_in_the_database_lies_ahead() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.store.keep_time(&reading("a", 100, 0)).await.unwrap();
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(at(30)).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], at(30)).await;
    let commands = vec![cancel(1, "a")];
    let done = bench.command(&claimed, State::OrdersCancelling, commands, at(30)).await;
    assert_eq!(done.admitted.len(), 1);
    let (kept, _) = bench.store.keep_time(&reading("b", 100, -7200)).await.unwrap();
    assert_eq!(kept.anchor.at, at(30), "the command's");
}

#[tokio::test]
async fn invariant_14_the_table_keeps_one_clock_that_never_runs_backwards() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.store.keep_time(&reading("a", 100, 0)).await.unwrap();
    let mut conn = plain(&place.path()).await;
    for (sql, part) in [
        ("UPDATE clock SET at = '2025-12-31T23:59:59.999Z'", "never runs backwards"),
        ("UPDATE clock SET at = 'yesterday'", "must be UTC text"),
        ("DELETE FROM clock", "keeps its clock"),
        (
            "INSERT OR REPLACE INTO clock (id, boot, uptime_ns, at, ahead_ms)
             VALUES (1, 'x', 0, '2020-01-01T00:00:00.000Z', 0)",
            "has it already",
        ),
    ] {
        let refused = run(&mut conn, sql).await.unwrap_err();
        assert!(refused.contains(part), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn invariant_14_a_row_typed_in_gets_times_of_the_database_whatever_sqlite_took_it_for() {
    let place = Place::new();
    let bench = place.bench().await;
    // The wall clock is two hours ahead of the database, and SQLite's own is somewhere else.
    bench.store.keep_time(&reading("a", 100, 0)).await.unwrap();
    bench.store.keep_time(&reading("a", 101, 7200)).await.unwrap();
    let mut conn = plain(&place.path()).await;
    let sql = format!(
        "INSERT INTO teardowns (tenant_id, not_before) VALUES ('{}', '2026-01-01T03:00:00.000Z')",
        tenant(1)
    );
    run(&mut conn, &sql).await.unwrap();
    bench.store.apply_requests(at(10)).await.unwrap();
    let row = bench.row(1).await;
    assert_eq!([row.created_at, row.run_since, row.state_since, row.updated_at], [at(10); 4]);
    assert_eq!((row.eligible_since, row.not_before), (Some(at(10)), Some(at(3600))));
    bench.store.apply_requests(at(20)).await.unwrap();
    assert_eq!(bench.row(1).await, row, "once");

    let pause =
        "INSERT INTO operator_requests (verb, until) VALUES ('pause', '2026-01-01T03:00:00Z')";
    run(&mut conn, pause).await.unwrap();
    bench.store.apply_requests(at(30)).await.unwrap();
    let accounts = bench.store.accounts().await.unwrap();
    assert_eq!(accounts[0].paused.as_ref().unwrap().until, Some(at(3600)));
    let said = value(&mut conn, "SELECT answer FROM operator_requests").await;
    assert!(said.contains("paused until 2026-01-01T03:00:00Z"), "{said}");
}

#[tokio::test]
async fn a_command_that_only_looks_goes_on_while_somebody_else_holds_the_database() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.store.keep_time(&reading("another boot", 100, 0)).await.unwrap();
    let mut holder = plain(&place.path()).await;
    run(&mut holder, "BEGIN IMMEDIATE").await.unwrap();
    let clock = TokioClock::start(at(50));
    timekeeping::join(&bench.store, &clock, true).await.unwrap();
    assert!(clock.now() >= at(50), "it is placed all the same");
    run(&mut holder, "ROLLBACK").await.unwrap();
}
