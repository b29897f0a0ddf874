//! `show`.

use serde_json::{Value, json};

use super::args::{Globals, TenantArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::tenants;
use super::view::details::{command_json, commands_text, more_json, purchase_json, purchases_text};
use super::view::faults::{self, fault_json};
use super::view::standing::{Standing, Stops};
use super::view::table::Table;
use super::view::{Look, json_time, plain};
use crate::core::teardown::Teardown;
use crate::store::StoredFault;

/// What `show` says of an inventory without entitlements.
const NO_CROSS_CHECK: &str = "not available: the API refuses entitlements to this app, so the inventory rests on orders and \
                              subscriptions";

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &TenantArgs) -> Ending {
    let context = Context::open(globals).await?;
    let rows = tenants::newest(&context, args).await?;
    let stops = context.stops().await?;
    let look = context.look();
    let acks = context.store.acks().await?;
    let listing = context.listing(&rows, &stops, &look);
    let (mut texts, mut shown) = (Vec::new(), Vec::new());
    for row in &rows {
        let purchases = context.store.purchases(row.id).await?;
        let commands = context.store.commands(&row.account, row.tenant_id).await?;
        let fault = context.last_fault(row).await?;
        let parts = [
            facts(row, fault.as_ref(), &stops, &look),
            purchases_text(&purchases),
            commands_text(&commands, &look),
        ];
        texts
            .push(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"));
        let mut json = listing.row_json(row);
        merge(&mut json, more_json(row));
        let ack = acks
            .iter()
            .find(|ack| ack.id == row.id)
            .map(|ack| json!({"actor": ack.actor, "reason": ack.reason, "at": json_time(ack.at)}));
        let stuck = row.is_stuck(context.config.stuck_after, look.now);
        merge(&mut json, json!({"stuck": stuck, "ack": ack}));
        merge(
            &mut json,
            json!({
                "last_fault": fault.as_ref().map(fault_json),
                "purchases": purchases.iter().map(purchase_json).collect::<Vec<_>>(),
                "commands": commands.iter().map(command_json).collect::<Vec<_>>(),
            }),
        );
        shown.push(json);
    }
    Ok(Report::done(texts.join("\n"), json!({"teardowns": shown})))
}

/// Adds the fields of one object to another.
fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// The row itself, a fact a line; what is not known is left out.
fn facts(row: &Teardown, fault: Option<&StoredFault>, stops: &Stops, look: &Look) -> String {
    let standing = Standing::of(row, stops, look.now);
    let mut table = Table::new(&["", ""]);
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            table.row([name.to_owned(), value]);
        }
    };
    let time = |at| format!("{} ({})", look.local(at), look.distance(at));
    fact("teardown", Some(format!("#{} of {} in account {}", row.id, row.tenant_id, row.account)));
    fact("domain", row.domain.clone());
    fact("expected domain", row.expected_domain.clone());
    fact("batch", row.batch.clone());
    fact("state", Some(format!("{} for {}", row.state.as_str(), look.since(row.state_since))));
    fact("status", Some(standing.status.as_str().to_owned()));
    fact("blocked by", standing.blocked_by.map(|reason| reason.to_string()));
    fact("reason", row.reason_text.as_deref().map(plain));
    for hold in row.holds.iter() {
        let since = look.local(hold.since);
        fact("held", Some(format!("by {} since {since}: {}", hold.actor, hold.text)));
    }
    fact("next attempt", row.next_attempt_at.filter(|_| !row.state.is_terminal()).map(time));
    fact("not before", row.not_before.map(time));
    fact("attempts", (row.attempts > 0).then(|| row.attempts.to_string()));
    fact("worked on by", row.lease.as_ref().map(|lease| lease.owner.clone()));
    fact("queued", Some(time(row.created_at)));
    fact("queued by", row.requested_by.clone());
    fact("because", row.note.clone());
    fact("finished", row.finished_at.map(time));
    fact("cross-check", (row.cross_checked == Some(false)).then(|| NO_CROSS_CHECK.to_owned()));
    fact("last fault", fault.map(|fault| faults::fault_line(fault, look)));
    fact("its ids", fault.map(faults::ids));
    fact("what to do", fault.map(|fault| faults::remedy(fault).to_owned()));
    table.draw()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::core::teardown::State;
    use crate::interfaces::cli::testing::{held, now, row};

    #[test]
    fn a_row_is_shown_a_fact_a_line() {
        let look = Look { now: now(), zone: TimeZone::UTC };
        let text = facts(&held(row(7, State::Polling)), None, &Stops::default(), &look);
        assert_eq!(
            text,
            "teardown    #7 of aaaaaaaa-0000-4000-8000-000000000007 in account lab\n\
             domain      lab.example\n\
             state       polling for 5m 0s\n\
             status      held\n\
             blocked by  operator\n\
             held        by bo since 2027-01-31 10:00:00: look first\n\
             queued      2027-01-31 09:55:00 (5m 0s ago)\n\
             queued by   anna\n"
        );
    }
}
