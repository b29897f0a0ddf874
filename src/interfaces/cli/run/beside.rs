//! What runs beside the engine: answering requests to reload, and telling the service manager.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::signal::unix::Signal;

use super::status;
use super::supervisor::Supervisor;
use crate::core::clock::Clock;
use crate::interfaces::cli::view::tell_by_the_wall;
use crate::interfaces::http::Readiness;
use crate::interfaces::reload::Reloader;
use crate::store::{Result, Store};

/// How often requests of other processes are looked for.
const REQUESTS: Duration = Duration::from_secs(1);
/// How often it is asked whether the daemon is ready, until it is.
const STARTING: Duration = Duration::from_millis(100);
/// How often the status line is made anew.
const STATUS: Duration = Duration::from_secs(5);

/// What both share.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    pub(super) store: Arc<Store>,
    /// The name of this replica.
    pub(super) replica: Arc<str>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) supervisor: Arc<Supervisor>,
}

impl Beside {
    /// Reloads when SIGHUP comes, or when somebody has asked for it in the database. Each request is
    /// answered there, so that whoever asked learns what the daemon made of it.
    pub(super) async fn reload_on_request(self, mut reloader: Reloader, mut hangups: Signal) {
        let mut told = BTreeMap::new();
        loop {
            // Commands that look ask for it.
            if told != *reloader.in_force()
                && self.store.put_in_force(&self.replica, reloader.in_force()).await.is_ok()
            {
                told.clone_from(reloader.in_force());
            }
            let by_signal = tokio::select! {
                _ = hangups.recv() => true,
                () = self.clock.sleep(REQUESTS) => false,
            };
            if let Err(error) = self.answer(&mut reloader, by_signal).await {
                // A request stays open, and is answered when the database is back.
                tracing::debug!(%error, "requests to reload cannot be read or answered");
            }
        }
    }

    async fn answer(&self, reloader: &mut Reloader, by_signal: bool) -> Result<()> {
        let mut open = self.store.open_reloads(&self.replica).await;
        if by_signal {
            let noted = self.store.ask_reload("SIGHUP", self.clock.now()).await;
            open = open.and_then(|open| Ok([open, vec![noted?]].concat()));
        }
        if !by_signal && open.as_ref().is_ok_and(Vec::is_empty) {
            return Ok(());
        }
        if !by_signal && open.is_err() {
            return open.map(|_| ());
        }
        self.supervisor.reloading();
        let answer = reloader.reload().await;
        let stored = self.store.put_in_force(&self.replica, reloader.in_force()).await;
        self.readiness.reload_refused(!answer.taken_up);
        self.supervisor.reloaded();
        stored?;
        self.store.answer_reloads(&self.replica, &open?, &answer, self.clock.now()).await
    }

    /// Tells the service manager when the daemon is ready, and from then on what it does.
    pub(super) async fn tell_the_supervisor(self) {
        let zone = TimeZone::system();
        loop {
            let complaints = self.readiness.complaints();
            if complaints.is_empty() {
                self.supervisor.ready();
            }
            self.supervisor.status(&self.line(&complaints, &zone).await);
            let ready = self.supervisor.knows_it_is_ready();
            self.clock.sleep(if ready { STATUS } else { STARTING }).await;
        }
    }

    async fn line(&self, complaints: &[String], zone: &TimeZone) -> String {
        if !complaints.is_empty() {
            return format!("not ready: {}", complaints.join("; "));
        }
        tell_by_the_wall(self.clock.ahead());
        let mut line = match status::read(self.store.as_ref(), self.clock.now(), zone).await {
            Ok(line) => line,
            Err(error) => format!("the database cannot be read: {error}"),
        };
        for note in self.readiness.notes() {
            line.push_str("; ");
            line.push_str(&note);
        }
        line
    }
}
