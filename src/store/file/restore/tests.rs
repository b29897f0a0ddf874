//! A restore that is killed. Wherever something has changed on the disk the folder is copied: that is
//! what a process that is killed there leaves behind.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::AssertSqlSafe;

use super::*;
use crate::store::file::fitness::check_leftovers;
use crate::store::file::{MigrateMode, SqliteSettings, backup};
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

/// The disk at each step of a restore that is not killed, and at its end.
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

#[tokio::test]
async fn a_damaged_database_is_kept_as_it_is() {
    let folder = place().await;
    let database = folder.path().join("t.db");
    let mut damage = std::fs::read(&database).unwrap();
    damage[16..8192].fill(0xff);
    std::fs::write(&database, &damage).unwrap();
    for (step, left) in each_step(folder.path()).await.iter().enumerate() {
        assert_eq!(count(left.path(), &damage), 1, "step {step}");
        again(left.path()).await;
        assert_eq!(count(left.path(), &damage), 1, "step {step}: after another restore");
        assert_eq!(denied(left.path()).await.unwrap(), 1, "step {step}");
    }
}

/// How many files of a folder hold exactly this.
fn count(folder: &Path, bytes: &[u8]) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| std::fs::read(path).unwrap() == bytes).count()
}

/// A log that could not be folded into its database goes where that goes, and never to the new one.
#[test]
fn a_swap_that_is_killed_tears_no_database_from_its_log() {
    for killed_at in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| real(folder.path()).join(name);
        let text = |path: &Path| std::fs::read_to_string(path).ok();
        let database = path("t.db");
        std::fs::write(&database, "old").unwrap();
        std::fs::write(path("t.db-wal"), "log").unwrap();
        let copy = Partial::shared(path("t.db.restore.partial")).unwrap();
        std::fs::write(&copy.path, "new").unwrap();
        let steps = AtomicUsize::new(0);
        let step = || {
            let now = steps.fetch_add(1, Ordering::Relaxed);
            assert!(now != killed_at, "killed");
        };
        let swap = AssertUnwindSafe(|| replaced::swap(copy, &database, now(), &step));
        let ended = std::panic::catch_unwind(swap);
        assert_eq!(ended.is_ok(), killed_at == 3, "{killed_at}");
        if text(&database).unwrap() == "old" && !path("t.db-wal").exists() {
            let refused = check_leftovers(&database).unwrap_err().to_string();
            assert!(refused.contains("restore FILE"), "{refused}");
        }
        replaced::tidy_up(&database, now()).unwrap();
        check_leftovers(&database).unwrap();
        let is_old = text(&database).unwrap() == "old";
        assert_eq!(is_old, killed_at < 2, "{killed_at}");
        assert_eq!(path("t.db-wal").exists(), is_old, "{killed_at}");
        for kept in ["old", "log", "new"] {
            assert_eq!(count(folder.path(), kept.as_bytes()), 1, "{kept}: {killed_at}");
        }
    }
}
