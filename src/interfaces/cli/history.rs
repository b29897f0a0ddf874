//! `history`: every change and every write of tenants, also of those whose rows retention has removed.

use std::collections::BTreeSet;

use serde_json::json;

use super::args::{Globals, TenantArgs};
use super::context::Context;
use super::exit::{Ending, Failure, Report};
use super::tenants;
use super::view::details::{command_json, history_text, transition_json};
use super::view::faults::fault_json;
use crate::core::ids::{AccountName, TenantId};

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &TenantArgs) -> Ending {
    let context = Context::open(globals).await?;
    let mut subjects = Vec::new();
    let mut missing = Vec::new();
    for tenant in &args.tenants {
        let accounts = accounts(&context, args.account.as_ref(), *tenant).await?;
        if accounts.is_empty() {
            missing.push(*tenant);
        }
        subjects.extend(accounts.into_iter().map(|account| (account, *tenant)));
    }
    if !missing.is_empty() {
        return Err(tenants::never_queued(&missing));
    }
    let look = context.look();
    let (mut text, mut shown) = (String::new(), Vec::new());
    for (account, tenant) in subjects {
        let changes = context.store.history(Some(&account), tenant).await?;
        let commands = context.store.commands(&account, tenant).await?;
        text.push_str(&format!("{tenant} in account {account}\n"));
        let faults = context.store.faults(&account, tenant).await?;
        text.push_str(&history_text(&changes, &commands, &faults, &look));
        shown.push(json!({
            "tenant_id": tenant,
            "account": account,
            "transitions": changes.iter().map(transition_json).collect::<Vec<_>>(),
            "commands": commands.iter().map(command_json).collect::<Vec<_>>(),
            "faults": faults.iter().map(fault_json).collect::<Vec<_>>(),
        }));
    }
    Ok(Report::done(text, json!({"history": shown})))
}

/// The accounts whose history knows a tenant. Every row begins with an entry there.
async fn accounts(
    context: &Context,
    named: Option<&AccountName>,
    tenant: TenantId,
) -> Result<BTreeSet<AccountName>, Failure> {
    let history = context.store.history(named, tenant).await?;
    Ok(history.into_iter().map(|change| change.account).collect())
}
