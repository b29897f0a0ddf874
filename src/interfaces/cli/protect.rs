//! `protect` and `unprotect`: lasting deny entries, set while the daemon runs.

use serde_json::json;

use super::args::{Globals, ProtectArgs, UnprotectArgs};
use super::confirm::confirmed;
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use super::operate::{effects_json, effects_text, known_account};
use super::view::counted;
use super::view::json_time;
use super::view::table::Table;
use crate::core::ids::AccountName;
use crate::core::protection::{Protection, Subject};
use crate::store::{Filter, OperatorRequest, RequestEffect, Verb};

/// `protect`
pub(crate) async fn protect(globals: &Globals, args: &ProtectArgs) -> Ending {
    let context = Context::open(globals).await?;
    if args.list {
        return list(&context, args.account.as_ref()).await;
    }
    known_account(&context, args.account.as_ref()).await?;
    let request = request(&context, Verb::Protect, args.account.as_ref(), &args.subjects);
    let request = OperatorRequest { reason: args.reason.clone(), ..request };
    let effects = context.store.request(&request, context.clock.now()).await?;
    context.warn_if_silent().await?;
    Ok(report(&effects))
}

/// `unprotect`
pub(crate) async fn unprotect(globals: &Globals, args: &UnprotectArgs) -> Ending {
    let subject = args.subject.to_string();
    confirmed(&subject, args.confirm.as_deref(), "lift its protection")?;
    let context = Context::open(globals).await?;
    let subjects = [args.subject.clone()];
    let request = request(&context, Verb::Unprotect, args.account.as_ref(), &subjects);
    let request = OperatorRequest { reason: args.reason.clone(), ..request };
    let effects = context.store.request(&request, context.clock.now()).await?;
    context.warn_if_silent().await?;
    let text = effects_text(&effects);
    let applied = effects.iter().filter(|effect| effect.applied).count();
    let json = json!({"matched": applied, "applied": applied, "results": effects_json(&effects)});
    if applied > 0 {
        return Ok(Report::done(text, json));
    }
    let scope = scope(args.account.as_ref());
    let failure = Failure::new(Exit::NotFound, format!("{subject} is not protected in {scope}"))
        .hint("`teardownd protect --list` shows every entry");
    Ok(Report::failed(String::new(), json, failure))
}

fn request(
    context: &Context,
    verb: Verb,
    account: Option<&AccountName>,
    subjects: &[Subject],
) -> OperatorRequest {
    let (mut tenants, mut domains) = (Vec::new(), Vec::new());
    for subject in subjects {
        match subject {
            Subject::Tenant(tenant) => tenants.push(*tenant),
            Subject::Domain(domain) => domains.push(domain.clone()),
        }
    }
    let filter = Filter { account: account.cloned(), tenants, ..Filter::default() };
    OperatorRequest { domains, ..OperatorRequest::new(verb, filter, context.actor.clone()) }
}

fn scope(account: Option<&AccountName>) -> String {
    account.map_or("every account".to_owned(), |name| format!("account {name}"))
}

/// The entries, and what became of the teardowns they are about.
fn report(effects: &[RequestEffect]) -> Report {
    let teardowns: Vec<_> = effects.iter().filter(|effect| effect.id.is_some()).collect();
    let entries = effects.len() - teardowns.len();
    let aborted = teardowns.iter().filter(|effect| effect.applied).count();
    let entries =
        if entries == 1 { "1 entry stands".to_owned() } else { format!("{entries} entries stand") };
    let text = format!(
        "{}{entries}; {} matched, {aborted} aborted\n",
        effects_text(effects),
        counted(teardowns.len(), "active teardown"),
    );
    let json = json!({
        "matched": teardowns.len(),
        "applied": aborted,
        "results": effects_json(effects),
    });
    let left = teardowns.len() - aborted;
    if left == 0 {
        return Report::done(text, json);
    }
    let message = format!("{entries}, but {} could not be aborted", counted(left, "teardown"));
    let failure = Failure::new(Exit::Failed, message)
        .hint("no new write goes to them; `teardownd why TENANT` says how each stands");
    Report::failed(text, json, failure)
}

async fn list(context: &Context, account: Option<&AccountName>) -> Ending {
    let mut entries = context.store.protections().await?;
    if let Some(account) = account {
        entries.retain(|entry| entry.holds_in(account));
    }
    let look = context.look();
    let mut table = Table::new(&["PROTECTED", "ACCOUNT", "SINCE", "BY", "BECAUSE"]);
    for Protection { account, subject, actor, reason, since } in &entries {
        table.row([
            subject.to_string(),
            if *account == AccountName::every() { "every".to_owned() } else { account.to_string() },
            look.local(*since),
            actor.clone(),
            reason.clone().unwrap_or_default(),
        ]);
    }
    let text = match entries.len() {
        0 => "nothing is protected beyond the configuration\n".to_owned(),
        1 => format!("{}1 entry\n", table.draw()),
        count => format!("{}{count} entries\n", table.draw()),
    };
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({
                "account": (entry.account != AccountName::every()).then_some(&entry.account),
                "kind": entry.subject.kind(),
                "subject": entry.subject,
                "actor": entry.actor,
                "reason": entry.reason,
                "since": json_time(entry.since),
            })
        })
        .collect();
    Ok(Report::done(text, json!({"protections": entries})))
}
