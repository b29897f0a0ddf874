use jiff::tz::TimeZone;

use super::*;
use crate::core::account::{Account, Canary};
use crate::core::domain::DomainPattern;
use crate::core::gates::{SafetyPolicy, StoredFacts};
use crate::core::ids::{AccountName, CommandId};
use crate::core::protection::{Protection, Subject};
use crate::core::routes;
use crate::core::window::Window;
use crate::interfaces::cli::testing::{halted, held, now, row, stop};

/// A row with what is stored beside it, and the guards in force.
struct Told {
    row: Teardown,
    accounts: Vec<Account>,
    policy: SafetyPolicy,
    protections: Vec<Protection>,
    full: Option<&'static str>,
}

impl Told {
    /// Nothing stops it, as far as is known without reading.
    fn of(row: Teardown) -> Self {
        let mut policy = SafetyPolicy::new(row.tenant_id);
        policy.partner_tenant = "bbbbbbbb-0000-4000-8000-000000000001".parse().unwrap();
        policy.sandbox = true;
        Self { row, accounts: vec![lab()], policy, protections: Vec::new(), full: None }
    }

    fn by(row: Teardown, change: impl FnOnce(&mut Self)) -> Self {
        let mut told = Self::of(row);
        change(&mut told);
        told
    }

    fn ask<T>(&self, question: impl FnOnce(&Case<'_>) -> T) -> T {
        let stored = |name: &AccountName| {
            let account = self.accounts.iter().find(|account| account.name == *name);
            account.cloned().unwrap_or_else(|| Account::fresh(name.clone()))
        };
        let facts = StoredFacts {
            teardown: self.row.clone(),
            account: stored(&self.row.account),
            every: stored(&AccountName::every()),
            deletions: Vec::new(),
            command: None,
            calls: 0,
            ahead: jiff::SignedDuration::ZERO,
            resource_busy: false,
            unapproved: 0,
            protections: self.protections.clone(),
        };
        let asked = Asked { intent: routes::delete_customer(), facts, policy: &self.policy };
        question(&Case {
            row: &self.row,
            purchases: &[],
            fault: None,
            stops: &Stops(self.accounts.clone()),
            asked: Some(&asked),
            silence: None,
            full: self.full,
            look: &Look { now: now(), zone: TimeZone::UTC },
            stuck_after: Duration::from_secs(600),
            ack: None,
        })
    }

    /// The gates that are closed.
    fn closed(&self) -> Vec<(&'static str, String)> {
        let gates = self.ask(|case| case.gates());
        gates.into_iter().filter(|gate| !gate.open).map(|gate| (gate.name, gate.text)).collect()
    }
}

fn lab() -> Account {
    Account::fresh(AccountName::new("lab"))
}

fn paused(name: AccountName) -> Account {
    Account { paused: Some(stop("lunch")), ..Account::fresh(name) }
}

#[test]
fn every_guard_is_a_gate_after_those_of_the_scheduler() {
    let names: Vec<&str> = Told::of(row(1, State::Polling))
        .ask(|case| case.gates())
        .into_iter()
        .map(|gate| gate.name)
        .collect();
    let guards = Guard::ALL.iter().map(|guard| guard.as_str());
    let expected: Vec<&str> =
        ["lease", "outage", "due", "purchase"].into_iter().chain(guards).collect();
    assert_eq!(names, expected);
}

#[test]
fn nothing_is_closed_where_nothing_stops_it_and_what_needs_a_reading_says_so() {
    let told = Told::of(row(1, State::Polling));
    assert_eq!(told.closed(), []);
    let gates = told.ask(|case| case.gates());
    let unread: Vec<&str> =
        gates.iter().filter(|gate| gate.text.contains("not asked")).map(|g| g.name).collect();
    assert!(unread.contains(&"customer_list") && unread.contains(&"allowed_domain"), "{unread:?}");
    assert!(!unread.contains(&"dry_run") && !unread.contains(&"arming"), "{unread:?}");
}

#[test]
fn an_account_that_the_configuration_does_not_know_is_a_gate() {
    let gates = Told::of(row(1, State::Polling)).ask(|case| Case { asked: None, ..*case }.gates());
    let last = gates.last().unwrap();
    assert_eq!((last.name, last.open), ("account", false));
}

#[test]
fn a_stuck_tenant_is_called_so() {
    let fresh = row(1, State::Polling);
    let stuck = Teardown { state_since: now() - Duration::from_secs(601), ..fresh.clone() };
    let words = |row: Teardown| Told::of(row).ask(|case| case.words().join("\n"));
    assert!(words(stuck).contains("engine.stuck_after = 10m"));
    assert!(!words(fresh).contains("stuck"));
}

#[test]
fn the_next_command_fits_what_stops_the_tenant() {
    let polling = row(1, State::Polling);
    let tenant = polling.tenant_id;
    let by = |code| {
        let mut row = polling.clone();
        row.holds.add(Hold {
            code,
            text: "look first".to_owned(),
            actor: "guard".to_owned(),
            since: now(),
        });
        row
    };
    let cases = [
        (polling.clone(), vec![], format!("teardownd wait {tenant}")),
        (polling.clone(), vec![halted(lab())], "teardownd unhalt --account lab".to_owned()),
        (polling.clone(), vec![paused(lab().name)], "teardownd resume --account lab".to_owned()),
        (polling.clone(), vec![paused(AccountName::every())], "teardownd resume".to_owned()),
        (held(polling.clone()), vec![], format!("teardownd release {tenant}")),
        (held(by(Reason::Arming)), vec![], format!("teardownd release {tenant}")),
        (row(1, State::Failed), vec![], format!("teardownd retry {tenant}")),
        (by(Reason::Approval), vec![], format!("teardownd approve {tenant}")),
        (by(Reason::PlanDrift), vec![], format!("teardownd approve {tenant}")),
        (by(Reason::Arming), vec![], "teardownd arm --account lab".to_owned()),
        (by(Reason::ProtectedTenant), vec![], format!("teardownd release {tenant}")),
    ];
    for (row, accounts, next) in cases {
        let told = Told::by(row, |told| told.accounts = accounts);
        assert_eq!(told.ask(|case| case.next()), next);
    }
}

#[test]
fn a_full_disk_closes_the_gate_of_the_lease_for_whom_nobody_works_on() {
    let told = Told::by(row(1, State::Polling), |told| told.full = Some("t.db has 1 MB free"));
    let text = "nothing new is claimed: t.db has 1 MB free".to_owned();
    assert_eq!(told.closed(), [("lease", text)]);
}

#[test]
fn what_a_row_waits_for_stands_under_its_own_gate() {
    let polling = row(1, State::Polling);
    let later = Teardown { not_before: Some(now() + Duration::from_secs(60)), ..polling.clone() };
    assert_eq!(Told::of(later).closed()[0].0, "due");
    let window = |text: &str| Window::parse(text, |_| Some(TimeZone::UTC)).unwrap();
    // It is a Sunday, 10:00.
    type Change = fn(&mut SafetyPolicy);
    let cases: [(&str, Change); 6] = [
        ("arming", |policy| policy.require_arming = true),
        ("approval", |policy| policy.require_approval = true),
        ("grace", |policy| policy.grace = Duration::from_secs(3600)),
        ("dry_run", |policy| policy.dry_run = true),
        ("cap_hour", |policy| policy.max_deletions_per_hour = 0),
        ("domain_required", |policy| policy.require_domain = true),
    ];
    for (gate, change) in cases {
        let told = Told::by(polling.clone(), |told| change(&mut told.policy));
        let closed = told.closed();
        assert_eq!(closed.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [gate], "{closed:?}");
    }
    let told = Told::by(polling, |told| told.policy.windows = vec![window("Sun 10:30-12:00 UTC")]);
    let text = "outside of Sun 10:30-12:00 UTC; opens in 30m 0s".to_owned();
    assert_eq!(told.closed(), [("window", text)]);
}

#[test]
fn who_waits_for_a_canary_is_told_whose_and_where_to_look() {
    let other = row(2, State::Polling).tenant_id;
    let canary = Canary { command: CommandId(uuid::Uuid::from_u128(7)), tenant_id: other };
    let told = Told::by(row(1, State::Polling), |told| {
        told.accounts = vec![Account { canary: Some(canary), ..lab() }];
    });
    let closed = told.closed();
    assert_eq!((closed.len(), closed[0].0), (1, "canary"), "{closed:?}");
    let text = &closed[0].1;
    assert!(text.contains(&format!("command {} of tenant {other}", canary.command)), "{text}");
    assert_eq!(told.ask(|case| case.next()), format!("teardownd why {other}"));
}

#[test]
fn a_paused_tenant_is_explained() {
    let told = Told::by(row(1, State::Polling), |told| told.accounts = vec![paused(lab().name)]);
    let text = told.ask(|case| case.text());
    let head = "aaaaaaaa-0000-4000-8000-000000000001 (lab.example) in account lab: polling for 5m 0s; \
                waiting, paused\n\
                \x20 Run `teardownd resume` when work may go on.\n\
                \x20 gates before the next write, delete_customer customer:\n\
                \x20  lease             open    nobody works on it at this moment\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("  pause             CLOSED  paused by anna: lunch\n"), "{text}");
    assert!(text.ends_with("next: teardownd resume --account lab\n"), "{text}");
}

#[test]
fn both_holds_are_told_the_operators_first() {
    let mut both = held(row(1, State::Polling));
    both.holds.add(Hold {
        code: Reason::Arming,
        text: "account lab has not been armed".to_owned(),
        actor: "arming".to_owned(),
        since: now(),
    });
    let words = Told::of(both).ask(|case| case.words());
    assert_eq!(
        words[..2],
        ["held by bo: look first", "held by arming: account lab has not been armed"]
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
    let told = Told::by(polling.clone(), |told| told.protections = vec![entry]);
    let text = "lab.example matches lab.example, protected by anna".to_owned();
    assert_eq!(told.closed(), [("protection", text)]);
    assert_eq!(told.ask(|case| case.next()), format!("teardownd abort {}", polling.tenant_id));
}
