//! A running `teardownd run`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::gate::until;

/// The process, with what it has said. It does not outlive its handle.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the command, with its standard error in `log`.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).unwrap();
        let child = command.stderr(file).kill_on_drop(true).spawn().unwrap();
        Self { child, log }
    }

    /// Waits until it is ready to work.
    pub async fn ready(self) -> Self {
        until("readyz of the daemon answers 200", async || match self.listens() {
            Some(address) => (get(address, "/readyz").await?.0 == 200).then_some(()),
            None => {
                assert!(self.is_alive(), "the daemon ended: {}", self.said());
                None
            }
        })
        .await;
        self
    }

    /// Everything it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The file it logs to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The fields of the first line with this message.
    pub fn line(&self, message: &str) -> Option<Value> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["message"] == message)
    }

    /// Where it listens, once it has said so.
    pub fn listens(&self) -> Option<SocketAddr> {
        self.line("teardownd is running")?["listen"].as_str()?.parse().ok()
    }

    /// The name under which it holds leases.
    pub fn owner(&self) -> String {
        let line = self.line("teardownd is running").unwrap();
        line["owner"].as_str().unwrap().to_owned()
    }

    /// An answer of its listener: status and body.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.listens()?, path).await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid().unwrap(), signal).unwrap();
    }

    /// Kills it, as a power cut would.
    pub async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> ExitStatus {
        until("the daemon ends", async || self.child.try_wait().unwrap()).await
    }

    /// Stops it with SIGTERM, which must end well.
    pub async fn stop(self) {
        self.signal(Signal::TERM);
        let log = self.log.clone();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", tail(&log, 20));
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id()?.try_into().ok()?)
    }

    fn is_alive(&self) -> bool {
        self.pid().is_some_and(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        })
    }
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped).map(|line| format!("{line}\n")).collect()
}

/// Asks for a path; `None` if nobody answers.
async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
