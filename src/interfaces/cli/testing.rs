//! Rows for the tests of rendering and judging.

use std::time::Duration;

use jiff::Timestamp;

use crate::core::account::{Account, Stop};
use crate::core::hold::Hold;
use crate::core::ids::{AccountName, Fence, TeardownId, TenantId};
use crate::core::reason::Reason;
use crate::core::teardown::{State, Teardown};

/// The moment of the tests.
pub(super) fn now() -> Timestamp {
    "2027-01-31T10:00:00Z".parse().unwrap()
}

/// A row of account `lab` that has stood in its state for five minutes.
pub(super) fn row(id: i64, state: State) -> Teardown {
    let since = now() - Duration::from_secs(300);
    let tenant = format!("aaaaaaaa-0000-4000-8000-{id:012}");
    let tenant: TenantId = tenant.parse().unwrap();
    Teardown {
        domain: Some("lab.example".to_owned()),
        requested_by: Some("anna".to_owned()),
        state,
        eligible_since: Some(since),
        fence: Fence(1),
        finished_at: state.is_terminal().then_some(since),
        ..Teardown::fresh(TeardownId(id), AccountName::new("lab"), tenant, since)
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
    let mut row = row;
    row.holds.add(hold);
    row
}

/// A stop since now.
pub(super) fn stop(reason: &str) -> Stop {
    Stop { reason: reason.to_owned(), actor: "anna".to_owned(), since: now(), until: None }
}

/// The account with a halt.
pub(super) fn halted(account: Account) -> Account {
    Account { halted: Some(stop("800019")), ..account }
}
