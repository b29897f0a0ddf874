//! Waiting, never without an end in simulated time, and telling what was outstanding at that end.

use std::fmt::Write as _;
use std::time::Duration;

use teardownd::core::teardown::Teardown;

use super::scene::{PATIENCE, Scene};

/// Nothing is left that moves by itself.
pub(crate) fn has_ended(row: &Teardown) -> bool {
    row.state.is_terminal() || row.holds.stand()
}

impl Scene {
    /// Waits until every row has ended or is held.
    pub(crate) async fn settle(&self) {
        self.settle_within(PATIENCE).await;
    }

    pub(crate) async fn settle_within(&self, limit: Duration) {
        self.until_rows("every row ends or is held", limit, |rows| rows.iter().all(has_ended))
            .await;
    }

    pub(crate) async fn until_rows(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&[Teardown]) -> bool,
    ) {
        let begun = self.clock.uptime();
        let mut seen = None;
        loop {
            let version = Some(self.database.version());
            if seen != version && wanted(&self.rows().await) {
                return;
            }
            seen = version;
            self.tick(what, begun, limit).await;
        }
    }

    /// Waits for a request in the simulator's journal.
    pub(crate) async fn until_call(
        &self,
        what: &str,
        wanted: impl Fn(&teardownd::simulator::Entry) -> bool,
    ) {
        let begun = self.clock.uptime();
        let mut seen = 0;
        loop {
            let journal = self.simulator.journal();
            if journal.entries()[seen..].iter().any(&wanted) {
                return;
            }
            seen = journal.entries().len();
            self.tick(what, begun, PATIENCE).await;
        }
    }

    /// Waits until the daemon has reached the step at which it is killed, or everything has ended.
    pub(crate) async fn until_dead_or_ended(&self) {
        let begun = self.clock.uptime();
        let mut seen = None;
        while !self.is_dead() {
            let version = Some(self.database.version());
            if seen != version && self.rows().await.iter().all(has_ended) {
                return;
            }
            seen = version;
            self.tick("the daemon dies or every row ends", begun, PATIENCE).await;
        }
    }

    /// Short looks at first, longer ones when much time has passed.
    async fn tick(&self, what: &str, begun: Duration, limit: Duration) {
        let waited = self.clock.uptime() - begun;
        if waited >= limit {
            panic!("in {limit:?} of simulated time not seen: {what}\n{}", self.outstanding().await);
        }
        if self.is_livelock() {
            panic!("a livelock while waiting for: {what}\n{}", self.outstanding().await);
        }
        let look = match waited.as_secs() {
            0..2 => Duration::from_millis(10),
            2..60 => Duration::from_millis(50),
            60..600 => Duration::from_millis(200),
            _ => Duration::from_secs(1),
        };
        self.pass(look).await;
    }

    /// What had not come to its end, for whoever reads the failure.
    pub(crate) async fn outstanding(&self) -> String {
        let mut text = format!("now {}\n", self.now());
        for row in self.rows().await.iter().filter(|row| !row.state.is_terminal()) {
            writeln!(
                text,
                "{} {} reason {:?} hold {:?} attempts {} next {:?} leased {}: {}",
                row.tenant_id,
                row.state.as_str(),
                row.reason.map(|reason| reason.as_str()),
                row.holds.first().map(|hold| hold.code.as_str()),
                row.attempts,
                row.next_attempt_at.map(|at| at.to_string()),
                row.lease.is_some(),
                row.reason_text.as_deref().unwrap_or_default(),
            )
            .unwrap();
            let commands = self.store.commands(&row.account, row.tenant_id).await.unwrap();
            for command in &commands[commands.len().saturating_sub(5)..] {
                let ended = (command.outcome, command.http_status, &command.ms_code);
                writeln!(text, "  {} {} {ended:?}", command.path, command.id).unwrap();
            }
        }
        writeln!(text, "account {:?}", self.account_row().await).unwrap();
        let journal = self.simulator.journal();
        for breach in journal.breaches() {
            writeln!(text, "breach {breach}").unwrap();
        }
        let entries = journal.entries();
        for entry in &entries[entries.len().saturating_sub(30)..] {
            writeln!(text, "{} {} {} {:?}", entry.at, entry.method, entry.path, entry.status)
                .unwrap();
        }
        text
    }
}
