//! Backups, and what becomes of old knowledge when one is restored.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use teardownd::core::database_time::Reading;
use teardownd::core::ids::AccountName;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::State;
use teardownd::store::lock::{Holder, RunLock};
use teardownd::store::{Carried, RestoreReport, Store, backup, restore};
use teardownd::store::{Result, StoreError, Verb};

use crate::suite::{Bench, at, default_account, start, tenant};
use crate::{Place, plain, run, value};

impl Place {
    pub(crate) fn copy(&self) -> PathBuf {
        self.folder.path().join("copy.db")
    }

    pub(crate) async fn backed_up(&self) {
        backup(&self.path(), &self.copy()).await.unwrap();
    }

    pub(crate) async fn restored(&self, seconds: i64) -> Result<RestoreReport> {
        restore(&self.path(), &self.copy(), "this test", "anna", at(seconds)).await
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.settings(), start()).await.unwrap()
    }
}

/// A database with rows 1 to 3, none of them open in this process any more.
async fn place_with_rows() -> Place {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1, 2, 3], start()).await;
    close(&place, bench).await;
    place
}

pub(crate) async fn close(place: &Place, bench: Bench) {
    drop(bench);
    place.store().await.close().await;
}

fn text<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(StoreError::Unfit(text) | StoreError::Busy(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_backup_is_whole_private_and_never_over_another_file() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1, 2, 3], start()).await;
    // Beside a connection that is about to write.
    let mut other = plain(&place.path()).await;
    run(&mut other, "BEGIN IMMEDIATE; UPDATE teardowns SET priority = 9").await.unwrap();
    let report = backup(&place.path(), &place.copy()).await.unwrap();
    run(&mut other, "ROLLBACK").await.unwrap();
    assert_eq!((report.teardowns, report.file.clone()), (3, place.copy()));
    let file = std::fs::metadata(place.copy()).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (report.bytes, 0o600));
    let mut copy = plain(&place.copy()).await;
    assert_eq!(value(&mut copy, "SELECT max(priority) FROM teardowns").await, "0");

    let before = std::fs::read(place.copy()).unwrap();
    let refused = text(backup(&place.path(), &place.copy()).await);
    assert!(refused.contains("exists already and is not overwritten"), "{refused}");
    assert_eq!(std::fs::read(place.copy()).unwrap(), before);
    let elsewhere = place.folder.path().join("none/copy.db");
    assert!(text(backup(&place.path(), &elsewhere).await).contains("cannot be written"));
}

#[tokio::test]
async fn a_backup_that_was_broken_off_is_named() {
    let place = place_with_rows().await;
    let partial = place.folder.path().join("copy.db.partial");
    std::fs::write(&partial, "half of it").unwrap();
    let refused = text(backup(&place.path(), &place.copy()).await);
    assert!(refused.contains("copy.db.partial") && refused.contains("broken off"), "{refused}");
    assert!(partial.exists(), "another process may be at it");
    std::fs::remove_file(&partial).unwrap();
    place.backed_up().await;
    assert!(!partial.exists());
}

#[tokio::test]
async fn a_restored_database_starts_paused_with_its_clocks_stopped() {
    let place = place_with_rows().await;
    let mut conn = plain(&place.path()).await;
    let tick = teardownd::store::Replica::starting("old", "old/1".to_owned(), at(60));
    let reading = Reading { boot: "a".to_owned(), uptime: Duration::from_secs(60), wall: at(60) };
    place.store().await.tick(&reading, &tick).await.unwrap();
    run(&mut conn, "INSERT INTO operator_requests (verb) VALUES ('resume')").await.unwrap();
    drop(conn);
    place.store().await.close().await;
    place.backed_up().await;
    // Twenty days later.
    let report = place.restored(20 * 86_400).await.unwrap();
    assert_eq!(report.teardowns, 3);
    assert_eq!(report.carried, Some(Carried::default()));
    let store = place.store().await;
    let every = store.account(&AccountName::every()).await.unwrap();
    let pause = every.paused.unwrap();
    assert!(
        pause.reason.starts_with("restored from ") && pause.reason.contains("copy.db"),
        "{pause:?}"
    );
    assert_eq!((pause.actor.as_str(), pause.until), ("anna", None));
    assert_eq!(
        store.apply_requests(at(20 * 86_400 + 1)).await.unwrap(),
        0,
        "nothing typed is left"
    );
    for row in store.list(&Default::default()).await.unwrap() {
        assert_eq!((row.eligible_since, row.eligible_used), (None, Duration::from_secs(60)));
    }
    // What was replaced is kept.
    let mut kept = plain(&report.kept.unwrap()).await;
    assert_eq!(value(&mut kept, "SELECT count(*) FROM teardowns").await, "3");
}

#[tokio::test]
async fn what_was_stopped_since_the_backup_stays_stopped() {
    let place = place_with_rows().await;
    place.backed_up().await;
    let bench = place.bench().await;
    bench.ask(Verb::Abort, 1, at(10)).await;
    bench.ask(Verb::Hold, 2, at(11)).await;
    bench.queue([4], at(12)).await;
    bench.store.halt(&default_account(), "guard", "800019", at(13)).await.unwrap();
    bench.store.throttle(&default_account(), at(5000), at(13)).await.unwrap();
    close(&place, bench).await;

    let report = place.restored(20).await.unwrap();
    assert_eq!(
        report.carried,
        Some(Carried { stops: 1, held: 2, missing: 1, ..Carried::default() })
    );
    let bench = place.bench().await;
    for (n, words) in [(1, "aborted"), (2, "held")] {
        let row = bench.row(n).await;
        assert_eq!(row.state, State::Queued);
        let hold = row.holds.first().cloned().unwrap();
        assert_eq!(hold.code, Reason::Operator);
        assert!(hold.text.contains("in the database that was replaced it was"), "{}", hold.text);
        assert!(hold.text.contains(words), "{}", hold.text);
        let history = bench.store.history(None, tenant(n)).await.unwrap();
        assert_eq!(history.last().unwrap().reason, Some(Reason::Operator));
    }
    assert_eq!(bench.row(3).await.holds.first(), None);
    let account = bench.store.account(&default_account()).await.unwrap();
    assert_eq!(account.halted.unwrap().reason, "800019");
    assert_eq!(account.throttled_until, Some(at(5000)));
}

#[tokio::test]
async fn a_damaged_database_can_be_replaced_and_the_budget_counts_as_spent() {
    let place = place_with_rows().await;
    place.backed_up().await;
    let mut bytes = std::fs::read(place.path()).unwrap();
    bytes[100..4096].fill(0xff);
    std::fs::write(place.path(), bytes).unwrap();
    let report = place.restored(20).await.unwrap();
    assert_eq!((report.carried, report.protections), (None, None));
    let account = place.store().await.account(&default_account()).await.unwrap();
    assert_eq!(account.throttled_until, Some(at(82)));

    // And where there is none at all.
    let empty = Place::new();
    let report = restore(&empty.path(), &place.copy(), "this test", "anna", at(20)).await.unwrap();
    assert_eq!((report.kept, report.carried), (None, None));
    assert_eq!(empty.store().await.list(&Default::default()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_restored_changes_nothing() {
    let place = place_with_rows().await;
    let names = |place: &Place| {
        let entries = std::fs::read_dir(place.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| !name.to_string_lossy().ends_with(".lock"));
        names.sort();
        names
    };
    assert!(text(place.restored(1).await).contains("does not exist"));
    let itself = restore(&place.path(), &place.path(), "this test", "anna", at(1)).await;
    assert!(text(itself).contains("is the database itself"));
    std::fs::write(place.copy(), "tenant;domain").unwrap();
    assert!(text(place.restored(1).await).contains("is not an SQLite database"));
    std::fs::remove_file(place.copy()).unwrap();

    place.backed_up().await;
    let before = names(&place);
    // Newer than this program, and not made to be read by it.
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (99, 'later', 1, x'00', 0);
                 UPDATE meta SET value = '99' WHERE key = 'min_reader'";
    let mut copy = plain(&place.copy()).await;
    run(&mut copy, newer).await.unwrap();
    drop(copy);
    assert!(text(place.restored(1).await).contains("schema version 99"));
    assert_eq!(names(&place), before);
    std::fs::remove_file(place.copy()).unwrap();
    place.backed_up().await;

    let lock = RunLock::acquire(&place.path(), "host-a/17", Holder::Run).unwrap();
    assert!(text(place.restored(1).await).contains("host-a/17"));
    drop(lock);
    // Open in another process, which would go on with what was moved aside.
    let mut open = plain(&place.path()).await;
    run(&mut open, "SELECT count(*) FROM teardowns").await.unwrap();
    assert!(text(place.restored(1).await).contains("is open in another process"));
    assert_eq!(value(&mut open, "SELECT count(*) FROM teardowns").await, "3");
    assert!(place.path().exists());
    drop(open);

    // A database in use is no backup, whatever it is called.
    std::fs::write(place.folder.path().join("copy.db-wal"), "frames").unwrap();
    assert!(text(place.restored(1).await).contains("write-ahead log beside it"));
}
