//! One daemon with several accounts, on the clouds they belong to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use teardownd::core::clock::{BoxFuture, Clock, Entropy};
use teardownd::core::gates::SafetyPolicy;
use teardownd::core::ids::{AccountName, TenantId};
use teardownd::core::teardown::{NewTeardown, Teardown};
use teardownd::partner_center::clouds::Cloud;
use teardownd::partner_center::credentials::TokenEndpoint;
use teardownd::partner_center::transport::{Request, Response, Transport, TransportError};
use teardownd::partner_center::{AccountSettings, Client, Timeouts};
use teardownd::runtime::account::AccountRuntime;
use teardownd::runtime::clock::TokioClock;
use teardownd::runtime::daemon::Daemon;
use teardownd::runtime::ledger::StoreLedger;
use teardownd::runtime::live::AccountRules;
use teardownd::simulator::{Mix, Options, Sandbox, Simulator, SimulatorTransport};
use teardownd::store::{Door, Filter, Replica, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dice::SeededEntropy;
use super::given::{CLIENT, Given, SECRET, START, pattern};
use super::life::{Database, Life, MortalTransport};
use super::scene::engine;
use super::wait::has_ended;

/// An account with a sandbox of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) cloud: Cloud,
    pub(crate) endpoint: TokenEndpoint,
    /// How many customers it has, with a realistic mix of purchases.
    pub(crate) customers: usize,
}

impl Member {
    /// Its partner tenant.
    pub(crate) fn partner(&self) -> Uuid {
        let number = self.name.bytes().fold(0, |sum, byte| sum * 256 + u128::from(byte));
        Uuid::from_u128(0xbbbb_0000_0000_4000_8000_0000_0000_0000 + (number & 0xffff_ffff))
    }

    fn account(&self) -> AccountName {
        AccountName::new(self.name)
    }

    fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::new(self.partner(), CLIENT, SECRET);
        let seed = self.partner().as_u64_pair().1;
        sandbox.populate(self.customers, seed, &Mix::default()).unwrap();
        sandbox
    }

    fn safety(&self) -> SafetyPolicy {
        let mut safety = Given::new([]).safety;
        safety.partner_tenant = TenantId::new(self.partner());
        safety.allow_domains = vec![pattern("*.onmicrosoft.com")];
        safety
    }
}

/// The clouds with their accounts, and the daemon on all of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    members: Vec<Member>,
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
    _database: Database,
    clouds: BTreeMap<&'static str, Simulator>,
    life: Arc<Life>,
    stop: CancellationToken,
    seed: u64,
}

impl Fleet {
    /// Sandboxes at the addresses of their clouds, every customer queued, and no daemon yet.
    pub(crate) async fn queued(members: &[Member], options: &Options) -> Self {
        Self::with_seed(members, options, 1).await
    }

    /// The same; all chance comes from this seed.
    pub(crate) async fn with_seed(members: &[Member], options: &Options, seed: u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::start(START.parse().unwrap()));
        let database = Database::new();
        let store = Arc::new(database.store.clone());
        let mut clouds = BTreeMap::new();
        for cloud in members.iter().map(|member| member.cloud) {
            let own = members.iter().filter(|member| member.cloud == cloud);
            // A token is good for the cloud that it was asked for.
            let options =
                Options { audience: Some(cloud.api_base().to_owned()), ..options.clone() };
            let simulator =
                Simulator::new(Arc::clone(&clock), seed, options, own.map(Member::sandbox));
            clouds.insert(cloud.as_str(), simulator);
        }
        let rows: Vec<NewTeardown> = members.iter().flat_map(new_teardowns).collect();
        store.enqueue(&rows, clock.now()).await.unwrap();
        let life = Life::new(Arc::clone(&clock), None);
        let members = members.to_vec();
        Self {
            members,
            clock,
            store,
            _database: database,
            clouds,
            life,
            stop: CancellationToken::new(),
            seed,
        }
    }

    /// The simulated cloud that an account belongs to.
    pub(crate) fn cloud_of(&self, member: &Member) -> &Simulator {
        &self.clouds[member.cloud.as_str()]
    }

    pub(crate) fn clouds(&self) -> impl Iterator<Item = &Simulator> {
        self.clouds.values()
    }

    /// Starts the daemon.
    pub(crate) async fn start(&self) {
        let given = Given::new([]);
        let store = Arc::new(self.store.behind(Door::guarded(self.life.clone())));
        let accounts = self.members.iter().map(|member| Arc::new(self.account(member, &store)));
        let now = self.clock.now();
        let replica = Replica::starting("scenario", "scenario/fleet".to_owned(), now);
        let daemon = Daemon::start(
            engine(&given),
            accounts.collect(),
            Arc::clone(&store),
            Arc::clone(&self.clock),
            Arc::new(SeededEntropy::new(self.seed)),
            replica,
            Arc::new(|| Ok(())),
        );
        let daemon = daemon.await.unwrap();
        let stop = self.stop.clone();
        tokio::spawn(async move { daemon.run(stop, |_| {}).await });
    }

    fn account(&self, member: &Member, store: &Arc<Store>) -> AccountRuntime {
        let given = Given::new([]);
        let mut credential = given.credential;
        credential.endpoint = member.endpoint;
        let settings = AccountSettings {
            name: member.account(),
            partner_tenant: TenantId::new(member.partner()),
            client_id: CLIENT.to_string(),
            credential,
            api_base: member.cloud.api_base().parse().unwrap(),
            authority: member.cloud.authority().parse().unwrap(),
            timeouts: Timeouts::default(),
        };
        let transport = Arc::new(MortalTransport {
            life: Arc::clone(&self.life),
            inner: Switchboard(self.clouds.clone()),
        });
        let clock = Arc::clone(&self.clock);
        let account = member.account();
        let rules = AccountRules::new(member.safety(), given.budget);
        let pace = rules.requests_per_minute.clone();
        let ledger = StoreLedger::new(Arc::clone(store), clock, account.clone(), pace);
        // Its own, so that its requests are the same whatever befalls the others.
        let entropy: Arc<dyn Entropy> =
            Arc::new(SeededEntropy::new(self.seed ^ member.partner().as_u64_pair().1));
        let clock = Arc::clone(&self.clock);
        let client = Client::new(settings, transport, Arc::new(ledger), clock, entropy).unwrap();
        AccountRuntime::new(account, client, rules)
    }

    pub(crate) async fn rows(&self, member: &Member) -> Vec<Teardown> {
        let filter = Filter { account: Some(member.account()), ..Filter::default() };
        self.store.list(&filter).await.unwrap()
    }

    /// Waits until every row of the account has ended or is held.
    pub(crate) async fn settle(&self, member: &Member, limit: Duration) {
        while !self.rows(member).await.iter().all(has_ended) {
            assert!(!self.life.is_livelock(), "a livelock: {}", self.outstanding().await);
            assert!(self.clock.uptime() < limit, "{limit:?} passed: {}", self.outstanding().await);
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// How long it took until the last customer of the account was gone.
    pub(crate) async fn duration(&self, member: &Member) -> Duration {
        let rows = self.rows(member).await;
        let last = rows.iter().filter_map(|row| row.finished_at).max().expect("rows ended");
        last.duration_since(START.parse().unwrap()).try_into().unwrap()
    }

    async fn outstanding(&self) -> String {
        let mut lines = Vec::new();
        for member in &self.members {
            let account = self.store.account(&member.account()).await.unwrap();
            lines.push(format!("{account:?}"));
            let rows = self.rows(member).await;
            lines.extend(rows.iter().filter(|row| !has_ended(row)).map(|row| format!("{row:?}")));
        }
        lines.join("\n")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.life.kill();
        self.stop.cancel();
    }
}

fn new_teardowns(member: &Member) -> Vec<NewTeardown> {
    let sandbox = member.sandbox();
    let row = |tenant: &teardownd::simulator::Customer| NewTeardown {
        account: member.account(),
        tenant_id: TenantId::new(tenant.id),
        expected_domain: None,
        batch: None,
        priority: 0,
        note: None,
        requested_by: Some("ops".to_owned()),
        not_before: None,
        again: false,
    };
    sandbox.customers().iter().map(row).collect()
}

/// Connects each host with the cloud it belongs to.
#[derive(Debug)]
struct Switchboard(BTreeMap<&'static str, Simulator>);

impl Transport for Switchboard {
    fn exchange(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let asked = request.url.origin().ascii_serialization();
            let serves = |cloud: &Cloud| [cloud.api_base(), cloud.authority()].contains(&&*asked);
            let cloud = Cloud::ALL.into_iter().find(serves);
            match cloud.and_then(|cloud| self.0.get(cloud.as_str())) {
                Some(simulator) => {
                    SimulatorTransport::new(simulator.clone()).exchange(request).await
                }
                None => Err(TransportError::Connect(format!("nobody answers at {asked}"))),
            }
        })
    }
}
