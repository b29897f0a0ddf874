//! One pass over one claimed tenant: observe, decide, commit, perform, and again, until the row is
//! parked or ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::futures::Notified;

use super::account::AccountRuntime;
use super::lease::Lease;
use super::observe::observe;
use super::perform::{Performer, Report, weightiest};
use super::refusal;
use super::settings::EngineSettings;
use super::timekeeping;
use crate::core::assess;
use crate::core::clock::{Clock, Entropy};
use crate::core::command::{Action, Command, Intent, NewCommand};
use crate::core::fault::{FailedCall, Trouble};
use crate::core::gates::Verdict;
use crate::core::ids::CommandId;
use crate::core::key::ResourceKey;
use crate::core::machine::{self, Decision, Policy, Situation, Transition};
use crate::core::memory::{Memory, Remembered};
use crate::core::observation::{CustomerSeen, Entitlements, Observation, Read};
use crate::core::reason::Reason;
use crate::core::routes::{self, Purchase};
use crate::core::teardown::Teardown;
use crate::partner_center::{Call, call_of_read};
use crate::store::{Commit, Committed, PurchaseRecord, PurchasesRead, Result, Store, StoreError};

/// A pass that has not come to an end after so many steps is parked: facts that keep going stale
/// while they are read must not keep a slot for ever.
const MAX_STEPS: u32 = 60;
/// For so long. An API that slow is the account's condition, and no attempt is spent.
const REST: Duration = Duration::from_secs(60);
/// A pass that reads waits by itself for a closure no longer than this, and keeps what it has read.
/// If each closure ended every pass, an account with many tenants in flight and a 429 now and then
/// would begin anew all the time and never get to a write.
const SHORT_CLOSURE: Duration = Duration::from_secs(10);
/// How often a pass does that.
const MAX_CLOSURES: u32 = 10;

/// How long a pass waits for its account's canary before it parks.
const CANARY_PATIENCE: Duration = Duration::from_secs(10);

/// What every pass shares.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// The store.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The settings of the engine.
    pub settings: Arc<EngineSettings>,
}

/// One pass.
struct Pass<'a> {
    shared: &'a Reconciler,
    account: &'a AccountRuntime,
    lease: &'a Lease,
    teardown: Teardown,
    memory: Memory,
    seen: Observation,
    /// Calls that failed since the last commit, to be stored with the next one.
    failures: Vec<FailedCall>,
    /// How often it has waited for a short closure.
    closures: u32,
    /// How long it has waited for canaries.
    waited: Duration,
}

/// Whether the pass goes on.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    /// The lease was given back.
    Done,
    /// The process stops or the lease is lost.
    Stopped,
}

impl Reconciler {
    /// Drives a claimed row until it is parked or ends.
    ///
    /// # Errors
    /// The store's. The row keeps its lease until that lapses, unless the caller gives it back.
    pub async fn reconcile(
        &self,
        account: &AccountRuntime,
        teardown: Teardown,
        lease: &Lease,
    ) -> Result<()> {
        let memory = self.recall(&teardown).await?;
        let seen = Observation::default();
        let mut pass = Pass {
            shared: self,
            account,
            lease,
            teardown,
            memory,
            seen,
            failures: Vec::new(),
            closures: 0,
            waited: Duration::ZERO,
        };
        for _ in 0..MAX_STEPS {
            if lease.stop.is_cancelled() {
                return pass.give_back().await;
            }
            match pass.step().await? {
                Flow::Continue => {}
                Flow::Done => return Ok(()),
                Flow::Stopped => return pass.give_back().await,
            }
        }
        let text = "the facts grew stale faster than they could be read".to_owned();
        let until = self.clock.now().checked_add(REST).unwrap_or(Timestamp::MAX);
        let trouble = Trouble::Account { reason: Reason::StaleFacts, until, text };
        pass.seen = Observation { trouble: Some(trouble), ..Observation::default() };
        pass.step().await.map(|_| ())
    }

    async fn recall(&self, teardown: &Teardown) -> Result<Memory> {
        let (commands, purchases) = futures::try_join!(
            self.store.commands(&teardown.account, teardown.tenant_id),
            self.store.purchases(teardown.id),
        )?;
        let purchases: BTreeMap<ResourceKey, Remembered> = purchases
            .into_iter()
            .map(|stored| {
                let unfinished = stored.record.standing != routes::Standing::Inactive;
                let known = Remembered {
                    unfinished,
                    last_inactive_at: stored.inactive_at,
                    order_id: stored.record.order_id,
                };
                (stored.record.key, known)
            })
            .collect();
        Ok(Memory { commands, purchases })
    }
}

impl Pass<'_> {
    async fn step(&mut self) -> Result<Flow> {
        // A reload may have classified further answers since the last step.
        let policy = self.shared.settings.policy.clone();
        let policy = Policy { codes: self.account.client.codes(), ..policy };
        let situation = Situation {
            teardown: &self.teardown,
            memory: &self.memory,
            seen: &self.seen,
            policy: &policy,
            now: self.shared.clock.now(),
            dice: self.shared.entropy.unit(),
        };
        match machine::decide(&situation) {
            Decision::Read(reads) => {
                self.seen.trouble = None;
                let account = self.account;
                let tenant = self.teardown.tenant_id;
                let (asked, asked_at) = (reads.clone(), self.shared.clock.now());
                let outcome = tokio::select! {
                    biased;
                    () = self.lease.stop.cancelled() => return Ok(Flow::Stopped),
                    outcome = observe(&account.client, tenant, reads, &mut self.seen) => outcome,
                };
                let (store, clock) = (self.shared.store.as_ref(), &self.shared.clock);
                self.seen.end_round(&asked, asked_at, clock.now());
                // Also where another read of these failed: each answer counts.
                let answered = self.answered(&asked, asked_at);
                if !answered.is_empty() {
                    account.answered(&answered, store, clock).await?;
                }
                match outcome {
                    Ok(()) => {}
                    Err(error) => {
                        self.failures.extend(error.failed_call());
                        let trouble = account.failed(&error, tenant, store, clock).await?;
                        match self.short_closure(&trouble) {
                            Some(wait) => return self.wait(wait).await,
                            None => self.seen.trouble = Some(trouble),
                        }
                    }
                }
                Ok(Flow::Continue)
            }
            Decision::Transition(transition) => self.take(*transition).await,
        }
    }

    /// Which of these calls were answered since then. Not those whose facts were there before, nor
    /// entitlements that are not asked for because they were refused.
    fn answered(&self, asked: &[Read], since: Timestamp) -> Vec<Call> {
        let was_asked_for =
            |read: &&Read| **read != Read::Entitlements || self.cross_checked() == Some(true);
        let is_new = |read: &&Read| self.seen.read_at(read).is_some_and(|at| since <= at);
        asked.iter().filter(was_asked_for).filter(is_new).map(call_of_read).collect()
    }

    /// How long the account stays closed, by a 429 or because what names no tenant has just failed,
    /// where that is worth waiting for.
    fn short_closure(&self, trouble: &Trouble) -> Option<Duration> {
        let Trouble::Account { reason, until, .. } = trouble else {
            return None;
        };
        if *reason != Reason::Throttled && !reason.is_outage() {
            return None;
        }
        let wait = until.duration_since(self.shared.clock.now());
        let wait = Duration::try_from(wait).unwrap_or_default();
        (wait <= SHORT_CLOSURE && self.closures < MAX_CLOSURES).then_some(wait)
    }

    async fn wait(&mut self, duration: Duration) -> Result<Flow> {
        self.closures += 1;
        tokio::select! {
            biased;
            () = self.lease.stop.cancelled() => Ok(Flow::Stopped),
            () = self.shared.clock.sleep(duration) => Ok(Flow::Continue),
        }
    }

    async fn take(&mut self, transition: Transition) -> Result<Flow> {
        let resends = transition.resends.clone();
        // From before the commit, so that no end is missed between its verdict and the wait.
        let next_end = self.account.next_end();
        if self.account.is_halting() && !(transition.intents.is_empty() && resends.is_empty()) {
            self.seen.trouble = Some(self.account.halted(self.shared.clock.now()));
            return Ok(Flow::Continue);
        }
        let committed = self.commit(transition).await?;
        self.teardown = committed.teardown;
        if self.teardown.lease.is_none() {
            return Ok(Flow::Done);
        }
        let commands = self.to_send(&resends, committed.admitted);
        if commands.is_empty() {
            self.memory = self.shared.recall(&self.teardown).await?;
            return match committed.verdict {
                Some(Verdict::Stale) => {
                    self.seen = Observation::default();
                    Ok(Flow::Continue)
                }
                Some(Verdict::Wait { reason: reason @ Reason::Canary, until, text }) => {
                    self.await_canary(next_end, Trouble::Account { reason, until, text }).await
                }
                _ => Ok(Flow::Continue),
            };
        }
        self.perform(&commands, next_end).await
    }

    fn to_send(&self, resends: &[CommandId], admitted: Vec<Command>) -> Vec<Command> {
        let known = self.memory.commands.iter().filter(|command| resends.contains(&command.id));
        known.cloned().chain(admitted).collect()
    }

    async fn perform(&mut self, commands: &[Command], next_end: Notified<'_>) -> Result<Flow> {
        let performer = Performer {
            store: self.shared.store.as_ref(),
            clock: &self.shared.clock,
            entropy: self.shared.entropy.as_ref(),
            account: self.account,
            lease: self.lease,
            teardown: self.teardown.id,
        };
        let performed = performer.send_all(commands, &self.seen).await?;
        let (reports, failures): (Vec<_>, Vec<_>) = performed.into_iter().unzip();
        self.failures.extend(failures.into_iter().flatten());
        let deleted = commands.iter().any(|c| c.intent.action == Action::DeleteCustomer);
        match weightiest(reports) {
            Report::Stopped => return Ok(Flow::Stopped),
            // What was read before a DELETE says nothing about the world after it.
            Report::Settled if deleted => self.seen = Observation::default(),
            Report::Settled => {}
            Report::Stale => self.seen = Observation::default(),
            Report::Trouble(trouble @ Trouble::Account { reason: Reason::Canary, .. }) => {
                self.memory = self.shared.recall(&self.teardown).await?;
                return self.await_canary(next_end, trouble).await;
            }
            Report::Trouble(trouble) => {
                // A token that cannot be had for a moment costs nobody a new reading of everything.
                let of_token =
                    matches!(&trouble, Trouble::Account { reason, .. } if reason.is_outage());
                if let Some(wait) = self.short_closure(&trouble).filter(|_| of_token) {
                    self.memory = self.shared.recall(&self.teardown).await?;
                    return self.wait(wait).await;
                }
                self.seen.trouble = Some(trouble);
            }
        }
        self.memory = self.shared.recall(&self.teardown).await?;
        Ok(Flow::Continue)
    }

    /// Waits for the end of the account's canary, and keeps what was read meanwhile. One that is long
    /// in coming back is waited for parked, without a slot.
    async fn await_canary(&mut self, next_end: Notified<'_>, trouble: Trouble) -> Result<Flow> {
        let left = CANARY_PATIENCE.saturating_sub(self.waited);
        if left.is_zero() {
            self.seen.trouble = Some(trouble);
            return Ok(Flow::Continue);
        }
        let clock = &self.shared.clock;
        let begun = clock.uptime();
        tokio::select! {
            biased;
            () = self.lease.stop.cancelled() => return Ok(Flow::Stopped),
            () = next_end => {}
            () = clock.sleep(left) => {}
        }
        self.waited += clock.uptime().saturating_sub(begun);
        Ok(Flow::Continue)
    }

    async fn commit(&mut self, transition: Transition) -> Result<Committed> {
        let from = self.teardown.state;
        let (state, reason) = (transition.state, transition.reason);
        let text = transition.text.clone();
        let command = |intent: &Intent| NewCommand {
            id: CommandId(self.shared.entropy.uuid()),
            intent: intent.clone(),
        };
        let commands = transition.intents.iter().map(command).collect();
        let safety = self.account.rules.safety.get();
        let commit = Commit {
            teardown: self.teardown.id,
            fence: self.lease.fence,
            transition,
            commands,
            purchases: self.purchases_read(),
            domain: self.domain_read(),
            cross_checked: self.cross_checked(),
            failures: std::mem::take(&mut self.failures),
            seen: &self.seen,
            policy: &safety,
        };
        let clock = self.shared.clock.as_ref();
        timekeeping::follow(&self.shared.store, clock).await?;
        let committed = self.shared.store.commit(commit, clock.now()).await?;
        if from != state {
            tracing::info!(
                from = from.as_str(),
                to = state.as_str(),
                reason = reason.map(|reason| reason.as_str()),
                text,
                "transition"
            );
        }
        if let Some(verdict) = &committed.verdict {
            refusal::note(&self.teardown.account, verdict);
            if let Verdict::Halt { text, .. } = verdict {
                self.account.hear_of_halt(text);
            }
        }
        Ok(committed)
    }

    /// What of the purchases is to be stored: all of them after a full reading, only the status of
    /// those known before after a partial one.
    fn purchases_read(&self) -> Option<PurchasesRead> {
        let record = |purchase: &Purchase| PurchaseRecord {
            key: purchase.key.clone(),
            kind: purchase.kind,
            name: purchase.name.clone(),
            route: purchase.route(),
            status: purchase.status.clone(),
            standing: purchase.standing,
            order_id: purchase.order_id.clone(),
            blocked: purchase.blocked().map(str::to_owned),
            cancellable_until: purchase.cancellable_until,
        };
        if let Some(assessment) = assess::whole(&self.seen, &self.memory) {
            return Some(PurchasesRead::All(assessment.purchases.iter().map(record).collect()));
        }
        // A list that came without the looks at what came back may show it as it was.
        let mut looks = self.memory.come_back().filter_map(ResourceKey::read);
        if looks.any(|look| self.seen.read_at(&look).is_none()) {
            return None;
        }
        let known: Vec<PurchaseRecord> = assess::judge(&self.seen)
            .iter()
            .filter(|purchase| self.memory.purchases.contains_key(&purchase.key))
            .map(record)
            .collect();
        (!known.is_empty()).then_some(PurchasesRead::Some(known))
    }

    fn domain_read(&self) -> Option<String> {
        let by_id = self.seen.customer.as_ref().and_then(|seen| match &seen.fact {
            CustomerSeen::Present(customer) => customer.domain.clone(),
            CustomerSeen::Gone { .. } => None,
        });
        let listed = || {
            let census = self.seen.census.as_ref()?;
            census.fact.entry.as_ref()?.domain.clone()
        };
        by_id.or_else(listed)
    }

    /// Whether the inventory could be checked against the entitlements, where this pass read them.
    fn cross_checked(&self) -> Option<bool> {
        let read = self.seen.entitlements.as_ref()?;
        Some(matches!(read.fact, Entitlements::Listed(_)))
    }

    async fn give_back(&self) -> Result<()> {
        let now = self.shared.clock.now();
        match self.shared.store.release(self.teardown.id, self.lease.fence, now).await {
            Ok(()) | Err(StoreError::LeaseLost(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
