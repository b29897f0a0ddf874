//! The store on SQLite: one connection writes, a few others read beside it.
//!
//! Every statement hops to the connection's thread, so there are few of them and they work on sets.

mod accounts;
mod audit;
mod backup;
mod claim;
mod commit;
mod consent;
mod customers;
mod faults;
mod filesystem;
mod open;
mod operate;
#[cfg(test)]
mod plans;
mod protect;
mod queue;
mod reload;
mod restore;
mod rows;
mod send;
mod survey;
mod upkeep;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

pub use self::backup::{BackupReport, backup};
pub use self::open::{MigrateMode, MigrationReport, SqliteSettings, free_bytes};
pub use self::restore::{Carried, RestoreReport, restore};
use super::rules::millis;
use super::{
    Ack, ApproveRequest, ArmRequest, AuditEntry, AuditRange, ClaimRequest, Claimed, Commit,
    Committed, CustomersRead, DaemonInfo, EnqueueOutcome, Filter, KnownCustomers, OperatorRequest,
    RefusedEnqueue, ReloadAnswer, RequestEffect, RequestRecord, Result, Store, StoredFault,
    StoredPurchase, Survey, SurveyRequest, TransitionRecord,
};
use crate::core::account::{Account, TroubleKind};
use crate::core::budget::{Ask, Budget, Grant};
use crate::core::command::{Answer, Command};
use crate::core::gates::{SafetyPolicy, Verdict};
use crate::core::ids::{AccountName, CommandId, Fence, TeardownId, TenantId};
use crate::core::observation::Observation;
use crate::core::protection::Protection;
use crate::core::teardown::{NewTeardown, Teardown};

/// The store on SQLite. See [`SqliteStore::open`].
#[derive(Debug, Clone)]
pub struct SqliteStore {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    /// What the latest survey has counted of the rows that have ended.
    ended: Arc<Mutex<Option<survey::Ended>>>,
}

impl SqliteStore {
    /// A transaction that may write. It takes the database's write lock at once, so that what it
    /// reads cannot change before it writes; other processes wait up to the busy timeout.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn enqueue(
        &self,
        rows: &[NewTeardown],
        now: Timestamp,
    ) -> Result<Vec<(TeardownId, EnqueueOutcome)>> {
        let mut tx = self.begin().await?;
        let outcomes = queue::enqueue(&mut tx, rows, millis(now)).await?;
        tx.commit().await?;
        Ok(outcomes)
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Teardown>> {
        queue::list(&mut *self.readers.acquire().await?, filter).await
    }

    async fn purchases(&self, teardown: TeardownId) -> Result<Vec<StoredPurchase>> {
        queue::purchases(&mut *self.readers.acquire().await?, teardown).await
    }

    async fn commands(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<Command>> {
        queue::commands(&mut *self.readers.acquire().await?, account, tenant).await
    }

    async fn history(
        &self,
        account: Option<&AccountName>,
        tenant: TenantId,
    ) -> Result<Vec<TransitionRecord>> {
        queue::history(&mut *self.readers.acquire().await?, account, tenant).await
    }

    async fn faults(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<StoredFault>> {
        faults::of_tenant(&mut *self.readers.acquire().await?, account, tenant).await
    }

    async fn take_over(&self, now: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let taken = claim::take_over(&mut tx, millis(now)).await?;
        tx.commit().await?;
        Ok(taken)
    }

    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claimed>> {
        let mut tx = self.begin().await?;
        let claimed = claim::claim(&mut tx, request, millis(now)).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    async fn next_due(
        &self,
        accounts: &[AccountName],
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        claim::next_due(&mut *self.readers.acquire().await?, accounts, millis(now)).await
    }

    async fn renew(
        &self,
        owner: &str,
        leases: &[(TeardownId, Fence)],
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<TeardownId>> {
        let mut tx = self.begin().await?;
        let lost = claim::renew(&mut tx, owner, leases, ttl, millis(now)).await?;
        tx.commit().await?;
        Ok(lost)
    }

    async fn release(&self, teardown: TeardownId, fence: Fence, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        claim::release(&mut tx, teardown, fence, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn commit(&self, commit: Commit<'_>, now: Timestamp) -> Result<Committed> {
        let mut tx = self.begin().await?;
        let committed = commit::commit(&mut tx, &commit, millis(now)).await?;
        tx.commit().await?;
        Ok(committed)
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
        let send = send::Send { command, teardown, fence, correlation, seen, policy };
        let mut tx = self.begin().await?;
        let verdict = send::begin(&mut tx, &send, millis(now)).await?;
        tx.commit().await?;
        Ok(verdict)
    }

    async fn record_answer(
        &self,
        command: CommandId,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        send::record_answer(&mut tx, command, answer, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn account(&self, name: &AccountName) -> Result<Account> {
        accounts::load(&mut *self.readers.acquire().await?, name).await
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        accounts::load_all(&mut *self.readers.acquire().await?).await
    }

    async fn halt(
        &self,
        account: &AccountName,
        guard: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        accounts::halt(&mut tx, account, guard, text, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn set_trouble(
        &self,
        account: &AccountName,
        kind: TroubleKind,
        text: &str,
        next_probe_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        accounts::set_trouble(&mut tx, account, kind, text, next_probe_at, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn probe_now(&self, account: &AccountName, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        accounts::probe_now(&mut tx, account, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn clear_trouble(&self, account: &AccountName, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        accounts::clear_trouble(&mut tx, account, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn throttle(
        &self,
        account: &AccountName,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        accounts::throttle(&mut tx, account, until, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn reserve(
        &self,
        account: &AccountName,
        asks: &[Ask],
        budget: &Budget,
        now: Timestamp,
    ) -> Result<Vec<Grant>> {
        let mut tx = self.begin().await?;
        let grants = accounts::reserve(&mut tx, account, asks, budget, millis(now)).await?;
        tx.commit().await?;
        Ok(grants)
    }

    async fn note_customers(&self, account: &AccountName, read: &CustomersRead) -> Result<()> {
        let mut tx = self.begin().await?;
        customers::note(&mut tx, account, read).await?;
        Ok(tx.commit().await?)
    }

    async fn customers(&self, account: &AccountName) -> Result<Option<KnownCustomers>> {
        // One transaction: the list and its entries belong together.
        let mut tx = self.readers.begin().await?;
        customers::known(&mut tx, account).await
    }

    async fn request(
        &self,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        let mut tx = self.begin().await?;
        let effects = operate::request(&mut tx, request, millis(now)).await?;
        tx.commit().await?;
        Ok(effects)
    }

    async fn apply_requests(&self, now: Timestamp) -> Result<u64> {
        // Most ticks find nothing: a look beside the writer is enough then.
        if !operate::is_any_open(&mut *self.readers.acquire().await?).await? {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let applied = operate::apply_typed(&mut tx, millis(now)).await?;
        tx.commit().await?;
        Ok(applied)
    }

    async fn approve(
        &self,
        request: &ApproveRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        let mut tx = self.begin().await?;
        let effects = consent::approve(&mut tx, request, millis(now)).await?;
        tx.commit().await?;
        Ok(effects)
    }

    async fn arm(&self, request: &ArmRequest, now: Timestamp) -> Result<RequestEffect> {
        let mut tx = self.begin().await?;
        let effect = consent::arm(&mut tx, request, millis(now)).await?;
        tx.commit().await?;
        Ok(effect)
    }

    async fn protections(&self) -> Result<Vec<Protection>> {
        protect::load_all(&mut *self.readers.acquire().await?).await
    }

    async fn acks(&self) -> Result<Vec<Ack>> {
        protect::acks(&mut *self.readers.acquire().await?).await
    }

    async fn audit(&self, range: &AuditRange) -> Result<Vec<AuditEntry>> {
        let mut tx = self.readers.begin().await?;
        audit::entries(&mut tx, range).await
    }

    async fn audit_begins(&self) -> Result<Option<Timestamp>> {
        audit::begins(&mut *self.readers.acquire().await?).await
    }

    async fn check_accounts(&self, known: &[AccountName], now: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let changed = operate::check_accounts(&mut tx, known, millis(now)).await?;
        tx.commit().await?;
        Ok(changed)
    }

    async fn note_refused(&self, refused: &[RefusedEnqueue], now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        for one in refused {
            let record = RequestRecord::of_refused(one, millis(now));
            audit::insert_request(&mut tx, &record, false).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn ask_reload(&self, actor: &str, now: Timestamp) -> Result<i64> {
        let mut tx = self.begin().await?;
        let id = reload::ask(&mut tx, actor, millis(now)).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn open_reloads(&self) -> Result<Vec<i64>> {
        reload::open(&mut *self.readers.acquire().await?).await
    }

    async fn answer_reloads(
        &self,
        ids: &[i64],
        answer: &ReloadAnswer,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        reload::answer(&mut tx, ids, answer, millis(now)).await?;
        Ok(tx.commit().await?)
    }

    async fn reload_answer(&self, id: i64) -> Result<Option<ReloadAnswer>> {
        reload::answered(&mut *self.readers.acquire().await?, id).await
    }

    async fn tick(&self, info: &DaemonInfo) -> Result<()> {
        let mut tx = self.begin().await?;
        upkeep::tick(&mut tx, info).await?;
        Ok(tx.commit().await?)
    }

    async fn daemon(&self) -> Result<Option<DaemonInfo>> {
        upkeep::daemon(&mut *self.readers.acquire().await?).await
    }

    async fn survey(&self, request: &SurveyRequest, now: Timestamp) -> Result<Survey> {
        let mut reader = self.readers.acquire().await?;
        survey::survey(&mut reader, request, &self.ended, millis(now)).await
    }

    async fn purge(&self, finished: Timestamp, history: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let gone = upkeep::purge(&mut tx, millis(finished), millis(history)).await?;
        tx.commit().await?;
        Ok(gone)
    }
}
