//! `quota`: how much room there is for customers, what is being freed, and what blocks the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{Globals, QuotaArgs};
use super::beside;
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use super::plan::{the_account, unknown};
use super::view::standing::{Standing, Stops};
use super::view::table::Table;
use super::view::{Look, json_time};
use crate::core::ids::{AccountName, TenantId};
use crate::core::observation::{CustomerList, Seen};
use crate::core::teardown::{State, Status, Teardown};
use crate::interfaces::config::AccountConfig;
use crate::runtime::account::AccountRuntime;
use crate::store::Filter;

/// Between two looks of a wait: each reads the customer list.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &QuotaArgs) -> Ending {
    let context = Context::open(globals).await?;
    let named = match args.need {
        Some(_) => Some(the_account(&context.config, args.account.as_ref())?),
        None => args.account.clone(),
    };
    let accounts = accounts(&context, named.as_ref())?;
    let Some(need) = args.need else {
        let mut quotas = Vec::new();
        for (account, runtime) in &accounts {
            quotas.push(Quota::read(&context, account, runtime).await?);
        }
        return Ok(report(&quotas, &context.look()));
    };
    let Some((account, runtime)) = accounts.first() else {
        return Err(Failure::new(Exit::Unfit, "the configuration has no account"));
    };
    let limit = account.policy.customers_limit;
    if need > limit {
        let message = format!("{need} never fit: {} holds {limit} customers at most", account.name);
        return Err(Failure::new(Exit::Usage, message).hint("ask for less"));
    }
    until_free(&context, account, runtime, need, args).await
}

fn accounts<'a>(
    context: &'a Context,
    named: Option<&AccountName>,
) -> Result<Vec<(&'a AccountConfig, AccountRuntime)>, Failure> {
    let chosen: Vec<&AccountConfig> = match named {
        Some(name) => vec![context.config.account(name).ok_or_else(|| unknown(name))?],
        None => context.config.accounts.values().collect(),
    };
    let ground = beside::on(context)?;
    chosen
        .into_iter()
        .map(|account| {
            let runtime = ground
                .account(account)
                .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
            Ok((account, runtime))
        })
        .collect()
}

async fn until_free(
    context: &Context,
    account: &AccountConfig,
    runtime: &AccountRuntime,
    need: usize,
    args: &QuotaArgs,
) -> Ending {
    let start = context.clock.uptime();
    loop {
        let quota = Quota::read(context, account, runtime).await?;
        let passed = context.clock.uptime().saturating_sub(start);
        let over = args.timeout.is_some_and(|timeout| timeout <= passed);
        let fits = quota.fits(need);
        if fits || !args.wait || over {
            let exit = if args.wait { Exit::TimedOut } else { Exit::Failed };
            let failure = quota.lacks(need, exit);
            let report = report(&[quota], &context.look());
            if fits {
                return Ok(report);
            }
            return Ok(Report::failed(report.text, report.json, failure));
        }
        let left = args.timeout.map_or(LOOK_EVERY, |timeout| timeout.saturating_sub(passed));
        context.clock.sleep(left.min(LOOK_EVERY)).await;
    }
}

/// The room of one account.
#[derive(Debug, Clone, PartialEq)]
struct Quota {
    account: AccountName,
    limit: usize,
    /// How many customers there are, and when that was read; `None` if nobody knows.
    used: Option<(usize, Timestamp)>,
    /// Why it could not be read now.
    trouble: Option<String>,
    /// Teardowns under way that need nobody.
    being_freed: usize,
    /// Customers whose teardown does not go on by itself, by reason.
    blocked: BTreeMap<&'static str, usize>,
}

impl Quota {
    /// Reads it from the API, else takes what the daemon read last.
    async fn read(
        context: &Context,
        account: &AccountConfig,
        runtime: &AccountRuntime,
    ) -> Result<Self, Failure> {
        let (read, trouble) = match runtime.client.customer_list().await {
            Ok(Seen { fact, at, .. }) => (Some((fact.count, at, tenants(&fact))), None),
            Err(error) => {
                let known = context.store.customers(&account.name).await?;
                let read = known.map(|known| {
                    let tenants = known.customers.iter().map(|c| c.tenant_id).collect();
                    (known.count, known.read_at, tenants)
                });
                (read, Some(error.to_string()))
            }
        };
        let filter =
            Filter { account: Some(account.name.clone()), latest_only: true, ..Filter::default() };
        let rows = context.store.list(&filter).await?;
        let stops = context.stops().await?;
        let now = context.clock.now();
        let (used, listed) = match read {
            Some((count, at, tenants)) => (Some((count, at)), Some(tenants)),
            None => (None, None),
        };
        let (being_freed, blocked) = standing(&rows, listed.as_ref(), &stops, now);
        let limit = account.policy.customers_limit;
        Ok(Self { account: account.name.clone(), limit, used, trouble, being_freed, blocked })
    }

    /// Room for so many more; none while nobody knows how many there are.
    fn free(&self) -> usize {
        self.used.map_or(0, |(used, _)| self.limit.saturating_sub(used))
    }

    /// Whether so many more fit. A count that the daemon stored says nothing of now.
    fn fits(&self, need: usize) -> bool {
        self.trouble.is_none() && need <= self.free()
    }

    /// Why they do not, as far as is known.
    fn lacks(&self, need: usize, exit: Exit) -> Failure {
        let Self { account, trouble, .. } = self;
        let Some(trouble) = trouble else {
            let message = format!("{} free in {account}, {need} needed", self.free());
            return Failure::new(exit, message)
                .hint("`teardownd discover` and `teardownd list --ringing` show what takes room");
        };
        let stale = self
            .used
            .map(|(used, at)| format!("; the stored count of {used} is stale, from {at:.0}"));
        let stale = stale.unwrap_or_default();
        Failure::new(exit, format!("{account} cannot be read now: {trouble}{stale}"))
            .hint("`teardownd check` looks into it")
    }
}

fn tenants(list: &CustomerList) -> BTreeSet<TenantId> {
    list.customers.iter().filter_map(|c| c.id.as_deref()?.parse().ok()).collect()
}

/// How many teardowns free room by themselves, and how many do not, by reason. A failed one counts
/// only while its customer is listed.
fn standing(
    rows: &[Teardown],
    listed: Option<&BTreeSet<TenantId>>,
    stops: &Stops,
    now: Timestamp,
) -> (usize, BTreeMap<&'static str, usize>) {
    let mut being_freed = 0;
    let mut blocked = BTreeMap::new();
    for row in rows {
        let Standing { status, blocked_by } = Standing::of(row, stops, now);
        let stopped = stops.blocking(&row.account, now).is_some();
        let is_blocked = match status {
            Status::Done => continue,
            Status::Failed => {
                if listed.is_some_and(|listed| !listed.contains(&row.tenant_id)) {
                    continue;
                }
                true
            }
            Status::Held => true,
            Status::Waiting => stopped,
            Status::Moving => false,
        };
        if is_blocked {
            let reason = blocked_by.map_or(State::Failed.as_str(), |reason| reason.as_str());
            *blocked.entry(reason).or_default() += 1;
        } else {
            being_freed += 1;
        }
    }
    (being_freed, blocked)
}

fn report(quotas: &[Quota], look: &Look) -> Report {
    let mut table =
        Table::new(&["ACCOUNT", "USED", "LIMIT", "FREE", "BEING FREED", "BLOCKED", "READ"]);
    for quota in quotas {
        let blocked: Vec<String> =
            quota.blocked.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let read = match (&quota.used, &quota.trouble) {
            (Some(_), None) => "now".to_owned(),
            (Some((_, at)), Some(_)) => format!("{} by the daemon", look.distance(*at)),
            (None, _) => "never".to_owned(),
        };
        table.row([
            quota.account.to_string(),
            quota.used.map_or("unknown".to_owned(), |(used, _)| used.to_string()),
            quota.limit.to_string(),
            quota.used.map_or("unknown".to_owned(), |_| quota.free().to_string()),
            quota.being_freed.to_string(),
            blocked.join(", "),
            read,
        ]);
    }
    let mut text = table.draw();
    for quota in quotas {
        if let Some(trouble) = &quota.trouble {
            text.push_str(&format!("{}: {trouble}\n", quota.account));
        }
    }
    let json: Vec<Value> = quotas.iter().map(quota_json).collect();
    Report::done(text, json!({"quota": json}))
}

fn quota_json(quota: &Quota) -> Value {
    json!({
        "account": quota.account,
        "used": quota.used.map(|(used, _)| used),
        "limit": quota.limit,
        "free": quota.used.map(|_| quota.free()),
        "being_freed": quota.being_freed,
        "blocked": quota.blocked,
        "read_at": json_time(quota.used.map(|(_, at)| at)),
        "source": match (&quota.used, &quota.trouble) {
            (Some(_), None) => Some("api"),
            (Some(_), Some(_)) => Some("stored"),
            (None, _) => None,
        },
        "error": quota.trouble,
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::core::account::Account;
    use crate::core::reason::Reason;
    use crate::interfaces::cli::testing::{halted, held, now, row};

    #[test]
    fn what_needs_a_person_frees_nothing() {
        let failed = |id| Teardown { reason: Some(Reason::ApiRefused), ..row(id, State::Failed) };
        let rows = [
            row(1, State::Polling),
            held(row(2, State::Polling)),
            failed(3),
            failed(4),
            row(5, State::Deleted),
        ];
        let listed = rows[..3].iter().map(|row| row.tenant_id).collect();
        let (being_freed, blocked) = standing(&rows, Some(&listed), &Stops::default(), now());
        assert_eq!(being_freed, 1);
        let expected = BTreeMap::from([("api_refused", 1), ("operator", 1)]);
        assert_eq!(blocked, expected, "the fourth is not there any more");
        let stops = Stops(vec![halted(Account::fresh(rows[0].account.clone()))]);
        let (being_freed, blocked) = standing(&rows[..1], None, &stops, now());
        assert_eq!((being_freed, blocked.get("halted")), (0, Some(&1)));
    }

    #[test]
    fn a_count_that_was_stored_is_told_with_its_age() {
        let quota = Quota {
            account: AccountName::new("lab"),
            limit: 75,
            used: Some((70, now() - Duration::from_secs(90))),
            trouble: Some("connection refused".to_owned()),
            being_freed: 3,
            blocked: BTreeMap::from([("operator", 2)]),
        };
        assert!(!quota.fits(1), "nobody knows whether there is room now");
        let failure = quota.lacks(1, Exit::Failed).message;
        assert!(
            failure.contains("connection refused; the stored count of 70 is stale"),
            "{failure}"
        );
        assert!(Quota { trouble: None, ..quota.clone() }.fits(5));
        let look = Look { now: now(), zone: TimeZone::UTC };
        let report = report(&[quota], &look);
        assert_eq!(
            report.text,
            "ACCOUNT  USED  LIMIT  FREE  BEING FREED  BLOCKED     READ\n\
             lab      70    75     5     3            2 operator  1m 30s ago by the daemon\n\
             lab: connection refused\n"
        );
        assert_eq!(report.json["quota"][0]["source"], "stored");
    }
}
