//! A running daemon.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use teardownd::core::clock::Clock as _;
use teardownd::runtime::clock::SystemClock;

/// Between two looks.
const PACE: Duration = Duration::from_millis(50);
/// Looks after which something will not come any more. A guard against hanging, not a demand for speed.
const LOOKS: u32 = 4800;

/// The process, with its log on standard error. It does not outlive its handle.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the command, which logs as JSON.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).unwrap();
        Self { child: command.stderr(file).spawn().unwrap(), log }
    }

    /// Waits until `/readyz` answers 200.
    pub async fn ready(&mut self) {
        for _ in 0..LOOKS {
            if let Some(ended) = self.child.try_wait().unwrap() {
                panic!("the daemon ended with {ended}:\n{}", self.said());
            }
            if self.listens().and_then(readyz) == Some(200) {
                return;
            }
            SystemClock::start().sleep(PACE).await;
        }
        panic!("the daemon does not become ready:\n{}", self.said());
    }

    /// Everything it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn listens(&self) -> Option<SocketAddr> {
        let said = self.said();
        let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.find(|line| line["message"] == "teardownd is running")?;
        line["listen"].as_str()?.parse().ok()
    }

    /// Stops it with SIGTERM, which must end well. Returns everything it has logged.
    pub fn stop(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = self.child.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "{}", self.said());
        self.said()
    }
}

impl Drop for Daemon {
    /// After a test that failed. `timeout`, which it runs under, passes this signal on, but not SIGKILL.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = self.child.id().try_into().ok().and_then(Pid::from_raw)
        {
            kill_process(pid, Signal::TERM).ok();
        }
    }
}

/// The status that `/readyz` answers with.
fn readyz(address: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
