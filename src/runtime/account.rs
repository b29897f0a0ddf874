//! One configured account at run time: its client, its guards, and what its failures mean for every
//! tenant in it (invariant 14).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::health::{Failure, Health, Outage};
use super::live::AccountRules;
use crate::core::account::TroubleKind;
use crate::core::clock::Clock;
use crate::core::fault::{Class, Fault, Trouble};
use crate::core::ids::{AccountName, TenantId};
use crate::core::reason::Reason;
use crate::partner_center::{ApiError, Call, Client, Kind};
use crate::store::{Result, Store};

/// An account that cannot be reached is tried again this often.
const PROBE_UNREACHABLE: Duration = Duration::from_secs(60);
/// So is one whose credential is refused: it takes a person to end that, and the change of a secret
/// file is noticed at once.
const PROBE_REFUSED: Duration = Duration::from_secs(300);

/// A configured account.
#[derive(Debug)]
pub struct AccountRuntime {
    /// Its name.
    pub name: AccountName,
    /// Its connection to Partner Center.
    pub client: Client,
    /// Its guards and its budget, which a reload replaces.
    pub rules: AccountRules,
    health: Health,
    ended: Notify,
}

impl AccountRuntime {
    /// Puts an account together.
    pub fn new(name: AccountName, client: Client, rules: AccountRules) -> Self {
        Self { name, client, rules, health: Health::default(), ended: Notify::new() }
    }

    /// Tells those who wait for the account's canary that a call or a pass has ended.
    pub fn call_ended(&self) {
        self.ended.notify_waiters();
    }

    /// Completes when a call or a pass of the account ends after this was called.
    pub fn next_end(&self) -> Notified<'_> {
        self.ended.notified()
    }

    /// Notes that Partner Center answered these calls: an outage of theirs, if there was one, is over.
    ///
    /// # Errors
    /// The store's.
    pub async fn answered(&self, calls: &[Call], store: &Store) -> Result<()> {
        if self.health.answered(calls) {
            store.clear_trouble(&self.name).await?;
        }
        Ok(())
    }

    /// Has a refused credential probed at once when one of its files has changed since it was last
    /// shown. Returns whether that made a probe due.
    ///
    /// # Errors
    /// The store's.
    pub async fn probe_if_renewed(&self, store: &Store, now: Timestamp) -> Result<bool> {
        let may_be_refused = match self.health.outage() {
            Outage::Unknown | Outage::Of(TroubleKind::CredentialRefused) => true,
            Outage::None | Outage::Of(TroubleKind::Unreachable) => false,
        };
        if !may_be_refused || !self.client.credential_has_changed().await {
            return Ok(false);
        }
        let trouble = store.account(&self.name).await?.trouble;
        self.health.learn(trouble.as_ref().map(|trouble| trouble.kind));
        let refused = trouble.filter(|trouble| trouble.kind == TroubleKind::CredentialRefused);
        if refused.is_none_or(|trouble| trouble.next_probe_at <= now) {
            return Ok(false);
        }
        tracing::info!(account = %self.name, "a refused credential is tried at once");
        store.probe_now(&self.name, now).await?;
        Ok(true)
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
        store: &Store,
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
                self.trouble(TroubleKind::CredentialRefused, text, store, now).await
            }
            Kind::SafetyStop => self.halt(text, store, now).await,
            Kind::Unreachable => {
                let failure = Failure {
                    tenant,
                    call: error.call(),
                    transport: error.as_fault().is_none(),
                    shared: error.is_shared(),
                };
                if self.health.failed(failure) {
                    self.trouble(TroubleKind::Unreachable, text, store, now).await
                } else {
                    Ok(Trouble::Transient(text))
                }
            }
            Kind::CustomerGone => {
                let fault = error.as_fault().cloned().unwrap_or_default();
                Ok(Trouble::Permanent(Fault { told: Some(Class::CustomerGone), ..fault }))
            }
            Kind::Permanent(fault) => Ok(Trouble::Permanent(fault)),
        }
    }

    /// Halts the account: only a person lifts that (invariant 2).
    ///
    /// # Errors
    /// The store's.
    pub async fn halt(&self, text: String, store: &Store, now: Timestamp) -> Result<Trouble> {
        tracing::error!(account = %self.name, text, "the account is halted");
        store.halt(&self.name, Reason::Halted.as_str(), &text, now).await?;
        Ok(Trouble::Account { reason: Reason::Halted, until: now, text })
    }

    async fn trouble(
        &self,
        kind: TroubleKind,
        text: String,
        store: &Store,
        now: Timestamp,
    ) -> Result<Trouble> {
        let until = after(now, probe_interval(kind));
        store.set_trouble(&self.name, kind, &text, until, now).await?;
        // Marked when it is stored: an answer in between would find nothing to clear, and what is
        // stored after it would stay for ever.
        if self.health.marks(kind) {
            tracing::warn!(account = %self.name, kind = kind.as_str(), text, "the account is in trouble");
        }
        Ok(Trouble::Account { reason: kind.reason(), until, text })
    }
}

const fn probe_interval(kind: TroubleKind) -> Duration {
    match kind {
        TroubleKind::Unreachable => PROBE_UNREACHABLE,
        TroubleKind::CredentialRefused => PROBE_REFUSED,
    }
}

fn after(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}
