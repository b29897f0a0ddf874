//! Every gate between a tenant and its next write, in order, as the stored rows have it.

use std::time::Duration;

use jiff::Timestamp;

use crate::core::account::{Account, AccountState};
use crate::core::approval;
use crate::core::gates::SafetyPolicy;
use crate::core::ids::AccountName;
use crate::core::protection::Protection;
use crate::core::reason::Reason;
use crate::core::teardown::{State, Teardown};
use crate::core::window::next_opening;
use crate::interfaces::cli::view::account::condition_text;
use crate::interfaces::cli::view::standing::Stops;
use crate::interfaces::cli::view::{Look, counted};
use crate::store::{Ack, StoredFault, StoredPurchase};

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gate {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it lets the tenant through now.
    pub(super) open: bool,
    /// What it says.
    pub(super) text: String,
}

pub(super) fn open(name: &'static str, text: impl Into<String>) -> Gate {
    Gate { name, open: true, text: text.into() }
}

pub(super) fn closed(name: &'static str, text: impl Into<String>) -> Gate {
    Gate { name, open: false, text: text.into() }
}

/// What the gates are asked about.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) row: &'a Teardown,
    pub(super) purchases: &'a [StoredPurchase],
    /// Its latest failed call.
    pub(super) fault: Option<&'a StoredFault>,
    pub(super) stops: &'a Stops,
    /// The guards of its account, unless the configuration does not know it.
    pub(super) policy: Option<&'a SafetyPolicy>,
    /// Why nobody works on the database, if nobody does.
    pub(super) silence: Option<&'a str>,
    /// Why nothing new is claimed, if the disk is that full.
    pub(super) full: Option<&'a str>,
    pub(super) look: &'a Look,
    /// Time in one state after which it is called stuck.
    pub(super) stuck_after: Duration,
    /// The deny entries of operators.
    pub(super) protections: &'a [Protection],
    /// The acknowledgement of the row, if there is one.
    pub(super) ack: Option<&'a Ack>,
}

impl Case<'_> {
    /// Every gate, in the order in which they are asked.
    pub(super) fn gates(&self) -> Vec<Gate> {
        let mut gates = vec![
            self.halt(),
            self.pause(),
            self.credential(),
            self.window(),
            self.approval(),
            self.cap(),
            self.throttle(),
            self.lease(),
            self.purchase(),
        ];
        gates.extend(self.further_gates());
        gates
    }

    fn now(&self) -> Timestamp {
        self.look.now
    }

    fn account(&self) -> Option<&Account> {
        self.stops.of(&self.row.account)
    }

    /// The gate that these states close. What stops everything comes before what stops the account.
    fn account_gate(&self, name: &'static str, states: &[AccountState]) -> Gate {
        let rows = [
            ("everything".to_owned(), self.stops.of(&AccountName::every())),
            (format!("account {}", self.row.account), self.account()),
        ];
        let stopped = rows.into_iter().find_map(|(subject, account)| {
            let told = account?.conditions(self.now());
            let told = told.into_iter().find(|condition| states.contains(&condition.state))?;
            Some(closed(name, condition_text(&subject, &told, self.look)))
        });
        stopped.unwrap_or_else(|| open(name, ""))
    }

    fn halt(&self) -> Gate {
        self.account_gate("halt", &[AccountState::Halted])
    }

    fn pause(&self) -> Gate {
        self.account_gate("pause", &[AccountState::Paused])
    }

    fn credential(&self) -> Gate {
        let states = [AccountState::CredentialRefused, AccountState::Unreachable];
        self.account_gate("credential", &states)
    }

    fn window(&self) -> Gate {
        let windows = self.policy.map(|policy| policy.windows.as_slice()).unwrap_or_default();
        if windows.is_empty() {
            return open("window", "not configured");
        }
        let listed = windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match next_opening(windows, self.now()) {
            Some(opens) if opens <= self.now() => open("window", listed),
            Some(opens) => {
                closed("window", format!("{listed}; opens {}", self.look.distance(opens)))
            }
            None => closed("window", listed),
        }
    }

    /// Whether people have said yes to the account, the teardown, and its size.
    fn approval(&self) -> Gate {
        if let Some(hold) = self.row.hold.as_ref().filter(|hold| is_for_consent(hold.code)) {
            return closed("approval", hold.text.clone());
        }
        let Some(policy) = self.policy else { return open("approval", "not required") };
        if policy.require_arming {
            let name = &self.row.account;
            let why = match self.account() {
                Some(account) => account.unarmed(&policy.identity()),
                None => Some("has not been armed".to_owned()),
            };
            if let Some(why) = why {
                return closed("approval", format!("account {name} {why}"));
            }
        }
        match approval::counting(self.row, policy.approve_by_other) {
            Ok(approval) => open(
                "approval",
                format!("by {} on {}", approval.actor, self.look.local(approval.at)),
            ),
            Err(why) if policy.require_approval => closed("approval", why),
            Err(_) => open("approval", "not required"),
        }
    }

    fn cap(&self) -> Gate {
        let shut = self.policy.is_some_and(|policy| {
            policy.max_deletions_per_hour == 0 || policy.max_deletions_per_day == 0
        });
        if shut {
            return closed("cap", "a cap of 0 lets no deletion through");
        }
        match self.row.reason.filter(|reason| matches!(reason, Reason::CapHour | Reason::CapDay)) {
            Some(reason) if self.waits() => closed("cap", self.waiting(reason)),
            Some(_) | None => open("cap", ""),
        }
    }

    fn throttle(&self) -> Gate {
        self.account_gate("throttle", &[AccountState::Throttled])
    }

    fn lease(&self) -> Gate {
        match (self.silence, &self.row.lease, self.full) {
            (Some(silence), _, _) => closed("lease", silence),
            (None, Some(lease), _) => open("lease", format!("{} works on it now", lease.owner)),
            (None, None, Some(full)) => closed("lease", format!("nothing new is claimed: {full}")),
            (None, None, None) => open("lease", "nobody works on it at this moment"),
        }
    }

    fn purchase(&self) -> Gate {
        let with = |standing: &str| {
            self.purchases.iter().filter(|p| p.record.standing == standing).collect::<Vec<_>>()
        };
        let (blocked, active, pending) = (with("blocked"), with("active"), with("pending"));
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
        let reading = match self.row.reason {
            Some(reason) if self.waits() && !is_account_wide(reason) => self.waiting(reason),
            Some(_) | None => String::new(),
        };
        if self.purchases.is_empty() && self.row.state == State::Queued {
            return open("purchase", "none was read yet");
        }
        let known = format!(
            "{} known, {} active, {} pending",
            counted(self.purchases.len(), "purchase"),
            active.len(),
            pending.len()
        );
        let text = if reading.is_empty() { known } else { format!("{known}; {reading}") };
        Gate { name: "purchase", open: reading.is_empty(), text }
    }

    /// Whether the row waits for a time.
    fn waits(&self) -> bool {
        self.row.next_attempt_at.is_some_and(|at| self.now() < at)
    }

    fn waiting(&self, reason: Reason) -> String {
        let text = self.row.reason_text.as_ref().map(|text| format!(": {text}"));
        let next =
            self.row.next_attempt_at.map(|at| format!("; next look {}", self.look.distance(at)));
        format!("{reason}{}{}", text.unwrap_or_default(), next.unwrap_or_default())
    }
}

/// Guards that ask whether people have said yes.
fn is_for_consent(code: Reason) -> bool {
    matches!(code, Reason::Arming | Reason::Approval | Reason::PlanDrift | Reason::LargeBatch)
}

/// Reasons that a gate of their own speaks of.
fn is_account_wide(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Halted
            | Reason::Paused
            | Reason::CredentialRefused
            | Reason::AccountUnreachable
            | Reason::CapHour
            | Reason::CapDay
            | Reason::Throttled
            | Reason::Window
    )
}
