//! What the daemon refuses to start with: each time the reason in words, and exit code 5.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::geteuid;
use tokio::net::TcpListener;

use crate::stage::{Ended, Stage, brisk};

/// An ordinary user, as which root can try what root itself is never refused.
const NOBODY: u32 = 65_534;

fn assert_refused(ended: &Ended, reasons: &[&str]) {
    assert_eq!(ended.code, 5, "{ended:?}");
    for reason in reasons {
        assert!(ended.err.contains(reason), "{reason} is not said: {ended:?}");
    }
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let stage = Stage::populated(1, brisk()).await;
    stage.reconfigure("drain_timeout", "drain_time");
    let reasons = ["engine.drain_time: unknown key", "engine.drain_timeout", "teardownd.toml"];
    assert_refused(&stage.run(&["run"]).await, &reasons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_refused() {
    let stage = Stage::populated(1, brisk()).await;
    let other = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = other.local_addr().unwrap().to_string();
    stage.reconfigure("127.0.0.1:0", &address);
    assert_refused(&stage.run(&["run"]).await, &["metrics.listen", &address, "another address"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_everybody_may_read_is_refused_and_a_federated_token_is_not() {
    let stage = Stage::populated(1, brisk()).await;
    permit(&stage.secret_file(), 0o644);
    let reasons = ["accounts.default.credential", "open to every user (mode 0644)", "chmod 640"];
    assert_refused(&stage.run(&["run"]).await, &reasons);

    // Who mounts a federated token lets every user of the container read it.
    let token = stage.path("federated");
    std::fs::write(&token, "a.b.c").unwrap();
    permit(&token, 0o644);
    stage.reconfigure(
        "{ kind = \"client_secret\", file = \"secret\" }",
        "{ kind = \"workload_identity\", token_file = \"federated\" }",
    );
    stage.ready().await.stop().await;
    permit(&token, 0o646);
    assert_refused(&stage.run(&["run"]).await, &["mode 0646", "chmod o-w"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_comes_from_where_the_service_manager_has_put_it() {
    let stage = Stage::populated(1, brisk()).await;
    let folder = stage.path("handed-over");
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(stage.secret_file(), folder.join("lab")).unwrap();
    stage.reconfigure("file = \"secret\"", "file = \"${CREDENTIALS_DIRECTORY}/lab\"");
    assert_refused(
        &stage.run(&["run"]).await,
        &["CREDENTIALS_DIRECTORY is not set", "LoadCredential="],
    );
    // Commands that need no credential work outside the unit.
    stage.enqueue_all().await;
    let daemon = stage.start_with(&[("CREDENTIALS_DIRECTORY", folder.as_os_str())]).ready().await;
    stage.until_all_ended().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_to_is_refused() {
    let stage = Stage::populated(1, brisk()).await;
    let folder = stage.path("theirs");
    std::fs::create_dir(&folder).unwrap();
    permit(&folder, 0o555);
    stage.reconfigure("sqlite:t.db", "sqlite:theirs/t.db");
    let mut command = stage.command(&["run"]);
    if geteuid().is_root() {
        // The files are nobody's, and so is the way to them.
        let nobody = Some(NOBODY);
        std::os::unix::fs::chown(stage.secret_file(), nobody, None).unwrap();
        permit(stage.folder(), 0o755);
        command.uid(NOBODY);
    }
    let output = match command.output().await {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: another user cannot run the program here: {error}");
            return;
        }
    };
    let err = String::from_utf8(output.stderr).unwrap();
    let ended = Ended { code: output.status.code().unwrap(), out: String::new(), err };
    let folder = folder.display().to_string();
    assert_refused(&ended, &[&folder, "must be writable for this user"]);
}
