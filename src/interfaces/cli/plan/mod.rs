//! `plan`: what would be done to a tenant. Reads only.

pub(super) mod saved;

use serde_json::{Value, json};

use super::args::{Globals, PlanArgs};
use super::beside;
use super::exit::{Ending, Exit, Failure, Report};
use super::view::json_time;
use super::view::table::Table;
use crate::core::approval::{self, Inventory};
use crate::core::ids::{AccountName, TenantId};
use crate::core::observation::CustomerSeen;
use crate::core::protection;
use crate::core::reason::Reason;
use crate::core::routes::{Purchase, Standing};
use crate::interfaces::config::Config;
use crate::runtime::preview::{Preview, preview};

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, options: &PlanArgs) -> Ending {
    let args = &options.tenants;
    let config = globals.configuration()?;
    let account = the_account(&config, args.account.as_ref())?;
    let (ground, _) = beside::ground(&config).await?;
    let settings = config.account(&account).ok_or_else(|| unknown(&account))?;
    let runtime =
        ground.account(settings).map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    let protections = ground.store.protections().await?;
    let (mut texts, mut plans, mut worst) = (Vec::new(), Vec::new(), Exit::Done);
    for tenant in &args.tenants {
        let mut preview = preview(&runtime, *tenant)
            .await
            .map_err(|error| Failure::new(Exit::Failed, format!("{tenant}: {error}")))?;
        if preview.objection.is_none() {
            let domain = domain(&preview);
            preview.objection =
                protection::object(&protections, &account, *tenant, domain.as_deref());
        }
        let verdict = verdict(&preview);
        worst = worse(worst, exit_of(&preview));
        texts.push(text(*tenant, &preview, &verdict));
        plans.push(json_of(*tenant, &account, &preview, &verdict));
    }
    if let Some(path) = &options.save {
        saved::write(path, &account, &json_time(ground.clock.now()), &plans)?;
        texts.push(format!("saved to {}\n", path.display()));
    }
    let mut report = Report::done(texts.join("\n"), json!({"plans": plans}));
    report.exit = worst;
    Ok(report)
}

/// The account that is meant: the one named, or the only one.
pub(super) fn the_account(
    config: &Config,
    named: Option<&AccountName>,
) -> Result<AccountName, Failure> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    let mut names = config.accounts.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Failure::new(Exit::Unfit, "the configuration has no account")
            .hint("add [accounts.NAME] to it; config/default.toml shows how")),
        (Some(_), Some(_)) => {
            Err(Failure::new(Exit::Usage, "there are several accounts")
                .hint("name one with --account"))
        }
    }
}

pub(super) fn unknown(account: &AccountName) -> Failure {
    Failure::new(Exit::Usage, format!("the configuration has no account {account}"))
        .hint("see [accounts.NAME] in the configuration")
}

/// The worse of two exits: a refusal before a missing customer before success.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Refused => 2,
        Exit::NotFound => 1,
        _ => 0,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn is_gone(preview: &Preview) -> bool {
    preview.seen.customer.as_ref().is_some_and(|c| matches!(c.fact, CustomerSeen::Gone { .. }))
}

fn exit_of(preview: &Preview) -> Exit {
    if is_gone(preview) {
        Exit::NotFound
    } else if preview.objection.is_some() {
        Exit::Refused
    } else {
        Exit::Done
    }
}

/// What would come of it, in one sentence, and the reason code where it would not be deleted.
fn verdict(preview: &Preview) -> (Option<Reason>, String) {
    if is_gone(preview) {
        return (Some(Reason::CustomerNotFound), "there is no such customer".to_owned());
    }
    if let Some((guard, text)) = &preview.objection {
        return (Some(*guard), format!("held, nothing would be written: {text}"));
    }
    let Some(assessment) = &preview.assessment else {
        return (Some(Reason::StaleFacts), "the purchases could not be read whole".to_owned());
    };
    let unfinished: Vec<&Purchase> = assessment.unfinished().collect();
    if let Some(blocked) = unfinished.iter().find(|purchase| purchase.blocked().is_some()) {
        let why = blocked.blocked().unwrap_or_default();
        let text = format!("failed before anything is touched: {}: {why}", blocked.key);
        return (Some(Reason::BlockedUncancellable), text);
    }
    (
        None,
        match unfinished.len() {
            0 => "deleted at once: nothing is active".to_owned(),
            count => format!("deleted after {count} purchases are cancelled"),
        },
    )
}

fn purchases(preview: &Preview) -> &[Purchase] {
    preview.assessment.as_ref().map_or(&[], |assessment| &assessment.purchases)
}

fn text(tenant: TenantId, preview: &Preview, verdict: &(Option<Reason>, String)) -> String {
    let domain = domain(preview).unwrap_or_else(|| "domain unknown".to_owned());
    let mut out = format!("{tenant} ({domain}): {}\n", verdict.1);
    if let Some(reason) = verdict.0 {
        out.push_str(&format!("  {}: {}\n", reason.as_str(), reason.remedy()));
    }
    let mut table = Table::new(&["KIND", "STANDING", "STATUS", "ROUTE", "PURCHASE", "AFTER"]);
    for purchase in purchases(preview) {
        let after: Vec<String> = waits_for(purchase, preview);
        table.row([
            purchase.kind.as_str().to_owned(),
            purchase.standing.as_str().to_owned(),
            purchase.status.clone(),
            route(purchase).to_owned(),
            purchase.key.to_string(),
            after.join(" "),
        ]);
    }
    if !purchases(preview).is_empty() {
        out.push_str(&table.draw());
    }
    out
}

fn route(purchase: &Purchase) -> &'static str {
    if purchase.standing == Standing::Inactive {
        return "none";
    }
    purchase.route().as_str()
}

/// The unfinished purchases that come first.
fn waits_for(purchase: &Purchase, preview: &Preview) -> Vec<String> {
    purchases(preview)
        .iter()
        .filter(|other| other.standing != Standing::Inactive)
        .filter(|other| purchase.after.contains(&other.key))
        .map(|other| other.key.to_string())
        .collect()
}

fn domain(preview: &Preview) -> Option<String> {
    match &preview.seen.customer.as_ref()?.fact {
        CustomerSeen::Present(customer) => customer.domain.clone(),
        CustomerSeen::Gone { .. } => None,
    }
}

fn json_of(
    tenant: TenantId,
    account: &AccountName,
    preview: &Preview,
    verdict: &(Option<Reason>, String),
) -> Value {
    let purchases: Vec<Value> = purchases(preview)
        .iter()
        .map(|purchase| {
            json!({
                "key": purchase.key,
                "kind": purchase.kind.as_str(),
                "name": purchase.name,
                "status": purchase.status,
                "standing": purchase.standing.as_str(),
                "route": route(purchase),
                "order_id": purchase.order_id,
                "after": waits_for(purchase, preview),
                "blocked": purchase.blocked(),
            })
        })
        .collect();
    json!({
        "tenant_id": tenant,
        "account": account,
        "domain": domain(preview),
        "customers": preview.seen.census.as_ref().map(|census| census.fact.customers),
        "blocked_by": verdict.0,
        "text": verdict.1,
        "cross_check": preview.assessment.as_ref().map(|_| entitlements_were_read(preview)),
        "purchases": purchases,
        "inventory": inventory(preview),
    })
}

/// What an approval of this plan is bound to; `None` where the purchases could not be read whole.
fn inventory(preview: &Preview) -> Option<Inventory> {
    let read = preview.assessment.as_ref().filter(|assessment| assessment.complete)?;
    Some(approval::inventory(&read.purchases))
}

fn entitlements_were_read(preview: &Preview) -> bool {
    use crate::core::observation::Entitlements;
    matches!(&preview.seen.entitlements, Some(read) if matches!(read.fact, Entitlements::Listed(_)))
}
