use std::os::unix::fs::PermissionsExt as _;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType};

use super::*;
use crate::store::file::fitness::check_file_on;
use crate::store::file::version::Schema;

fn migration(version: i64, sql: &'static str) -> Migration {
    let kind = MigrationType::Simple;
    Migration::new(version, format!("step {version}").into(), kind, sql.into_sql_str(), false)
}

const FIRST: &str = "CREATE TABLE meta (key TEXT, value TEXT);
    INSERT INTO meta VALUES ('min_reader', '1'), ('kept', 'yes');";

fn older() -> Migrator {
    Migrator::with_migrations(vec![migration(1, FIRST)])
}

fn newer(second: &'static str) -> Migrator {
    Migrator::with_migrations(vec![migration(1, FIRST), migration(2, second)])
}

fn now() -> Timestamp {
    "2026-01-31T08:00:00.5Z".parse().unwrap()
}

async fn value(path: &Path, key: &str) -> Option<String> {
    let mut conn = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
        .bind(key)
        .fetch_optional(&mut conn)
        .await
        .unwrap()
}

const SECOND: &str = "INSERT INTO meta VALUES ('second', 'done');";

#[tokio::test]
async fn an_older_database_is_copied_aside_before_it_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let path = real(&folder.path().join("t.db"));
    let created = migrate(&path, &older(), now()).await.unwrap();
    let report =
        MigrationReport { from: None, to: 1, applied: vec![1], copy: None, mended: vec![] };
    assert_eq!(created, report, "nothing to copy yet");

    std::fs::write(beside(&path, ".before.partial"), "left by a crash").unwrap();
    let report = migrate(&path, &newer(SECOND), now()).await.unwrap();
    assert_eq!((report.from, report.to, report.applied), (Some(1), 2, vec![2]));
    let copy = report.copy.unwrap();
    assert_eq!(copy, beside(&path, ".before-2"));
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "as private as its database");
    assert_eq!(value(&copy, "kept").await.as_deref(), Some("yes"));
    assert_eq!(value(&copy, "second").await, None);
    assert_eq!(value(&path, "second").await.as_deref(), Some("done"));
    assert!(!beside(&path, ".before.partial").exists());

    let report = migrate(&path, &newer(SECOND), now()).await.unwrap();
    let nothing =
        MigrationReport { from: Some(2), to: 2, applied: Vec::new(), copy: None, mended: vec![] };
    assert_eq!(report, nothing);

    // The copy, put back and migrated once more, is not overwritten by the next copy.
    std::fs::copy(&copy, &path).unwrap();
    let report = migrate(&path, &newer(SECOND), now()).await.unwrap();
    assert_eq!(report.copy.unwrap(), beside(&path, ".before-2-20260131T080000.500Z"));
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_database_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = real(&folder.path().join("t.db"));
    migrate(&path, &older(), now()).await.unwrap();
    let broken =
        newer("INSERT INTO meta VALUES ('second', 'done'); INSERT INTO nowhere VALUES (1);");
    let error = migrate(&path, &broken, now()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unfit(_)), "{error}");
    assert_eq!(value(&path, "second").await, None);
    assert_eq!(inspect(&path).await.unwrap().applied, [1]);
}

#[tokio::test]
async fn a_newer_schema_is_used_only_if_it_allows_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = real(&folder.path().join("t.db"));
    migrate(&path, &newer(SECOND), now()).await.unwrap();
    let schema = inspect(&path).await.unwrap();
    assert_eq!(schema.pending(&path, &older()).unwrap(), Vec::<i64>::new());
    for min_reader in [Some(2), None] {
        let schema = Schema { applied: vec![1, 2], min_reader };
        let error = schema.pending(&path, &older()).unwrap_err().to_string();
        assert!(error.contains("version 2") && error.contains("install the newer"), "{error}");
    }
}

#[test]
fn a_network_file_system_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let on_nfs = |_: &Path| Ok(Some("NFS".to_owned()));
    let error = check_file_on(&path, true, on_nfs).unwrap_err().to_string();
    assert!(error.contains("network file system (NFS)") && error.contains("local disk"), "{error}");
    assert!(check_file_on(&path, true, |_: &Path| Ok(None)).is_ok());
}

/// The program's own migrations, one by one.
#[tokio::test]
async fn a_database_of_the_previous_schema_is_copied_aside_and_migrated() {
    let steps: Vec<Migration> = MIGRATOR.iter().cloned().collect();
    let previous = Migrator::with_migrations(steps[..steps.len() - 1].to_vec());
    let folder = tempfile::tempdir().unwrap();
    let path = real(&folder.path().join("t.db"));
    migrate(&path, &previous, now()).await.unwrap();
    let mut conn = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::query(
        "INSERT INTO teardowns (tenant_id) VALUES ('1f2e3d4c-5b6a-4788-9900-aabbccddeeff')",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();

    let manual = SqliteSettings { path: path.clone(), create: true, migrate: MigrateMode::Manual };
    let refused = Store::open(&manual, now()).await.unwrap_err().to_string();
    assert!(refused.contains("teardownd migrate"), "{refused}");
    let auto = SqliteSettings { migrate: MigrateMode::Auto, ..manual };
    Store::open(&auto, now()).await.unwrap().close().await;
    assert!(inspect(&path).await.unwrap().pending(&path, &MIGRATOR).unwrap().is_empty());
    let copy = beside(&path, &format!(".before-{}", newest(&MIGRATOR)));
    let kept = inspect(&copy).await.unwrap();
    assert_eq!(kept.applied.last(), previous.iter().map(|step| step.version).max().as_ref());
    let mut conn = SqliteConnectOptions::new().filename(&copy).connect().await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM teardowns").fetch_one(&mut conn).await.unwrap();
    assert_eq!(rows, 1);

    // One version back reads what this one has made of it.
    let schema = inspect(&path).await.unwrap();
    assert_eq!(schema.pending(&path, &previous).unwrap(), Vec::<i64>::new());
}

/// A full disk, in small: the file may not grow.
#[tokio::test]
async fn a_transaction_that_the_database_itself_has_rolled_back_spoils_nothing_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings {
        path: folder.path().join("t.db"),
        create: true,
        migrate: MigrateMode::Auto,
    };
    let store = Store::open(&settings, now()).await.unwrap();
    let fill = || {
        async move |tx: &mut Tx| {
            let Tx::Sqlite(conn) = tx else { panic!("no file") };
            sqlx::query("PRAGMA max_page_count = 1").execute(&mut *conn).await?;
            for number in 0..100 {
                let insert = "INSERT INTO meta VALUES (?, hex(zeroblob(50000)))";
                sqlx::query(insert).bind(number).execute(&mut *conn).await?;
            }
            Ok(())
        }
    };
    let error = store.write("tick", fill).await.expect_err("the file is full").to_string();
    assert!(error.contains("full"), "{error}");
    store.write("tick", || async move |_: &mut Tx| Ok(())).await.unwrap();
    store.close().await;
}
