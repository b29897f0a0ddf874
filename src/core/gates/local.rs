//! What is asked without an API call: at the enqueue, and again before each write.

use super::{Objection, Question, SafetyPolicy, Verdict, held_by};
use crate::core::ids::TenantId;
use crate::core::protection;
use crate::core::reason::Reason;

/// What the operator named, and the settings it is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) tenant: TenantId,
    pub(super) domain: Option<&'a str>,
    pub(super) policy: &'a SafetyPolicy,
}

impl Named<'_> {
    pub(super) fn not_a_sandbox(&self) -> Option<Objection> {
        let text = "the account is not declared an integration sandbox (sandbox = true)";
        (!self.policy.sandbox).then(|| (Reason::NotSandbox, text.to_owned()))
    }

    pub(super) fn own_tenant(&self) -> Option<Objection> {
        let own = self.tenant == self.policy.partner_tenant;
        own.then(|| (Reason::OwnTenant, format!("{} is the partner's own tenant", self.tenant)))
    }

    pub(super) fn protected_tenant(&self) -> Option<Objection> {
        self.policy.protected_tenants.contains(&self.tenant).then(|| {
            let text = format!("{} stands in safety.protected_tenants", self.tenant);
            (Reason::ProtectedTenant, text)
        })
    }

    pub(super) fn domain_missing(&self) -> Option<Objection> {
        let text = "safety.require_domain is on and no domain was given";
        let missing = self.policy.require_domain && self.domain.is_none();
        missing.then(|| (Reason::DomainRequired, text.to_owned()))
    }

    /// About the domain that the operator named.
    pub(super) fn protected_domain(&self) -> Option<Objection> {
        protected(self.domain?, self.policy)
    }
}

/// Whether a domain is protected.
pub(super) fn protected(domain: &str, policy: &SafetyPolicy) -> Option<Objection> {
    let pattern = policy.protected_domains.iter().find(|pattern| pattern.protects(domain))?;
    let text = format!("{domain} matches {pattern} of safety.protected_domains");
    Some((Reason::ProtectedDomain, text))
}

pub(super) fn forged_command(q: &Question<'_>) -> Verdict {
    let derived = q.intent.request(q.facts.teardown.tenant_id);
    derived.map_or_else(|forged| super::forged(&forged.to_string()), |_| Verdict::Allow)
}

pub(super) fn sandbox(q: &Question<'_>) -> Verdict {
    held_by(q.named().not_a_sandbox())
}

pub(super) fn own_tenant(q: &Question<'_>) -> Verdict {
    held_by(q.named().own_tenant())
}

pub(super) fn protected_tenant(q: &Question<'_>) -> Verdict {
    held_by(q.named().protected_tenant())
}

pub(super) fn protection(q: &Question<'_>) -> Verdict {
    held_by(protection::object_to_write(&q.facts.protections, &q.facts.teardown, q.seen))
}

pub(super) fn domain_required(q: &Question<'_>) -> Verdict {
    held_by(q.named().domain_missing())
}
