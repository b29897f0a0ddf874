//! Hands on the files of the database while the daemon works: nothing more is sent, whatever is done
//! to the database, its log, its lock, its backup or its folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::daemon::Daemon;
use crate::gate::until;
use crate::stage::{SECRET, Stage, brisk};

/// A daemon whose first write is out and not answered, with others waiting behind it.
struct AtWork {
    stage: Stage,
    daemon: Daemon,
    sent: u64,
}

impl AtWork {
    async fn new() -> Self {
        Self::on(Stage::populated(6, brisk()).await).await
    }

    async fn on(stage: Stage) -> Self {
        let held = stage.hold_answers_to_writes();
        let daemon = stage.ready().await;
        stage.enqueue_all().await;
        stage.until_written(held).await;
        let sent = stage.calls();
        Self { stage, daemon, sent }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.path(name)
    }

    /// The daemon notices, says so, sends nothing more and ends with a failure. Returns the stage.
    async fn stops(self, named: &str) -> Stage {
        let Self { stage, daemon, sent } = self;
        let text = until("readyz says what has become of the files", async || {
            let (code, text) = daemon.get("/readyz").await?;
            (code == 503 && text.contains("was moved, removed or replaced")).then_some(text)
        })
        .await;
        assert!(text.contains(named), "{named}: {text}");
        stage.simulator.clear_rules();
        stage.gate.open();
        let log = daemon.log().to_owned();
        assert_eq!(daemon.ended().await.code(), Some(1), "{}", crate::daemon::tail(&log, 9));
        let said = fs::read_to_string(log).unwrap();
        assert!(said.contains("the database is not the one that was opened"), "{said}");
        assert_eq!(stage.writes_since(sent).len(), 0, "written, though it must not be");
        stage
    }

    /// It goes on as if nothing had happened, and nothing is written twice.
    async fn goes_on(self) {
        let Self { stage, daemon, .. } = self;
        stage.simulator.clear_rules();
        stage.gate.open();
        stage.until_all_ended().await;
        daemon.stop().await;
        stage.assert_all_torn_down();
    }
}

async fn refused(stage: &Stage, url: &str) -> String {
    let mut command = stage.command(&["run"]);
    command.env("TEARDOWND__DATABASE__URL", url).env("TEARDOWND__METRICS__LISTEN", "127.0.0.1:0");
    let output = command.kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_moved_or_replaced_stops_the_daemon() {
    let at_work = AtWork::new().await;
    fs::rename(at_work.path("t.db"), at_work.path("elsewhere.db")).unwrap();
    let stage = at_work.stops("t.db").await;
    // Nothing is begun beside what is left.
    assert!(refused(&stage, "sqlite:t.db").await.contains("does not exist, but"));

    let at_work = AtWork::new().await;
    fs::copy(at_work.path("t.db"), at_work.path("copy.db")).unwrap();
    fs::rename(at_work.path("copy.db"), at_work.path("t.db")).unwrap();
    // What is typed into the new file is heeded by nobody, and that is said.
    let typed = at_work.stage.run(&["protect", crate::stage::PROTECTED]).await;
    assert!(typed.err.contains("no daemon works on this database"), "{typed:?}");
    at_work.stops("t.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_removed_stops_the_daemon() {
    for name in ["t.db", "t.db-wal", "t.db-shm"] {
        let at_work = AtWork::new().await;
        fs::remove_file(at_work.path(name)).unwrap();
        at_work.stops(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_moved_stops_the_daemon() {
    let stage = Stage::populated(6, brisk()).await;
    fs::create_dir(stage.path("data")).unwrap();
    fs::rename(stage.path("t.db"), stage.path("data/t.db")).unwrap();
    // The tests look at the database under its usual name; the daemon is given the folder's.
    symlink("data/t.db", stage.path("t.db")).unwrap();
    let at_work = AtWork::on(stage).await;
    fs::rename(at_work.path("data"), at_work.path("moved")).unwrap();
    at_work.stops("t.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_leads_to_another_database_stops_the_daemon() {
    let stage = Stage::populated(6, brisk()).await;
    fs::rename(stage.path("t.db"), stage.path("first.db")).unwrap();
    symlink("first.db", stage.path("t.db")).unwrap();
    let at_work = AtWork::on(stage).await;
    fs::copy(at_work.path("first.db"), at_work.path("second.db")).unwrap();
    fs::remove_file(at_work.path("t.db")).unwrap();
    symlink("second.db", at_work.path("t.db")).unwrap();
    at_work.stops("t.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_file_that_is_removed_lets_no_second_run_in() {
    let at_work = AtWork::new().await;
    fs::remove_file(at_work.path("t.db.lock")).unwrap();
    let said = refused(&at_work.stage, "sqlite:t.db").await;
    assert!(said.contains("only one `teardownd run`"), "{said}");
    at_work.stops("t.db.lock").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_link_lets_no_second_run_in() {
    let at_work = AtWork::new().await;
    fs::hard_link(at_work.path("t.db"), at_work.path("other.db")).unwrap();
    let said = refused(&at_work.stage, "sqlite:other.db").await;
    assert!(said.contains("only one `teardownd run`"), "{said}");
    // No command may write beside the daemon's log either.
    let mut command = at_work.stage.command(&["pause"]);
    let output = command.env("TEARDOWND__DATABASE__URL", "sqlite:other.db").output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("another name of a database"), "{said}");
    assert!(!at_work.path("other.db-wal").exists());
    assert_eq!(at_work.stage.writes_since(at_work.sent).len(), 0);
    at_work.goes_on().await;
}

/// The secret of the account, behind a link of this name.
fn trap(stage: &Stage, name: &str, link: impl FnOnce(&Path, &Path) -> std::io::Result<()>) {
    let path = stage.path(name);
    fs::remove_file(&path).ok();
    link(&stage.secret_file(), &path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_is_written_through_a_link() {
    let stage = Stage::populated(2, brisk()).await;
    stage.done(&["backup", "copy.db"]).await;
    let intact = || assert_eq!(fs::read_to_string(stage.secret_file()).unwrap(), SECRET);
    for lock in ["t.db.lock", "t.db.migrate.lock"] {
        for link in [|a: &Path, b: &Path| symlink(a, b), |a: &Path, b: &Path| fs::hard_link(a, b)] {
            trap(&stage, lock, link);
            let restored = stage.run(&["restore", "copy.db"]).await;
            assert_eq!(restored.code, 5, "{restored:?}");
            assert!(restored.err.contains(lock), "{restored:?}");
            if lock == "t.db.lock" {
                refused(&stage, "sqlite:t.db").await;
            }
            intact();
            fs::remove_file(stage.path(lock)).unwrap();
        }
    }
    // What is left of a restore goes with its name alone.
    trap(&stage, "t.db.restore.partial", |a, b| symlink(a, b));
    trap(&stage, "t.db.replaced.partial", |a, b| symlink(a, b));
    stage.done(&["restore", "copy.db"]).await;
    intact();
    // A target of a backup is never one that is there.
    trap(&stage, "second.db", |a, b| symlink(a, b));
    assert_eq!(stage.run(&["backup", "second.db"]).await.code, 2);
    fs::remove_file(stage.path("second.db")).unwrap();
    trap(&stage, "second.db.partial", |a, b| symlink(a, b));
    assert_eq!(stage.run(&["backup", "second.db"]).await.code, 5);
    intact();
}
