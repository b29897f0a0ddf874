//! One configured account at run time: its client, its guards, and what its failures mean for every
//! tenant in it (invariant 14).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::core::account::{Proven, TroubleKind};
use crate::core::clock::Clock;
use crate::core::fault::Trouble;
use crate::core::gates::SafetyPolicy;
use crate::core::ids::{AccountName, TenantId};
use crate::core::reason::Reason;
use crate::partner_center::{ApiError, Client, Kind};
use crate::store::{Result, Store};

/// An account in trouble is tried again this often.
const PROBE: Duration = Duration::from_secs(60);
/// So many failures in a row, without one answer in between, are the account's and not a tenant's.
const OUTAGE_AFTER: u32 = 5;

/// A configured account.
#[derive(Debug)]
pub struct AccountRuntime {
    /// Its name.
    pub name: AccountName,
    /// Its connection to Partner Center.
    pub client: Client,
    /// Its guards.
    pub safety: SafetyPolicy,
    health: Health,
    turns: Turns,
}

impl AccountRuntime {
    /// Puts an account together.
    pub fn new(name: AccountName, client: Client, safety: SafetyPolicy) -> Self {
        Self { name, client, safety, health: Health::default(), turns: Turns::default() }
    }

    /// Waits for this pass's turn to commit and send: a first step of the account goes alone, and
    /// nothing goes beside it (invariant 2). The gates in the store hold that by themselves; taking
    /// turns here spares the others a park and a new reading of everything.
    ///
    /// # Errors
    /// The store's.
    pub async fn turn(&self, kinds: Proven, store: &dyn Store) -> Result<Turn<'_>> {
        if self.is_proven(kinds, store).await? {
            return Ok(Turn::Among(self.turns.lock.read().await));
        }
        let alone = self.turns.lock.write().await;
        // While this one waited, another may have proven its step: then all may go side by side.
        if self.is_proven(kinds, store).await? {
            return Ok(Turn::Among(alone.downgrade()));
        }
        Ok(Turn::Alone(alone))
    }

    async fn is_proven(&self, kinds: Proven, store: &dyn Store) -> Result<bool> {
        if covers(self.turns.proven(), kinds) {
            return Ok(true);
        }
        let proven = store.account(&self.name).await?.proven;
        self.turns.learn(proven);
        Ok(covers(proven, kinds))
    }

    /// Notes that Partner Center answered: an outage, if there was one, is over.
    ///
    /// # Errors
    /// The store's.
    pub async fn answered(&self, store: &dyn Store, now: Timestamp) -> Result<()> {
        if self.health.answered() {
            store.clear_trouble(&self.name, now).await?;
        }
        Ok(())
    }

    /// What a failed call means for the tenant whose pass it happened in. What concerns the account is
    /// stored before this returns.
    ///
    /// # Errors
    /// The store's.
    pub async fn failed(
        &self,
        error: &ApiError,
        tenant: TenantId,
        store: &dyn Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<Trouble> {
        let now = clock.now();
        let text = error.to_string();
        match error.kind() {
            Kind::Transient | Kind::Store => Ok(Trouble::Transient(text)),
            Kind::Throttled { until } => {
                Ok(Trouble::Account { reason: Reason::Throttled, until, text })
            }
            Kind::CredentialRefused => {
                let kind = TroubleKind::CredentialRefused;
                self.trouble(kind, Reason::CredentialRefused, text, store, now).await
            }
            Kind::SafetyStop => self.halt(text, store, now).await,
            Kind::Unreachable => {
                let transport = error.as_fault().is_none();
                if self.health.failed(tenant, transport, error.is_shared()) {
                    let kind = TroubleKind::Unreachable;
                    self.trouble(kind, Reason::AccountUnreachable, text, store, now).await
                } else {
                    Ok(Trouble::Transient(text))
                }
            }
            Kind::CustomerGone => {
                let fault = error.as_fault().cloned().unwrap_or_default();
                Ok(Trouble::Permanent(fault))
            }
            Kind::Permanent(fault) => Ok(Trouble::Permanent(fault)),
        }
    }

    /// Halts the account: only a person lifts that (invariant 2).
    ///
    /// # Errors
    /// The store's.
    pub async fn halt(&self, text: String, store: &dyn Store, now: Timestamp) -> Result<Trouble> {
        tracing::error!(account = %self.name, text, "the account is halted");
        store.halt(&self.name, Reason::Halted.as_str(), &text, now).await?;
        Ok(Trouble::Account { reason: Reason::Halted, until: after(now, PROBE), text })
    }

    async fn trouble(
        &self,
        kind: TroubleKind,
        reason: Reason,
        text: String,
        store: &dyn Store,
        now: Timestamp,
    ) -> Result<Trouble> {
        let until = after(now, PROBE);
        if self.health.in_trouble() {
            tracing::warn!(account = %self.name, kind = kind.as_str(), text, "the account is in trouble");
        }
        store.set_trouble(&self.name, kind, &text, until, now).await?;
        Ok(Trouble::Account { reason, until, text })
    }
}

fn after(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The right to commit and send, until it is dropped.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub enum Turn<'a> {
    /// Beside others.
    Among(RwLockReadGuard<'a, ()>),
    /// Alone.
    Alone(RwLockWriteGuard<'a, ()>),
}

/// Whose turn it is. The lock is fair: who waits to go alone is not overtaken for ever.
#[derive(Debug, Default)]
struct Turns {
    lock: RwLock<()>,
    proven: Mutex<Proven>,
}

impl Turns {
    fn proven(&self) -> Proven {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, proven: Proven) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = proven;
    }
}

/// Whether every kind of step in `kinds` was proven before.
const fn covers(proven: Proven, kinds: Proven) -> bool {
    (proven.write || !kinds.write)
        && (proven.reservation || !kinds.reservation)
        && (proven.delete || !kinds.delete)
}

/// Failures in a row, over all tenants of the account.
#[derive(Debug, Default)]
struct Health(Mutex<Streak>);

#[derive(Debug)]
struct Streak {
    failures: u32,
    transport: bool,
    tenants: BTreeSet<TenantId>,
    /// Whether an outage may be stored: true at first, since an earlier process may have left one.
    in_trouble: bool,
}

impl Default for Streak {
    fn default() -> Self {
        Self { failures: 0, transport: false, tenants: BTreeSet::new(), in_trouble: true }
    }
}

impl Health {
    fn with<T>(&self, change: impl FnOnce(&mut Streak) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether a stored outage may have to be cleared.
    fn answered(&self) -> bool {
        self.with(|streak| {
            streak.failures = 0;
            streak.transport = false;
            streak.tenants.clear();
            std::mem::take(&mut streak.in_trouble)
        })
    }

    /// Returns whether the failures are the account's: many in a row without one answer, and either
    /// of the transport, which no tenant has for itself, or seen by several tenants. A failure that
    /// many share is one.
    fn failed(&self, tenant: TenantId, transport: bool, shared: bool) -> bool {
        self.with(|streak| {
            streak.failures = streak.failures.saturating_add(u32::from(!shared));
            streak.transport |= transport;
            streak.tenants.insert(tenant);
            streak.failures >= OUTAGE_AFTER && (streak.transport || streak.tenants.len() > 1)
        })
    }

    /// Marks an outage; returns whether it is news.
    fn in_trouble(&self) -> bool {
        self.with(|streak| !std::mem::replace(&mut streak.in_trouble, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId::new(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn invariant_14_failures_of_one_tenant_are_not_an_outage_and_of_several_are() {
        let health = Health::default();
        assert!((0..50).all(|_| !health.failed(tenant(1), false, false)));
        assert!(health.failed(tenant(2), false, false));
        health.answered();
        assert!((0..OUTAGE_AFTER - 1).all(|n| !health.failed(tenant(n.into()), false, false)));
        assert!(health.failed(tenant(99), false, false));
    }

    #[test]
    fn invariant_14_a_broken_transport_is_the_accounts_even_with_one_tenant() {
        let health = Health::default();
        assert!((0..OUTAGE_AFTER - 1).all(|_| !health.failed(tenant(1), true, false)));
        assert!(health.failed(tenant(1), true, false));
    }

    #[test]
    fn invariant_14_one_failure_that_many_tenants_share_is_no_outage() {
        let health = Health::default();
        assert!(!health.failed(tenant(1), true, false));
        assert!((2..64).all(|n| !health.failed(tenant(n), true, true)));
        assert!((0..OUTAGE_AFTER - 2).all(|_| !health.failed(tenant(1), true, false)));
        assert!(health.failed(tenant(1), true, false));
        assert!(health.failed(tenant(2), true, true), "who shares it waits as well");
    }
}
