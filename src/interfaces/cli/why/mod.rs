//! `why`: every gate in order, and the next command to type.

mod gates;
mod guards;

use serde_json::{Value, json};

use self::gates::{Case, Gate};
use super::args::{Globals, TenantArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::tenants;
use super::view::account::condition_json;
use super::view::faults::{self, fault_json};
use super::view::plain;
use super::view::standing::Standing;
use super::view::table::Table;
use crate::core::reason::Reason;
use crate::core::teardown::{State, Status};
use crate::interfaces::assemble::enough_room;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &TenantArgs) -> Ending {
    let context = Context::open(globals).await?;
    let rows = tenants::newest(&context, args).await?;
    let stops = context.stops().await?;
    let silence = context.silence().await?;
    let database = &context.config.database;
    let full = enough_room(database.path.clone(), database.min_free.0)().err();
    let protections = context.store.protections().await?;
    let acks = context.store.acks().await?;
    let look = context.look();
    let (mut texts, mut answers) = (Vec::new(), Vec::new());
    for row in &rows {
        let purchases = context.store.purchases(row.id).await?;
        let fault = context.last_fault(row).await?;
        let case = Case {
            row,
            purchases: &purchases,
            fault: fault.as_ref(),
            stops: &stops,
            policy: context.config.account(&row.account).map(|account| &account.policy),
            silence: silence.as_deref(),
            full: full.as_deref(),
            look: &look,
            stuck_after: context.config.engine.stuck_after,
            protections: &protections,
            ack: acks.iter().find(|ack| ack.id == row.id),
        };
        texts.push(case.text());
        answers.push(case.json());
    }
    Ok(Report::done(texts.join("\n"), json!({"why": answers})))
}

impl Case<'_> {
    fn is_stuck(&self) -> bool {
        self.row.is_stuck(self.stuck_after, self.look.now)
    }

    fn standing(&self) -> Standing {
        Standing::of(self.row, self.stops, self.look.now)
    }

    fn text(&self) -> String {
        let (row, standing) = (self.row, self.standing());
        let because = standing.blocked_by.map(|reason| format!(", {reason}")).unwrap_or_default();
        let domain = row.domain.as_ref().map(|domain| format!(" ({domain})")).unwrap_or_default();
        let mut text = format!(
            "{}{} in account {}: {} for {}; {}{because}\n",
            row.tenant_id,
            plain(&domain),
            row.account,
            row.state.as_str(),
            self.look.since(row.state_since),
            standing.status.as_str(),
        );
        for line in self.words().into_iter().chain(self.last_fault()) {
            text.push_str(&format!("  {}\n", plain(&line)));
        }
        if !row.state.is_terminal() {
            let mut table = Table::new(&["", "", "", ""]);
            for Gate { name, open, text } in self.gates() {
                let mark = if open { "open" } else { "CLOSED" };
                table.row([" ".to_owned(), name.to_owned(), mark.to_owned(), text]);
            }
            text.push_str(&table.draw());
        }
        text.push_str(&format!("next: {}\n", self.next()));
        text
    }

    fn json(&self) -> Value {
        let standing = self.standing();
        let condition = self.stops.condition(&self.row.account, self.look.now);
        let gates: Vec<Value> = self
            .gates()
            .into_iter()
            .map(|Gate { name, open, text }| json!({"gate": name, "open": open, "text": text}))
            .collect();
        json!({
            "id": self.row.id,
            "account": self.row.account,
            "account_condition": condition_json(&self.row.account, &condition),
            "tenant_id": self.row.tenant_id,
            "state": self.row.state,
            "status": standing.status,
            "blocked_by": standing.blocked_by,
            "stuck": self.is_stuck(),
            "acked_by": self.ack.map(|ack| &ack.actor),
            "words": self.words(),
            "last_fault": self.fault.map(fault_json),
            "gates": gates,
            "next": self.next(),
        })
    }

    /// The stored text, and what can be done about it.
    fn words(&self) -> Vec<String> {
        let hold = self.row.hold.as_ref().map(|hold| {
            let by = format!("held by {}", hold.actor);
            // Without a reason of its own a hold says just that.
            if hold.text == by { by } else { format!("{by}: {}", hold.text) }
        });
        let stored = self.row.reason_text.clone().filter(|_| hold.is_none());
        let remedy = self.standing().blocked_by.map(|reason| reason.remedy().to_owned());
        let stuck = self.is_stuck().then(|| {
            let limit = humantime::format_duration(self.stuck_after);
            format!("stuck: in this state for longer than engine.stuck_after = {limit}")
        });
        let ack = self.ack.map(|ack| {
            let because = ack.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("acknowledged by {} on {}{because}", ack.actor, self.look.local(ack.at))
        });
        stuck.into_iter().chain(ack).chain(hold).chain(stored).chain(remedy).collect()
    }

    /// The latest failed call, unless the work is done.
    fn last_fault(&self) -> Option<String> {
        let fault = self.fault.filter(|_| self.standing().status != Status::Done)?;
        let ids = faults::ids(fault);
        Some(format!("last fault: {}; {ids}", faults::fault_line(fault, self.look)))
    }

    /// The next command to type.
    fn next(&self) -> String {
        let (tenant, account) = (self.row.tenant_id, &self.row.account);
        match self.row.state {
            State::Deleted => return "nothing: the tenant is provably gone".to_owned(),
            State::Aborted => return format!("teardownd enqueue {tenant} --account {account}"),
            State::Failed => return format!("teardownd retry {tenant}"),
            State::Queued
            | State::EntitlementsFetched
            | State::OrdersCancelling
            | State::Polling
            | State::Deleting => {}
        }
        if let Some(hold) = &self.row.hold {
            return match hold.code {
                Reason::Arming => format!("teardownd arm --account {account}"),
                Reason::Approval | Reason::PlanDrift | Reason::LargeBatch => {
                    format!("teardownd approve {tenant}")
                }
                Reason::ProtectedTenant | Reason::ProtectedDomain
                    if self.local_objection().is_some() =>
                {
                    format!("teardownd abort {tenant}")
                }
                Reason::OwnTenant | Reason::DomainMismatch => format!("teardownd abort {tenant}"),
                _ => format!("teardownd release {tenant}"),
            };
        }
        match self.standing().blocked_by {
            Some(Reason::Halted) => format!("teardownd unhalt --account {account}"),
            Some(Reason::Paused) => self.resume(),
            Some(Reason::CredentialRefused | Reason::AccountUnreachable) => {
                "teardownd check".to_owned()
            }
            _ if self.local_objection().is_some() => format!("teardownd abort {tenant}"),
            _ if self.silence.is_some() => "teardownd run".to_owned(),
            _ => format!("teardownd wait {tenant}"),
        }
    }

    fn resume(&self) -> String {
        let own = self.stops.of(&self.row.account);
        if own.is_some_and(|account| account.is_paused(self.look.now)) {
            format!("teardownd resume --account {}", self.row.account)
        } else {
            "teardownd resume".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use std::time::Duration;

    use super::*;
    use crate::core::account::Account;
    use crate::core::domain::DomainPattern;
    use crate::core::gates::SafetyPolicy;
    use crate::core::ids::AccountName;
    use crate::core::protection::{Protection, Subject};
    use crate::core::teardown::Teardown;
    use crate::core::window::Window;
    use crate::interfaces::cli::testing::{halted, held, now, row, stop};
    use crate::interfaces::cli::view::Look;
    use crate::interfaces::cli::view::standing::Stops;

    fn ask<T>(row: &Teardown, accounts: Vec<Account>, question: impl Fn(&Case<'_>) -> T) -> T {
        question(&Case {
            row,
            purchases: &[],
            fault: None,
            stops: &Stops(accounts),
            policy: None,
            silence: None,
            full: None,
            look: &Look { now: now(), zone: TimeZone::UTC },
            stuck_after: Duration::from_secs(600),
            protections: &[],
            ack: None,
        })
    }

    fn lab() -> Account {
        Account::fresh(AccountName::new("lab"))
    }

    #[test]
    fn the_gates_stand_in_the_order_of_the_contract() {
        let names = ask(&row(1, State::Polling), vec![], |case| {
            case.gates().iter().map(|gate| gate.name).collect::<Vec<_>>()
        });
        assert_eq!(
            names,
            [
                "halt",
                "pause",
                "credential",
                "window",
                "approval",
                "cap",
                "throttle",
                "lease",
                "purchase",
                "guard",
                "hold",
                "time",
                "dry run"
            ]
        );
    }

    #[test]
    fn a_stuck_tenant_is_called_so() {
        let fresh = row(1, State::Polling);
        let stuck = Teardown { state_since: now() - Duration::from_secs(601), ..fresh.clone() };
        let words = |row: &Teardown| ask(row, vec![], |case| case.words().join("\n"));
        assert!(words(&stuck).contains("engine.stuck_after = 10m"));
        assert!(!words(&fresh).contains("stuck"));
    }

    #[test]
    fn the_next_command_fits_what_stops_the_tenant() {
        let polling = row(1, State::Polling);
        let tenant = polling.tenant_id;
        let paused =
            |name: AccountName| Account { paused: Some(stop("lunch")), ..Account::fresh(name) };
        let by = |code| {
            let mut row = held(polling.clone());
            row.hold.as_mut().unwrap().code = code;
            row
        };
        let cases = [
            (polling.clone(), vec![], format!("teardownd wait {tenant}")),
            (polling.clone(), vec![halted(lab())], "teardownd unhalt --account lab".to_owned()),
            (
                polling.clone(),
                vec![paused(lab().name)],
                "teardownd resume --account lab".to_owned(),
            ),
            (polling.clone(), vec![paused(AccountName::every())], "teardownd resume".to_owned()),
            (held(polling.clone()), vec![], format!("teardownd release {tenant}")),
            (row(1, State::Failed), vec![], format!("teardownd retry {tenant}")),
            (by(Reason::Approval), vec![], format!("teardownd approve {tenant}")),
            (by(Reason::PlanDrift), vec![], format!("teardownd approve {tenant}")),
            (by(Reason::Arming), vec![], "teardownd arm --account lab".to_owned()),
        ];
        for (row, accounts, next) in cases {
            assert_eq!(ask(&row, accounts, |case| case.next()), next);
        }
    }

    #[test]
    fn a_full_disk_closes_the_gate_of_the_lease_for_whom_nobody_works_on() {
        let lease = |full: Option<&str>| {
            ask(&row(1, State::Polling), vec![], |case| {
                let case = Case { full, ..*case };
                case.gates().into_iter().find(|gate| gate.name == "lease").unwrap()
            })
        };
        assert!(lease(None).open);
        let gate = lease(Some("t.db has 1 MB free"));
        assert_eq!(
            (gate.open, gate.text.as_str()),
            (false, "nothing new is claimed: t.db has 1 MB free")
        );
    }

    #[test]
    fn a_window_and_a_missing_word_are_gates_of_their_own() {
        let window = |text: &str| Window::parse(text, |_| Some(TimeZone::UTC)).unwrap();
        let lines = |policy: &SafetyPolicy, row: &Teardown| {
            let stops = Stops(vec![lab()]);
            let case = Case {
                row,
                purchases: &[],
                fault: None,
                stops: &stops,
                policy: Some(policy),
                silence: None,
                full: None,
                look: &Look { now: now(), zone: TimeZone::UTC },
                stuck_after: Duration::from_secs(600),
                protections: &[],
                ack: None,
            };
            let of_interest = |gate: &Gate| matches!(gate.name, "window" | "approval");
            let gates = case.gates().into_iter().filter(of_interest);
            gates.map(|gate| format!("{} {}", gate.open, gate.text)).collect::<Vec<_>>()
        };
        let tenant = row(1, State::Polling).tenant_id;
        // It is a Sunday, 10:00.
        let mut policy = SafetyPolicy::new(tenant);
        policy.windows = vec![window("Sun 10:00-11:00 UTC")];
        let polling = row(1, State::Polling);
        assert_eq!(lines(&policy, &polling), ["true Sun 10:00-11:00 UTC", "true not required"]);
        policy.windows = vec![window("Sun 11:00-12:00 UTC")];
        policy.require_approval = true;
        assert_eq!(
            lines(&policy, &polling),
            ["false Sun 11:00-12:00 UTC; opens in 1h 0m", "false nobody has approved it"]
        );
        policy.require_arming = true;
        assert_eq!(lines(&policy, &polling)[1], "false account lab has not been armed");
        let mut drifted = held(polling);
        drifted.hold.as_mut().unwrap().code = Reason::PlanDrift;
        assert_eq!(lines(&policy, &drifted)[1], "false look first");
    }

    #[test]
    fn a_paused_tenant_is_explained() {
        let accounts = vec![Account { paused: Some(stop("lunch")), ..lab() }];
        let text = ask(&row(1, State::Polling), accounts, |case| case.text());
        assert_eq!(
            text,
            "aaaaaaaa-0000-4000-8000-000000000001 (lab.example) in account lab: polling for 5m 0s; waiting, paused\n\
            \x20 Run `teardownd resume` when work may go on.\n\
            \x20  halt        open\n\
            \x20  pause       CLOSED  account lab is paused by anna for 0s, since 2027-01-31 10:00:00: lunch\n\
            \x20  credential  open\n\
            \x20  window      open    not configured\n\
            \x20  approval    open    not required\n\
            \x20  cap         open\n\
            \x20  throttle    open\n\
            \x20  lease       open    nobody works on it at this moment\n\
            \x20  purchase    open    0 purchases known, 0 active, 0 pending\n\
            \x20  guard       open\n\
            \x20  hold        open\n\
            \x20  time        open\n\
            \x20  dry run     open\n\
            next: teardownd resume --account lab\n"
        );
    }

    #[test]
    fn a_protected_tenant_is_to_be_aborted() {
        let polling = row(1, State::Polling);
        let entry = Protection {
            account: AccountName::every(),
            subject: Subject::Domain(DomainPattern::parse("lab.example").unwrap()),
            actor: "anna".to_owned(),
            reason: None,
            since: now(),
        };
        let told = ask(&polling, vec![], |case| {
            let case = Case { protections: std::slice::from_ref(&entry), ..*case };
            let guard = case.gates().into_iter().find(|gate| gate.name == "guard").unwrap();
            (guard.open, guard.text, case.next())
        });
        assert_eq!(
            told,
            (
                false,
                "protected_domain: lab.example matches lab.example, protected by anna".to_owned(),
                format!("teardownd abort {}", polling.tenant_id)
            )
        );
    }
}
