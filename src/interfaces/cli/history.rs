//! `history`.

use serde_json::json;

use super::args::{Globals, TenantArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::tenants;
use super::view::details::{command_json, history_text, transition_json};
use super::view::faults::fault_json;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &TenantArgs) -> Ending {
    let context = Context::open(globals).await?;
    let rows = tenants::newest(&context, args).await?;
    let look = context.look();
    let (mut text, mut tenants) = (String::new(), Vec::new());
    for row in &rows {
        let changes = context.store.history(Some(&row.account), row.tenant_id).await?;
        let commands = context.store.commands(&row.account, row.tenant_id).await?;
        let faults = context.store.faults(&row.account, row.tenant_id).await?;
        text.push_str(&format!("{} in account {}\n", row.tenant_id, row.account));
        text.push_str(&history_text(&changes, &commands, &faults, &look));
        tenants.push(json!({
            "tenant_id": row.tenant_id,
            "account": row.account,
            "transitions": changes.iter().map(transition_json).collect::<Vec<_>>(),
            "commands": commands.iter().map(command_json).collect::<Vec<_>>(),
            "faults": faults.iter().map(fault_json).collect::<Vec<_>>(),
        }));
    }
    Ok(Report::done(text, json!({"history": tenants})))
}
