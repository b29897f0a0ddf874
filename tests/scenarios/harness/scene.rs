//! A running scenario: the simulated sandbox, the store, and at most one daemon on them.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use teardownd::core::account::Account;
use teardownd::core::clock::{Clock, Entropy};
use teardownd::core::command::Command;
use teardownd::core::gates::SafetyPolicy;
use teardownd::core::ids::{AccountName, TenantId};
use teardownd::core::teardown::{NewTeardown, Teardown};
use teardownd::partner_center::{AccountSettings, Client, Timeouts};
use teardownd::runtime::account::AccountRuntime;
use teardownd::runtime::clock::TokioClock;
use teardownd::runtime::cron::Schedule;
use teardownd::runtime::daemon::Daemon;
use teardownd::runtime::ledger::StoreLedger;
use teardownd::runtime::live::AccountRules;
use teardownd::runtime::settings::EngineSettings;
use teardownd::runtime::timekeeping;
use teardownd::simulator::{Rule, Simulator, SimulatorTransport};
use teardownd::store::{
    Door, EnqueueOutcome, Filter, OperatorRequest, Replica, RequestEffect, Store, StoredFault,
    StoredPurchase, TransitionRecord, Verb,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::dice::SeededEntropy;
use super::given::{CLIENT, Given, START, tenant};
use super::life::{Database, Life, MortalTransport};
use super::neighbour::{CutTransport, NEIGHBOUR, NEIGHBOUR_PARTNER};

/// No scenario waits longer than this, in simulated time, unless it says so.
pub(crate) const PATIENCE: Duration = Duration::from_hours(6);

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) given: Given,
    /// A clock that is always right: the simulator's, and that of whoever looks on.
    pub(crate) clock: Arc<dyn Clock>,
    /// The machine on which daemons run, whose clock may be stepped.
    pub(crate) machine: TokioClock,
    pub(crate) simulator: Simulator,
    pub(crate) store: Arc<Store>,
    pub(super) database: Database,
    pub(crate) account: AccountName,
    process: Option<Process>,
    started: u64,
    /// What the accounts of the daemon work with.
    rules: Mutex<Vec<AccountRules>>,
}

#[derive(Debug)]
struct Process {
    life: Arc<Life>,
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl Scene {
    pub(crate) fn new(given: Given, clock: Arc<dyn Clock>, simulator: Simulator) -> Self {
        let account = AccountName::new("sandbox");
        let database = Database::new();
        let store = Arc::new(database.store.clone());
        let machine = TokioClock::start(START.parse().unwrap());
        let placed = timekeeping::keep(&store, &machine).now_or_never();
        placed.expect("the store of a scenario answers at once").unwrap();
        Self {
            given,
            clock,
            machine,
            simulator,
            store,
            database,
            account,
            process: None,
            started: 0,
            rules: Mutex::default(),
        }
    }

    // ---- the daemon ------------------------------------------------------------------------------

    /// Starts a daemon on the store as it is.
    pub(crate) async fn start(&mut self) {
        self.start_until(None).await;
    }

    /// Starts a daemon that is killed at its n-th step, if it gets that far.
    pub(crate) async fn start_until(&mut self, step: Option<u64>) {
        assert!(self.process.is_none(), "a daemon runs already");
        self.started += 1;
        let life = Life::new(Arc::clone(&self.clock), step);
        let stop = CancellationToken::new();
        let run = self.compose(&life);
        let (ends, token) = (Arc::clone(&life), stop.clone());
        let task = tokio::spawn(async move {
            match run.await {
                Ok(daemon) => daemon.run(token, |_| {}).await.left,
                Err(error) if ends.is_over() => panic!("killed: {error}"),
                Err(error) => panic!("the daemon does not start: {error}"),
            }
        });
        self.process = Some(Process { life, stop, task });
    }

    /// The engine as `run` puts it together, with its store and its network mortal.
    fn compose(
        &self,
        life: &Arc<Life>,
    ) -> impl Future<Output = teardownd::store::Result<Daemon>> + use<> {
        let given = &self.given;
        let clock: Arc<dyn Clock> = Arc::new(self.machine.of_another_process());
        self.rules.lock().unwrap().clear();
        let store = Arc::new(self.store.behind(Door::guarded(life.clone())));
        let entropy: Arc<dyn Entropy> =
            Arc::new(SeededEntropy::new(given.seed * 1000 + self.started));
        let connect = |name: &AccountName, partner_tenant, cut| {
            self.connect(name, partner_tenant, cut, life, &clock, &store, &entropy)
        };
        let never = Duration::ZERO..Duration::ZERO;
        let own = connect(&self.account, given.safety.partner_tenant, never);
        let neighbour = given.neighbour.as_ref().map(|neighbour| {
            let partner_tenant = TenantId::new(NEIGHBOUR_PARTNER);
            connect(&AccountName::new(NEIGHBOUR), partner_tenant, neighbour.cut.clone())
        });
        let accounts = [own].into_iter().chain(neighbour).map(Arc::new).collect();
        let engine = engine(given);
        let now = clock.now();
        let replica = Replica::starting("scenario", format!("scenario/{}", self.started), now);
        let may_claim = Arc::new(|| Ok(()));
        Daemon::start(engine, accounts, store, clock, entropy, replica, may_claim)
    }

    /// One account, as `run` puts it together.
    #[allow(clippy::too_many_arguments)] // One per part that a process shares or an account has.
    fn connect(
        &self,
        name: &AccountName,
        partner_tenant: TenantId,
        cut: Range<Duration>,
        life: &Arc<Life>,
        clock: &Arc<dyn Clock>,
        store: &Arc<Store>,
        entropy: &Arc<dyn Entropy>,
    ) -> AccountRuntime {
        let clock = || Arc::clone(clock);
        let network = SimulatorTransport::new(self.simulator.clone());
        let network = CutTransport { inner: network, clock: Arc::clone(&self.clock), cut };
        let transport = Arc::new(MortalTransport { life: Arc::clone(life), inner: network });
        let mut safety = self.given.safety.clone();
        safety.partner_tenant = partner_tenant;
        let rules = AccountRules::new(safety, self.given.budget);
        self.rules.lock().unwrap().push(rules.clone());
        let pace = rules.requests_per_minute.clone();
        let ledger = StoreLedger::new(Arc::clone(store), clock(), name.clone(), pace);
        let settings = AccountSettings {
            name: name.clone(),
            partner_tenant,
            client_id: CLIENT.to_string(),
            credential: self.given.credential.clone(),
            api_base: "https://api.partnercenter.example".parse().unwrap(),
            authority: "https://login.example".parse().unwrap(),
            timeouts: Timeouts::default(),
        };
        let client =
            Client::new(settings, transport, Arc::new(ledger), clock(), Arc::clone(entropy));
        let client = client.unwrap();
        client.set_codes(self.given.timing.codes.clone());
        AccountRuntime::new(name.clone(), client, rules)
    }

    /// The account as a command beside the daemon sees it.
    pub(crate) async fn beside(&self) -> AccountRuntime {
        let clock: Arc<dyn Clock> = Arc::new(self.machine.of_another_process());
        timekeeping::join(&self.store, clock.as_ref(), true).await.unwrap();
        let life = Life::new(Arc::clone(&self.clock), None);
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(self.given.seed));
        let (partner_tenant, never) =
            (self.given.safety.partner_tenant, Duration::ZERO..Duration::ZERO);
        self.connect(&self.account, partner_tenant, never, &life, &clock, &self.store, &entropy)
    }

    /// Stops the daemon as SIGTERM does. Returns how many passes had not come to rest.
    pub(crate) async fn stop(&mut self) -> usize {
        let process = self.process.take().expect("a daemon runs");
        process.stop.cancel();
        let left = process.task.await.unwrap();
        // The process ends here, whatever it has left.
        process.life.kill();
        left
    }

    /// Kills the daemon as SIGKILL does.
    pub(crate) fn kill(&mut self) {
        let process = self.process.take().expect("a daemon runs");
        process.life.kill();
        process.task.abort();
    }

    /// Has every step of the daemon's store fail for so long.
    pub(crate) fn lock_store(&self, duration: Duration) {
        self.process.as_ref().expect("a daemon runs").life.lock_store(duration);
    }

    /// Ends the daemon in one way or the other.
    pub(crate) async fn end(&mut self, gracefully: bool) {
        if gracefully {
            self.stop().await;
        } else {
            self.kill();
        }
    }

    /// Steps the wall clock of the machine.
    pub(crate) fn step_clock(&self, by: SignedDuration) {
        self.machine.step(by);
    }

    /// The settings of the guards are changed and read anew by the daemon.
    pub(crate) fn reload(&mut self, change: impl Fn(&mut SafetyPolicy)) {
        change(&mut self.given.safety);
        for rules in self.rules.lock().unwrap().iter() {
            let mut safety = (*rules.safety.get()).clone();
            change(&mut safety);
            rules.safety.set(safety);
        }
    }

    /// Whether the daemon is to die at a step of its own.
    pub(crate) fn ends_by_itself(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.life.ends_by_itself())
    }

    /// Whether the daemon has reached the step at which it is killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.life.is_over())
    }

    /// How many steps the daemon has taken.
    pub(crate) fn steps(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.life.steps())
    }

    pub(crate) fn is_livelock(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.life.is_livelock())
    }

    // ---- people ----------------------------------------------------------------------------------

    pub(crate) async fn enqueue(&self, numbers: &[usize]) -> Vec<EnqueueOutcome> {
        let rows: Vec<NewTeardown> = numbers.iter().map(|n| self.new_teardown(*n)).collect();
        self.enqueue_rows(&rows).await
    }

    pub(crate) async fn enqueue_rows(&self, rows: &[NewTeardown]) -> Vec<EnqueueOutcome> {
        let queued = self.store.enqueue(rows, self.now()).await.unwrap();
        queued.into_iter().map(|(_, outcome)| outcome).collect()
    }

    pub(crate) fn new_teardown(&self, n: usize) -> NewTeardown {
        NewTeardown {
            account: self.account.clone(),
            tenant_id: tenant(n),
            expected_domain: None,
            batch: None,
            priority: 0,
            note: None,
            requested_by: Some("ops".to_owned()),
            not_before: None,
            again: false,
        }
    }

    /// Asks for something about the account.
    pub(crate) async fn ask(&self, verb: Verb) -> Vec<RequestEffect> {
        let filter = Filter { account: Some(self.account.clone()), ..Filter::default() };
        self.request(verb, filter).await
    }

    /// Asks for something about everything.
    pub(crate) async fn ask_everything(&self, verb: Verb) -> Vec<RequestEffect> {
        self.request(verb, Filter::default()).await
    }

    /// Asks for something about one tenant.
    pub(crate) async fn ask_about(&self, verb: Verb, n: usize) -> RequestEffect {
        let filter = Filter { tenants: vec![tenant(n)], latest_only: true, ..Filter::default() };
        self.request(verb, filter).await.remove(0)
    }

    pub(crate) async fn request(&self, verb: Verb, filter: Filter) -> Vec<RequestEffect> {
        let request = OperatorRequest {
            reason: Some("the scenario wants it".to_owned()),
            ..OperatorRequest::new(verb, filter, "ops")
        };
        self.store.request(&request, self.now()).await.unwrap()
    }

    /// From now on the API misbehaves in this way.
    pub(crate) fn rule(&self, rule: Rule) -> &Self {
        self.simulator.add_rule(rule);
        self
    }

    // ---- looking -----------------------------------------------------------------------------------

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time since the beginning, as the rules of the simulator count it.
    pub(crate) fn passed(&self) -> Duration {
        self.clock.uptime()
    }

    /// When the scenario began.
    pub(crate) fn begun(&self) -> Timestamp {
        self.now() - self.passed()
    }

    pub(crate) async fn pass(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    pub(crate) async fn rows(&self) -> Vec<Teardown> {
        let mut rows = self.store.list(&Filter::default()).await.unwrap();
        rows.sort_by_key(|row| row.id.0);
        rows
    }

    /// The newest row of a tenant.
    pub(crate) async fn row(&self, n: usize) -> Teardown {
        let of_tenant = |row: &Teardown| row.tenant_id == tenant(n);
        self.rows().await.into_iter().rfind(of_tenant).expect("the tenant was queued")
    }

    pub(crate) async fn account_row(&self) -> Account {
        self.store.account(&self.account).await.unwrap()
    }

    pub(crate) async fn commands(&self, n: usize) -> Vec<Command> {
        self.store.commands(&self.account, tenant(n)).await.unwrap()
    }

    pub(crate) async fn history(&self, n: usize) -> Vec<TransitionRecord> {
        self.store.history(Some(&self.account), tenant(n)).await.unwrap()
    }

    /// The failed calls of a tenant.
    pub(crate) async fn faults(&self, n: usize) -> Vec<StoredFault> {
        self.store.faults(&self.account, tenant(n)).await.unwrap()
    }

    /// The states a tenant went through.
    pub(crate) async fn path(&self, n: usize) -> Vec<&'static str> {
        let mut path: Vec<&str> =
            self.history(n).await.iter().map(|record| record.to.as_str()).collect();
        path.dedup();
        path
    }

    pub(crate) async fn purchases(&self, n: usize) -> Vec<StoredPurchase> {
        self.store.purchases(self.row(n).await.id).await.unwrap()
    }
}

/// The engine's settings.
pub(super) fn engine(given: &Given) -> EngineSettings {
    EngineSettings {
        max_in_flight: given.in_flight,
        lease_ttl: Duration::from_secs(60),
        drain_timeout: Duration::from_secs(25),
        policy: given.timing.clone(),
        keep_finished: Duration::from_hours(90 * 24),
        keep_history: Duration::from_hours(400 * 24),
        maintenance: Schedule::parse("0 30 3 * * *", |_| None).unwrap(),
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            process.life.kill();
            process.task.abort();
        }
    }
}
