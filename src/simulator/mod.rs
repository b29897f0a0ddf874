//! A Partner Center integration sandbox in-process: used by `teardownd demo` and by the tests.
//!
//! It is an opinion of how the API behaves that does not share the daemon's own: it has its own
//! decoding, its own product rules and its own idea of what a careful client does, which it keeps
//! in a [`Journal`]. Time comes from a [`Clock`] and chance from a seed, so that the same run can be
//! had again.
//!
//! [`Simulator::handle`] is its heart and does no I/O: a request changes the world at once, and the
//! answer says when it is due. [`SimulatorTransport`] hands it to a client in the same process, and
//! [`server::serve`] listens on loopback.

mod answering;
mod api;
mod app;
mod audit;
mod call;
mod dice;
mod journal;
mod life;
mod options;
mod profile;
mod purchase;
mod read_times;
mod realise;
mod retry_after;
mod route;
mod rules;
mod sandbox;
pub mod server;
mod snapshot;
mod state;
mod target;
mod throttle;
mod transport;
mod visit;
mod world;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::core::clock::Clock;

pub use app::App;
pub use call::{Answer, Call, Delivery, Reply};
pub use journal::{Breach, BreachKind, Entry, Journal};
pub use life::{Appears, ComesBack};
pub use options::{Allowances, Options};
pub use profile::{FaultKind, FaultProfile};
pub use purchase::{Kind, Purchase};
pub use retry_after::RetryAfterForm;
pub use route::Template;
pub use rules::{Effect, Matching, Rule, When};
pub use sandbox::{CUSTOMERS_LIMIT, Customer, Mix, Sandbox, SandboxFull};
pub use snapshot::{AzureView, PurchaseView, Snapshot, SubscriptionView};
pub use transport::SimulatorTransport;

use dice::Dice;
use state::State;

/// The simulated Partner Center with its token authority. Clones share one world.
#[derive(Clone)]
pub struct Simulator {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Simulator {
    /// Leaves out the world: it holds secrets and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").finish_non_exhaustive()
    }
}

impl Simulator {
    /// A world with these accounts. What their descriptions leave open is drawn from the seed.
    pub fn new(
        clock: Arc<dyn Clock>,
        seed: u64,
        options: Options,
        sandboxes: impl IntoIterator<Item = Sandbox>,
    ) -> Self {
        let start = clock.now();
        let make = |sandbox| realise::Maker::account(seed, &options, start, sandbox);
        let accounts = sandboxes.into_iter().map(make).collect();
        let state = State {
            start,
            options,
            dice: Dice::new(seed),
            accounts,
            rules: rules::Rules::default(),
            journal: Journal::default(),
            tokens: HashMap::new(),
            seen: HashMap::new(),
        };
        Self { clock, state: Arc::new(Mutex::new(state)) }
    }

    /// Takes a request. The world has changed when this returns; the answer is due after the reply's
    /// delay.
    pub fn handle(&self, call: &Call) -> Reply {
        let now = self.clock.now();
        self.state().handle(call, now)
    }

    /// Notes that the client of a call was gone before its answer: it gave up waiting, or died.
    pub fn undelivered(&self, call: u64) {
        let now = self.clock.now();
        self.state().undelivered(call, now);
    }

    /// Adds a rule of faults behind those in force.
    pub fn add_rule(&self, rule: Rule) {
        self.state().rules.add(rule);
    }

    /// Lifts every rule of faults.
    pub fn clear_rules(&self) {
        self.state().rules.clear();
    }

    /// Changes the options from now on. What was drawn from them when the world was made stays.
    pub fn set_options(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.state().options);
    }

    /// Changes the app registration of a partner tenant's account.
    pub fn change_app(&self, partner_tenant: Uuid, change: impl Fn(&mut App)) {
        let mut state = self.state();
        let own = state.accounts.iter_mut().filter(|a| a.partner_tenant == partner_tenant);
        own.for_each(|account| change(&mut account.app));
    }

    /// Notes that no write may reach this customer from now on.
    pub fn protect(&self, customer: Uuid) {
        let mut state = self.state();
        for account in state.accounts.iter_mut().filter(|a| a.tenant(customer).is_some()) {
            account.protected.insert(customer);
        }
    }

    /// A copy of the record so far.
    pub fn journal(&self) -> Journal {
        self.state().journal.clone()
    }

    /// Every access token that was issued, to look for where none may stand.
    pub fn tokens(&self) -> Vec<String> {
        self.state().tokens.keys().cloned().collect()
    }

    /// The numbers for a progress display.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        Snapshot::of(&self.state(), now)
    }

    /// What a customer has bought, as it truly is now; empty for an unknown customer.
    pub fn purchases(&self, customer: Uuid) -> Vec<PurchaseView> {
        let now = self.clock.now();
        snapshot::purchases(&self.state(), customer, now)
    }

    /// The longest time that any single tenant needs by the delays of the simulator alone: the sum
    /// of what must happen one after the other, beginning with the start of the simulator. Latency,
    /// request budgets and purchases that come back are not in it.
    pub fn critical_path(&self) -> Duration {
        let state = self.state();
        let tenants = state.accounts.iter().flat_map(|account| &account.tenants);
        tenants.map(world::Tenant::critical_path).max().unwrap_or_default()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half changed that a later call could be misled by.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
