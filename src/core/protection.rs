//! Lasting deny entries that operators set while the daemon runs (`teardownd protect`). They stand
//! beside `safety.protected_tenants` and `safety.protected_domains`, and are asked at enqueue and
//! in the transaction that commits or sends a command.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::domain::DomainPattern;
use super::ids::{AccountName, TenantId};
use super::observation::{CustomerSeen, Observation};
use super::reason::Reason;
use super::teardown::Teardown;

/// What is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One tenant.
    Tenant(TenantId),
    /// Every tenant of a domain.
    Domain(DomainPattern),
}

impl Subject {
    /// Reads what an operator types: a tenant id, or a domain with at least one dot. Without that a
    /// mistyped tenant id would be taken for a domain, and protect nothing.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(tenant) = text.parse() {
            return Ok(Self::Tenant(tenant));
        }
        match DomainPattern::parse(text) {
            Ok(domain) if text.trim().trim_end_matches('.').contains('.') => {
                Ok(Self::Domain(domain))
            }
            Ok(_) | Err(_) => Err(format!(
                "{text:?} is neither a tenant id nor a domain: write a GUID such as \
                 1f2e3d4c-5b6a-4788-9900-aabbccddeeff, or \"prod.example\" or \"*.prod.example\""
            )),
        }
    }

    /// The stable name of its kind, as stored.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Domain(_) => "domain",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => tenant.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One deny entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// The account it holds for; [`AccountName::every`] is all of them.
    pub account: AccountName,
    /// What it protects.
    pub subject: Subject,
    /// Who set it.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl Protection {
    /// Whether it holds in an account.
    pub fn holds_in(&self, account: &AccountName) -> bool {
        self.account == AccountName::every() || self.account == *account
    }

    /// What it says to a tenant with these domains; `None` if it is not about that tenant.
    pub fn objection<'a>(
        &self,
        tenant: TenantId,
        domains: impl IntoIterator<Item = &'a str>,
    ) -> Option<(Reason, String)> {
        let because = self.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let by = format!("protected by {}{because}", self.actor);
        match &self.subject {
            Subject::Tenant(protected) => (*protected == tenant)
                .then(|| (Reason::ProtectedTenant, format!("{tenant} is {by}"))),
            Subject::Domain(pattern) => {
                domains.into_iter().find(|domain| pattern.protects(domain)).map(|domain| {
                    (Reason::ProtectedDomain, format!("{domain} matches {pattern}, {by}"))
                })
            }
        }
    }
}

/// The first entry that objects to a tenant of an account with these domains.
pub fn object<'a>(
    protections: &[Protection],
    account: &AccountName,
    tenant: TenantId,
    domains: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<(Reason, String)> {
    protections
        .iter()
        .filter(|protection| protection.holds_in(account))
        .find_map(|protection| protection.objection(tenant, domains.clone()))
}

/// The first entry that objects to a write for a teardown: by its tenant, or by any domain that it
/// is expected to have, had, or has as read.
pub fn object_to_write(
    protections: &[Protection],
    row: &Teardown,
    seen: &Observation,
) -> Option<(Reason, String)> {
    let by_id = seen.customer.as_ref().and_then(|customer| match &customer.fact {
        CustomerSeen::Present(customer) => customer.domain.as_deref(),
        CustomerSeen::Gone { .. } => None,
    });
    let listed =
        seen.census.as_ref().and_then(|census| census.fact.entry.as_ref()?.domain.as_deref());
    let domains = [row.expected_domain.as_deref(), row.domain.as_deref(), by_id, listed];
    object(protections, &row.account, row.tenant_id, domains.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "1f2e3d4c-5b6a-4788-9900-aabbccddeeff";

    fn entry(account: AccountName, subject: &str) -> Protection {
        Protection {
            account,
            subject: Subject::parse(subject).unwrap(),
            actor: "anna".to_owned(),
            reason: Some("production".to_owned()),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_neither_a_tenant_nor_a_domain_protects_nothing_and_is_refused() {
        assert_eq!(Subject::parse(&TENANT.to_uppercase()).unwrap().to_string(), TENANT);
        assert_eq!(Subject::parse("*.Prod.Example.").unwrap().to_string(), "*.prod.example");
        for wrong in ["", "prod", &TENANT[1..], "a b.example", "prod.", "*"] {
            assert!(Subject::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_entry_holds_for_its_account_or_for_all() {
        let (lab, other) = (AccountName::new("lab"), AccountName::new("other"));
        let tenant: TenantId = TENANT.parse().unwrap();
        let domains = ["a.prod.example"];
        let asked = |entry: Protection, account| object(&[entry], account, tenant, domains);
        let (guard, text) = asked(entry(lab.clone(), TENANT), &lab).unwrap();
        assert_eq!(guard, Reason::ProtectedTenant);
        assert_eq!(text, format!("{TENANT} is protected by anna: production"));
        assert_eq!(asked(entry(lab.clone(), TENANT), &other), None);
        assert!(asked(entry(AccountName::every(), TENANT), &other).is_some());
        let (guard, text) = asked(entry(AccountName::every(), "*.prod.example"), &lab).unwrap();
        assert_eq!(guard, Reason::ProtectedDomain);
        assert!(text.starts_with("a.prod.example matches *.prod.example"), "{text}");
        assert_eq!(asked(entry(AccountName::every(), "*.nonprod.example"), &lab), None);
        assert_eq!(asked(entry(AccountName::every(), "prod.example"), &lab), None);
    }
}
