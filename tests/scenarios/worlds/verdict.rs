//! What is wrong at the end of a world.

use std::fmt;

use teardownd::core::teardown::Teardown;

use super::play;
use super::world::World;
use crate::harness::*;

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// What findings are grouped by.
    pub(super) cause: String,
    text: String,
}

impl Finding {
    pub(super) fn new(cause: &str, text: String) -> Self {
        Self { cause: cause.to_owned(), text }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.text)
    }
}

/// All that is wrong with a run; nothing is the rule.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    pub(super) findings: Vec<Finding>,
    /// What had not come to its end, in words.
    pub(super) outstanding: String,
}

impl Verdict {
    pub(super) fn new(findings: Vec<Finding>, outstanding: String) -> Self {
        Self { findings, outstanding }
    }

    /// The kinds of what is wrong, each once.
    pub(super) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = self.findings.iter().map(|f| f.cause.clone()).collect();
        causes.sort();
        causes.dedup();
        causes
    }
}

/// Whether a row may have failed, or wait, although everything is well: only a person can go on.
pub(super) fn is_excused(row: &Teardown, world: &World) -> bool {
    if play::is_nobody(row) {
        return true;
    }
    let given = &world.given;
    let neighbours = given.neighbour.iter().flat_map(|neighbour| &neighbour.customers);
    let mut customers = given.customers.iter().chain(neighbours);
    let customer = customers.find(|customer| customer.id == row.tenant_id.as_uuid());
    let Some(customer) = customer else { return false };
    match row.reason {
        // Of these purchases the API refuses to cancel some.
        Some(Reason::BlockedUncancellable | Reason::ApiRefused) => customer
            .purchases
            .iter()
            .any(|purchase| purchase.window_passed || purchase.kind == Kind::SavingsPlan),
        Some(Reason::DeleteRefused) => customer.cannot_be_deleted,
        // A plan waits a day for what no list shows.
        Some(Reason::PurchasePending | Reason::CancellationPending | Reason::DeadlineExceeded) => {
            let has = |what: fn(&Purchase) -> bool| customer.purchases.iter().any(what);
            has(|purchase| purchase.hidden) && has(|purchase| purchase.kind == Kind::AzurePlan)
        }
        _ => false,
    }
}

/// What is wrong with the newest row of a tenant, if something is.
pub(super) fn judge(row: &Teardown, world: &World, scene: &Scene) -> Option<Finding> {
    let reason = row.reason.map_or("nothing", Reason::as_str);
    let text = format!("{} {}", row.tenant_id, row.reason_text.as_deref().unwrap_or_default());
    match row.state {
        State::Aborted => None,
        State::Deleted => {
            (!is_gone(row, scene)).then(|| Finding::new("deleted without being gone", text))
        }
        State::Failed if is_excused(row, world) => None,
        State::Failed => Some(Finding::new(&format!("failed: {reason}"), text)),
        state => {
            let hold = row.holds.first().map(|hold| hold.code.as_str());
            if hold.is_none() && is_excused(row, world) {
                return None;
            }
            if play::is_nobody(row) && hold == Some("not_in_customer_list") {
                return None;
            }
            let what = match hold {
                Some(code) => format!("held in {}: {code}", state.as_str()),
                None => format!("stands still in {}: {reason}", state.as_str()),
            };
            let hold = row.holds.first().map(|hold| hold.text.clone()).unwrap_or_default();
            Some(Finding::new(&what, format!("{text} {hold}")))
        }
    }
}

/// Whether the customer is gone in truth.
fn is_gone(row: &Teardown, scene: &Scene) -> bool {
    let deletes = scene.calls().into_iter().filter(|entry| is_delete(entry) && entry.applied);
    deletes.filter_map(|entry| entry.tenant).any(|tenant| tenant == row.tenant_id.as_uuid())
}
