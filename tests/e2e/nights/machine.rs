//! The bad nights of the machine: its disk, its pod and its volume.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, geteuid};
use teardownd::store::free_bytes;

use crate::exposition::Exposition;
use crate::gate::until;
use crate::nights::licensed;
use crate::runbook::Night;
use crate::stage::{Settings, Stage, brisk};

/// Leases that lapse soon after a pass that could not store what it learned.
const BRIEF: Settings =
    Settings { max_in_flight: 64, lease_ttl: "10s", drain_timeout: "1h", log: "info" };
/// Commands that were sent and are not settled.
const SENT: &str = "SELECT count(*) FROM commands WHERE outcome IS NULL AND sends > 0";

/// A disk of its own, in memory.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one of this size. Only root can.
    fn mounted(folder: &Path, size: &str) -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("only root can mount a disk".to_owned());
        }
        std::fs::create_dir(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Self(folder.to_owned())),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Leaves so many bytes free.
    fn leave(&self, bytes: u64) {
        self.free();
        let size = free_bytes(&self.filler()).unwrap().saturating_sub(bytes);
        assert!(size < 1 << 30, "this is no small disk");
        let zeros = vec![0; usize::try_from(size).unwrap()];
        // The last byte may not find room.
        std::fs::write(self.filler(), zeros).ok();
    }

    /// Makes room.
    fn free(&self) {
        std::fs::remove_file(self.filler()).ok();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("teardownd.db.before-1")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full() {
    let night = Night::of("The disk is full");
    let stage = Stage::with(licensed(4), brisk()).await;
    let disk = match Disk::mounted(&stage.path("disk"), "64m") {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("SKIPPED: no small disk to fill: {why}");
            return;
        }
    };
    std::fs::remove_file(stage.path("t.db")).unwrap();
    std::os::unix::fs::symlink("disk/t.db", stage.path("t.db")).unwrap();
    stage.configure(&BRIEF);
    stage.reconfigure("sqlite:t.db", "sqlite:disk/t.db");
    stage.reconfigure("min_free = \"1MB\"", "min_free = \"16MB\"");
    stage.done(&["migrate"]).await;
    let [begun, other] = [0, 1].map(|index| stage.tenants[index].to_string());
    let held = stage.hold_answers_to_writes();
    let daemon = stage.ready().await;
    stage.done(&["enqueue", &begun]).await;
    stage.until_written(held).await;

    disk.leave(8 << 20);
    until("it says that nothing new is claimed", async || {
        daemon.get("/readyz").await.filter(|(code, _)| *code == 503)
    })
    .await;
    stage.enqueue_all().await;
    let text = night.asks_readyz(&daemon).await;
    night.promises("not ready: nothing new is claimed", &text);
    night.promises("database.min_free", &text);
    let why = night.types(&stage, &other, 0, "why").await;
    night.promises("nothing new is claimed", &why.out);
    let calls = stage.calls();
    stage.simulator.clear_rules();
    stage.gate.open();
    let mut database = stage.database().await;
    until("what was being written comes to its next wait", async || {
        let leased = "SELECT count(*) FROM teardowns WHERE lease_owner IS NOT NULL";
        (database.number(leased).await == 0).then_some(())
    })
    .await;
    assert_eq!(database.number(SENT).await, 0, "its answer is stored");
    stage.looked_twice().await;
    assert_eq!(database.number("SELECT count(*) FROM teardowns WHERE fence > 0").await, 1);
    assert!(stage.writes_since(calls).is_empty());

    night.by_hand("df -h /var/lib/teardownd");
    night.by_hand("ls -lhS /var/lib/teardownd");
    night.by_hand("rm /var/lib/teardownd/teardownd.db.before-1");
    stage.gate.shut();
    let held = stage.hold_answers_to_writes();
    disk.free();
    until("it is ready again", async || {
        daemon.get("/readyz").await.filter(|(code, _)| *code == 200)
    })
    .await;
    assert_eq!(night.asks_readyz(&daemon).await, "ready\n");
    night.over();

    // No byte is left for the answer to a write that is out.
    stage.until_written(held).await;
    disk.leave(0);
    stage.simulator.clear_rules();
    stage.gate.open();
    let refused = stage.run(&["hold", &other, "--reason", "no room"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    night.promises("database or disk is full", &refused.err);
    assert_eq!(stage.run(&["list"]).await.code, 0);
    let sent = stage.calls();
    let looks = async || {
        let (_, text) = daemon.get("/metrics").await.unwrap();
        Exposition::read(&text).sum("teardownd_scheduler_ticks_total")
    };
    let before = looks().await;
    until("it has looked at its queue again", async || {
        (looks().await >= before + 2.0).then_some(())
    })
    .await;
    assert!(stage.writes_since(sent).is_empty(), "nothing is sent that cannot be stored");
    disk.free();
    stage.until_all_ended().await;
    database.close().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pod_was_evicted() {
    let night = Night::of("The pod was evicted");
    let stage = Stage::populated(6, brisk()).await;
    // Leases that outlive the test: whoever did not take them over at once would never end.
    stage.configure(&Settings { lease_ttl: "1h", ..Settings::default() });
    stage.enqueue_all().await;
    let held = stage.hold_answers_to_writes();
    let daemon = stage.ready().await;
    stage.until_written(held).await;
    daemon.signal(Signal::TERM);
    let text = until("it says that it is shutting down", async || {
        daemon.get("/readyz").await.filter(|(code, _)| *code == 503)
    })
    .await;
    night.promises("the daemon is shutting down", &text.1);
    night.by_hand("kubectl -n teardownd get pods -o wide");
    night.by_hand("kubectl -n teardownd describe pod teardownd-0");
    // The grace is over before the write was answered.
    daemon.kill().await;
    until("the simulator notices that the client is gone", async || {
        stage.writes_since(held).iter().all(|write| !write.delivered).then_some(())
    })
    .await;
    let mut left = stage.left_behind().await;
    assert!(left.number(SENT).await > 0, "what became of it is not known");
    left.close().await;

    night.by_hand(
        "kubectl taint nodes NODE node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
    );
    let daemon = stage.ready().await;
    assert!(daemon.line("took over what an earlier process had in flight").is_some());
    // No write is answered yet, so that nothing has ended.
    let listed = night.types(&stage, "", 0, "list").await;
    assert!(listed.out.contains("6 teardowns"), "{listed:?}");
    night.over();
    stage.simulator.clear_rules();
    stage.gate.open();
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_volume_is_stuck() {
    let night = Night::of("The volume is stuck");
    let stage = Stage::populated(6, brisk()).await;
    stage.configure(&BRIEF);
    let tenant = stage.tenants[0].to_string();
    stage.enqueue_all().await;
    let held = stage.hold_answers_to_writes();
    let daemon = stage.ready().await;
    stage.until_written(held).await;
    let mut database = stage.database().await;
    until("the database is locked", async || database.change("BEGIN EXCLUSIVE").await.ok()).await;
    stage.simulator.clear_rules();
    stage.gate.open();
    until("readyz says so", async || daemon.get("/readyz").await.filter(|(code, _)| *code == 503))
        .await;
    let text = night.asks_readyz(&daemon).await;
    night.promises("the database cannot be reached", &text);
    night.promises("database is locked", &text);
    assert_eq!(daemon.get("/healthz").await, Some((200, "alive\n".to_owned())));
    let listed = night.types(&stage, &tenant, 0, "list").await;
    assert!(listed.out.contains(&tenant), "{listed:?}");
    let refused = stage.run(&["hold", &tenant, "--reason", "no storage"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    night.promises("database is locked", &refused.err);
    assert_eq!(stage.writes_since(held).len(), 1, "nothing is sent that cannot be stored");

    night.by_hand("fuser -v /var/lib/teardownd/teardownd.db");
    night.by_hand("dmesg --level err,warn");
    database.change("ROLLBACK").await.unwrap();
    database.close().await;
    until("it is ready again", async || {
        daemon.get("/readyz").await.filter(|(code, _)| *code == 200)
    })
    .await;
    assert_eq!(night.asks_readyz(&daemon).await, "ready\n");
    night.types(&stage, &tenant, 0, "list").await;
    night.over();
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();

    // Started anew while it is stuck, it does not end in the way that forbids another start.
    let mut database = stage.database().await;
    database.change("BEGIN EXCLUSIVE").await.unwrap();
    let refused = stage.run(&["run"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    database.change("ROLLBACK").await.unwrap();
    database.close().await;
    stage.ready().await.stop().await;
}
