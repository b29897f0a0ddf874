//! `[accounts.NAME]` and the guards that hold for it.

use std::path::Path;
use std::time::Duration;

use url::Url;
use uuid::Uuid;

use super::secret::read_credential;
use super::section::Section;
use crate::core::discovery::Rules;
use crate::core::domain::DomainPattern;
use crate::core::gates::{SafetyPolicy, Share};
use crate::core::ids::{AccountName, TenantId};
use crate::core::protection::Subject;
use crate::core::settlement::Codes;
use crate::core::window::Window;
use crate::partner_center::clouds::{self, Cloud, is_loopback};
use crate::partner_center::credentials::Credential;
use crate::runtime::cron::Schedule;
use crate::runtime::discovery::DiscoverySettings;

/// The API allows this many requests a minute and resource (resource pages of
/// MicrosoftDocs/partner-center-sdk).
const API_BUDGET: u32 = 500;

/// `[safety]`: the settings that an account takes over unless it has its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Safety {
    /// Domains whose tenants may be written to; empty refuses every write.
    pub allow_domains: Vec<DomainPattern>,
    /// Tenants that are never written to.
    pub protected_tenants: Vec<TenantId>,
    /// Domains whose tenants are never written to.
    pub protected_domains: Vec<DomainPattern>,
    /// Hours in which writes may go out; none is always.
    pub windows: Vec<Window>,
    /// Time between enqueue and the first write.
    pub grace: Duration,
    /// No write leaves the process.
    pub dry_run: bool,
    /// The account must have been armed.
    pub require_arming: bool,
    /// Every enqueue names the expected domain.
    pub require_domain: bool,
    /// A person approves each teardown before its first write.
    pub require_approval: bool,
    /// Who enqueued may not approve.
    pub approve_by_other: bool,
    /// Deletions of an account in any hour.
    pub max_deletions_per_hour: usize,
    /// Deletions of an account in any day.
    pub max_deletions_per_day: usize,
    /// Share of an account's customers queued at once that waits for approval; nothing is off.
    pub hold_batch_over: Share,
}

impl Safety {
    /// The built-in defaults.
    pub fn builtin() -> Self {
        Self { max_deletions_per_hour: 75, max_deletions_per_day: 300, ..Self::default() }
    }
}

/// `[accounts.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountConfig {
    /// Its name.
    pub name: AccountName,
    /// Which cloud it lives in.
    pub cloud: Cloud,
    /// Id of its app registration.
    pub client_id: Uuid,
    /// How it proves who it is.
    pub credential: Credential,
    /// Requests a minute of each resource that it may spend.
    pub requests_per_minute: u32,
    /// The API base: its own, or the cloud's.
    pub api_base: Url,
    /// The token authority: its own, or the cloud's.
    pub authority: Url,
    /// The guards, with the account's own identity (`sandbox`, `partner_tenant`,
    /// `customers_limit`) among them.
    pub policy: SafetyPolicy,
    /// `discovery`, if it has a schedule.
    pub discovery: Option<Discovery>,
    /// `discovery.exclude`, which `discover` heeds without a schedule as well.
    pub discovery_exclude: Vec<Subject>,
    /// `[codes]`, which hold for every account.
    pub codes: Codes,
}

/// `accounts.NAME.discovery` with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// When it runs.
    pub schedule: Schedule,
    /// Whom it queues.
    pub settings: DiscoverySettings,
}

/// Reads `[safety]` or `[accounts.NAME.safety]` over what holds without it. The protected lists only
/// ever grow: an account cannot lose what `[safety]` protects.
pub(super) fn read_safety(section: &mut Section, base: &Safety) -> Safety {
    let defaults = base.clone();
    Safety {
        allow_domains: section.take("allow_domains", defaults.allow_domains),
        protected_tenants: joined(
            &base.protected_tenants,
            section.take("protected_tenants", vec![]),
        ),
        protected_domains: joined(
            &base.protected_domains,
            section.take("protected_domains", vec![]),
        ),
        windows: section.take("windows", defaults.windows),
        grace: section.take("grace", defaults.grace),
        dry_run: section.take("dry_run", defaults.dry_run),
        require_arming: section.take("require_arming", defaults.require_arming),
        require_domain: section.take("require_domain", defaults.require_domain),
        require_approval: section.take("require_approval", defaults.require_approval),
        approve_by_other: section.take("approve_by_other", defaults.approve_by_other),
        max_deletions_per_hour: section
            .take("max_deletions_per_hour", defaults.max_deletions_per_hour),
        max_deletions_per_day: section
            .take("max_deletions_per_day", defaults.max_deletions_per_day),
        hold_batch_over: section.take("hold_batch_over", defaults.hold_batch_over),
    }
}

fn joined<T: Clone + PartialEq>(base: &[T], own: Vec<T>) -> Vec<T> {
    let new: Vec<T> = own.into_iter().filter(|item| !base.contains(item)).collect();
    [base, new.as_slice()].concat()
}

/// Reads `[accounts.NAME]`. `None` when something is missing, which then is among the problems.
pub(super) fn read_account(
    section: &mut Section,
    name: AccountName,
    safety: &Safety,
    base: &Path,
) -> Option<AccountConfig> {
    let sandbox = section.required(
        "sandbox",
        "write sandbox = true only if this account is an integration sandbox, else sandbox = false",
    );
    let cloud = section.take("cloud", Cloud::Global);
    let partner_tenant = section.required("partner_tenant", "name the partner's own tenant id");
    let client_id = section.required("client_id", "name the id of the app registration");
    let credential = section.within("credential", |section| read_credential(section, base));
    let api_base = read_endpoint(section, "api_base");
    let authority = read_endpoint(section, "authority");
    // Only a simulator answers on loopback, and what it allows is its own affair.
    let budget = if api_base.as_ref().is_some_and(is_loopback) { u32::MAX } else { API_BUDGET };
    let requests_per_minute = section.take_if(
        "requests_per_minute",
        300,
        |requests| (1..=budget).contains(requests),
        "a number from 1 to 500: the API allows no more",
    );
    let customers_limit =
        section.take_if("customers_limit", 75, |limit| *limit > 0, "a number of 1 or more");
    let (discovery, discovery_exclude) = read_discovery(section);
    let safety = section.within("safety", |section| read_safety(section, safety));
    Some(AccountConfig {
        name,
        cloud,
        client_id: client_id?,
        credential: credential?,
        requests_per_minute,
        api_base: api_base.or_else(|| clouds::endpoint("api_base", cloud.api_base()).ok())?,
        authority: authority.or_else(|| clouds::endpoint("authority", cloud.authority()).ok())?,
        policy: policy(sandbox?, (partner_tenant?, cloud, client_id?), customers_limit, safety),
        discovery,
        discovery_exclude,
        codes: Codes::default(),
    })
}

/// The guards of an account, with who it is.
fn policy(
    sandbox: bool,
    (partner_tenant, cloud, client_id): (TenantId, Cloud, Uuid),
    customers_limit: usize,
    safety: Safety,
) -> SafetyPolicy {
    let mut policy = SafetyPolicy::new(partner_tenant);
    policy.sandbox = sandbox;
    policy.cloud = cloud.as_str().to_owned();
    policy.client_id = client_id;
    policy.customers_limit = customers_limit;
    policy.allow_domains = safety.allow_domains;
    policy.protected_tenants = safety.protected_tenants;
    policy.protected_domains = safety.protected_domains;
    policy.windows = safety.windows;
    policy.require_arming = safety.require_arming;
    policy.require_domain = safety.require_domain;
    policy.require_approval = safety.require_approval;
    policy.approve_by_other = safety.approve_by_other;
    policy.hold_batch_over = safety.hold_batch_over;
    policy.grace = safety.grace;
    policy.dry_run = safety.dry_run;
    policy.max_deletions_per_hour = safety.max_deletions_per_hour;
    policy.max_deletions_per_day = safety.max_deletions_per_day;
    policy
}

/// The scheduled runs, if there are any, and whom nobody is to propose.
fn read_discovery(section: &mut Section) -> (Option<Discovery>, Vec<Subject>) {
    section.within("discovery", |section| {
        let schedule: Option<Schedule> = section.optional("schedule");
        let domains: Vec<DomainPattern> = section.take("allow_domains", Vec::new());
        let exclude: Vec<Subject> = section.take("exclude", Vec::new());
        let min_age = section.take("min_age", Duration::from_secs(7 * 24 * 3600));
        let max_per_run = section.take_if(
            "max_per_run",
            10,
            |most| (1..=75).contains(most),
            "a number from 1 to 75",
        );
        let Some(schedule) = schedule else { return (None, exclude) };
        if domains.is_empty() {
            section.problem(
                "allow_domains",
                "must name the domains whose customers are torn down without being asked for",
                "write such as [\"*.onmicrosoft.com\"], or remove the schedule",
            );
        }
        let rules = Rules { domains, exclude: exclude.clone(), min_age: Some(min_age) };
        let settings = DiscoverySettings { rules, max_per_run };
        (Some(Discovery { schedule, settings }), exclude)
    })
}

fn read_endpoint(section: &mut Section, key: &str) -> Option<Url> {
    let url: Url = section.optional(key)?;
    let remedy = match url.scheme() {
        "https" => None,
        "http" if is_loopback(&url) => None,
        "http" => Some("write https; plain http is for loopback addresses only"),
        _ => Some("write a URL that begins with https://"),
    };
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    match remedy {
        Some(remedy) if bare => section.problem(key, &format!("{url} is not safe to use"), remedy),
        None if bare => return Some(url),
        Some(_) | None => section.problem(
            key,
            "holds more than scheme, host, port and path",
            "remove user name, password, query and fragment",
        ),
    }
    None
}
