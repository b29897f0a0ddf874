//! What a scenario starts from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use teardownd::core::clock::Clock;
use teardownd::core::domain::DomainPattern;
use teardownd::core::gates::SafetyPolicy;
use teardownd::core::ids::TenantId;
use teardownd::core::machine::Policy;
use teardownd::core::settlement::Codes;
use teardownd::partner_center::credentials::{Credential, SecretSource};
use teardownd::runtime::clock::TokioClock;
use teardownd::simulator::{Customer, Mix, Options, Purchase, Sandbox, Simulator};
use uuid::Uuid;

use super::neighbour::Neighbour;
use super::scene::Scene;

pub(crate) const PARTNER: Uuid = Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0001);
pub(crate) const CLIENT: Uuid = Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0002);
pub(crate) const SECRET: &str = "the secret of the scenarios";
/// From a request to its answer, unless a scenario says otherwise.
pub(crate) const LATENCY: Duration = Duration::from_millis(50);
/// From an accepted cancellation to its goal, unless a scenario says otherwise.
pub(crate) const CANCELLATION: Duration = Duration::from_secs(5);

pub(super) const START: &str = "2026-11-22T10:00:00Z";

/// The tenant id of the n-th customer.
pub(crate) const fn tenant(n: usize) -> TenantId {
    TenantId::new(Uuid::from_u128(0xcccc_0000_0000_4000_8000_0000_0000_0000 + n as u128))
}

pub(crate) fn domain(n: usize) -> String {
    format!("tenant{n}.onmicrosoft.com")
}

/// The n-th customer, who has bought this.
pub(crate) fn customer(n: usize, purchases: impl IntoIterator<Item = Purchase>) -> Customer {
    let customer = Customer::new(tenant(n).as_uuid(), domain(n));
    purchases.into_iter().fold(customer, Customer::with)
}

pub(crate) fn pattern(text: &str) -> DomainPattern {
    DomainPattern::parse(text).unwrap()
}

/// A sandbox and how the daemon is configured for it.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) customers: Vec<Customer>,
    /// How the API behaves.
    pub(crate) api: Options,
    /// Timing rules.
    pub(crate) timing: Policy,
    /// Guards.
    pub(crate) safety: SafetyPolicy,
    /// `requests_per_minute`.
    pub(crate) budget: u32,
    /// `engine.max_in_flight`.
    pub(crate) in_flight: usize,
    /// Tokens name this tenant.
    pub(crate) token_tenant: Option<Uuid>,
    pub(crate) credential: Credential,
    /// Another account of the same daemon.
    pub(crate) neighbour: Option<Neighbour>,
    pub(crate) seed: u64,
}

/// A sandbox with one customer who has bought this.
pub(crate) fn given(purchases: impl IntoIterator<Item = Purchase>) -> Given {
    Given::new([customer(1, purchases)])
}

/// A sandbox with so many customers who have each bought this.
pub(crate) fn given_each(count: usize, purchases: &[Purchase]) -> Given {
    Given::new((1..=count).map(|n| customer(n, purchases.to_vec())))
}

/// A sandbox with so many customers and a realistic mix of purchases.
pub(crate) fn given_mix(count: usize, seed: u64) -> Given {
    let mut sandbox = Sandbox::new(PARTNER, CLIENT, SECRET);
    sandbox.populate(count, seed, &Mix::default()).unwrap();
    let dealt = sandbox.customers().iter().enumerate();
    Given::new(dealt.map(|(index, dealt)| customer(index + 1, dealt.purchases.clone())))
}

/// Guards that let every customer of the scenarios through.
fn safety() -> SafetyPolicy {
    let mut safety = SafetyPolicy::new(TenantId::new(PARTNER));
    safety.sandbox = true;
    safety.client_id = CLIENT;
    safety.allow_domains = vec![pattern("*.onmicrosoft.com")];
    safety
}

impl Given {
    pub(crate) fn new(customers: impl IntoIterator<Item = Customer>) -> Self {
        Self {
            customers: customers.into_iter().collect(),
            api: Options {
                latency: (LATENCY, LATENCY),
                cancellation: (CANCELLATION, CANCELLATION),
                removal: (Duration::from_secs(2), Duration::from_secs(2)),
                ..Options::default()
            },
            timing: Policy {
                deadline: Duration::from_hours(14 * 24),
                polling_initial: Duration::from_secs(2),
                polling_max: Duration::from_secs(60),
                reissue_after: Duration::from_mins(20),
                retry_initial: Duration::from_secs(1),
                retry_max: Duration::from_mins(5),
                max_attempts: 20,
                codes: Codes::default(),
            },
            safety: safety(),
            budget: 300,
            in_flight: 64,
            token_tenant: None,
            credential: Credential::client_secret(SecretSource::Value(SECRET.into())),
            neighbour: None,
            seed: 1,
        }
    }

    pub(crate) fn api(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.api);
        self
    }

    pub(crate) fn timing(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.timing);
        self
    }

    pub(crate) fn safety(mut self, change: impl FnOnce(&mut SafetyPolicy)) -> Self {
        change(&mut self.safety);
        self
    }

    pub(crate) fn budget(mut self, requests_per_minute: u32) -> Self {
        self.budget = requests_per_minute;
        self
    }

    pub(crate) fn in_flight(mut self, tenants: usize) -> Self {
        self.in_flight = tenants;
        self
    }

    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) fn secret_file(mut self, path: PathBuf) -> Self {
        self.credential = Credential::client_secret(SecretSource::File(path));
        self
    }

    pub(crate) fn beside(mut self, neighbour: Neighbour) -> Self {
        self.neighbour = Some(neighbour);
        self
    }

    pub(crate) fn foreign_tokens(mut self, tid: Uuid) -> Self {
        self.token_tenant = Some(tid);
        self
    }

    /// The sandbox with an empty queue and no daemon.
    pub(crate) fn set(self) -> Scene {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::start(START.parse().unwrap()));
        let mut sandbox = Sandbox::new(PARTNER, CLIENT, SECRET);
        sandbox.limit(1000);
        for customer in &self.customers {
            sandbox.add(customer.clone()).unwrap();
        }
        if let Some(tid) = self.token_tenant {
            sandbox.foreign_tokens(tid);
        }
        let sandboxes =
            [sandbox].into_iter().chain(self.neighbour.as_ref().map(Neighbour::sandbox));
        let simulator = Simulator::new(Arc::clone(&clock), self.seed, self.api.clone(), sandboxes);
        Scene::new(self, clock, simulator)
    }

    /// Every customer queued, no daemon yet.
    pub(crate) async fn queued(self) -> Scene {
        let scene = self.set();
        let all: Vec<usize> = (1..=scene.given.customers.len()).collect();
        scene.enqueue(&all).await;
        scene
    }

    /// Every customer queued, and the daemon started on them.
    pub(crate) async fn running(self) -> Scene {
        let mut scene = self.queued().await;
        scene.start().await;
        scene
    }
}
