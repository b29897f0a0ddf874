//! Every gate between a tenant and its next write, in order: those of the scheduler, what the latest
//! readings say, and then the guards themselves, asked as the engine asks them and without the API.

use jiff::Timestamp;

use super::Case;
use crate::core::command::{Command, Intent, Outcome};
use crate::core::gates::{self, Guard, SafetyPolicy, StoredFacts, Verdict};
use crate::core::ids::CommandId;
use crate::core::key::ResourceKey;
use crate::core::observation::Observation;
use crate::core::reason::Reason;
use crate::core::routes::{self, Kind, Route, Standing};
use crate::core::teardown::Teardown;
use crate::interfaces::cli::view::account::condition_text;
use crate::interfaces::cli::view::counted;
use crate::store::{Result, Store, StoredPurchase};

/// The text for a guard that only a reading can answer.
const UNREAD: &str = "not asked without reading the API: `teardownd plan` reads";

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gate {
    /// Its name: a guard's own, or that of what stands before the guards.
    pub(super) name: &'static str,
    /// Whether it lets the tenant through now, as far as is known.
    pub(super) open: bool,
    /// What it says.
    pub(super) text: String,
}

fn open(name: &'static str, text: impl Into<String>) -> Gate {
    Gate { name, open: true, text: text.into() }
}

fn closed(name: &'static str, text: impl Into<String>) -> Gate {
    Gate { name, open: false, text: text.into() }
}

/// The guards with what they are asked about: the next write, as far as it is known.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) intent: Intent,
    pub(super) facts: StoredFacts,
    pub(super) policy: &'a SafetyPolicy,
}

impl<'a> Asked<'a> {
    /// Reads what the guards ask of the store, as the transaction that commits reads it.
    pub(super) async fn of(
        store: &Store,
        row: &Teardown,
        purchases: &[StoredPurchase],
        policy: &'a SafetyPolicy,
        now: Timestamp,
    ) -> Result<Self> {
        let commands = store.commands(&row.account, row.tenant_id).await?;
        let (command, intent) = next_write(&commands, purchases);
        let facts = store.facts(row.id, command, policy, now).await?;
        Ok(Self { intent, facts, policy })
    }

    /// The verdict of each guard, in the order in which they are asked.
    pub(super) fn verdicts(&self, now: Timestamp) -> Vec<(Guard, Verdict)> {
        let seen = Observation::default();
        let told = gates::verdicts(&self.intent, &self.facts, &seen, self.policy, now);
        // A command that does not exist yet cannot be forged.
        let exists = self.facts.command.is_some();
        told.map(|(guard, verdict)| match guard {
            Guard::ForgedCommand if !exists => (guard, Verdict::Allow),
            _ => (guard, verdict),
        })
        .collect()
    }
}

/// The next write: an unsettled command is sent again, an active purchase is cancelled, and then the
/// customer is deleted.
fn next_write(commands: &[Command], purchases: &[StoredPurchase]) -> (Option<CommandId>, Intent) {
    if let Some(command) = commands.iter().find(|command| command.is_unsettled()) {
        return (Some(command.id), command.intent.clone());
    }
    let accepted = |key: &ResourceKey| {
        let reached =
            |c: &Command| matches!(c.outcome, Some(Outcome::Accepted | Outcome::GoalReached));
        commands.iter().any(|command| command.intent.resource == *key && reached(command))
    };
    let records = purchases.iter().map(|p| &p.record).filter(|r| r.standing == Standing::Active);
    let mut records = records.filter(|record| !accepted(&record.key));
    let cancel = records.find_map(|record| {
        let Route::By(action) = record.route else { return None };
        Some(Intent {
            action,
            reservation: record.kind == Kind::Reservation,
            resource: record.key.clone(),
            body: None,
            if_match: None,
        })
    });
    (None, cancel.unwrap_or_else(routes::delete_customer))
}

impl Case<'_> {
    /// The next write, as far as it is known without reading.
    pub(super) fn next_write(&self) -> Option<String> {
        let intent = &self.asked.as_ref()?.intent;
        Some(format!("{} {}", intent.action.as_str(), intent.resource))
    }

    /// The outage of the account, if there is one: it begins and ends by itself.
    fn outage(&self) -> Gate {
        let (name, now) = (&self.row.account, self.look.now);
        let told = self.stops.of(name).map(|account| account.conditions(now)).unwrap_or_default();
        let out = told.iter().find(|told| told.blocks().is_some_and(Reason::is_outage));
        out.map_or_else(
            || open("outage", ""),
            |told| closed("outage", condition_text(&format!("account {name}"), told, self.look)),
        )
    }

    /// Every gate, in the order in which they are asked.
    pub(super) fn gates(&self) -> Vec<Gate> {
        let mut gates = vec![self.lease(), self.outage(), self.due(), self.purchase()];
        if self.asked.is_none() {
            let text = format!("the configuration in force has no account {}", self.row.account);
            gates.push(closed("account", text));
        }
        gates.extend(self.verdicts().into_iter().map(|(guard, verdict)| self.gate(guard, verdict)));
        gates
    }

    /// The verdict of each guard; none where the configuration does not know the account.
    pub(super) fn verdicts(&self) -> Vec<(Guard, Verdict)> {
        self.asked.as_ref().map(|asked| asked.verdicts(self.look.now)).unwrap_or_default()
    }

    fn gate(&self, guard: Guard, verdict: Verdict) -> Gate {
        let name = guard.as_str();
        match verdict {
            Verdict::Allow => open(name, ""),
            Verdict::Stale => open(name, UNREAD),
            // A gate that opens at no known time wakes the rows behind it.
            Verdict::Wait { until, text, .. }
                if until.duration_since(self.look.now).unsigned_abs() == gates::GATE_NET =>
            {
                closed(name, text)
            }
            Verdict::Wait { until, text, .. } => {
                closed(name, format!("{text}; opens {}", self.look.distance(until)))
            }
            Verdict::Hold { text, .. } => closed(name, text),
            Verdict::Halt { text, .. } => closed(name, format!("halts the account: {text}")),
        }
    }

    fn lease(&self) -> Gate {
        match (self.silence, &self.row.lease, self.full) {
            (Some(silence), _, _) => closed("lease", silence),
            (None, Some(lease), _) => open("lease", format!("{} works on it now", lease.owner)),
            (None, None, Some(full)) => closed("lease", format!("nothing new is claimed: {full}")),
            (None, None, None) => open("lease", "nobody works on it at this moment"),
        }
    }

    fn due(&self) -> Gate {
        let (row, now) = (self.row, self.look.now);
        if let Some(at) = row.not_before.filter(|at| now < *at) {
            return closed("due", format!("not before {}", self.look.local(at)));
        }
        let Some(at) = row.next_attempt_at.filter(|at| now < *at) else { return open("due", "") };
        let reason = row.reason.map(Reason::as_str).unwrap_or("it waits");
        let text = row.reason_text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        closed("due", format!("{reason}{text}; next look {}", self.look.distance(at)))
    }

    fn purchase(&self) -> Gate {
        let with = |standing: Standing| {
            self.purchases.iter().filter(|p| p.record.standing == standing).count()
        };
        let cannot = |p: &&StoredPurchase| {
            p.record.blocked.is_some() && p.record.standing != Standing::Inactive
        };
        let blocked: Vec<_> = self.purchases.iter().filter(cannot).collect();
        if let Some(first) = blocked.first() {
            let why = first.record.blocked.as_deref().unwrap_or("the API cannot cancel it");
            let text = format!(
                "{} cannot be cancelled, such as {} ({}): {why}",
                counted(blocked.len(), "purchase"),
                first.record.name,
                first.record.key
            );
            return closed("purchase", text);
        }
        let known = counted(self.purchases.len(), "purchase");
        let (active, pending) = (with(Standing::Active), with(Standing::Pending));
        open("purchase", format!("{known} known, {active} active, {pending} pending"))
    }
}
