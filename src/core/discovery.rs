//! Which customers of an account may be proposed for a teardown. Whether they may be written to is
//! asked again by the gates, like everybody else's.

use std::time::Duration;

use jiff::Timestamp;

use super::domain::DomainPattern;
use super::gates::{self, SafetyPolicy};
use super::ids::{AccountName, TenantId};
use super::inventory::Customer;
use super::observation::{Census, CustomerList};
use super::protection::{self, Protection, Subject};
use super::reason::Reason;

/// What a customer must be like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Its domain matches one of these; empty sets no condition.
    pub domains: Vec<DomainPattern>,
    /// It is none of these.
    pub exclude: Vec<Subject>,
    /// It has been known for so long. A customer whose age is not known never has, not even for no
    /// time at all. `None` is for looking only: nobody of unknown age is ever proposed.
    pub min_age: Option<Duration>,
}

/// The guards of an account, as far as they can be asked from its customer list.
#[derive(Debug, Clone, Copy)]
pub struct Guards<'a> {
    /// The account.
    pub account: &'a AccountName,
    /// `[safety]` as it holds for the account.
    pub policy: &'a SafetyPolicy,
    /// The deny entries of operators.
    pub protections: &'a [Protection],
}

/// The tenant of a customer that qualifies, or why it does not.
///
/// # Errors
/// The first thing that speaks against it, in words.
pub fn qualify(
    customer: &Customer,
    list: &CustomerList,
    first_seen_at: Option<Timestamp>,
    rules: &Rules,
    guards: Guards<'_>,
    now: Timestamp,
) -> Result<TenantId, String> {
    let tenant: TenantId = customer
        .id
        .as_deref()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| "it is listed without a usable id".to_owned())?;
    let domain = customer.domain.as_deref();
    let domain = domain.ok_or_else(|| "it is listed without a domain".to_owned())?;
    if !rules.domains.is_empty() && !rules.domains.iter().any(|pattern| pattern.allows(domain)) {
        return Err("its domain is none of those asked for".to_owned());
    }
    let excludes = |subject: &&Subject| match subject {
        Subject::Tenant(excluded) => *excluded == tenant,
        Subject::Domain(pattern) => pattern.protects(domain),
    };
    if let Some(subject) = rules.exclude.iter().find(excludes) {
        return Err(format!("excluded by {subject}"));
    }
    if let Some(min_age) = rules.min_age {
        is_old_enough(first_seen_at, min_age, now)?;
    }
    match object(customer, list, tenant, domain, guards) {
        Some((guard, text)) => Err(format!("{guard}: {text}")),
        None => Ok(tenant),
    }
}

fn is_old_enough(
    first_seen_at: Option<Timestamp>,
    min_age: Duration,
    now: Timestamp,
) -> Result<(), String> {
    let first_seen_at = first_seen_at.ok_or_else(|| "its age is not known yet".to_owned())?;
    // A clock that was set back makes it younger, never older.
    let age = Duration::try_from(now.duration_since(first_seen_at)).unwrap_or_default();
    if age < min_age {
        return Err(format!("it is known for less than {} only", humantime_of(min_age)));
    }
    Ok(())
}

fn humantime_of(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        seconds if seconds % 3600 == 0 => format!("{} hours", seconds / 3600),
        seconds => format!("{seconds} seconds"),
    }
}

fn object(
    customer: &Customer,
    list: &CustomerList,
    tenant: TenantId,
    domain: &str,
    guards: Guards<'_>,
) -> Option<(Reason, String)> {
    let Guards { account, policy, protections } = guards;
    if let Err(objection) = gates::admit_locally(tenant, Some(domain), policy) {
        return Some(objection);
    }
    let mut entry = customer.clone();
    // A list may tell no relationship; the gates read the customer itself before any write.
    entry.relationship.get_or_insert_with(|| "reseller".to_owned());
    let census = Census { customers: list.count, entry: Some(entry), again: false };
    let by_api = gates::object(tenant, Some(domain), &census, None, policy);
    by_api.or_else(|| protection::object(protections, account, tenant, [domain]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "1f2e3d4c-5b6a-4788-9900-aabbccddeeff";

    fn now() -> Timestamp {
        "2027-01-31T08:00:00Z".parse().unwrap()
    }

    fn customer() -> Customer {
        Customer {
            id: Some(TENANT.to_owned()),
            domain: Some("old.lab.example".to_owned()),
            ..Customer::default()
        }
    }

    fn policy() -> SafetyPolicy {
        let mut policy = SafetyPolicy::new("00000000-0000-4000-8000-000000000001".parse().unwrap());
        policy.sandbox = true;
        policy.allow_domains = vec![DomainPattern::parse("*.lab.example").unwrap()];
        policy
    }

    fn ask(
        customer: &Customer,
        count: usize,
        days: Option<u64>,
        rules: &Rules,
    ) -> Result<TenantId, String> {
        let list = CustomerList { customers: vec![customer.clone()], count };
        let seen = days.map(|days| now() - Duration::from_secs(days * 86_400));
        let account = AccountName::new("lab");
        let guards = Guards { account: &account, policy: &policy(), protections: &[] };
        qualify(customer, &list, seen, rules, guards, now())
    }

    #[test]
    fn an_unknown_age_never_qualifies() {
        let week = Rules { min_age: Some(Duration::from_secs(7 * 86_400)), ..Rules::default() };
        assert_eq!(ask(&customer(), 1, None, &week), Err("its age is not known yet".to_owned()));
        assert!(ask(&customer(), 1, Some(6), &week).unwrap_err().contains("less than 7 days"));
        assert_eq!(ask(&customer(), 1, Some(7), &week), Ok(TENANT.parse().unwrap()));
        let any = Rules { min_age: Some(Duration::ZERO), ..Rules::default() };
        assert_eq!(ask(&customer(), 1, None, &any), Err("its age is not known yet".to_owned()));
        assert_eq!(ask(&customer(), 1, Some(0), &any), Ok(TENANT.parse().unwrap()));
        assert!(ask(&customer(), 1, None, &Rules::default()).is_ok(), "it may be looked at");
    }

    #[test]
    fn patterns_and_exclusions_narrow_it_down() {
        let pattern = |text| DomainPattern::parse(text).unwrap();
        let of = |domains, exclude| Rules { domains, exclude, min_age: None };
        let ask = |rules: &Rules| ask(&customer(), 1, Some(1), rules).is_ok();
        assert!(ask(&of(vec![pattern("*.lab.example")], vec![])));
        assert!(!ask(&of(vec![pattern("*.other.example")], vec![])));
        for excluded in [TENANT, "old.lab.example", "*.lab.example"] {
            assert!(!ask(&of(vec![], vec![Subject::parse(excluded).unwrap()])), "{excluded}");
        }
        assert!(ask(&of(vec![], vec![Subject::parse("new.lab.example").unwrap()])));
    }

    #[test]
    fn the_guards_are_asked_before_anybody_is_queued() {
        let rules = Rules::default();
        let foreign = Customer { domain: Some("a.prod.example".to_owned()), ..customer() };
        assert!(ask(&foreign, 1, None, &rules).unwrap_err().starts_with("domain_not_allowed"));
        let error = ask(&customer(), 76, None, &rules).unwrap_err();
        assert!(error.starts_with("too_many_customers"), "{error}");
        let gone = Customer { relationship: Some("none".to_owned()), ..customer() };
        assert!(ask(&gone, 1, None, &rules).unwrap_err().starts_with("not_reseller"));
        for nameless in [
            Customer { domain: None, ..customer() },
            Customer { id: Some("x".to_owned()), ..customer() },
        ] {
            assert!(ask(&nameless, 1, None, &rules).is_err());
        }
    }
}
