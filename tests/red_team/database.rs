//! Hands on the database while a tenant is in flight: edits by SQL, and a second daemon.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use teardownd::core::command::{Action, NewCommand};
use teardownd::core::gates::SafetyPolicy;
use teardownd::core::ids::{AccountName, CommandId};
use teardownd::core::machine::Transition;
use teardownd::core::teardown::{NewTeardown, State};
use teardownd::store::{ClaimRequest, Claimed, Commit, Slots, Store};
use teardownd::store::{MigrateMode, SqliteSettings};
use uuid::Uuid;

use super::engine::{as_read, intent};
use super::harness::*;

/// How many attempts this file holds.
pub(super) const ATTEMPTS: usize = 10;

/// A claimed row in a database file, and a shell on the same file.
struct Bench {
    _folder: tempfile::TempDir,
    store: Store,
    shell: SqliteConnection,
    policy: SafetyPolicy,
    claimed: Claimed,
    now: Timestamp,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("teardownd.db");
        let scene = Given::new([]).set();
        let now = scene.now();
        let settings =
            SqliteSettings { path: path.clone(), create: true, migrate: MigrateMode::Auto };
        let store = Store::open(&settings, now).await.unwrap();
        let shell = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        let row = NewTeardown { expected_domain: Some(domain(1)), ..scene.new_teardown(1) };
        store.enqueue(&[row], now).await.unwrap();
        let mut policy = scene.given.safety.clone();
        policy.require_domain = true;
        let claimed = claim(&store, "host:1", now).await.remove(0);
        let bench = Self { _folder: folder, store, shell, policy, claimed, now };
        bench.commit(State::EntitlementsFetched, None).await.unwrap();
        bench
    }

    async fn commit(&self, state: State, wanted: Option<Action>) -> Result<usize, String> {
        let seen = as_read(self.now);
        let command =
            |action| NewCommand { id: CommandId(Uuid::from_u128(1)), intent: intent(action) };
        let commit = Commit {
            teardown: self.claimed.teardown.id,
            fence: self.claimed.fence,
            transition: Transition::to(state),
            purchases: None,
            domain: None,
            cross_checked: None,
            failures: Vec::new(),
            commands: wanted.map(command).into_iter().collect(),
            seen: &seen,
            policy: &self.policy,
        };
        let done = self.store.commit(commit, self.now).await;
        done.map(|done| done.admitted.len()).map_err(|error| error.to_string())
    }

    async fn sql(&mut self, sql: &'static str) -> Result<u64, String> {
        let done = sqlx::query(sql).execute(&mut self.shell).await;
        done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
    }

    /// The tables refuse the statement.
    async fn refuses(&mut self, sql: &'static str) {
        let done = self.sql(sql).await;
        assert!(done.is_err(), "carried out on {done:?} rows: {sql}");
    }

    /// A cancellation is admitted as things stand.
    async fn admits(&self) -> bool {
        self.commit(State::OrdersCancelling, Some(Action::CancelOrder)).await == Ok(1)
    }
}

async fn claim(store: &Store, owner: &str, now: Timestamp) -> Vec<Claimed> {
    let request = ClaimRequest {
        owner: owner.to_owned(),
        ttl: Duration::from_secs(60),
        slots: vec![Slots {
            account: AccountName::new("sandbox"),
            free: 8,
            most: usize::MAX,
            identity: None,
        }],
        working: vec![],
    };
    store.claim(&request, now).await.unwrap()
}

#[tokio::test]
async fn without_an_attempt_a_cancellation_is_admitted() {
    // The baseline of this file: what the others must not reach.
    assert!(Bench::new().await.admits().await);
}

#[tokio::test]
async fn red_team_sql_that_points_a_row_at_another_tenant() {
    let mut bench = Bench::new().await;
    bench.refuses("UPDATE teardowns SET tenant_id = 'cccc0000-0000-4000-8000-000000000002'").await;
    bench
        .refuses(
            "UPDATE OR REPLACE teardowns SET tenant_id = 'cccc0000-0000-4000-8000-000000000002'",
        )
        .await;
}

#[tokio::test]
async fn red_team_sql_that_moves_a_row_to_another_account() {
    let mut bench = Bench::new().await;
    bench.refuses("UPDATE teardowns SET account = 'production'").await;
}

#[tokio::test]
async fn red_team_sql_that_takes_the_named_domain_away() {
    let mut bench = Bench::new().await;
    bench.sql("UPDATE teardowns SET expected_domain = NULL").await.unwrap();
    assert!(!bench.admits().await, "safety.require_domain is on");
}

#[tokio::test]
async fn red_team_sql_that_names_another_domain() {
    let mut bench = Bench::new().await;
    bench.sql("UPDATE teardowns SET expected_domain = 'tenant2.onmicrosoft.com'").await.unwrap();
    assert!(!bench.admits().await, "the domain read is another");
}

#[tokio::test]
async fn red_team_sql_that_skips_the_inventory() {
    let mut bench = Bench::new().await;
    bench.refuses("UPDATE teardowns SET state = 'polling'").await;
    bench.refuses("UPDATE teardowns SET state = 'deleted'").await;
    bench.refuses(
        "INSERT INTO teardowns (tenant_id, state) VALUES ('cccc0000-0000-4000-8000-000000000003', 'deleting')",
    )
    .await;
}

#[tokio::test]
async fn red_team_sql_that_approves() {
    let mut bench = Bench::new().await;
    bench.policy.require_approval = true;
    bench
        .refuses(
            "UPDATE teardowns SET approved_by = 'ann', approved_at = run_since,
                 approved_run = run_since, approved = '[]'",
        )
        .await;
    assert!(!bench.admits().await, "nobody has approved it");
}

#[tokio::test]
async fn red_team_sql_that_arms() {
    let mut bench = Bench::new().await;
    bench.policy.require_arming = true;
    bench
        .refuses(
            "INSERT OR REPLACE INTO accounts (name, armed_by, armed_since, armed_partner_tenant,
                 armed_cloud, armed_client_id)
             VALUES ('sandbox', 'ann', '2026-11-22T10:00:00.000Z',
                 'aaaa0000-0000-4000-8000-000000000001', 'global',
                 'aaaa0000-0000-4000-8000-000000000002')",
        )
        .await;
    assert!(!bench.admits().await, "nobody has armed it");
}

#[tokio::test]
async fn red_team_sql_that_turns_a_command_to_another_customer() {
    let mut bench = Bench::new().await;
    assert!(bench.admits().await);
    for sql in [
        "UPDATE commands SET path = '/v1/customers/cccc0000-0000-4000-8000-000000000002'",
        "UPDATE commands SET tenant_id = 'cccc0000-0000-4000-8000-000000000002'",
        "UPDATE commands SET method = 'DELETE'",
        "UPDATE commands SET body = '{}'",
    ] {
        bench.refuses(sql).await;
    }
}

#[tokio::test]
async fn red_team_sql_that_forgets_the_deletions_of_the_day() {
    let mut bench = Bench::new().await;
    assert!(bench.admits().await);
    bench.refuses("DELETE FROM commands").await;
    bench.refuses("UPDATE commands SET created_at = '2020-01-01T00:00:00.000Z'").await;
}

#[tokio::test]
async fn red_team_two_daemons_on_one_database() {
    let mut bench = Bench::new().await;
    // The second one finds nothing while the lease runs, and takes the row over when it has ended.
    assert_eq!(claim(&bench.store, "host:2", bench.now).await.len(), 0);
    let later = bench.now + Duration::from_secs(61);
    assert_eq!(claim(&bench.store, "host:2", later).await.len(), 1);
    // The first one, frozen meanwhile, commits nothing any more.
    bench.now = later;
    let late = bench.commit(State::OrdersCancelling, Some(Action::CancelOrder)).await;
    assert!(late.is_err(), "{late:?}");
}
