//! From tenant ids to the rows they stand for.

use super::args::TenantArgs;
use super::context::Context;
use super::exit::{Exit, Failure};
use crate::core::ids::TenantId;
use crate::core::teardown::Teardown;
use crate::store::Filter;

/// The newest row of each tenant, in the order of the call; of each account where several have it.
pub(crate) async fn newest(context: &Context, args: &TenantArgs) -> Result<Vec<Teardown>, Failure> {
    let filter = Filter {
        tenants: args.tenants.clone(),
        account: args.account.clone(),
        latest_only: true,
        ..Filter::default()
    };
    let found = context.store.list(&filter).await?;
    let has = |tenant: &TenantId| found.iter().any(|row| row.tenant_id == *tenant);
    let missing: Vec<TenantId> = args.tenants.iter().copied().filter(|t| !has(t)).collect();
    if !missing.is_empty() {
        return Err(never_queued(&missing));
    }
    let mut rows = Vec::new();
    for tenant in &args.tenants {
        rows.extend(found.iter().filter(|row| row.tenant_id == *tenant).cloned());
    }
    Ok(rows)
}

/// The failure that nothing is known of these tenants.
pub(crate) fn never_queued(tenants: &[TenantId]) -> Failure {
    let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
    Failure::new(Exit::NotFound, format!("no teardown of {} was ever queued", tenants.join(", ")))
        .hint("`teardownd list` shows every teardown; `teardownd enqueue` queues one")
}
