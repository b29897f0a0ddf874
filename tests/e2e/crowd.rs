//! Many who connect to the listener and say nothing.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::daemon::Daemon;
use crate::stage::{Stage, brisk};

/// More connections than the soft limit of many systems allows files.
const HALF_OPEN: usize = 1_100;

/// Room for both ends of them.
fn raise_own_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_stop_neither_the_daemon_nor_its_listener() {
    raise_own_limit();
    let stage = Stage::populated(4, brisk()).await;
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -Sn 128 && exec \"$0\" run", env!("CARGO_BIN_EXE_teardownd")])
        .current_dir(stage.folder())
        .env_clear()
        .env("TEARDOWND_CONFIG", stage.path("teardownd.toml"));
    let daemon = Daemon::start(command, stage.path("crowd.log")).ready().await;
    let address = daemon.listens().unwrap();
    let mut crowd = Vec::with_capacity(HALF_OPEN);
    for _ in 0..HALF_OPEN {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(daemon.get("/healthz").await, Some((200, "alive\n".to_owned())));
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 200);
    stage.enqueue_all().await;
    stage.until_all_ended().await;
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 200);
    drop(crowd);
    daemon.stop().await;
    stage.assert_all_torn_down();
}
