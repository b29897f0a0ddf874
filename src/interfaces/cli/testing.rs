//! Rows for the tests of rendering and judging.

use std::time::Duration;

use jiff::Timestamp;

use crate::core::account::{Account, Stop};
use crate::core::ids::{AccountName, Fence, TeardownId, TenantId};
use crate::core::reason::Reason;
use crate::core::teardown::{Hold, State, Teardown};

/// The moment of the tests.
pub(super) fn now() -> Timestamp {
    "2027-01-31T10:00:00Z".parse().unwrap()
}

/// A row of account `lab` that has stood in its state for five minutes.
pub(super) fn row(id: i64, state: State) -> Teardown {
    let since = now() - Duration::from_secs(300);
    let tenant = format!("aaaaaaaa-0000-4000-8000-{id:012}");
    Teardown {
        id: TeardownId(id),
        account: AccountName::new("lab"),
        tenant_id: tenant.parse::<TenantId>().unwrap(),
        expected_domain: None,
        domain: Some("lab.example".to_owned()),
        batch: None,
        priority: 0,
        note: None,
        requested_by: Some("anna".to_owned()),
        created_at: since,
        run_since: since,
        try_anyway: false,
        not_before: None,
        state,
        state_since: since,
        reason: None,
        reason_text: None,
        hold: None,
        attempts: 0,
        polls: 0,
        rounds: 0,
        next_attempt_at: None,
        eligible_since: Some(since),
        eligible_used: Duration::ZERO,
        suspects: Vec::new(),
        cross_checked: None,
        uncancellable_at: None,
        approval: None,
        lease: None,
        fence: Fence(1),
        updated_at: since,
        finished_at: state.is_terminal().then_some(since),
    }
}

/// The row held by an operator.
pub(super) fn held(row: Teardown) -> Teardown {
    let hold = Hold {
        code: Reason::Operator,
        text: "look first".to_owned(),
        actor: "bo".to_owned(),
        since: now(),
    };
    Teardown { hold: Some(hold), ..row }
}

/// A stop since now.
pub(super) fn stop(reason: &str) -> Stop {
    Stop { reason: reason.to_owned(), actor: "anna".to_owned(), since: now(), until: None }
}

/// The account with a halt.
pub(super) fn halted(account: Account) -> Account {
    Account { halted: Some(stop("800019")), ..account }
}
