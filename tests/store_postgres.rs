//! The store on a PostgreSQL server: its duties on every engine, also while connections break; and opening,
//! rights, the schema's own rules, locks and races.

#[path = "common/cuts.rs"]
mod cuts;
#[path = "common/postgres.rs"]
mod postgres_server;
#[path = "store_conformance/mod.rs"]
mod suite;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cuts::{Cut, Proxy};
use futures::FutureExt as _;
use jiff::Timestamp;
use postgres_server::Database;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use suite::Backend;
use teardownd::core::account::Identity;
use teardownd::core::clock::{BoxFuture, Clock, Entropy as _};
use teardownd::core::database_time::Reading;
use teardownd::core::ids::{AccountName, TenantId};
use teardownd::core::teardown::NewTeardown;
use teardownd::runtime::clock::{SystemClock, SystemEntropy};
use teardownd::runtime::timekeeping;
use teardownd::store::{
    ClaimRequest, Filter, MigrateMode, Replica, ServerSettings, ServerTime, Slots, Store,
    StoreError,
};

// ---- the duties of the store ---------------------------------------------------------------------

#[async_trait]
impl Backend for Database {
    async fn open(&self) -> Arc<Store> {
        Arc::new(self.store(MigrateMode::Manual).await)
    }
}

/// A database whose connections break.
#[derive(Debug)]
struct Broken {
    database: Database,
    proxy: Proxy,
}

impl Broken {
    async fn off(cut: Cut) -> Option<Self> {
        let database = Database::migrated().await?;
        let proxy = Proxy::before(database.port(), cut).await;
        Some(Self { database, proxy })
    }
}

#[async_trait]
impl Backend for Broken {
    async fn open(&self) -> Arc<Store> {
        let url = self.database.url_by(self.proxy.port());
        let settings = Database::settings_of(&url, MigrateMode::Manual);
        // A connection that breaks while it is opened is no part of a step.
        for _ in 0..100 {
            match Store::connect(&settings).await {
                Err(StoreError::Lost(_)) => {}
                opened => return Arc::new(opened.unwrap()),
            }
        }
        panic!("the database cannot be opened")
    }
}

conformance!(duties, crate::Database::migrated());
// Nothing is done twice where every third COMMIT is not acknowledged, and nothing is lost where any statement
// may be the last of its connection.
conformance!(without_acknowledgements, crate::Broken::off(crate::Cut::AtCommits(3)));
conformance!(cut_off, crate::Broken::off(crate::Cut::AtEvery(23)));

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// What the clocks of a machine show.
fn reading(uptime: u64) -> Reading {
    Reading { boot: "b".to_owned(), uptime: Duration::from_secs(uptime), wall: start() }
}

fn replica(name: &str, now: Timestamp) -> Replica {
    Replica::starting(name, format!("{name}/1/ab"), now)
}

#[expect(clippy::disallowed_methods, reason = "the server goes by the clock on the wall")]
fn wall() -> Timestamp {
    Timestamp::now()
}

fn wanted(number: u32) -> NewTeardown {
    NewTeardown {
        account: AccountName::new("default"),
        tenant_id: tenant(number),
        expected_domain: None,
        batch: None,
        priority: 0,
        note: None,
        requested_by: None,
        not_before: None,
        again: false,
    }
}

fn tenant(number: u32) -> TenantId {
    format!("a0000000-0000-4000-8000-{number:012}").parse().unwrap()
}

async fn refusal(settings: &ServerSettings) -> String {
    match Store::connect(settings).await {
        Err(StoreError::Unfit(text)) => text,
        other => panic!("not refused as unfit: {other:?}"),
    }
}

// ---- opening -------------------------------------------------------------------------------------

#[tokio::test]
async fn an_empty_database_is_made_by_a_migration_alone() {
    let Some(database) = Database::empty().await else { return };
    let refused = refusal(&database.settings(MigrateMode::Manual)).await;
    assert!(refused.contains("run `teardownd migrate`"), "{refused}");
    let report = Store::migrate_server(&database.settings(MigrateMode::Manual)).await.unwrap();
    assert!(report.from.is_none() && !report.applied.is_empty());
    database.store(MigrateMode::Manual).await.close().await;
    let again = Store::migrate_server(&database.settings(MigrateMode::Manual)).await.unwrap();
    assert_eq!((again.from, again.applied), (Some(report.to), Vec::new()));
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let Some(database) = Database::empty().await else { return };
    let open = || database.store(MigrateMode::Auto);
    let stores = futures::future::join_all([open(), open(), open(), open()]).await;
    let listed = stores[0].list(&Filter::default()).await.unwrap();
    assert_eq!(listed.len(), 0);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_unless_it_allows_this_one() {
    let Some(database) = Database::migrated().await else { return };
    let mut conn = database.plain().await;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (999, 'later', true, '', 0)";
    conn.execute(newer).await.unwrap();
    database.store(MigrateMode::Auto).await.close().await;
    conn.execute("UPDATE meta SET value = '999' WHERE key = 'min_reader'").await.unwrap();
    let refused = refusal(&database.settings(MigrateMode::Auto)).await;
    assert!(refused.contains("schema version 999") && refused.contains("install"), "{refused}");
}

#[tokio::test]
async fn a_database_that_keeps_text_otherwise_is_refused_with_the_remedy() {
    let Some(database) = Database::encoded("LATIN1").await else { return };
    let refused = refusal(&database.settings(MigrateMode::Auto)).await;
    assert!(refused.contains("LATIN1") && refused.contains("ENCODING 'UTF8'"), "{refused}");
}

#[tokio::test]
async fn rows_are_found_where_no_notify_arrives() {
    let Some(database) = Database::migrated().await else { return };
    let proxy = Proxy::before(database.port(), Cut::Deaf).await;
    let settings = Database::settings_of(&database.url_by(proxy.port()), MigrateMode::Manual);
    let store = Store::connect(&settings).await.unwrap();
    // It listens, its own words do not come back, and it goes on.
    store.changed().await;
    store.enqueue(&[wanted(1)], start()).await.unwrap();
    assert!(store.changed().now_or_never().is_none());
    assert_eq!(claim(&store, "a/1/ab", start()).await.len(), 1);
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_it_lacks() {
    let Some(database) = Database::migrated().await else { return };
    let mut conn = database.plain().await;
    let role = format!("guest_{}", SystemEntropy.uuid().simple());
    conn.execute(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN"))).await.unwrap();
    let mut url: url::Url = database.url().parse().unwrap();
    url.set_username(&role).unwrap();
    let settings = Database::settings_of(url.as_str(), MigrateMode::Auto);
    let refused = refusal(&settings).await;
    assert!(refused.contains("GRANT owner TO role"), "{refused}");
    conn.execute(AssertSqlSafe(format!("DROP ROLE {role}"))).await.unwrap();

    url.set_username("nobody_of_that_name").unwrap();
    let refused = refusal(&Database::settings_of(url.as_str(), MigrateMode::Auto)).await;
    assert!(
        refused.contains("nobody_of_that_name") && refused.contains("CREATE ROLE"),
        "{refused}"
    );
    let mut url: url::Url = database.url().parse().unwrap();
    url.set_path("no_such_database");
    let refused = refusal(&Database::settings_of(url.as_str(), MigrateMode::Auto)).await;
    assert!(refused.contains("CREATE DATABASE"), "{refused}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_may_answer_later() {
    let Some(database) = Database::migrated().await else { return };
    // Nobody listens there: the port was given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = Database::settings_of(&database.url_by(port), MigrateMode::Auto);
    let error = Store::connect(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

// ---- the schema ----------------------------------------------------------------------------------

#[tokio::test]
async fn invariant_11_a_database_that_lacks_a_rule_is_refused_until_it_is_put_back() {
    for (harm, name) in [
        ("DROP TRIGGER teardowns_insert_protected ON teardowns", "teardowns_insert_protected"),
        ("ALTER TABLE commands DISABLE TRIGGER commands_update", "commands_update"),
        (
            "CREATE OR REPLACE FUNCTION teardowns_update_deleted() RETURNS trigger
             LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "teardowns_update_deleted",
        ),
    ] {
        let Some(database) = Database::migrated().await else { return };
        database.plain().await.execute(harm).await.unwrap();
        let refused = refusal(&database.settings(MigrateMode::Auto)).await;
        assert!(refused.contains(name) && refused.contains("teardownd migrate"), "{refused}");
        let report = Store::migrate_server(&database.settings(MigrateMode::Manual)).await.unwrap();
        assert_eq!(report.mended, [name]);
        database.store(MigrateMode::Manual).await.close().await;
    }
}

#[test]
fn both_engines_have_the_same_versions_from_the_first_of_the_server_on() {
    let versions = |engine: &str| -> BTreeSet<String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let files = std::fs::read_dir(folder.join(engine)).unwrap().flatten();
        let version = |name: String| name.split('_').next().unwrap().to_owned();
        files.map(|file| version(file.file_name().into_string().unwrap())).collect()
    };
    let server = versions("postgres");
    let first = server.first().unwrap();
    let file: BTreeSet<String> =
        versions("sqlite").into_iter().filter(|version| version >= first).collect();
    assert_eq!(server, file);
}

/// Triggers of SQLite that have no twin: a server has one clock, and its own time in each row that is typed.
const OF_SQLITE_ALONE: [&str; 2] = ["operator_requests_insert_time", "protections_insert_time"];

#[tokio::test]
async fn both_engines_refuse_by_the_same_rules() {
    let Some(database) = Database::migrated().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.db");
    Store::migrate(&file, start()).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut conn = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let names = conn.fetch_all("SELECT name FROM sqlite_master WHERE type = 'trigger'");
    let of_file: BTreeSet<String> =
        names.await.unwrap().iter().map(|row| row.get::<String, _>(0)).collect();
    let names = "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal";
    let found = database.plain().await.fetch_all(names).await.unwrap();
    let of_server: BTreeSet<String> = found.iter().map(|row| row.get::<String, _>(0)).collect();
    let missing: Vec<&String> = of_file
        .difference(&of_server)
        .filter(|name| !OF_SQLITE_ALONE.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Beside them the server refuses TRUNCATE and tells of new rows.
    let others: Vec<&String> = of_server
        .difference(&of_file)
        .filter(|name| !name.ends_with("_truncate") && !name.ends_with("_notify"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn a_row_that_is_typed_in_picks_every_default_and_is_claimed() {
    let Some(database) = Database::migrated().await else { return };
    let store = database.store(MigrateMode::Manual).await;
    let mut conn = database.plain().await;
    let insert = format!("INSERT INTO teardowns (tenant_id) VALUES ('{}')", tenant(1));
    conn.execute(AssertSqlSafe(insert.clone())).await.unwrap();
    let again = conn.execute(AssertSqlSafe(insert)).await.unwrap_err().to_string();
    assert!(again.contains("already has an active teardown"), "{again}");
    let wrong = conn.execute("INSERT INTO teardowns (tenant_id) VALUES ('..')").await;
    assert!(wrong.unwrap_err().to_string().contains("not a GUID"));
    let now = wall();
    store.apply_requests(now).await.unwrap();
    assert_eq!(claim(&store, "a", now).await.len(), 1);
}

/// After a statement that failed a transaction of PostgreSQL is over, unless it can go back to a savepoint.
#[tokio::test]
async fn a_row_that_refuses_its_renewal_costs_no_other_its_lease() {
    let Some(database) = Database::migrated().await else { return };
    let store = database.store(MigrateMode::Manual).await;
    store.enqueue(&[wanted(1), wanted(2), wanted(3)], start()).await.unwrap();
    let claimed = claim(&store, "a", start()).await;
    let leases: Vec<_> = claimed.iter().map(|one| (one.teardown.id, one.fence)).collect();
    let refuses = "CREATE TRIGGER refuses BEFORE UPDATE ON teardowns FOR EACH ROW WHEN (OLD.id = 2)
                   EXECUTE FUNCTION refuse('the second row cannot be renewed')";
    database.plain().await.execute(refuses).await.unwrap();
    let lost = store.renew("a", &leases, Duration::from_secs(90), start()).await.unwrap();
    assert_eq!(lost.iter().map(|id| id.0).collect::<Vec<_>>(), [2]);
}

/// PostgreSQL keeps no U+0000 in text. An answer that holds one must not keep its teardown from going on.
#[tokio::test]
async fn text_with_a_nul_is_kept_without_it() {
    let Some(database) = Database::migrated().await else { return };
    let store = database.store(MigrateMode::Manual).await;
    let noted = NewTeardown { note: Some("a\0b \\u0000 c".to_owned()), ..wanted(1) };
    store.enqueue(&[noted], start()).await.unwrap();
    let rows = store.list(&Filter::default()).await.unwrap();
    assert_eq!(rows[0].note.as_deref(), Some("a\u{fffd}b \\u0000 c"));
    let asked = store.ask_reload("an\0na", start()).await;
    assert!(asked.is_ok(), "{asked:?}");
}

/// A length of time beyond the beginning of time is that beginning, and PostgreSQL has a later one.
#[tokio::test]
async fn retention_without_end_removes_nothing() {
    let Some(database) = Database::migrated().await else { return };
    let store = database.store(MigrateMode::Manual).await;
    store.enqueue(&[wanted(1)], start()).await.unwrap();
    store.purge(Timestamp::MIN, Timestamp::MIN).await.unwrap();
    assert_eq!(store.list(&Filter::default()).await.unwrap().len(), 1);
}

async fn claim(store: &Store, owner: &str, now: Timestamp) -> Vec<teardownd::store::Claimed> {
    let request = ClaimRequest {
        owner: owner.to_owned(),
        ttl: Duration::from_secs(60),
        slots: vec![Slots {
            account: AccountName::new("default"),
            free: 5,
            most: usize::MAX,
            identity: None,
        }],
        working: Vec::new(),
    };
    store.claim(&request, now).await.unwrap()
}

// ---- broken connections --------------------------------------------------------------------------

#[tokio::test]
async fn a_commit_that_nobody_acknowledged_is_looked_up_and_not_made_again() {
    let Some(database) = Database::migrated().await else { return };
    let proxy = Proxy::before(database.port(), Cut::AtCommits(1)).await;
    let url = database.url_by(proxy.port());
    let store = Store::connect(&Database::settings_of(&url, MigrateMode::Manual)).await.unwrap();
    for number in 1..=5 {
        let answer = store.enqueue(&[wanted(number)], start()).await.unwrap();
        // Made again, it would be active already.
        assert_eq!(answer[0].1, teardownd::store::EnqueueOutcome::Queued);
    }
    assert_eq!(proxy.cuts(), 5);
    store.close().await;
    let left = database.plain().await.fetch_all("SELECT id FROM writers").await.unwrap();
    assert_eq!(left.len(), 0, "a process that ends in good order leaves no row");
}

// ---- side by side --------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_claims_of_several_processes_never_share_a_row() {
    let Some(database) = Database::migrated().await else { return };
    let stores: Vec<Arc<Store>> = futures::future::join_all(
        (0..4).map(async |_| Arc::new(database.store(MigrateMode::Manual).await)),
    )
    .await;
    let rows: Vec<NewTeardown> = (1..=60).map(wanted).collect();
    stores[0].enqueue(&rows, start()).await.unwrap();
    let claims = stores.iter().enumerate().map(|(number, store)| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = claim(&store, &format!("replica {number}"), start()).await;
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(claimed.into_iter().map(|claimed| claimed.teardown.id));
            }
        })
    });
    let claimed: Vec<_> = futures::future::join_all(claims).await;
    let all: Vec<_> = claimed.into_iter().flat_map(Result::unwrap).collect();
    let distinct: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (60, 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_meet_are_made_one_after_the_other() {
    let Some(database) = Database::migrated().await else { return };
    let stores = [
        database.store(MigrateMode::Manual).await,
        database.store(MigrateMode::Manual).await,
        database.store(MigrateMode::Manual).await,
    ];
    // Each enqueues the same tenants: one of them queues each.
    let calls = stores.iter().map(async |store| {
        let mut queued = 0;
        for number in 1..=30 {
            let answer = store.enqueue(&[wanted(number)], start()).await.unwrap();
            queued += usize::from(answer[0].1 == teardownd::store::EnqueueOutcome::Queued);
        }
        queued
    });
    let queued: usize = futures::future::join_all(calls).await.into_iter().sum();
    assert_eq!(queued, 30);
    assert_eq!(stores[0].list(&Filter::default()).await.unwrap().len(), 30);
}

/// A lost notice would let the test hang.
#[tokio::test]
async fn a_listener_is_told_of_what_others_queue() {
    let Some(database) = Database::migrated().await else { return };
    let listening = database.store(MigrateMode::Manual).await;
    // The first time tells that nobody has listened before.
    listening.changed().await;
    let other = database.store(MigrateMode::Manual).await;
    for number in 1..=3 {
        other.enqueue(&[wanted(number)], start()).await.unwrap();
        listening.changed().await;
    }
    // A row that is typed in tells as well, and so does a connection that is lost.
    let insert = format!("INSERT INTO teardowns (tenant_id) VALUES ('{}')", tenant(4));
    database.plain().await.execute(AssertSqlSafe(insert)).await.unwrap();
    listening.changed().await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.plain().await.execute(end).await.unwrap();
    listening.changed().await;
    other.enqueue(&[wanted(5)], start()).await.unwrap();
    listening.changed().await;
}

#[tokio::test]
async fn invariant_10_one_process_has_the_name_of_a_replica_and_its_lock_outlives_its_session() {
    let Some(database) = Database::migrated().await else { return };
    let named = |name: &str| ServerSettings {
        replica: Some(name.to_owned()),
        ..database.settings(MigrateMode::Manual)
    };
    let beside = database.store(MigrateMode::Manual).await;
    beside.tick(&reading(1), &replica("a", start())).await.unwrap();
    assert!(!beside.is_worked_on().await.unwrap());
    let alone = named("a");
    let daemon = Store::connect(&alone).await.unwrap();
    assert!(beside.is_worked_on().await.unwrap());
    // Whoever has the name works, as the heartbeat tells.
    let ticking = async {
        SystemClock::start().sleep(Duration::from_secs(1)).await;
        beside.tick(&reading(2), &replica("a", start())).await.unwrap();
    };
    let (second, ()) = futures::join!(refusal(&alone), ticking);
    assert!(
        second.contains("named \"a\" already") && second.contains("engine.replica"),
        "{second}"
    );
    // Without a heartbeat it may be gone, and the name is free as soon as the server has noticed.
    let silent = Store::connect(&alone).await.unwrap_err();
    assert!(
        matches!(&silent, StoreError::Busy(text) if text.contains("no sign of life")),
        "{silent}"
    );
    // One with another name works beside it.
    Store::connect(&named("b")).await.unwrap().close().await;
    // The server ends every session but the asking one, as a restart does.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.plain().await.execute(end).await.unwrap();
    daemon.version().await.unwrap();
    assert!(beside.is_worked_on().await.unwrap());
    // Another one that is quicker keeps it.
    database.plain().await.execute(end).await.unwrap();
    let taken = Store::connect(&alone).await.unwrap();
    let gone = daemon.version().await.unwrap_err();
    assert!(matches!(gone, StoreError::Gone(_)), "{gone}");
    taken.close().await;
}

#[tokio::test]
async fn invariant_10_a_replica_that_hears_late_is_never_ahead_of_the_server() {
    let Some(database) = Database::migrated().await else { return };
    let late = Duration::from_millis(60);
    let proxy = Proxy::before(database.port(), Cut::Late(late)).await;
    let settings = Database::settings_of(&database.url_by(proxy.port()), MigrateMode::Manual);
    let settings = ServerSettings { time: ServerTime::Server, ..settings };
    let store = Store::connect(&settings).await.unwrap();
    let clock = SystemClock::start();
    timekeeping::keep(&store, &clock).await.unwrap();
    let mut conn = database.plain().await;
    let now = clock.now();
    let server: String = sqlx::query_scalar("SELECT to_json(clock_timestamp()) #>> '{}'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let server: Timestamp = server.parse().unwrap();
    // Ahead, it would take a lease that another replica still has.
    assert!(now <= server, "{now} {server}");
}

#[tokio::test]
async fn invariant_10_a_replica_takes_over_what_its_own_name_left_and_nothing_else() {
    let Some(database) = Database::migrated().await else { return };
    let store = database.store(MigrateMode::Manual).await;
    store.enqueue(&(1..=10).map(wanted).collect::<Vec<_>>(), start()).await.unwrap();
    let own = claim(&store, "b/1/ab", start()).await;
    let others = claim(&store, "ba/1/cd", start()).await;
    assert_eq!((own.len(), others.len()), (5, 5));
    assert_eq!(store.take_over("b", start()).await.unwrap(), 5);
    let again = claim(&store, "b/2/ef", start()).await;
    let ids = |claimed: &[teardownd::store::Claimed]| -> BTreeSet<_> {
        claimed.iter().map(|claimed| claimed.teardown.id).collect()
    };
    assert_eq!(ids(&again), ids(&own));
}

#[tokio::test]
async fn invariant_2_a_replica_without_an_account_lifts_no_halt_of_it() {
    let Some(database) = Database::migrated().await else { return };
    let store = database.store(MigrateMode::Manual).await;
    let (emea, apac) = (AccountName::new("emea"), AccountName::new("apac"));
    let identity = |number| Identity {
        partner_tenant: TenantId::new(uuid::Uuid::from_u128(number)),
        cloud: "global".to_owned(),
        client_id: uuid::Uuid::from_u128(9),
    };
    let both = [(emea.clone(), identity(1)), (apac.clone(), identity(2))];
    store.adopt(&both, start()).await.unwrap();
    store.halt(&apac, "halted", "a wrong domain", start()).await.unwrap();
    let is_halted = async || store.account(&apac).await.unwrap().halted.is_some();
    // A new replica whose configuration lacks the account.
    store.adopt(&both[..1], start()).await.unwrap();
    assert!(is_halted().await);
    assert_eq!(store.other_partners(&both).await.unwrap(), []);
    // Its partner gets another name there: the halt goes with the partner, and the former name is nobody's.
    let renamed = [both[0].clone(), (AccountName::new("asia"), identity(2))];
    store.adopt(&renamed, start()).await.unwrap();
    assert!(store.account(&AccountName::new("asia")).await.unwrap().halted.is_some());
    assert_eq!(store.other_partners(&both).await.unwrap(), [apac]);
}

#[tokio::test]
async fn what_a_newer_program_writes_in_words_of_its_own_is_left_to_it() {
    let Some(database) = Database::migrated().await else { return };
    let store = database.store(MigrateMode::Manual).await;
    store.enqueue(&[wanted(1), wanted(2)], start()).await.unwrap();
    let mut conn = database.plain().await;
    // A newer schema that allows this program, with a word that this one does not know.
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (999, 'later', true, '', 0)";
    conn.execute(newer).await.unwrap();
    conn.execute("ALTER TABLE teardowns DISABLE TRIGGER USER").await.unwrap();
    conn.execute("UPDATE teardowns SET reason = 'a_later_reason' WHERE id = 1").await.unwrap();
    conn.execute("ALTER TABLE teardowns ENABLE TRIGGER USER").await.unwrap();
    conn.execute("INSERT INTO operator_requests (verb) VALUES ('freeze'), ('resume')")
        .await
        .unwrap();
    let newer = Replica { version: "9.9.9".to_owned(), ..replica("b", start()) };
    store.tick(&reading(1), &newer).await.unwrap();
    let claimed = claim(&store, "a/1/ab", start()).await;
    assert_eq!(claimed.iter().map(|one| one.teardown.id.0).collect::<Vec<_>>(), [2]);
    let held = "SELECT count(*) FROM teardowns WHERE held OR id = 1 AND fence > 0";
    let held: i64 = sqlx::query_scalar(held).fetch_one(&mut conn).await.unwrap();
    assert_eq!(held, 0, "it is left as it was");
    assert_eq!(store.apply_requests(start()).await.unwrap(), 1);
    let open = "SELECT string_agg(verb, ' ') FROM operator_requests WHERE answered_at IS NULL";
    let open: String = sqlx::query_scalar(open).fetch_one(&mut conn).await.unwrap();
    assert_eq!(open, "freeze");
    // The newer one is gone: what nobody understands is told, and waits for a person.
    store.stop(&newer, start()).await.unwrap();
    assert_eq!(store.apply_requests(start()).await.unwrap(), 1);
    claim(&store, "a/1/ab", start()).await;
    let held = "SELECT count(*) FROM teardowns WHERE held AND id = 1";
    let held: i64 = sqlx::query_scalar(held).fetch_one(&mut conn).await.unwrap();
    assert_eq!(held, 1);
}

#[tokio::test]
async fn invariant_10_a_program_that_knows_no_replicas_works_beside_none() {
    let Some(database) = Database::migrated().await else { return };
    let mut older = database.plain().await;
    let lock = "SELECT pg_try_advisory_lock(x'74656172646f776e'::bigint)".to_owned();
    let mut locks = async || -> bool {
        sqlx::query_scalar(AssertSqlSafe(lock.clone())).fetch_one(&mut older).await.unwrap()
    };
    assert!(locks().await);
    let replica = Some("a".to_owned());
    let settings = ServerSettings { replica, ..database.settings(MigrateMode::Manual) };
    let refused = refusal(&settings).await;
    assert!(refused.contains("an older teardownd works on"), "{refused}");
    older_ends(&database).await;
    let store = Store::connect(&settings).await.unwrap();
    let mut older = database.plain().await;
    let is_free: bool =
        sqlx::query_scalar(AssertSqlSafe(lock)).fetch_one(&mut older).await.unwrap();
    assert!(!is_free);
    store.close().await;
}

/// Ends every other session on the database.
async fn older_ends(database: &Database) {
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.plain().await.execute(end).await.unwrap();
}

/// A clock on which an answer takes no time.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        start()
    }

    fn uptime(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock::start().sleep(duration)
    }
}

#[tokio::test]
async fn invariant_14_a_server_tells_the_time_whatever_the_clock_of_this_machine_shows() {
    let Some(database) = Database::migrated().await else { return };
    let settings = ServerSettings {
        time: ServerTime::Server,
        clock: Arc::new(Still),
        ..database.settings(MigrateMode::Manual)
    };
    let store = Store::connect(&settings).await.unwrap();
    let reading = |uptime, wall: &str| Reading { wall: wall.parse().unwrap(), ..reading(uptime) };
    let (kept, step) = store.keep_time(&reading(1, "2001-01-01T00:00:00Z")).await.unwrap();
    let now = wall();
    assert!(now.duration_since(kept.anchor.at).abs() < jiff::SignedDuration::from_mins(5));
    assert_eq!(step, None);
    // The server's clock is that on the wall for all: windows and schedules do not differ by machine.
    assert!(kept.is_told && kept.anchor.ahead.is_zero(), "{kept:?}");
    // The server's clock is behind what it told, as after a step back: time goes on from there.
    let (later, _) = store.keep_time(&reading(1_000_000, "2001-01-01T00:00:00Z")).await.unwrap();
    assert_eq!(later.anchor.at.duration_since(kept.anchor.at).as_secs(), 999_999);
}
