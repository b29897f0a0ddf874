//! `list`.

use serde_json::json;

use super::args::{Globals, ListArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::view::counted;
use super::view::standing::Standing;
use super::view::teardown::Listing;
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
    let stuck_after = context.config.engine.stuck_after;
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
    let text = match rows.len() {
        0 => "no teardowns\n".to_owned(),
        count => format!("{}{}\n", listing.text(), counted(count, "teardown")),
    };
    Ok(Report::done(text, json!({"teardowns": listing.json()})))
}
