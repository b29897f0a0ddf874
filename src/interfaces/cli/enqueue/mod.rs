//! `enqueue`: all of a call is queued, or nothing.

mod entry;
mod input;
mod results;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;

use self::entry::{BadRow, Entry, Wrong};
use self::results::{Line, Outcome, json_of, text_of};
use super::args::{EnqueueArgs, Globals};
use super::context::{Context, complain};
use super::exit::{Ending, Exit, Failure, Report};
use super::view::{counted, meant};
use super::wait;
use crate::core::gates::admit_locally;
use crate::core::ids::{TeardownId, TenantId};
use crate::core::reason::Reason;
use crate::core::teardown::NewTeardown;
use crate::interfaces::config::{AccountConfig, Config};
use crate::store::{EnqueueOutcome, RefusedEnqueue, StoreError};

/// A tenant whose form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    line: Option<u64>,
    row: NewTeardown,
}

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &EnqueueArgs) -> Ending {
    let now = super::open::clock().wall();
    let entries = match read_entries(args, now)? {
        Ok(entries) => entries,
        Err(bad) => return Ok(invalid(&bad, args)),
    };
    let config = globals.configuration()?;
    let account = the_account(&config, args)?.clone();
    let wanted = complete(entries, args, &account, &globals.actor(), now)?;
    let refused = refused(&wanted, &account);
    if !refused.is_empty() {
        let report = refusal(&lines_of(&wanted, &refused, with_remedy), wanted.len());
        // The refusal stands, whatever becomes of the note of it.
        match Context::with(globals, config).await {
            Ok(context) => note(&context, &wanted, &refused, context.clock.now()).await,
            Err(failure) => complain(format_args!(
                "warning: the refusal could not be kept for the audit: {}",
                failure.message
            )),
        }
        return Ok(report);
    }
    let context = Context::with(globals, config).await?;
    let row = |wanted: &Wanted| {
        let not_before = wanted.row.not_before.map(meant);
        NewTeardown { not_before, ..wanted.row.clone() }
    };
    let rows: Vec<NewTeardown> = wanted.iter().map(row).collect();
    let now = context.clock.now();
    let stored = match context.store.enqueue(&rows, now).await {
        Ok(stored) => stored,
        Err(StoreError::Protected(refused)) => {
            note(&context, &wanted, &refused, now).await;
            return Ok(refusal(&lines_of(&wanted, &refused, with_remedy), wanted.len()));
        }
        // The text says what to do: the guard's remedy is about a domain that was read.
        Err(StoreError::OtherDomain(refused)) => {
            note(&context, &wanted, &refused, now).await;
            let text = |_, text: &str| text.to_owned();
            return Ok(refusal(&lines_of(&wanted, &refused, text), wanted.len()));
        }
        Err(error) => return Err(error.into()),
    };
    let lines = outcomes(&wanted, &stored);
    context.notice(&format!("database: {}", context.config.database.place));
    context.warn_if_silent().await?;
    if account.policy.allow_domains.is_empty() {
        context.notice(
            "warning: safety.allow_domains is empty, so the daemon will not write to these tenants",
        );
    }
    let report = Report::done(text_of(&lines), json_of(&lines));
    if !args.wait {
        return Ok(report);
    }
    let ids = waited_for(&stored);
    let ending = wait::until_ended(&context, &ids, args.timeout).await?;
    Ok(ending.after(report))
}

/// The account that is meant.
fn the_account<'a>(config: &'a Config, args: &EnqueueArgs) -> Result<&'a AccountConfig, Failure> {
    let known = config.account_names();
    if config.accounts.is_empty() {
        return Err(Failure::new(Exit::Unfit, "the configuration has no account").hint(
            "add [accounts.default] to the configuration; config/default.toml shows its keys",
        ));
    }
    match &args.account {
        Some(name) => config.account(name).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("there is no account {name}"))
                .hint(format!("the configuration has {known}"))
        }),
        None if config.accounts.len() > 1 => {
            Err(Failure::new(Exit::Usage, "there are several accounts, and none was named")
                .hint(format!("name one of {known} with --account")))
        }
        None => config
            .accounts
            .values()
            .next()
            .ok_or_else(|| Failure::new(Exit::Unfit, "the configuration has no account")),
    }
}

fn read_entries(
    args: &EnqueueArgs,
    now: Timestamp,
) -> Result<Result<Vec<Entry>, Vec<BadRow>>, Failure> {
    let Some(path) = &args.file else {
        return Ok(entries_of(&args.tenants));
    };
    let bytes = read_file(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} cannot be read: {error}", path.display()))
            .hint("name a readable file, or - for standard input")
    })?;
    let rows = input::read_rows(&bytes, now);
    if rows.as_ref().is_ok_and(Vec::is_empty) {
        return Err(Failure::new(Exit::Usage, format!("{} names no tenant", path.display()))
            .hint("write one tenant id a line"));
    }
    Ok(rows)
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn entries_of(tenants: &[String]) -> Result<Vec<Entry>, Vec<BadRow>> {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    for text in tenants {
        match entry::tenant(text.trim()) {
            Ok(tenant) => entries.push(Entry { tenant: Some(tenant), ..Entry::default() }),
            Err(wrong) => bad.push(BadRow { line: None, column: None, wrong }),
        }
    }
    if bad.is_empty() { Ok(entries) } else { Err(bad) }
}

/// Puts what the options say where a row says nothing.
fn complete(
    entries: Vec<Entry>,
    args: &EnqueueArgs,
    account: &AccountConfig,
    actor: &str,
    now: Timestamp,
) -> Result<Vec<Wanted>, Failure> {
    let domain = args.domain.as_deref().map(entry::domain).transpose().map_err(
        |Wrong { value, remedy }| {
            Failure::new(Exit::Usage, format!("--domain {value:?}: {remedy}"))
        },
    )?;
    let complete = |entry: Entry| {
        let tenant_id = entry.tenant?;
        let row = NewTeardown {
            account: account.name.clone(),
            tenant_id,
            expected_domain: entry.domain.or_else(|| domain.clone()),
            batch: entry.batch.or_else(|| args.batch.clone()),
            priority: entry.priority.unwrap_or(args.priority),
            note: entry.reason.or_else(|| args.reason.clone()),
            requested_by: Some(actor.to_owned()),
            not_before: entry.not_before.or_else(|| args.not_before.map(|when| when.at(now))),
            again: args.again,
        };
        Some(Wanted { line: entry.line, row })
    };
    let wanted: Vec<Wanted> = entries.into_iter().filter_map(complete).collect();
    contradiction(&wanted).map_or(Ok(wanted), Err)
}

/// Rows that name one tenant with two domains: which of them is meant cannot be told.
fn contradiction(wanted: &[Wanted]) -> Option<Failure> {
    let mut first: HashMap<TenantId, &Wanted> = HashMap::new();
    wanted.iter().find_map(|wanted| {
        let earlier = *first.entry(wanted.row.tenant_id).or_insert(wanted);
        (earlier.row.expected_domain != wanted.row.expected_domain).then(|| {
            let place = |wanted: &Wanted| {
                wanted.line.map_or("the call".to_owned(), |line| format!("line {line}"))
            };
            Failure::new(
                Exit::Usage,
                format!(
                    "{} and {} name {} with different domains; nothing was queued",
                    place(earlier),
                    place(wanted),
                    wanted.row.tenant_id
                ),
            )
            .hint("keep the row that is right")
        })
    })
}

/// The lines of the tenants that the store refuses.
fn lines_of(
    wanted: &[Wanted],
    refused: &[(TenantId, Reason, String)],
    say: impl Fn(Reason, &str) -> String,
) -> Vec<Line> {
    let line = |wanted: &Wanted| {
        let tenant = wanted.row.tenant_id;
        let (_, guard, text) = refused.iter().find(|(refused, ..)| *refused == tenant)?;
        Some(refused_line(wanted, *guard, say(*guard, text)))
    };
    wanted.iter().filter_map(line).collect()
}

fn with_remedy(guard: Reason, text: &str) -> String {
    format!("{text}. {}", guard.remedy())
}

fn refused_line(wanted: &Wanted, guard: Reason, text: String) -> Line {
    Line {
        tenant: wanted.row.tenant_id.to_string(),
        id: None,
        outcome: Outcome::Refused(guard),
        line: wanted.line,
        text,
    }
}

fn refused(wanted: &[Wanted], account: &AccountConfig) -> Vec<(TenantId, Reason, String)> {
    let refuse = |wanted: &Wanted| {
        let tenant = wanted.row.tenant_id;
        let domain = wanted.row.expected_domain.as_deref();
        let (guard, text) = admit_locally(tenant, domain, &account.policy).err()?;
        Some((tenant, guard, text))
    };
    wanted.iter().filter_map(refuse).collect()
}

/// Keeps the refusals in the database, for the audit and the metrics.
async fn note(
    context: &Context,
    wanted: &[Wanted],
    refused: &[(TenantId, Reason, String)],
    now: Timestamp,
) {
    let note = |(tenant, guard, text): &(TenantId, Reason, String)| {
        let row = &wanted.iter().find(|wanted| wanted.row.tenant_id == *tenant)?.row;
        Some(RefusedEnqueue {
            account: row.account.clone(),
            tenant_id: *tenant,
            guard: *guard,
            text: text.clone(),
            actor: row.requested_by.clone().unwrap_or_default(),
        })
    };
    let notes: Vec<RefusedEnqueue> = refused.iter().filter_map(note).collect();
    if let Err(error) = context.store.note_refused(&notes, now).await {
        context.notice(&format!("warning: the refusal could not be kept for the audit: {error}"));
    }
}

fn refusal(refused: &[Line], of: usize) -> Report {
    let failure = Failure::new(
        Exit::Refused,
        format!(
            "a safety guard refused {} of {}; nothing was queued",
            refused.len(),
            counted(of, "tenant")
        ),
    )
    .hint("leave these tenants out, or change the guard if it is wrong");
    Report::failed(text_of(refused), json_of(refused), failure)
}

fn invalid(bad: &[BadRow], args: &EnqueueArgs) -> Report {
    let lines: Vec<Line> = bad
        .iter()
        .map(|row| Line {
            tenant: row.wrong.value.clone(),
            id: None,
            outcome: Outcome::Invalid,
            line: row.line,
            text: String::new(),
        })
        .collect();
    let place = args.file.as_ref().map(|file| format!("{}, ", file.display())).unwrap_or_default();
    let listed: String = bad.iter().map(|row| format!("\n  {place}{row}")).collect();
    let failure = Failure::new(
        Exit::Usage,
        format!("{} cannot be used; nothing was queued{listed}", counted(bad.len(), "value")),
    );
    // The failure lists them with more; printing them twice would bury it.
    Report::failed(String::new(), json_of(&lines), failure)
}

fn outcomes(wanted: &[Wanted], stored: &[(TeardownId, EnqueueOutcome)]) -> Vec<Line> {
    let mut first: HashMap<TenantId, Option<u64>> = HashMap::new();
    let line = |(wanted, (id, outcome)): (&Wanted, &(TeardownId, EnqueueOutcome))| {
        let tenant = wanted.row.tenant_id;
        let repeats = first.contains_key(&tenant);
        let earlier = *first.entry(tenant).or_insert(wanted.line);
        let text = match (outcome, repeats, earlier) {
            (_, true, Some(line)) => format!("repeats line {line}"),
            (_, true, None) => "named twice".to_owned(),
            (EnqueueOutcome::AlreadyDeleted, false, _) => {
                "--again queues it all the same".to_owned()
            }
            (EnqueueOutcome::Queued | EnqueueOutcome::AlreadyActive, false, _) => String::new(),
        };
        Line {
            tenant: tenant.to_string(),
            id: Some(*id),
            outcome: Outcome::Stored(*outcome),
            line: wanted.line,
            text,
        }
    };
    wanted.iter().zip(stored).map(line).collect()
}

/// Each row once; what was deleted before has ended already.
fn waited_for(stored: &[(TeardownId, EnqueueOutcome)]) -> Vec<TeardownId> {
    let mut ids: Vec<_> = stored.iter().map(|(id, _)| *id).collect();
    ids.sort();
    ids.dedup();
    ids
}
