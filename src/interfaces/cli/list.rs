//! `list`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::args::{Globals, ListArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::view::account::{condition_json, condition_text};
use super::view::counted;
use super::view::standing::{Standing, Stops};
use super::view::teardown::Listing;
use crate::core::account::{AccountState, Condition};
use crate::core::ids::AccountName;
use crate::core::teardown::Teardown;
use crate::store::Filter;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &ListArgs) -> Ending {
    let context = Context::open(globals).await?;
    let filter = Filter { latest_only: args.ringing, ..args.filters.filter() };
    let mut rows = context.store.list(&filter).await?;
    let stops = context.stops().await?;
    let acks = context.store.acks().await?;
    let look = context.look();
    let stuck_after = context.config.stuck_after;
    if args.stuck {
        rows.retain(|row| row.is_stuck(stuck_after, look.now));
    }
    if args.ringing {
        let acknowledged = |row: &Teardown| acks.iter().any(|ack| ack.id == row.id);
        rows.retain(|row| row.rings(stuck_after, look.now) && !acknowledged(row));
    }
    if !args.status.is_empty() {
        rows.retain(|row| args.status.contains(&Standing::of(row, &stops, look.now).status));
    }
    let listing = Listing { acks: &acks, ..context.listing(&rows, &stops, &look) };
    let mut text = match rows.len() {
        0 => "no teardowns\n".to_owned(),
        count => format!("{}{}\n", listing.text(), counted(count, "teardown")),
    };
    let named = args.filters.filter().account;
    let accounts = conditions(&context, &stops, named.as_ref(), look.now);
    for (name, condition) in accounts.iter().filter(|(_, told)| told.state != AccountState::Ok) {
        text.push_str(&condition_text(&format!("account {name}"), condition, &look));
        text.push('\n');
    }
    let accounts: Vec<_> =
        accounts.iter().map(|(name, condition)| condition_json(name, condition)).collect();
    Ok(Report::done(text, json!({"teardowns": listing.json(), "accounts": accounts})))
}

/// The state of every account that is configured or stored, or of the one that was named.
pub(super) fn conditions(
    context: &Context,
    stops: &Stops,
    named: Option<&AccountName>,
    now: Timestamp,
) -> Vec<(AccountName, Condition)> {
    let stored = stops.0.iter().map(|account| &account.name);
    let known: BTreeSet<&AccountName> = context.config.accounts.keys().chain(stored).collect();
    known
        .into_iter()
        .filter(|name| **name != AccountName::every())
        .filter(|name| named.is_none_or(|named| named == *name))
        .map(|name| (name.clone(), stops.condition(name, now)))
        .collect()
}
