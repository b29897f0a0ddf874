//! The life of one daemon process. A process that is killed stops between two steps: its next call
//! of the store or of the network never comes back, and what it had on the wire is cut off.

use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use teardownd::core::account::{Account, TroubleKind};
use teardownd::core::budget::{Ask, Budget, Grant};
use teardownd::core::clock::{BoxFuture, Clock};
use teardownd::core::command::{Answer, Command};
use teardownd::core::gates::{SafetyPolicy, Verdict};
use teardownd::core::ids::{AccountName, CommandId, Fence, TeardownId, TenantId};
use teardownd::core::observation::Observation;
use teardownd::core::protection::Protection;
use teardownd::core::teardown::{NewTeardown, Teardown};
use teardownd::partner_center::transport::{Request, Response, Transport, TransportError};
use teardownd::store::{
    Ack, ApproveRequest, ArmRequest, AuditEntry, AuditRange, ClaimRequest, Claimed, Commit,
    Committed, CustomersRead, DaemonInfo, EnqueueOutcome, Filter, KnownCustomers, OperatorRequest,
    RefusedEnqueue, ReloadAnswer, RequestEffect, Result, Store, StoredFault, StoredPurchase,
    Survey, SurveyRequest, TransitionRecord,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// More steps than this without any time passing are a livelock.
const MOST_AT_ONCE: u64 = 50_000;

#[derive(Debug)]
pub(crate) struct Life {
    clock: Arc<dyn Clock>,
    over: CancellationToken,
    pulse: Mutex<Pulse>,
}

#[derive(Debug, Default)]
struct Pulse {
    steps: u64,
    ends_at: Option<u64>,
    instant: Duration,
    at_once: u64,
    livelock: bool,
}

impl Life {
    /// A life that ends after so many steps, if it is to end by itself. Every call of the store or
    /// the network is two: one before it has its effect, and one after.
    pub(crate) fn new(clock: Arc<dyn Clock>, ends_at: Option<u64>) -> Arc<Self> {
        let pulse = Mutex::new(Pulse { ends_at, ..Pulse::default() });
        Arc::new(Self { clock, over: CancellationToken::new(), pulse })
    }

    pub(crate) fn kill(&self) {
        self.over.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(crate) fn ends_by_itself(&self) -> bool {
        self.pulse.lock().unwrap().ends_at.is_some()
    }

    pub(crate) fn is_livelock(&self) -> bool {
        self.pulse.lock().unwrap().livelock
    }

    pub(crate) fn steps(&self) -> u64 {
        self.pulse.lock().unwrap().steps
    }

    async fn step(&self) {
        self.beat();
        if self.is_over() {
            pending::<()>().await;
        }
    }

    fn beat(&self) {
        let mut pulse = self.pulse.lock().unwrap();
        let now = self.clock.uptime();
        pulse.steps += 1;
        pulse.at_once = if pulse.instant == now { pulse.at_once + 1 } else { 0 };
        pulse.instant = now;
        pulse.livelock |= pulse.at_once > MOST_AT_ONCE;
        if pulse.livelock || pulse.ends_at.is_some_and(|end| end <= pulse.steps) {
            self.over.cancel();
        }
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> T {
        self.step().await;
        let done = tokio::select! {
            biased;
            () = self.over.cancelled() => pending().await,
            done = work => done,
        };
        self.step().await;
        done
    }
}

/// A transport that dies with its process.
#[derive(Debug)]
pub(crate) struct MortalTransport<T> {
    pub(crate) life: Arc<Life>,
    pub(crate) inner: T,
}

impl<T: Transport> Transport for MortalTransport<T> {
    fn exchange(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(self.life.within(self.inner.exchange(request)))
    }
}

/// A connection to the store that dies with its process.
#[derive(Debug)]
pub(crate) struct MortalStore {
    pub(crate) life: Arc<Life>,
    pub(crate) inner: Arc<dyn Store>,
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        #[async_trait]
        impl Store for MortalStore {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$result> {
                self.life.within(self.inner.$name($($arg),*)).await
            })*
        }
    };
}

forward! {
    enqueue(rows: &[NewTeardown], now: Timestamp) -> Vec<(TeardownId, EnqueueOutcome)>;
    list(filter: &Filter) -> Vec<Teardown>;
    purchases(teardown: TeardownId) -> Vec<StoredPurchase>;
    commands(account: &AccountName, tenant: TenantId) -> Vec<Command>;
    history(account: Option<&AccountName>, tenant: TenantId) -> Vec<TransitionRecord>;
    faults(account: &AccountName, tenant: TenantId) -> Vec<StoredFault>;
    take_over(now: Timestamp) -> u64;
    claim(request: &ClaimRequest, now: Timestamp) -> Vec<Claimed>;
    next_due(accounts: &[AccountName], now: Timestamp) -> Option<Timestamp>;
    renew(owner: &str, leases: &[(TeardownId, Fence)], ttl: Duration, now: Timestamp) -> Vec<TeardownId>;
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
    protections() -> Vec<Protection>;
    acks() -> Vec<Ack>;
    note_refused(refused: &[RefusedEnqueue], now: Timestamp) -> ();
    audit(range: &AuditRange) -> Vec<AuditEntry>;
    audit_begins() -> Option<Timestamp>;
    request(request: &OperatorRequest, now: Timestamp) -> Vec<RequestEffect>;
    apply_requests(now: Timestamp) -> u64;
    approve(request: &ApproveRequest, now: Timestamp) -> Vec<RequestEffect>;
    arm(request: &ArmRequest, now: Timestamp) -> RequestEffect;
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
