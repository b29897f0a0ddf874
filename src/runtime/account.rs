//! One configured account at run time: its client, its guards, and what its failures mean for every
//! tenant in it (invariants 2 and 14).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::breaker::{Breaker, Failure, Verdict};
use super::halting::{Halting, Mark};
use super::live::AccountRules;
use crate::core::account::{Identity, TroubleKind};
use crate::core::clock::Clock;
use crate::core::command::Answer;
use crate::core::fault::{Class, Fault, Trouble};
use crate::core::ids::{AccountName, CommandId, TenantId};
use crate::core::reason::Reason;
use crate::partner_center::{ApiError, Call, Client, Kind};
use crate::store::{Result, Store};

/// An account that cannot be reached is tried again this often.
const PROBE_SOON: Duration = Duration::from_secs(60);
/// So is one where it takes a person to end the outage; the change of a secret file is noticed at once.
const PROBE_SELDOM: Duration = Duration::from_secs(300);

/// A configured account.
#[derive(Debug)]
pub struct AccountRuntime {
    /// Its name.
    pub name: AccountName,
    /// Its connection to Partner Center.
    pub client: Client,
    /// Its guards and its budget, which a reload replaces.
    pub rules: AccountRules,
    breaker: Breaker,
    halting: Halting,
    ended: Notify,
}

impl AccountRuntime {
    /// Puts an account together.
    pub fn new(name: AccountName, client: Client, rules: AccountRules) -> Self {
        let (breaker, halting) = (Breaker::default(), Halting::default());
        Self { name, client, rules, breaker, halting, ended: Notify::new() }
    }

    /// The account's name, with the partner that it stands for.
    pub fn standing(&self) -> (AccountName, Identity) {
        (self.name.clone(), self.rules.safety.get().identity())
    }

    /// Takes up which outage of the account is stored: another replica may have stored it.
    pub fn learn(&self, outage: Option<TroubleKind>) {
        if outage.is_some() {
            self.breaker.learn(outage);
        }
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
    pub async fn answered(
        &self,
        calls: &[Call],
        store: &Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<()> {
        if self.breaker.answered(calls, clock.uptime()) {
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
        let may_be_refused = self.breaker.may_be_out(TroubleKind::CredentialRefused);
        if !may_be_refused || !self.client.credential_has_changed().await {
            return Ok(false);
        }
        let trouble = store.account(&self.name).await?.trouble;
        self.breaker.learn(trouble.as_ref().map(|trouble| trouble.kind));
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
        let Kind::Outage(kind) = error.kind() else {
            return self.failed_otherwise(error, store, clock.now()).await;
        };
        let failure = Failure {
            kind,
            call: error.call(),
            tenant: (!error.is_account_wide()).then_some(tenant),
            decisive: error.is_decisive(),
            shared: error.is_shared(),
        };
        let (now, asked) = (clock.now(), error.retry_after());
        match self.breaker.failed(failure, clock.uptime()) {
            Verdict::Tenant => Ok(transient(error)),
            Verdict::Ask => self.ask(error, store, clock).await,
            Verdict::Soon(pause) if asked <= pause => {
                let (reason, until) = (kind.reason(), after(now, pause));
                Ok(Trouble::Account { reason, until, text: error.to_string() })
            }
            Verdict::Soon(_) => self.trouble(kind, error, asked, store, now).await,
            Verdict::Account => {
                self.trouble(kind, error, asked.max(probe_interval(kind)), store, now).await
            }
        }
    }

    /// One tenant alone has failed again and again, or while an outage is stored. The customer list,
    /// which names no tenant, tells whether that is its own.
    async fn ask(
        &self,
        error: &ApiError,
        store: &Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<Trouble> {
        let Err(also) = self.client.customer_list_anew().await else {
            if self.breaker.is_alone() {
                store.clear_trouble(&self.name).await?;
            }
            return Ok(transient(error));
        };
        let Kind::Outage(kind) = also.kind() else {
            return self.failed_otherwise(&also, store, clock.now()).await;
        };
        let (call, shared) = (also.call(), also.is_shared());
        let failure = Failure { kind, call, tenant: None, decisive: true, shared };
        self.breaker.failed(failure, clock.uptime());
        let wait = also.retry_after().max(probe_interval(kind));
        self.trouble(kind, &also, wait, store, clock.now()).await
    }

    /// The same for whatever cannot be an outage.
    async fn failed_otherwise(
        &self,
        error: &ApiError,
        store: &Store,
        now: Timestamp,
    ) -> Result<Trouble> {
        let text = error.to_string();
        match error.kind() {
            Kind::Transient | Kind::Store | Kind::Outage(_) => Ok(transient(error)),
            Kind::Throttled { until } => {
                Ok(Trouble::Account { reason: Reason::Throttled, until, text })
            }
            Kind::SafetyStop => {
                if !self.is_halting() {
                    self.raise_halt(text, None);
                }
                self.store_halt(store, now).await?;
                Ok(self.halted(now))
            }
            Kind::CustomerGone => {
                let fault = error.as_fault().cloned().unwrap_or_default();
                Ok(Trouble::Refused(Fault { told: Some(Class::CustomerGone), ..fault }))
            }
            Kind::Refused(fault) => Ok(Trouble::Refused(fault)),
        }
    }

    /// Halts the account in memory, at once: nothing of it is committed or sent from now on
    /// (invariant 2). [`store_halt`](Self::store_halt) makes it last, with the answer that caused it.
    pub fn raise_halt(&self, text: String, answer: Option<(CommandId, Answer)>) {
        tracing::error!(account = %self.name, text, "the account is halted");
        self.halting.raise(text, answer);
    }

    /// A gate has halted the account, and that is stored: nothing leaves any more that was allowed before.
    pub fn hear_of_halt(&self, text: &str) {
        self.halting.heard(text);
    }

    /// Stores a halt that stands in memory only. Does nothing where there is none.
    ///
    /// # Errors
    /// The store's: the halt goes on standing in memory.
    pub async fn store_halt(&self, store: &Store, now: Timestamp) -> Result<()> {
        while let Some(halt) = self.halting.unstored() {
            let recorded = match &halt.answer {
                Some((command, answer)) => Some(store.record_answer(*command, answer, now).await),
                None => None,
            };
            match recorded {
                Some(Ok(())) => {}
                Some(Err(error)) if error.is_out_of_reach() => return Err(error),
                // Without a command to store it with, the halt stands by itself.
                Some(Err(_)) | None => {
                    store.halt(&self.name, Reason::Halted.as_str(), &halt.text, now).await?;
                }
            }
            self.halting.stored(&halt);
        }
        Ok(())
    }

    /// The halts that there were until now, to be shown to [`may_send`](Self::may_send).
    pub fn mark(&self) -> Mark {
        self.halting.mark()
    }

    /// Whether nothing has halted the account since then, and no halt is still to be stored.
    pub fn may_send(&self, since: Mark) -> bool {
        self.halting.may_send(since)
    }

    /// Whether a halt stands in memory that is not stored yet.
    pub fn is_halting(&self) -> bool {
        !self.may_send(self.mark())
    }

    /// The end of a pass whose account is halted.
    pub fn halted(&self, now: Timestamp) -> Trouble {
        let text = self.halting.text();
        Trouble::Account { reason: Reason::Halted, until: now, text }
    }

    async fn trouble(
        &self,
        kind: TroubleKind,
        error: &ApiError,
        wait: Duration,
        store: &Store,
        now: Timestamp,
    ) -> Result<Trouble> {
        let (until, text) = (after(now, wait), error.to_string());
        store.set_trouble(&self.name, kind, &text, until, now).await?;
        // Marked when it is stored: an answer in between would find nothing to clear, and what is
        // stored after it would stay for ever.
        if self.breaker.marks(kind) {
            tracing::warn!(account = %self.name, kind = kind.as_str(), text, "the account is in trouble");
        }
        Ok(Trouble::Account { reason: kind.reason(), until, text })
    }
}

/// The tenant's own: it waits for as long as it was asked to.
fn transient(error: &ApiError) -> Trouble {
    Trouble::Transient { text: error.to_string(), wait: error.retry_after() }
}

const fn probe_interval(kind: TroubleKind) -> Duration {
    match kind {
        TroubleKind::Unreachable | TroubleKind::CustomersUnreadable => PROBE_SOON,
        TroubleKind::CredentialRefused | TroubleKind::AccessRefused => PROBE_SELDOM,
    }
}

fn after(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}
