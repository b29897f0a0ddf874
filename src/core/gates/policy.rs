//! The settings of the guards, and how large a share of an account is.

use std::time::Duration;

use uuid::Uuid;

use super::Guard;
use crate::core::account::Identity;
use crate::core::domain::DomainPattern;
use crate::core::ids::TenantId;
use crate::core::window::Window;

/// A share of a whole, from nothing to all of it, reckoned without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share {
    millionths: u32,
}

impl Share {
    const WHOLE: u32 = 1_000_000;

    /// A share such as 0.25, to the millionth. `None` below 0 and above 1.
    pub fn new(share: f64) -> Option<Self> {
        let fits = (0.0..=1.0).contains(&share);
        fits.then(|| Self { millionths: (share * f64::from(Self::WHOLE)).round() as u32 })
    }

    /// Whether it is nothing at all.
    pub const fn is_zero(self) -> bool {
        self.millionths == 0
    }

    /// Whether `part` of `whole` is more than this.
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        let (part, whole) = (part as u128, whole as u128);
        part * u128::from(Self::WHOLE) > whole * u128::from(self.millionths)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", f64::from(self.millionths) / f64::from(Self::WHOLE))
    }
}

/// The `[safety]` settings in force for an account, with the account's own identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyPolicy {
    /// `accounts.NAME.sandbox`.
    pub sandbox: bool,
    /// `accounts.NAME.partner_tenant`.
    pub partner_tenant: TenantId,
    /// `accounts.NAME.cloud`.
    pub cloud: String,
    /// `accounts.NAME.client_id`.
    pub client_id: Uuid,
    /// `accounts.NAME.customers_limit`.
    pub customers_limit: usize,
    /// `safety.allow_domains`; empty refuses every write.
    pub allow_domains: Vec<DomainPattern>,
    /// `safety.protected_tenants`.
    pub protected_tenants: Vec<TenantId>,
    /// `safety.protected_domains`.
    pub protected_domains: Vec<DomainPattern>,
    /// `safety.windows`; none is always open.
    pub windows: Vec<Window>,
    /// `safety.require_domain`.
    pub require_domain: bool,
    /// `safety.require_arming`.
    pub require_arming: bool,
    /// `safety.require_approval`.
    pub require_approval: bool,
    /// `safety.approve_by_other`.
    pub approve_by_other: bool,
    /// `safety.hold_batch_over`; nothing is off.
    pub hold_batch_over: Share,
    /// `safety.grace`.
    pub grace: Duration,
    /// `safety.dry_run`.
    pub dry_run: bool,
    /// `safety.max_deletions_per_hour`.
    pub max_deletions_per_hour: usize,
    /// `safety.max_deletions_per_day`.
    pub max_deletions_per_day: usize,
    /// A guard that is left out, to show in a test of the crate what it holds back. Nothing else
    /// sets it.
    pub(crate) skip: Option<Guard>,
}

impl SafetyPolicy {
    /// The built-in defaults for the account of a partner's tenant: not declared a sandbox and no
    /// domain allowed, so that nothing is written.
    pub fn new(partner_tenant: TenantId) -> Self {
        Self {
            sandbox: false,
            partner_tenant,
            cloud: "global".to_owned(),
            client_id: Uuid::nil(),
            customers_limit: 75,
            allow_domains: Vec::new(),
            protected_tenants: Vec::new(),
            protected_domains: Vec::new(),
            windows: Vec::new(),
            require_domain: false,
            require_arming: false,
            require_approval: false,
            approve_by_other: false,
            hold_batch_over: Share::default(),
            grace: Duration::ZERO,
            dry_run: false,
            max_deletions_per_hour: 75,
            max_deletions_per_day: 300,
            skip: None,
        }
    }

    /// Who the account is, as configured.
    pub fn identity(&self) -> Identity {
        Identity {
            partner_tenant: self.partner_tenant,
            cloud: self.cloud.clone(),
            client_id: self.client_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        let third = Share::new(0.3).unwrap();
        assert!(!third.is_exceeded_by(3, 10));
        assert!(third.is_exceeded_by(4, 10));
        assert!(third.is_exceeded_by(1, 0), "of nothing, one is more than any share");
        assert!(Share::new(0.0).unwrap().is_zero() && !third.is_zero());
        assert_eq!(third.to_string(), "0.3");
        for odd in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::new(odd), None, "{odd}");
        }
    }
}
