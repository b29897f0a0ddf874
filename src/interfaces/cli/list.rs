//! `list`.

use serde_json::json;

use super::args::{Globals, ListArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::view::counted;
use super::view::standing::Standing;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &ListArgs) -> Ending {
    let context = Context::open(globals).await?;
    let mut rows = context.store.list(&args.filters.filter()).await?;
    let stops = context.stops().await?;
    let look = context.look();
    if !args.status.is_empty() {
        rows.retain(|row| args.status.contains(&Standing::of(row, &stops, look.now).status));
    }
    let listing = context.listing(&rows, &stops, &look);
    let text = match rows.len() {
        0 => "no teardowns\n".to_owned(),
        count => format!("{}{}\n", listing.text(), counted(count, "teardown")),
    };
    Ok(Report::done(text, json!({"teardowns": listing.json()})))
}
