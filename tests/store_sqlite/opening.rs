//! When a database is created, migrated or refused.

use std::path::Path;
use std::process::{Command, Stdio};

use sqlx::SqliteConnection;
use teardownd::core::reason::Reason;
use teardownd::store::StoreError;
use teardownd::store::lock::{Holder, RunLock};
use teardownd::store::{MigrateMode, SqliteSettings, Store, free_bytes};

use crate::suite::{at, start, tenant, wanted};
use crate::{Place, plain, run, value};

/// The text with which opening is refused.
async fn refusal(settings: &SqliteSettings) -> String {
    match Store::open(settings, start()).await {
        Err(StoreError::Unfit(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The versions of the schema that stand in `migrations`, in order.
fn migrations() -> Vec<i64> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let mut versions: Vec<i64> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.split('_').next().unwrap().parse().unwrap()
        })
        .collect();
    versions.sort_unstable();
    versions
}

/// How many rows sqlx keeps when each migration was applied once.
fn once() -> String {
    migrations().len().to_string()
}

#[tokio::test]
async fn a_missing_database_is_created_only_where_that_is_wanted() {
    let place = Place::new();
    for settings in [
        SqliteSettings { create: false, ..place.settings() },
        SqliteSettings { migrate: MigrateMode::Manual, ..place.settings() },
    ] {
        let text = refusal(&settings).await;
        assert!(text.contains("does not exist") && text.contains("teardownd migrate"), "{text}");
        assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0, "nothing is left");
    }
    let report = Store::migrate(&place.path(), start()).await.unwrap();
    let newest = *migrations().last().unwrap();
    assert_eq!((report.from, report.to, report.applied), (None, newest, migrations()));
    let settings =
        SqliteSettings { create: false, migrate: MigrateMode::Manual, ..place.settings() };
    let store = Store::open(&settings, start()).await.unwrap();
    assert!(store.size().await.unwrap() > 0);
    assert_eq!(store.file(), Some(place.path().canonicalize().unwrap().as_path()));
    assert!(free_bytes(&place.path()).unwrap() > 0);
    store.close().await;
}

#[tokio::test]
async fn what_is_no_database_of_teardownd_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::write(place.path(), "tenant;domain\n").unwrap();
    assert!(refusal(&place.settings()).await.contains("is not an SQLite database"));
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), "tenant;domain\n");
    std::fs::remove_file(place.path()).unwrap();
    std::fs::write(place.path(), "").unwrap();
    let mut conn = plain(&place.path()).await;
    run(&mut conn, "CREATE TABLE photos (id INTEGER)").await.unwrap();
    assert!(refusal(&place.settings()).await.contains("another program"));
    assert_eq!(value(&mut conn, "SELECT count(*) FROM sqlite_master").await, "1");
}

#[tokio::test]
async fn places_where_no_database_can_be_are_refused() {
    let place = Place::new();
    let folder = SqliteSettings { path: place.folder.path().to_owned(), ..place.settings() };
    assert!(refusal(&folder).await.contains("is not a file"));
    let nowhere = SqliteSettings { path: "/no/such/folder/t.db".into(), ..place.settings() };
    assert!(refusal(&nowhere).await.contains("folder does not exist"));
}

#[tokio::test]
#[cfg(unix)]
async fn a_folder_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root may write to any folder");
        return;
    }
    let place = Place::new();
    let set = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.folder.path(), permissions).unwrap();
    };
    set(0o500);
    let text = refusal(&place.settings()).await;
    set(0o700);
    assert!(text.contains("not writable"), "{text}");
}

#[tokio::test]
async fn newer_and_older_schemas_are_refused_with_the_remedy() {
    let place = Place::new();
    place.bench().await;
    let mut conn = plain(&place.path()).await;
    run(
        &mut conn,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'later', TRUE, x'00', 0)",
    )
    .await
    .unwrap();
    Store::open(&place.settings(), start()).await.expect("min_reader still allows it");
    run(&mut conn, "UPDATE meta SET value = '99' WHERE key = 'min_reader'").await.unwrap();
    let text = refusal(&place.settings()).await;
    assert!(text.contains("version 99") && text.contains("install the newer"), "{text}");

    let empty = Place::new();
    std::fs::write(empty.path(), "").unwrap();
    let manual = SqliteSettings { migrate: MigrateMode::Manual, ..empty.settings() };
    let text = refusal(&manual).await;
    assert!(text.contains("teardownd migrate"), "{text}");
    assert_eq!(std::fs::metadata(empty.path()).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_opened_at_once_migrate_once() {
    let place = Place::new();
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let settings = place.settings();
            tokio::spawn(async move { Store::open(&settings, start()).await })
        })
        .collect();
    for (number, opened) in (1..).zip(opening) {
        let store = opened.await.unwrap().unwrap();
        store.enqueue(&[wanted(number)], at(1)).await.unwrap();
    }
    let mut conn = plain(&place.path()).await;
    assert_eq!(value(&mut conn, "SELECT count(*) FROM teardowns").await, "8");
    assert_eq!(value(&mut conn, "SELECT count(*) FROM _sqlx_migrations").await, once());
}

/// Names the database to the processes that the next test starts.
const DATABASE: &str = "TEARDOWND_TEST_DATABASE";

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    if let Some(path) = std::env::var_os(DATABASE) {
        // This is one of the processes.
        let settings =
            SqliteSettings { path: path.into(), create: true, migrate: MigrateMode::Auto };
        Store::open(&settings, start()).await.unwrap();
        return;
    }
    let place = Place::new();
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "opening::processes_that_start_at_once_migrate_once"])
            .env(DATABASE, place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| child()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut conn = plain(&place.path()).await;
    assert_eq!(value(&mut conn, "SELECT count(*) FROM _sqlx_migrations").await, once());
}

#[tokio::test]
async fn the_connections_are_set_up_to_lose_nothing() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1], start()).await;
    let mut conn = plain(&place.path()).await;
    assert_eq!(value(&mut conn, "SELECT * FROM pragma_journal_mode").await, "wal");
    // A second store on the same file, as another command has it, works beside the first.
    let beside = Store::open(&place.settings(), start()).await.unwrap();
    beside.enqueue(&[wanted(2)], at(1)).await.unwrap();
    bench.queue([3], at(2)).await;
    assert_eq!(bench.claim(9, at(3)).await.len(), 3);
}

#[tokio::test]
async fn invariant_10_the_lock_of_run_does_not_hinder_other_commands() {
    let place = Place::new();
    let _lock = RunLock::acquire(&place.path(), "host:1", Holder::Run).unwrap();
    let bench = place.bench().await;
    bench.queue([1], start()).await;
    let path: &Path = &place.path();
    let text = RunLock::acquire(path, "host:2", Holder::Run).unwrap_err().to_string();
    assert!(text.contains("host:1"), "{text}");
}

/// A database of the first version of the schema.
pub(crate) async fn of_the_first_version(path: &Path) -> SqliteConnection {
    let checksum = {
        let all = sqlx::migrate!("migrations/sqlite");
        let first = all.iter().find(|migration| migration.version == 1).unwrap();
        first.checksum.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    std::fs::write(path, "").unwrap();
    let mut conn = plain(path).await;
    run(&mut conn, include_str!("../../migrations/sqlite/0001_store.sql")).await.unwrap();
    let recorded = format!(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,
             checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (1, 'store', TRUE, x'{checksum}', 0)"
    );
    run(&mut conn, &recorded).await.unwrap();
    conn
}

#[tokio::test]
async fn a_migration_moves_an_operators_hold_beside_a_guards() {
    let place = Place::new();
    let mut conn = of_the_first_version(&place.path()).await;
    for (number, code) in [(1, "operator"), (2, "arming")] {
        let held = format!(
            "INSERT INTO teardowns (tenant_id, hold_code, hold_text, hold_by, hold_since)
             VALUES ('{}', '{code}', 'look first', 'bo', '2027-01-31T08:00:00.000Z')",
            tenant(number)
        );
        run(&mut conn, &held).await.unwrap();
    }
    drop(conn);
    let bench = place.bench().await;
    let row = bench.row(1).await;
    let hold = row.holds.operator().unwrap();
    assert_eq!((hold.text.as_str(), hold.actor.as_str()), ("look first", "bo"));
    assert_eq!(row.holds.guard(), None);
    let row = bench.row(2).await;
    assert_eq!(row.holds.operator(), None);
    assert_eq!(row.holds.guard().map(|hold| hold.code), Some(Reason::Arming));
    let mut conn = plain(&place.path()).await;
    assert_eq!(value(&mut conn, "SELECT sum(held) FROM teardowns").await, "2");
}

#[tokio::test]
async fn invariant_9_a_migration_keeps_what_was_reserved() {
    let place = Place::new();
    let mut conn = of_the_first_version(&place.path()).await;
    let reserved = "INSERT INTO sends (account, resource, at, reads, writes)
                    VALUES ('default', 'order', '2027-01-31T08:00:00.000Z', 5, 2)";
    run(&mut conn, reserved).await.unwrap();
    drop(conn);
    let report = Store::migrate(&place.path(), start()).await.unwrap();
    assert_eq!((report.from, report.applied.len()), (Some(1), migrations().len() - 1));
    let mut conn = plain(&place.path()).await;
    let kept = "SELECT account || ' ' || resource || ' ' || customer || ' ' || (reads + writes) FROM sends";
    assert_eq!(value(&mut conn, kept).await, "default order  7");
    // A program of the first version still books there.
    run(
        &mut conn,
        "INSERT INTO sends (account, resource, at, reads, writes)
         VALUES ('default', 'order', '2027-01-31T08:00:00.000Z', 1, 0)
         ON CONFLICT DO UPDATE SET reads = reads + excluded.reads, writes = writes + excluded.writes",
    )
    .await
    .unwrap();
    assert_eq!(value(&mut conn, "SELECT reads FROM sends").await, "6");
}

#[tokio::test]
async fn a_database_that_lacks_a_trigger_is_refused_and_mended() {
    let place = Place::new();
    place.bench().await.store.close().await;
    for (sql, name) in [
        ("DROP TRIGGER commands_insert_request", "commands_insert_request"),
        ("DROP INDEX teardowns_active", "teardowns_active"),
        (
            "DROP TRIGGER commands_update;
             CREATE TRIGGER commands_update BEFORE UPDATE ON commands BEGIN SELECT 1; END",
            "commands_update",
        ),
    ] {
        let mut conn = plain(&place.path()).await;
        run(&mut conn, sql).await.unwrap();
        drop(conn);
        let text = refusal(&place.settings()).await;
        assert!(text.contains(name) && text.contains("teardownd migrate"), "{text}");
        let report = Store::migrate(&place.path(), start()).await.unwrap();
        assert_eq!(report.mended, [name]);
        Store::open(&place.settings(), start()).await.unwrap().close().await;
    }
}
