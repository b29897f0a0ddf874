//! How SQLite finds what is asked for at every claim and every write: by an index, so that it takes
//! no longer when the tables have grown for a year.

use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::file::MIGRATOR;
use super::tables::{commands, leases, waiting};

/// The steps of a statement, as SQLite explains them.
async fn plan(sql: &str) -> Vec<String> {
    let mut tx = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    MIGRATOR.run(&mut tx).await.unwrap();
    let steps = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(&mut tx)
        .await
        .unwrap();
    steps.iter().map(|step| step.get("detail")).collect()
}

async fn assert_found_by(sql: &str, indexes: &[&str]) {
    let plan = plan(sql).await;
    for index in indexes {
        let found = plan.iter().any(|step| step.contains("SEARCH") && step.contains(index));
        assert!(found, "not found by {index}: {plan:#?}");
    }
    let tables = ["SCAN teardowns", "SCAN commands", "SCAN c", "SCAN t", "SCAN due"];
    let scan = plan.iter().find(|step| tables.iter().any(|table| step.starts_with(table)));
    assert_eq!(scan, None, "{plan:#?}");
}

#[tokio::test]
async fn what_is_due_is_found_in_its_order_by_the_index() {
    assert_found_by(leases::DUE.sqlite, &["teardowns_claim (<expr>=?)"]).await;
    let sorts = plan(leases::DUE.sqlite).await.into_iter().filter(|step| step.contains("ORDER BY"));
    assert_eq!(sorts.count(), 0);
}

#[tokio::test]
async fn calls_under_way_are_found_by_their_index() {
    assert_found_by(commands::CALLS.sqlite, &["commands_calling (account=?)"]).await;
}

#[tokio::test]
async fn rows_behind_gates_are_found_by_their_index() {
    assert_found_by(waiting::WAITING.sqlite, &["teardowns_waiting (<expr>=? AND reason=?"]).await;
}

#[test]
fn the_migrations_make_the_version_that_the_program_knows() {
    let newest = super::file::MIGRATOR.iter().map(|migration| migration.version).max();
    assert_eq!(newest, Some(super::tables::version::OWN));
}
