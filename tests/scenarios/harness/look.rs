//! What the simulator saw, and what must hold at the end of every scenario.

use teardownd::core::reason::Reason;
use teardownd::core::teardown::{State, Teardown};
use teardownd::simulator::{Entry, Template};

use super::given::tenant;
use super::scene::Scene;

/// Whether a request was meant to change something at Partner Center.
pub(crate) fn is_write(entry: &Entry) -> bool {
    entry.method != "GET" && !is_token(entry)
}

pub(crate) fn is_token(entry: &Entry) -> bool {
    matches!(entry.template, Template::TokenV1 | Template::TokenV2)
}

pub(crate) fn is_delete(entry: &Entry) -> bool {
    entry.method == "DELETE"
}

pub(crate) fn concerns(entry: &Entry, n: usize) -> bool {
    entry.tenant == Some(tenant(n).as_uuid())
}

impl Scene {
    pub(crate) fn calls(&self) -> Vec<Entry> {
        self.simulator.journal().entries().to_vec()
    }

    /// Every write that arrived, token requests aside.
    pub(crate) fn writes(&self) -> Vec<Entry> {
        self.calls().into_iter().filter(is_write).collect()
    }

    pub(crate) fn writes_of(&self, n: usize) -> Vec<Entry> {
        self.writes().into_iter().filter(|entry| concerns(entry, n)).collect()
    }

    /// How often each write took effect, without those that did once: empty is the rule.
    pub(crate) fn repeated(&self) -> Vec<(String, u32)> {
        let journal = self.simulator.journal();
        journal.applied().iter().filter(|(_, n)| **n != 1).map(|(k, n)| (k.clone(), *n)).collect()
    }

    /// How many writes took effect.
    pub(crate) fn applied(&self) -> u32 {
        self.simulator.journal().applied().values().sum()
    }

    /// No breach was noted.
    pub(crate) fn assert_careful(&self) {
        let journal = self.simulator.journal();
        let breaches: Vec<String> = journal.breaches().iter().map(ToString::to_string).collect();
        assert!(breaches.is_empty(), "breaches:\n{}", breaches.join("\n"));
    }

    /// No breach was noted, and nothing took effect twice.
    pub(crate) fn assert_once_each(&self) {
        self.assert_careful();
        assert_eq!(self.repeated(), [], "took effect more than once");
    }

    /// Every queued tenant is deleted and proven so, carefully, and nothing took effect twice.
    pub(crate) async fn assert_all_deleted(&self) {
        self.assert_once_each();
        for row in self.rows().await {
            assert_deleted(&row);
        }
    }

    /// The tenant ended in `failed` with this reason; returns its text.
    pub(crate) async fn assert_failed(&self, n: usize, reason: Reason) -> String {
        let row = self.row(n).await;
        let text = row.reason_text.clone().unwrap_or_default();
        assert_eq!((row.state, row.reason), (State::Failed, Some(reason)), "{text}");
        text
    }

    /// The tenant is held by this guard; returns its text.
    pub(crate) async fn assert_held(&self, n: usize, guard: Reason) -> String {
        let row = self.row(n).await;
        let hold = row.holds.first().cloned().unwrap_or_else(|| {
            panic!("not held: {} {:?} {:?}", row.state.as_str(), row.reason, row.reason_text)
        });
        assert_eq!(hold.code, guard, "{}", hold.text);
        hold.text
    }
}

pub(crate) fn assert_deleted(row: &Teardown) {
    let text = row.reason_text.as_deref().unwrap_or_default();
    assert_eq!(row.state, State::Deleted, "{}: {:?} {text}", row.tenant_id, row.reason);
    assert_eq!(row.reason, Some(Reason::ProvenGone));
    assert!(!row.holds.stand() && row.lease.is_none() && row.finished_at.is_some(), "{row:?}");
}
