//! A restore that is killed. Wherever something has changed on the disk the folder is copied: that is
//! what a process that is killed there leaves behind.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sqlx::AssertSqlSafe;

use super::*;
use crate::store::sqlite::{MigrateMode, SqliteSettings, backup};
use crate::store::{Store, StoreError};

fn now() -> Timestamp {
    "2027-01-31T08:00:00Z".parse().unwrap()
}

fn settings(folder: &Path) -> SqliteSettings {
    SqliteSettings { path: folder.join("t.db"), create: true, migrate: MigrateMode::Auto }
}

async fn sql(path: &Path, sql: &str) {
    let mut conn = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

fn deny(number: u32) -> String {
    format!(
        "INSERT INTO protections (account, kind, subject, actor, since)
         VALUES ('*', 'tenant', 'aaaaaaaa-0000-4000-8000-{number:012}', 'ann',
                 '2027-01-31T08:00:00.000Z')"
    )
}

/// How many deny entries a database has, opened as `run` opens it.
async fn denied(folder: &Path) -> Result<i64> {
    let store = Store::open(&settings(folder), now()).await?;
    store.close().await;
    let mut conn =
        SqliteConnectOptions::new().filename(folder.join("t.db")).connect().await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM protections").fetch_one(&mut conn).await;
    conn.close().await.unwrap();
    Ok(count.unwrap())
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    copy
}

/// A database with one deny entry, in a folder with a backup of it, and a second entry since.
async fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    Store::open(&settings(folder.path()), now()).await.unwrap().close().await;
    sql(&path, &deny(1)).await;
    backup(&path, &folder.path().join("copy.db")).await.unwrap();
    sql(&path, &deny(2)).await;
    folder
}

/// What is on the disk at each step of a restore that is not killed, and at its end.
async fn each_step(folder: &Path) -> Vec<tempfile::TempDir> {
    let left = Mutex::new(Vec::new());
    let step = || left.lock().unwrap().push(copied(folder));
    let backup = folder.join("copy.db");
    let given = Given::new(&backup, "ann", now());
    in_steps(&folder.join("t.db"), &backup, "this test", &given, &step).await.unwrap();
    left.into_inner().unwrap()
}

async fn again(folder: &Path) -> RestoreReport {
    let later = now() + Duration::from_secs(1);
    let (database, backup) = (folder.join("t.db"), folder.join("copy.db"));
    restore(&database, &backup, "this test", "ann", later).await.unwrap()
}

#[tokio::test]
async fn a_restore_that_is_killed_anywhere_loses_no_deny_entry() {
    let folder = place().await;
    let killed = each_step(folder.path()).await;
    assert!(killed.len() >= 10, "{} steps", killed.len());
    for (step, left) in killed.iter().enumerate() {
        assert!(left.path().join("t.db").exists(), "step {step}");
        let started = copied(left.path());
        assert_eq!(denied(started.path()).await.unwrap(), 2, "step {step}: by `run`");
        for place in [left, &started] {
            again(place.path()).await;
            assert_eq!(denied(place.path()).await.unwrap(), 2, "step {step}: by another restore");
        }
    }
}

#[tokio::test]
async fn no_empty_database_is_begun_beside_a_restore_that_was_killed() {
    let folder = place().await;
    std::fs::remove_file(folder.path().join("t.db")).unwrap();
    let killed = each_step(folder.path()).await;
    let whole = Cell::new(0);
    for (step, left) in killed.iter().enumerate() {
        match denied(left.path()).await {
            Ok(entries) if left.path().join("t.db.restore.partial").exists() || entries == 0 => {
                // Nothing was begun yet, or `run` would have been refused.
                assert_eq!((step, entries), (0, 0));
                continue;
            }
            Ok(entries) => {
                assert_eq!(entries, 1, "step {step}");
                whole.set(whole.get() + 1);
            }
            Err(StoreError::Unfit(text)) => {
                assert!(text.contains("t.db.restore.partial") && text.contains("restore FILE"));
            }
            Err(error) => panic!("step {step}: {error}"),
        }
        again(left.path()).await;
        assert_eq!(denied(left.path()).await.unwrap(), 1, "step {step}");
    }
    assert!(whole.get() > 0);
}

/// The log of a damaged database cannot be folded into it. Neither of them is lost, and the new
/// database never has it.
#[tokio::test]
async fn a_damaged_database_is_kept_with_its_log() {
    let folder = place().await;
    let (database, log) = (folder.path().join("t.db"), folder.path().join("t.db-wal"));
    let mut damage = std::fs::read(&database).unwrap();
    damage[16..8192].fill(0xff);
    std::fs::write(&database, &damage).unwrap();
    std::fs::write(&log, "what could not be folded").unwrap();
    let killed = each_step(folder.path()).await;
    let find = |folder: &Path, bytes: &[u8]| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| std::fs::read(path).unwrap() == bytes).collect()
    };
    for (step, left) in killed.iter().map(tempfile::TempDir::path).enumerate() {
        let is_old = std::fs::read(left.join("t.db")).unwrap() == damage;
        assert_eq!(find(left, &damage).len(), 1, "step {step}");
        assert_eq!(find(left, b"what could not be folded").len(), 1, "step {step}");
        assert!(is_old || !left.join("t.db-wal").exists(), "step {step}");
        if is_old && !left.join("t.db-wal").exists() {
            // The copy has other inodes than the original.
            continue;
        }
        again(left).await;
        assert_eq!(find(left, &damage).len(), 1, "step {step}: after another restore");
        assert_eq!(find(left, b"what could not be folded").len(), 1, "step {step}");
        assert_eq!(denied(left).await.unwrap(), 1, "step {step}");
    }
}
