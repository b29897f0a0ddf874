//! The two things that people say yes to: arming an account, and approving teardowns. Neither can be typed in by SQL:
//! who arms has seen what the API says of the account, and who approves is the user of the command.

use jiff::Timestamp;

use super::requests;
use super::teardown::{self, Event};
use crate::core::account::{Account, Arming};
use crate::core::approval::{self, Approval, Inventory, Item};
use crate::core::reason::Reason;
use crate::core::routes::Standing;
use crate::core::teardown::{State, Teardown};
use crate::store::{ApproveRequest, ArmRequest, RequestEffect, StoredPurchase};

/// The guards whose holds an approval ends.
const FOR_APPROVAL: [Reason; 3] = [Reason::Approval, Reason::PlanDrift, Reason::LargeBatch];

// ---- approvals -----------------------------------------------------------------------------------------

/// Approves a row; without an event nothing was changed.
pub(in crate::store) fn approve(
    row: &mut Teardown,
    request: &ApproveRequest,
    stored: &[StoredPurchase],
    account_runs: bool,
    now: Timestamp,
) -> (RequestEffect, Option<Event>) {
    let done = inventory(row, request, stored).map(|inventory| {
        let text = format!("approved: {}", approval::in_words(&inventory));
        let why = request.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        row.approval =
            Some(Approval { actor: request.actor.clone(), at: now, run: row.run_since, inventory });
        teardown::let_go(row, &FOR_APPROVAL, account_runs, now);
        let event = teardown::unheld(row, format!("{text}{why}"), &request.actor);
        (format!("{text}{}", still_held(row)), event)
    });
    requests::effect(row, done)
}

/// The words about a hold that stands on.
fn still_held(row: &Teardown) -> String {
    let hold = row.holds.first();
    hold.map_or_else(String::new, |hold| format!("; still held by {}: {}", hold.actor, hold.text))
}

/// What the approval is to be bound to.
fn inventory(
    row: &Teardown,
    request: &ApproveRequest,
    stored: &[StoredPurchase],
) -> Result<Inventory, String> {
    if row.state.is_terminal() {
        return Err(format!("it is {} already", row.state.as_str()));
    }
    if let Some(plan) = &request.plan {
        let planned = plan.get(&row.tenant_id);
        return planned.cloned().ok_or_else(|| "the plan does not name it".to_owned());
    }
    if row.state == State::Queued {
        return Err(
            "its purchases are not stored yet: ask again once it has left the state queued, \
                    or approve a saved plan"
                .to_owned(),
        );
    }
    let unfinished =
        stored.iter().map(|p| &p.record).filter(|record| record.standing != Standing::Inactive);
    let item = |record: &crate::store::PurchaseRecord| Item {
        key: record.key.clone(),
        kind: record.kind.as_str().to_owned(),
        route: record.route.as_str().to_owned(),
    };
    Ok(unfinished.map(item).collect())
}

// ---- arming --------------------------------------------------------------------------------------------

/// Arms or disarms an account.
pub(in crate::store) fn arm(
    account: &mut Account,
    request: &ArmRequest,
    now: Timestamp,
) -> RequestEffect {
    let (applied, text) = match &request.identity {
        Some(identity) => {
            account.armed = Some(Arming {
                identity: identity.clone(),
                actor: request.actor.clone(),
                since: now,
            });
            (true, format!("armed by {}", request.actor))
        }
        None => match account.armed.take() {
            Some(armed) => (true, format!("disarmed; it was armed by {}", armed.actor)),
            None => (false, "it is not armed".to_owned()),
        },
    };
    RequestEffect {
        id: None,
        account: Some(account.name.clone()),
        tenant_id: None,
        applied,
        text,
        ..RequestEffect::default()
    }
}

/// Lets go of a row that was held because its account was not armed.
pub(in crate::store) fn account_was_armed(
    row: &mut Teardown,
    actor: &str,
    account_runs: bool,
    now: Timestamp,
) -> Option<Event> {
    teardown::let_go(row, &[Reason::Arming], account_runs, now)
        .then(|| teardown::unheld(row, "released: the account was armed".to_owned(), actor))
}
