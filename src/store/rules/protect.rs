//! Deny entries, without any I/O: setting and lifting them, and what they say at an enqueue.

use jiff::Timestamp;

use crate::core::ids::AccountName;
use crate::core::protection::{self, Protection, Subject};
use crate::core::teardown::{NewTeardown, Teardown};
use crate::store::{OperatorRequest, RequestEffect, Result, StoreError};

/// The account that a request's entries hold for.
pub(in crate::store) fn scope(request: &OperatorRequest) -> AccountName {
    request.filter.account.clone().unwrap_or_else(AccountName::every)
}

/// The entries that a protect asks for.
pub(in crate::store) fn wanted(request: &OperatorRequest, now: Timestamp) -> Vec<Protection> {
    let entry = |subject| Protection {
        account: scope(request),
        subject,
        actor: request.actor.clone(),
        reason: request.reason.clone(),
        since: now,
    };
    request.subjects().map(entry).collect()
}

/// What is said of an entry that was set, or stood already.
pub(in crate::store) fn set(entry: &Protection, standing: Option<&Protection>) -> RequestEffect {
    let text = match standing {
        None => format!("{} is protected from now on", entry.subject),
        Some(earlier) => format!("{} was protected already by {}", entry.subject, earlier.actor),
    };
    effect(entry.account.clone(), &entry.subject, true, text)
}

/// What is said of an entry that was lifted, or was not there.
pub(in crate::store) fn lifted(
    account: AccountName,
    subject: &Subject,
    was_there: bool,
) -> RequestEffect {
    let text = if was_there {
        format!("{subject} is protected no more")
    } else {
        format!("{subject} has no such entry: see `teardownd protect --list`")
    };
    effect(account, subject, was_there, text)
}

fn effect(account: AccountName, subject: &Subject, applied: bool, text: String) -> RequestEffect {
    let tenant_id = match subject {
        Subject::Tenant(tenant) => Some(*tenant),
        Subject::Domain(_) => None,
    };
    let account = (account != AccountName::every()).then_some(account);
    RequestEffect { id: None, account, tenant_id, applied, text, ..RequestEffect::default() }
}

/// Whether one of these entries is about a row, as far as its stored domains tell.
pub(in crate::store) fn concern(entries: &[Protection], row: &Teardown) -> bool {
    let domains = [row.expected_domain.as_deref(), row.domain.as_deref()];
    protection::object(entries, &row.account, row.tenant_id, domains.into_iter().flatten())
        .is_some()
}

/// Refuses an enqueue of protected tenants, each named with its reason.
pub(in crate::store) fn check_enqueue(rows: &[NewTeardown], entries: &[Protection]) -> Result<()> {
    let refused: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let domain = row.expected_domain.as_deref();
            let (guard, text) = protection::object(entries, &row.account, row.tenant_id, domain)?;
            Some((row.tenant_id, guard, text))
        })
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(StoreError::Protected(refused)) }
}
