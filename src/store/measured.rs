//! A store whose operations are timed and whose failures are counted.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Ack, ApproveRequest, ArmRequest, AuditEntry, AuditRange, ClaimRequest, Claimed, Commit,
    Committed, CustomersRead, DaemonInfo, EnqueueOutcome, Filter, KnownCustomers, OperatorRequest,
    RefusedEnqueue, ReloadAnswer, RequestEffect, Result, Store, StoreError, StoredFault,
    StoredPurchase, Survey, SurveyRequest, TransitionRecord,
};
use crate::core::account::{Account, TroubleKind};
use crate::core::budget::{Ask, Budget, Grant};
use crate::core::clock::Clock;
use crate::core::command::{Answer, Command};
use crate::core::gates::{SafetyPolicy, Verdict};
use crate::core::ids::{AccountName, CommandId, Fence, TeardownId, TenantId};
use crate::core::observation::Observation;
use crate::core::protection::Protection;
use crate::core::teardown::{NewTeardown, Teardown};

/// The store behind it, watched.
#[derive(Debug)]
pub struct MeasuredStore {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl MeasuredStore {
    /// Watches this store.
    pub fn new(inner: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock }
    }

    async fn measure<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let begun = self.clock.uptime();
        let done = work.await;
        let took = self.clock.uptime().saturating_sub(begun);
        metrics::histogram!("teardownd_store_operation_duration_seconds", "operation" => operation)
            .record(took.as_secs_f64());
        if done.as_ref().is_err_and(is_failure) {
            metrics::counter!("teardownd_store_errors_total", "operation" => operation)
                .increment(1);
        }
        done
    }
}

/// A lost lease and a row that is not there are answers; anything else is a failure.
fn is_failure(error: &StoreError) -> bool {
    !matches!(error, StoreError::LeaseLost(_) | StoreError::NotFound(_))
}

macro_rules! measured {
    ($($name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        /// The operations, as they are counted.
        pub const OPERATIONS: &[&str] = &[$(stringify!($name),)*];

        #[async_trait]
        impl Store for MeasuredStore {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$result> {
                self.measure(stringify!($name), self.inner.$name($($arg),*)).await
            })*
        }
    };
}

measured! {
    enqueue(rows: &[NewTeardown], now: Timestamp) -> Vec<(TeardownId, EnqueueOutcome)>;
    list(filter: &Filter) -> Vec<Teardown>;
    purchases(teardown: TeardownId) -> Vec<StoredPurchase>;
    commands(account: &AccountName, tenant: TenantId) -> Vec<Command>;
    history(account: Option<&AccountName>, tenant: TenantId) -> Vec<TransitionRecord>;
    faults(account: &AccountName, tenant: TenantId) -> Vec<StoredFault>;
    take_over(now: Timestamp) -> u64;
    claim(request: &ClaimRequest, now: Timestamp) -> Vec<Claimed>;
    next_due(accounts: &[AccountName], now: Timestamp) -> Option<Timestamp>;
    renew(
        owner: &str, leases: &[(TeardownId, Fence)], ttl: Duration, now: Timestamp,
    ) -> Vec<TeardownId>;
    release(teardown: TeardownId, fence: Fence, now: Timestamp) -> ();
    commit(commit: Commit<'_>, now: Timestamp) -> Committed;
    begin_send(
        command: CommandId, teardown: TeardownId, fence: Fence, correlation: Uuid,
        seen: &Observation, policy: &SafetyPolicy, now: Timestamp,
    ) -> Verdict;
    record_answer(command: CommandId, answer: &Answer, now: Timestamp) -> ();
    account(name: &AccountName) -> Account;
    accounts() -> Vec<Account>;
    halt(account: &AccountName, guard: &str, text: &str, now: Timestamp) -> ();
    set_trouble(
        account: &AccountName, kind: TroubleKind, text: &str, next_probe_at: Timestamp,
        now: Timestamp,
    ) -> ();
    probe_now(account: &AccountName, now: Timestamp) -> ();
    clear_trouble(account: &AccountName, now: Timestamp) -> ();
    throttle(account: &AccountName, until: Timestamp, now: Timestamp) -> ();
    reserve(account: &AccountName, asks: &[Ask], budget: &Budget, now: Timestamp) -> Vec<Grant>;
    note_customers(account: &AccountName, read: &CustomersRead) -> ();
    customers(account: &AccountName) -> Option<KnownCustomers>;
    request(request: &OperatorRequest, now: Timestamp) -> Vec<RequestEffect>;
    apply_requests(now: Timestamp) -> u64;
    approve(request: &ApproveRequest, now: Timestamp) -> Vec<RequestEffect>;
    arm(request: &ArmRequest, now: Timestamp) -> RequestEffect;
    protections() -> Vec<Protection>;
    acks() -> Vec<Ack>;
    note_refused(refused: &[RefusedEnqueue], now: Timestamp) -> ();
    audit(range: &AuditRange) -> Vec<AuditEntry>;
    audit_begins() -> Option<Timestamp>;
    check_accounts(known: &[AccountName], now: Timestamp) -> u64;
    ask_reload(actor: &str, now: Timestamp) -> i64;
    open_reloads() -> Vec<i64>;
    answer_reloads(ids: &[i64], answer: &ReloadAnswer, now: Timestamp) -> ();
    reload_answer(id: i64) -> Option<ReloadAnswer>;
    tick(info: &DaemonInfo) -> ();
    daemon() -> Option<DaemonInfo>;
    survey(request: &SurveyRequest, now: Timestamp) -> Survey;
    purge(finished: Timestamp, history: Timestamp) -> u64;
}
