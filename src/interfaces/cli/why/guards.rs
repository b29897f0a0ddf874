//! The gates that stand beside those of the accounts: guards that need no API call, holds, times and
//! the dry run.

use super::gates::{Case, Gate, closed, open};
use crate::core::gates::admit_locally;
use crate::core::protection;
use crate::core::reason::Reason;

impl Case<'_> {
    /// These gates, in the order in which they are asked.
    pub(super) fn further_gates(&self) -> [Gate; 4] {
        [self.guard(), self.hold(), self.time(), self.dry_run()]
    }

    /// The deny entry or the setting that refuses the tenant before anything is read.
    pub(super) fn local_objection(&self) -> Option<(Reason, String)> {
        let row = self.row;
        let domains = [row.expected_domain.as_deref(), row.domain.as_deref()];
        let entry = protection::object(
            self.protections,
            &row.account,
            row.tenant_id,
            domains.into_iter().flatten(),
        );
        entry.or_else(|| {
            let policy = self.policy?;
            admit_locally(row.tenant_id, row.expected_domain.as_deref(), policy).err()
        })
    }

    fn guard(&self) -> Gate {
        match self.local_objection() {
            Some((guard, text)) => closed("guard", format!("{guard}: {text}")),
            None => open("guard", ""),
        }
    }

    fn hold(&self) -> Gate {
        match &self.row.hold {
            Some(hold) => {
                let since = self.look.local(hold.since);
                closed("hold", format!("held by {} since {since}: {}", hold.actor, hold.text))
            }
            None => open("hold", ""),
        }
    }

    fn time(&self) -> Gate {
        let now = self.look.now;
        if let Some(at) = self.row.not_before.filter(|at| now < *at) {
            return closed("time", format!("not before {}", self.look.local(at)));
        }
        let grace = self.policy.map(|policy| policy.grace).filter(|grace| !grace.is_zero());
        let opens = grace.and_then(|grace| self.row.created_at.checked_add(grace).ok());
        match opens.filter(|at| now < *at) {
            Some(at) => closed("time", format!("safety.grace ends {}", self.look.distance(at))),
            None => open("time", ""),
        }
    }

    fn dry_run(&self) -> Gate {
        if self.policy.is_some_and(|policy| policy.dry_run) {
            return closed("dry run", "safety.dry_run keeps every write inside the process");
        }
        open("dry run", "")
    }
}
