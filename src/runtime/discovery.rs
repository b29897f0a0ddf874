//! Finding customers to tear down without being told each one: looking at an account's customer list,
//! and the scheduled run that queues a few of them.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::account::AccountRuntime;
use super::cron::Schedule;
use super::job::Job;
use crate::core::clock::Clock;
use crate::core::discovery::{Guards, Rules, qualify};
use crate::core::ids::{AccountName, TenantId};
use crate::core::inventory::Customer;
use crate::core::observation::CustomerList;
use crate::core::teardown::NewTeardown;
use crate::partner_center::ApiError;
use crate::store::{EnqueueOutcome, Filter, Store, StoreError};

/// Under this name what scheduled discovery queues stands in the record; also its batch.
pub const DISCOVERY: &str = "discovery";

/// `accounts.NAME.discovery`, but for its schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoverySettings {
    /// What a customer must be like.
    pub rules: Rules,
    /// Queued at most in one run, the longest known first.
    pub max_per_run: usize,
}

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The customer list could not be read whole.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One customer of the account.
#[derive(Debug, Clone)]
pub struct Found {
    /// As listed.
    pub customer: Customer,
    /// When a complete list first held it, if that is known.
    pub first_seen_at: Option<Timestamp>,
    /// Its tenant if it qualifies, else what speaks against it.
    pub verdict: Result<TenantId, String>,
}

impl Found {
    /// What would be queued: nothing while its age is not known, whatever the rules say of ages. The
    /// domain as listed is the one that the tenant must turn out to have.
    pub fn proposal(&self, account: &AccountName) -> Option<NewTeardown> {
        let tenant_id = *self.verdict.as_ref().ok()?;
        self.first_seen_at?;
        Some(NewTeardown {
            account: account.clone(),
            tenant_id,
            expected_domain: self.customer.domain.clone(),
            batch: None,
            priority: 0,
            note: None,
            requested_by: None,
            not_before: None,
            again: false,
        })
    }
}

/// A look at the customers of an account.
#[derive(Debug, Clone)]
pub struct Survey {
    /// When the list was read.
    pub read_at: Timestamp,
    /// How many customers the account has.
    pub count: usize,
    /// They themselves, the longest known first.
    pub found: Vec<Found>,
}

impl Survey {
    /// Whether there are customers and none of them was known before.
    pub fn is_first(&self) -> bool {
        !self.found.is_empty() && self.found.iter().all(|found| found.first_seen_at.is_none())
    }
}

/// Looks at an account's customers. Sends one GET, or a few for a list of several pages. Tenants that
/// were ever queued qualify only with `again`, and never while they are being torn down.
///
/// # Errors
/// When the list could not be read whole, and the store's.
pub async fn survey(
    account: &AccountRuntime,
    rules: &Rules,
    again: bool,
    store: &Store,
    clock: &dyn Clock,
) -> Result<Survey, SurveyError> {
    // What was known before this look: reading the list makes everybody known.
    let known = store.customers(&account.name).await?;
    let list = account.client.customer_list().await?;
    let protections = store.protections().await?;
    let guards = Guards {
        account: &account.name,
        policy: &account.rules.safety.get(),
        protections: &protections,
    };
    let now = clock.now();
    let CustomerList { customers, count, .. } = &list.fact;
    let mut found = Vec::with_capacity(customers.len());
    for customer in customers {
        let first_seen_at = known.as_ref().and_then(|known| {
            let is_it =
                |id: &TenantId| customer.id.as_deref().and_then(|i| i.parse().ok()) == Some(*id);
            known.customers.iter().find(|known| is_it(&known.tenant_id)).map(|k| k.first_seen_at)
        });
        let mut verdict = qualify(customer, &list.fact, first_seen_at, rules, guards, now);
        if let Ok(tenant) = verdict
            && let Some(objection) = queued_before(&account.name, tenant, again, store).await?
        {
            verdict = Err(objection);
        }
        found.push(Found { customer: customer.clone(), first_seen_at, verdict });
    }
    found.sort_by_key(|one| (one.first_seen_at.unwrap_or(Timestamp::MAX), one.customer.id.clone()));
    Ok(Survey { read_at: list.at, count: *count, found })
}

/// What the record says against a tenant. Whoever was aborted or has failed before is a person's to
/// decide about.
async fn queued_before(
    account: &AccountName,
    tenant: TenantId,
    again: bool,
    store: &Store,
) -> Result<Option<String>, StoreError> {
    let filter = Filter {
        account: Some(account.clone()),
        tenants: vec![tenant],
        latest_only: true,
        ..Filter::default()
    };
    if let Some(row) = store.list(&filter).await?.first()
        && (!again || !row.state.is_terminal())
    {
        return Ok(Some(format!("teardown {} of it is {}", row.id, row.state.as_str())));
    }
    // The history outlives the rows.
    let was_queued = !again && !store.history(Some(account), tenant).await?.is_empty();
    Ok(was_queued.then(|| "it was queued before".to_owned()))
}

/// One scheduled run: queues at most `max_per_run` of the customers that qualify. Nothing is queued
/// while the account, or everything, is paused or halted. Returns how many were queued.
///
/// # Errors
/// As [`survey`].
pub async fn run_once(
    account: &AccountRuntime,
    settings: &DiscoverySettings,
    store: &Store,
    clock: &dyn Clock,
) -> Result<usize, SurveyError> {
    let now = clock.now();
    for name in [AccountName::every(), account.name.clone()] {
        let row = store.account(&name).await?;
        if row.halted.is_some() || row.is_paused(now) {
            tracing::info!(account = %account.name, "discovery: the account is stopped");
            return Ok(0);
        }
    }
    let survey = survey(account, &settings.rules, false, store, clock).await?;
    let rows: Vec<NewTeardown> = survey
        .found
        .iter()
        .filter_map(|found| {
            let since = found.first_seen_at.map(|at| {
                let by_the_wall = at.checked_add(clock.ahead()).unwrap_or(at);
                format!(", first seen {by_the_wall:.0}")
            });
            Some(NewTeardown {
                batch: Some(DISCOVERY.to_owned()),
                note: Some(format!("found by scheduled discovery{}", since.unwrap_or_default())),
                requested_by: Some(DISCOVERY.to_owned()),
                ..found.proposal(&account.name)?
            })
        })
        .take(settings.max_per_run)
        .collect();
    let outcomes = store.enqueue(&rows, clock.now()).await?;
    let queued = outcomes.iter().filter(|(_, outcome)| *outcome == EnqueueOutcome::Queued).count();
    tracing::info!(
        account = %account.name,
        customers = survey.count,
        queued,
        "discovery: the customer list was looked at"
    );
    Ok(queued)
}

/// The name of an account's discovery as a job.
pub fn job(account: &AccountName) -> String {
    format!("discovery of {account}")
}

/// A scheduled discovery.
#[derive(Debug)]
pub struct Scheduled {
    /// The account.
    pub account: Arc<AccountRuntime>,
    /// The rules of the search.
    pub settings: DiscoverySettings,
    /// When.
    pub schedule: Schedule,
    /// The process, as leases name it.
    pub owner: String,
}

/// Runs whenever it is notified, until `stop`. Runs never overlap, whichever replicas have them, and a
/// failed one changes nothing.
pub async fn keep(
    scheduled: Scheduled,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    due: Arc<Notify>,
    queued: Arc<Notify>,
    stop: CancellationToken,
) {
    let Scheduled { account, settings, schedule, owner } = scheduled;
    let name = job(&account.name);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = due.notified() => {}
        }
        let (store, clock) = (store.as_ref(), clock.as_ref());
        let job = Job { name: &name, schedule: &schedule, owner: &owner, store, clock };
        let run = async {
            // The rows that it queues would be those of another partner.
            if !store.other_partners(&[account.standing()]).await?.is_empty() {
                tracing::info!(account = %account.name, "discovery: the account stands for another partner by now");
                return Ok(None);
            }
            job.run(run_once(&account, &settings, store, clock)).await
        };
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            outcome = run => outcome,
        };
        match outcome {
            Ok(None | Some(0)) => {}
            Ok(Some(_)) => queued.notify_one(),
            Err(error) => tracing::warn!(account = %account.name, %error, "discovery failed"),
        }
    }
}
