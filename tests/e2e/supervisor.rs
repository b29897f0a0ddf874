//! A service manager, as far as the daemon can tell: it speaks the protocol of sd_notify(3).

use std::cell::RefCell;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use teardownd::core::clock::Clock;
use teardownd::runtime::clock::SystemClock;
use tokio::net::UnixDatagram;

use crate::daemon::Daemon;
use crate::gate::until;
use crate::stage::Stage;

/// Its socket, and what it was told so far.
pub struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
    clock: SystemClock,
    told: RefCell<Vec<(Duration, String)>>,
}

impl Supervisor {
    /// Begins to listen, in the folder of a stage.
    pub fn new(stage: &Stage) -> Self {
        let path = stage.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path, clock: SystemClock::start(), told: RefCell::default() }
    }

    /// Starts the daemon as its own, with a watchdog.
    pub fn start(&self, stage: &Stage) -> Daemon {
        stage.start_with(&[
            ("NOTIFY_SOCKET", self.path.as_os_str()),
            ("WATCHDOG_USEC", std::ffi::OsStr::from_bytes(b"30000000")),
        ])
    }

    /// Everything it was told, in order, each message with its fields on lines of their own.
    pub fn told(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.try_recv(&mut buffer) {
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.told.borrow_mut().push((self.clock.uptime(), text.trim_end().to_owned()));
        }
        self.told.borrow().iter().map(|(_, text)| text.clone()).collect()
    }

    /// How often it was told exactly this field.
    pub fn count(&self, field: &str) -> usize {
        self.told().iter().filter(|text| text.lines().any(|line| line == field)).count()
    }

    /// The latest status.
    pub fn status(&self) -> Option<String> {
        let told = self.told();
        let status = |text: &String| {
            text.lines().find_map(|line| line.strip_prefix("STATUS=")).map(str::to_owned)
        };
        told.iter().rev().find_map(status)
    }

    /// Waits until it was told a field so often.
    pub async fn until_told(&self, field: &str, times: usize) {
        until(&format!("{field} is told {times} times"), async || {
            (self.count(field) >= times).then_some(())
        })
        .await;
    }

    /// Waits until a status contains this.
    pub async fn until_status(&self, part: &str) -> String {
        until(&format!("the status says {part}"), async || {
            self.status().filter(|status| status.contains(part))
        })
        .await
    }

    /// Waits until the watchdog was not fed for so long.
    pub async fn until_starved(&self, period: Duration) {
        let start = self.clock.uptime();
        until("the watchdog is not fed any more", async || {
            self.told();
            let told = self.told.borrow();
            let fed = told.iter().rev().find(|(_, text)| text.contains("WATCHDOG=1"));
            let since = fed.map_or(start, |(at, _)| (*at).max(start));
            (self.clock.uptime().saturating_sub(since) > period).then_some(())
        })
        .await;
    }
}
