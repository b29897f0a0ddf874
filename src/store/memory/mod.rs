//! A deterministic store in memory, for simulated time and tests. It has the same meaning as the
//! SQLite store, as far as the trait can tell; nothing of it survives the process.

mod budget;
mod consent;
mod data;
mod known;
mod leases;
mod operate;
mod reconcile;
mod reload;
mod survey;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use self::data::Data;
use super::rules::millis;
use super::{
    Ack, ApproveRequest, ArmRequest, AuditEntry, AuditRange, ClaimRequest, Claimed, Commit,
    Committed, CustomersRead, DaemonInfo, EnqueueOutcome, Filter, KnownCustomers, OperatorRequest,
    RefusedEnqueue, ReloadAnswer, RequestEffect, RequestRecord, Result, Store, StoredFault,
    StoredPurchase, Survey, SurveyRequest, TransitionRecord, stops,
};
use crate::core::account::{Account, TroubleKind};
use crate::core::budget::{Ask, Budget, Grant};
use crate::core::command::{Answer, Command};
use crate::core::gates::{SafetyPolicy, Verdict};
use crate::core::ids::{AccountName, CommandId, Fence, TeardownId, TenantId};
use crate::core::observation::Observation;
use crate::core::protection::Protection;
use crate::core::reason::Reason;
use crate::core::teardown::{NewTeardown, Teardown};

/// The store in memory. Each call holds one lock from beginning to end, and checks before it
/// changes, so that it is a transaction.
#[derive(Debug, Default)]
pub struct MemoryStore {
    data: Mutex<Data>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // A panic elsewhere cannot leave a half-made change that is worse than losing the test.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn enqueue(
        &self,
        rows: &[NewTeardown],
        now: Timestamp,
    ) -> Result<Vec<(TeardownId, EnqueueOutcome)>> {
        self.data().enqueue(rows, millis(now))
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Teardown>> {
        Ok(self.data().list(filter))
    }

    async fn purchases(&self, teardown: TeardownId) -> Result<Vec<StoredPurchase>> {
        let data = self.data();
        Ok(data.purchases.get(&teardown).map(|p| p.values().cloned().collect()).unwrap_or_default())
    }

    async fn commands(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<Command>> {
        Ok(self.data().commands_of(account, tenant))
    }

    async fn history(
        &self,
        account: Option<&AccountName>,
        tenant: TenantId,
    ) -> Result<Vec<TransitionRecord>> {
        let wanted = |record: &&TransitionRecord| {
            record.tenant_id == tenant && account.is_none_or(|name| *name == record.account)
        };
        Ok(self.data().transitions.iter().filter(wanted).cloned().collect())
    }

    async fn faults(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<StoredFault>> {
        let data = self.data();
        let own = data.faults.iter().filter(|f| f.account == *account && f.tenant == tenant);
        Ok(own.map(|filed| filed.fault.clone()).collect())
    }

    async fn take_over(&self, now: Timestamp) -> Result<u64> {
        Ok(self.data().take_over(millis(now)))
    }

    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claimed>> {
        Ok(self.data().claim(request, millis(now)))
    }

    async fn next_due(
        &self,
        accounts: &[AccountName],
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        Ok(self.data().next_due(accounts, millis(now)))
    }

    async fn renew(
        &self,
        owner: &str,
        leases: &[(TeardownId, Fence)],
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<TeardownId>> {
        Ok(self.data().renew(owner, leases, ttl, millis(now)))
    }

    async fn release(&self, teardown: TeardownId, fence: Fence, now: Timestamp) -> Result<()> {
        self.data().release(teardown, fence, millis(now))
    }

    async fn commit(&self, commit: Commit<'_>, now: Timestamp) -> Result<Committed> {
        self.data().commit(&commit, millis(now))
    }

    async fn begin_send(
        &self,
        command: CommandId,
        teardown: TeardownId,
        fence: Fence,
        correlation: Uuid,
        seen: &Observation,
        policy: &SafetyPolicy,
        now: Timestamp,
    ) -> Result<Verdict> {
        let now = millis(now);
        self.data().begin_send(command, teardown, fence, correlation, seen, policy, now)
    }

    async fn record_answer(
        &self,
        command: CommandId,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<()> {
        self.data().record_answer(command, answer, millis(now))
    }

    async fn account(&self, name: &AccountName) -> Result<Account> {
        Ok(self.data().account(name))
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        Ok(self.data().accounts.values().cloned().collect())
    }

    async fn halt(
        &self,
        account: &AccountName,
        guard: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.data().halt(account, guard, text, millis(now));
        Ok(())
    }

    async fn set_trouble(
        &self,
        account: &AccountName,
        kind: TroubleKind,
        text: &str,
        next_probe_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let mut data = self.data();
        stops::set_trouble(data.account_mut(account), kind, text, next_probe_at, millis(now));
        Ok(())
    }

    async fn probe_now(&self, account: &AccountName, now: Timestamp) -> Result<()> {
        let mut data = self.data();
        if let Some(reason) = stops::probe_now(data.account_mut(account), millis(now)) {
            data.wake(account, &[reason], millis(now));
        }
        Ok(())
    }

    async fn clear_trouble(&self, account: &AccountName, now: Timestamp) -> Result<()> {
        let mut data = self.data();
        if data.account_mut(account).trouble.take().is_some() {
            let waiting = [Reason::AccountUnreachable, Reason::CredentialRefused];
            data.wake(account, &waiting, millis(now));
        }
        Ok(())
    }

    async fn throttle(
        &self,
        account: &AccountName,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        stops::throttle(self.data().account_mut(account), until, millis(now));
        Ok(())
    }

    async fn reserve(
        &self,
        account: &AccountName,
        asks: &[Ask],
        budget: &Budget,
        now: Timestamp,
    ) -> Result<Vec<Grant>> {
        Ok(self.data().reserve(account, asks, budget, millis(now)))
    }

    async fn note_customers(&self, account: &AccountName, read: &CustomersRead) -> Result<()> {
        self.data().note_customers(account, read);
        Ok(())
    }

    async fn customers(&self, account: &AccountName) -> Result<Option<KnownCustomers>> {
        Ok(self.data().customers.get(account).cloned())
    }

    async fn request(
        &self,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        Ok(self.data().request(request, millis(now)))
    }

    async fn apply_requests(&self, _now: Timestamp) -> Result<u64> {
        // Nobody can type into this store.
        Ok(0)
    }

    async fn approve(
        &self,
        request: &ApproveRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        Ok(self.data().approve(request, millis(now)))
    }

    async fn arm(&self, request: &ArmRequest, now: Timestamp) -> Result<RequestEffect> {
        Ok(self.data().arm(request, millis(now)))
    }

    async fn protections(&self) -> Result<Vec<Protection>> {
        Ok(self.data().protections.clone())
    }

    async fn acks(&self) -> Result<Vec<Ack>> {
        Ok(self.data().acks.values().cloned().collect())
    }

    async fn audit(&self, range: &AuditRange) -> Result<Vec<AuditEntry>> {
        Ok(self.data().audit(range))
    }

    async fn audit_begins(&self) -> Result<Option<Timestamp>> {
        Ok(self.data().audit_begins())
    }

    async fn check_accounts(&self, known: &[AccountName], now: Timestamp) -> Result<u64> {
        Ok(self.data().check_accounts(known, millis(now)))
    }

    async fn note_refused(&self, refused: &[RefusedEnqueue], now: Timestamp) -> Result<()> {
        let mut data = self.data();
        for one in refused {
            let record = RequestRecord::of_refused(one, millis(now));
            data.keep(record);
        }
        Ok(())
    }

    async fn ask_reload(&self, _actor: &str, _now: Timestamp) -> Result<i64> {
        Ok(self.data().reloads.ask())
    }

    async fn open_reloads(&self) -> Result<Vec<i64>> {
        Ok(self.data().reloads.open())
    }

    async fn answer_reloads(
        &self,
        ids: &[i64],
        answer: &ReloadAnswer,
        _now: Timestamp,
    ) -> Result<()> {
        self.data().reloads.answer(ids, answer);
        Ok(())
    }

    async fn reload_answer(&self, id: i64) -> Result<Option<ReloadAnswer>> {
        self.data().reloads.answered(id)
    }

    async fn tick(&self, info: &DaemonInfo) -> Result<()> {
        self.data().daemon = Some(DaemonInfo {
            started_at: millis(info.started_at),
            ticked_at: millis(info.ticked_at),
            ..info.clone()
        });
        Ok(())
    }

    async fn daemon(&self) -> Result<Option<DaemonInfo>> {
        Ok(self.data().daemon.clone())
    }

    async fn survey(&self, request: &SurveyRequest, now: Timestamp) -> Result<Survey> {
        Ok(self.data().survey(request, millis(now)))
    }

    async fn purge(&self, finished: Timestamp, history: Timestamp) -> Result<u64> {
        Ok(self.data().purge(millis(finished), millis(history)))
    }
}
