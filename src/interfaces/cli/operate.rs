//! What operators ask for: `abort`, `retry`, `hold`, `release`, `ack`, `set`, `pause`, `resume`,
//! `unhalt`.

use serde_json::{Value, json};

use super::args::{Globals, OperateArgs, PauseArgs, ResumeArgs, RetryArgs, SetArgs, UnhaltArgs};
use super::confirm::confirmed;
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use super::view::table::Table;
use super::view::{counted, json_time, meant};
use crate::core::ids::AccountName;
use crate::core::teardown::{State, Teardown};
use crate::store::{Filter, OperatorRequest, RequestEffect, Verb};

/// Asks something of teardowns.
pub(crate) async fn teardowns(globals: &Globals, verb: Verb, args: &OperateArgs) -> Ending {
    act(globals, args, about_rows(verb, globals)).await
}

/// Queues failed teardowns anew.
pub(crate) async fn retry(globals: &Globals, args: &RetryArgs) -> Ending {
    let request = about_rows(Verb::Retry, globals);
    act(globals, &args.operate, OperatorRequest { try_anyway: args.try_anyway, ..request }).await
}

/// Sets priority and earliest time.
pub(crate) async fn set(globals: &Globals, args: &SetArgs) -> Ending {
    let now = super::open::clock().wall();
    let request = OperatorRequest {
        priority: args.priority,
        not_before: args.not_before.map(|when| when.at(now)),
        ..about_rows(Verb::Set, globals)
    };
    act(globals, &args.operate, request).await
}

fn about_rows(verb: Verb, globals: &Globals) -> OperatorRequest {
    OperatorRequest::new(verb, Filter::default(), globals.actor())
}

async fn act(globals: &Globals, args: &OperateArgs, request: OperatorRequest) -> Ending {
    let verb = request.verb;
    let filter = args.selection.filter()?;
    let named = !filter.tenants.is_empty();
    let context = Context::open(globals).await?;
    let mut rows = context.matching(&filter).await?;
    let matched = rows.len();
    if !named {
        // Who names no tenant means those it can be done to; a tenant that is named gets an answer.
        let stuck_after = context.config.stuck_after;
        let now = context.clock.now();
        rows.retain(|row| concerns(verb, row) || verb == Verb::Ack && row.rings(stuck_after, now));
    }
    if rows.is_empty() {
        let message = format!(
            "{} match, none of which can be asked to {}",
            counted(matched, "teardown"),
            verb.as_str()
        );
        return Err(
            Failure::new(Exit::NotFound, message).hint("`teardownd list` shows their states")
        );
    }
    let ids = rows.iter().map(|row| row.id).collect();
    let filter = Filter { ids, ..Filter::default() };
    let not_before = request.not_before.map(meant);
    let request = OperatorRequest { filter, not_before, reason: args.reason.clone(), ..request };
    let effects = context.store.request(&request, context.clock.now()).await?;
    context.warn_if_silent().await?;
    Ok(report(verb.as_str(), rows.len(), &effects))
}

/// Whether a verb can mean this row.
fn concerns(verb: Verb, row: &Teardown) -> bool {
    match verb {
        Verb::Abort => !row.state.is_terminal(),
        Verb::Hold => !row.state.is_terminal() && row.holds.operator().is_none(),
        Verb::Release => row.holds.stand(),
        Verb::Retry => row.state == State::Failed,
        Verb::Set => !row.state.is_terminal(),
        Verb::Ack | Verb::Pause | Verb::Resume | Verb::Unhalt | Verb::Protect | Verb::Unprotect => {
            false
        }
    }
}

/// What became of a request about teardowns.
pub(super) fn report(verb: &str, matched: usize, effects: &[RequestEffect]) -> Report {
    let applied = effects.iter().filter(|effect| effect.applied).count();
    let counts = format!("{} matched, {applied} changed", counted(matched, "teardown"));
    let text = format!("{}{counts}\n", effects_text(effects));
    let json = json!({"matched": matched, "applied": applied, "results": effects_json(effects)});
    if applied == matched {
        return Report::done(text, json);
    }
    let message =
        format!("{} not changed by {verb}", counted(matched - applied.min(matched), "teardown"));
    Report::failed(text, json, Failure::new(Exit::Failed, message))
}

/// What became of each, a line for each.
pub(crate) fn effects_text(effects: &[RequestEffect]) -> String {
    let mut table = Table::new(&["", "", "", ""]);
    for effect in effects {
        table.row([
            if effect.applied { "done" } else { "not done" }.to_owned(),
            effect.id.map(|id| format!("#{id}")).unwrap_or_default(),
            effect.tenant_id.map(|id| id.to_string()).unwrap_or_default(),
            effect.text.clone(),
        ]);
    }
    table.draw()
}

/// What became of each, for machines.
pub(crate) fn effects_json(effects: &[RequestEffect]) -> Vec<Value> {
    let one = |effect: &RequestEffect| {
        let mut json = json!({
            "id": effect.id,
            "account": effect.account,
            "tenant_id": effect.tenant_id,
            "applied": effect.applied,
            "text": effect.text,
        });
        if let Some(writes) = &effect.writes {
            json["accepted"] = json!(writes.accepted);
            json["unanswered"] = json!(writes.unanswered);
        }
        json
    };
    effects.iter().map(one).collect()
}

/// `pause`
pub(crate) async fn pause(globals: &Globals, args: &PauseArgs) -> Ending {
    let context = Context::open(globals).await?;
    let until = args.until.map(|when| meant(when.at(context.clock.wall())));
    if until.is_some_and(|until| until <= context.clock.now()) {
        return Err(Failure::new(Exit::Usage, "--until lies in the past")
            .hint("name a time to come, or a duration such as 2h"));
    }
    let account = args.account.as_ref();
    of_account(&context, Verb::Pause, account, args.reason.as_deref(), until).await
}

/// `resume`
pub(crate) async fn resume(globals: &Globals, args: &ResumeArgs) -> Ending {
    let context = Context::open(globals).await?;
    of_account(&context, Verb::Resume, args.account.as_ref(), args.reason.as_deref(), None).await
}

/// `unhalt`
pub(crate) async fn unhalt(globals: &Globals, args: &UnhaltArgs) -> Ending {
    let given = args.confirm.as_ref().map(AccountName::as_str);
    confirmed(args.account.as_str(), given, "lift the halt of that account")?;
    let context = Context::open(globals).await?;
    of_account(&context, Verb::Unhalt, Some(&args.account), args.reason.as_deref(), None).await
}

/// Refuses an account that neither the configuration nor the database knows.
pub(crate) async fn known_account(
    context: &Context,
    account: Option<&AccountName>,
) -> Result<(), Failure> {
    let Some(name) = account else { return Ok(()) };
    let stored = context.store.accounts().await?;
    if context.config.account(name).is_some() || stored.iter().any(|a| a.name == *name) {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("there is no account {name}"))
        .hint(format!("the configuration has {}", context.config.account_names())))
}

async fn of_account(
    context: &Context,
    verb: Verb,
    account: Option<&AccountName>,
    reason: Option<&str>,
    until: Option<jiff::Timestamp>,
) -> Ending {
    known_account(context, account).await?;
    let filter = Filter { account: account.cloned(), ..Filter::default() };
    let request = OperatorRequest {
        reason: reason.map(ToOwned::to_owned),
        until,
        ..OperatorRequest::new(verb, filter, context.actor.clone())
    };
    let effects = context.store.request(&request, context.clock.now()).await?;
    context.warn_if_silent().await?;
    let applied = effects.iter().any(|effect| effect.applied);
    let subject = account.map_or("everything".to_owned(), |name| format!("account {name}"));
    let texts: Vec<&str> = effects.iter().map(|effect| effect.text.as_str()).collect();
    let text = format!("{} {subject}: {}\n", verb.as_str(), texts.join("; "));
    let json = json!({
        "verb": verb,
        "account": account,
        "applied": applied,
        "until": json_time(until),
        "results": texts,
    });
    if applied {
        return Ok(Report::done(text, json));
    }
    let failure =
        Failure::new(Exit::Failed, format!("{subject} was not changed: {}", texts.join("; ")));
    Ok(Report::failed(String::new(), json, failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::cli::testing::{held, row};

    #[test]
    fn a_filter_means_only_what_a_verb_can_be_done_to() {
        let (polling, failed) = (row(1, State::Polling), row(2, State::Failed));
        let stuck = held(polling.clone());
        for (verb, meant) in [
            (Verb::Abort, [true, false, true]),
            (Verb::Hold, [true, false, false]),
            (Verb::Release, [false, false, true]),
            (Verb::Retry, [false, true, false]),
        ] {
            let rows = [&polling, &failed, &stuck];
            assert_eq!(rows.map(|row| concerns(verb, row)), meant, "{verb:?}");
        }
    }

    #[test]
    fn what_was_not_done_is_said_with_the_reason() {
        let failed = row(2, State::Failed);
        let effect = |applied| RequestEffect {
            id: Some(failed.id),
            account: Some(failed.account.clone()),
            tenant_id: Some(failed.tenant_id),
            applied,
            text: "a DELETE is unanswered".to_owned(),
            ..RequestEffect::default()
        };
        let report = report("abort", 2, &[effect(true), effect(false)]);
        assert_eq!(report.exit, Exit::Failed);
        assert!(
            report.text.ends_with("a DELETE is unanswered\n2 teardowns matched, 1 changed\n"),
            "{}",
            report.text
        );
        assert_eq!(report.json["results"][1]["applied"], false);
    }
}
