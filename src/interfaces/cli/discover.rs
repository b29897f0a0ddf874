//! `discover`: the customers of an account that could be torn down.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};

use super::args::{DiscoverArgs, Globals};
use super::beside;
use super::confirm::ask;
use super::context::{Context, complain};
use super::exit::{Ending, Exit, Failure, Report};
use super::plan::{the_account, unknown};
use super::view::table::Table;
use super::view::{Look, counted, json_time};
use crate::core::discovery::Rules;
use crate::core::ids::AccountName;
use crate::core::teardown::NewTeardown;
use crate::interfaces::config::AccountConfig;
use crate::runtime::account::AccountRuntime;
use crate::runtime::discovery::{Found, Survey, survey};
use crate::runtime::preview::preview;

/// Customers whose purchases are read at once.
const READ_AT_ONCE: usize = 8;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &DiscoverArgs) -> Ending {
    let context = Context::open(globals).await?;
    let name = the_account(&context.config, args.account.as_ref())?;
    let settings = context.config.account(&name).ok_or_else(|| unknown(&name))?;
    let runtime = beside::on(&context)?
        .account(settings)
        .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    let rules = rules(args, settings);
    let (store, clock) = (context.store.as_ref(), context.clock.as_ref());
    let survey = survey(&runtime, &rules, args.again, store, clock)
        .await
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let lines = lines(&runtime, &survey, args.quick).await;
    let limit = settings.policy.customers_limit;
    let report = report(&name, &survey, &lines, limit, &context.look());
    if survey.count > limit {
        let text = format!(
            "{} customers, more than customers_limit = {limit}: this is no sandbox",
            survey.count
        );
        return Ok(Report::failed(report.text, report.json, Failure::new(Exit::Refused, text)));
    }
    if !args.enqueue {
        return Ok(report);
    }
    enqueue(&context, &name, &survey, args, report).await
}

/// The rules of the call with what the configuration excludes. Who is to be queued must have been
/// known before, if only since the last look.
fn rules(args: &DiscoverArgs, settings: &AccountConfig) -> Rules {
    let exclude = args.exclude.iter().chain(&settings.discovery_exclude).cloned().collect();
    let min_age = args.min_age.or(args.enqueue.then_some(Duration::ZERO));
    Rules { domains: args.domain.clone(), exclude, min_age }
}

/// A customer with how many purchases are to be cancelled.
struct Line<'a> {
    found: &'a Found,
    /// How many are not inactive; `None` where they were not read.
    unfinished: Option<usize>,
    /// Why they could not be read, or what makes one of them a person's.
    remark: Option<String>,
}

/// Reads what the customers that qualify have bought.
async fn lines<'a>(runtime: &AccountRuntime, survey: &'a Survey, quick: bool) -> Vec<Line<'a>> {
    let line = |found: &'a Found| async move {
        let mut line = Line { found, unfinished: None, remark: None };
        if let (Ok(tenant), false) = (&found.verdict, quick) {
            match preview(runtime, *tenant).await {
                Ok(preview) => {
                    let purchases = preview.assessment.as_ref();
                    line.unfinished = purchases.map(|read| read.unfinished().count());
                    line.remark = purchases.and_then(|read| {
                        read.unfinished().find_map(|p| p.blocked().map(str::to_owned))
                    });
                }
                Err(error) => line.remark = Some(error.to_string()),
            }
        }
        line
    };
    stream::iter(survey.found.iter().map(line)).buffered(READ_AT_ONCE).collect().await
}

fn report(
    account: &AccountName,
    survey: &Survey,
    lines: &[Line<'_>],
    limit: usize,
    look: &Look,
) -> Report {
    let mut table = Table::new(&["TENANT", "DOMAIN", "KNOWN FOR", "TO CANCEL", "", "BECAUSE"]);
    for Line { found, unfinished, remark } in lines {
        table.row([
            found.customer.id.clone().unwrap_or_default(),
            found.customer.domain.clone().unwrap_or_default(),
            found.first_seen_at.map_or("unknown".to_owned(), |at| look.since(at)),
            unfinished.map(|count| count.to_string()).unwrap_or_default(),
            if found.verdict.is_ok() { "qualifies" } else { "left out" }.to_owned(),
            found.verdict.as_ref().err().or(remark.as_ref()).cloned().unwrap_or_default(),
        ]);
    }
    let qualify = lines.iter().filter(|line| line.found.verdict.is_ok()).count();
    let text = format!(
        "{}{} of at most {limit} in {account}, {qualify} qualify\n",
        table.draw(),
        counted(survey.count, "customer")
    );
    let customers: Vec<Value> = lines
        .iter()
        .map(|Line { found, unfinished, remark }| {
            json!({
                "tenant_id": found.customer.id,
                "domain": found.customer.domain,
                "company_name": found.customer.company_name,
                "first_seen_at": json_time(found.first_seen_at),
                "purchases": unfinished,
                "remark": remark,
                "qualifies": found.verdict.is_ok(),
                "because": found.verdict.as_ref().err(),
            })
        })
        .collect();
    let json = json!({
        "account": account,
        "used": survey.count,
        "limit": limit,
        "read_at": json_time(survey.read_at),
        "qualify": qualify,
        "customers": customers,
    });
    Report::done(text, json)
}

/// Queues all that qualify, or nothing.
async fn enqueue(
    context: &Context,
    account: &AccountName,
    survey: &Survey,
    args: &DiscoverArgs,
    mut report: Report,
) -> Ending {
    let rows: Vec<NewTeardown> = survey
        .found
        .iter()
        .filter_map(|found| {
            Some(NewTeardown {
                batch: args.batch.clone(),
                note: args.reason.clone(),
                requested_by: Some(context.actor.clone()),
                again: args.again,
                ..found.proposal(account)?
            })
        })
        .collect();
    if rows.is_empty() && survey.is_first() {
        context.notice(
            "nobody was known before this look; it has recorded who is there, so that the next one \
             may queue them",
        );
    }
    if args.expect.is_none() {
        // Nobody confirms what they have not seen.
        complain(&report.text);
    }
    if let Err(failure) = agreed(account, rows.len(), args.expect) {
        return Ok(Report::failed(report.text, report.json, failure));
    }
    let stored = context.store.enqueue(&rows, context.clock.now()).await?;
    context.warn_if_silent().await?;
    report.text.push_str(&format!("{} queued\n", counted(stored.len(), "tenant")));
    let results: Vec<Value> = rows
        .iter()
        .zip(&stored)
        .map(|(row, (id, outcome))| {
            json!({"tenant_id": row.tenant_id, "id": id, "outcome": outcome})
        })
        .collect();
    if let Value::Object(fields) = &mut report.json {
        fields.insert("results".to_owned(), Value::Array(results));
    }
    Ok(report)
}

/// Whether so many may be queued: exactly as many as were expected, or a person at a terminal has
/// seen them and types the account's name.
fn agreed(account: &AccountName, found: usize, expect: Option<usize>) -> Result<(), Failure> {
    match expect {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => Err(Failure::new(
            Exit::Refused,
            format!("{found} qualify, not {expected}; nothing was queued"),
        )
        .hint("look at the list again before you change --expect")),
        None => {
            let what = format!("queue {}", counted(found, "tenant"));
            let typed = ask(account.as_str(), &what);
            if typed.is_some_and(|typed| AccountName::new(typed) == *account) {
                return Ok(());
            }
            Err(Failure::new(Exit::Usage, "it was not confirmed; nothing was queued")
                .hint(format!("type the account's name on a terminal, or add --expect {found}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_is_expected_must_be_the_number_found() {
        let account = AccountName::new("lab");
        assert!(agreed(&account, 3, Some(3)).is_ok());
        for wrong in [0, 2, 4] {
            assert_eq!(agreed(&account, 3, Some(wrong)).unwrap_err().exit, Exit::Refused);
        }
    }
}
