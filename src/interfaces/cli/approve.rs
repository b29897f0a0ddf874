//! `approve`: a person's yes to tearing tenants down, bound to what they have bought.

use std::collections::BTreeMap;

use super::args::{ApproveArgs, Globals};
use super::confirm;
use super::context::Context;
use super::exit::{Ending, Exit, Failure};
use super::operate;
use super::plan::saved::{self, Saved};
use super::view::counted;
use crate::core::approval::{Inventory, check_other};
use crate::core::ids::TenantId;
use crate::core::teardown::Teardown;
use crate::store::{ApproveRequest, Filter};

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &ApproveArgs) -> Ending {
    let config = globals.configuration()?;
    let (filter, plan) = match &args.plan {
        Some(path) => {
            let saved = saved::read(path)?;
            (filter_of(&saved), Some(inventories(&saved)?))
        }
        None => (args.selection.filter()?, None),
    };
    let context = Context::with(globals, config).await?;
    let named = !filter.tenants.is_empty();
    let mut rows = context.matching(&filter).await?;
    if !named || plan.is_some() {
        // Who names no tenant means those that can still be approved.
        rows.retain(|row| !row.state.is_terminal());
    }
    if rows.is_empty() {
        return Err(Failure::new(Exit::NotFound, "no teardown matches that has not ended")
            .hint("`teardownd list` shows every teardown"));
    }
    confirm_count(rows.len(), args.expect, named)?;
    check_approver(&context, &rows)?;
    let request = ApproveRequest {
        filter: Filter { ids: rows.iter().map(|row| row.id).collect(), ..Filter::default() },
        actor: context.actor.clone(),
        reason: args.reason.clone(),
        plan,
    };
    let effects = context.store.approve(&request, context.clock.now()).await?;
    context.warn_if_silent().await?;
    Ok(operate::report("approve", rows.len(), &effects))
}

fn filter_of(saved: &Saved) -> Filter {
    Filter {
        account: Some(saved.account.clone()),
        tenants: saved.plans.iter().map(|plan| plan.tenant_id).collect(),
        latest_only: true,
        ..Filter::default()
    }
}

/// The inventory of each tenant of a plan. One that could not be read whole approves nothing.
fn inventories(saved: &Saved) -> Result<BTreeMap<TenantId, Inventory>, Failure> {
    let whole = saved.plans.iter().map(|plan| {
        let inventory = plan.inventory.clone().ok_or_else(|| {
            let text = format!("the plan has no whole inventory of {}", plan.tenant_id);
            Failure::new(Exit::Usage, text).hint("make the plan anew, without that tenant")
        })?;
        Ok((plan.tenant_id, inventory))
    });
    whole.collect()
}

/// Makes sure that so many are meant, where they were not named one by one.
fn confirm_count(matched: usize, expected: Option<usize>, named: bool) -> Result<(), Failure> {
    let asked = || {
        let what = format!("approve the {} that matched", counted(matched, "teardown"));
        confirm::ask("their number", &what).and_then(|line| line.parse().ok())
    };
    let expected = match expected {
        Some(expected) => Some(expected),
        None if named => return Ok(()),
        None => asked(),
    };
    if expected == Some(matched) {
        return Ok(());
    }
    let text = match expected {
        Some(expected) => {
            format!(
                "{} matched, not {expected}; nothing was approved",
                counted(matched, "teardown")
            )
        }
        None => format!("{} matched; nothing was approved", counted(matched, "teardown")),
    };
    Err(Failure::new(Exit::Usage, text).hint("say with --expect how many are meant"))
}

/// Refuses early what the guard would not count.
fn check_approver(context: &Context, rows: &[Teardown]) -> Result<(), Failure> {
    for row in rows {
        let policy = context.config.account(&row.account).map(|account| &account.policy);
        if policy.is_some_and(|policy| policy.approve_by_other)
            && let Err(why) = check_other(row.requested_by.as_deref(), &context.actor)
        {
            let text = format!("{}: {why}; nothing was approved", row.tenant_id);
            return Err(Failure::new(Exit::Refused, text)
                .hint("ask somebody else to approve, under a user of their own"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_confirmed_unless_tenants_are_named() {
        assert!(confirm_count(3, None, true).is_ok());
        assert!(confirm_count(3, Some(3), false).is_ok());
        assert!(confirm_count(3, Some(2), true).is_err(), "what is said must be true");
        let refused = confirm_count(3, Some(4), false).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.message.contains("3 teardowns matched, not 4"), "{}", refused.message);
    }
}
