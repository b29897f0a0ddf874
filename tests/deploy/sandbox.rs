//! A simulated account on loopback, the one that `docs/install.md` configures.

use std::sync::Arc;
use std::time::Duration;

use teardownd::runtime::clock::SystemClock;
use teardownd::simulator::server::{ServerHandle, serve};
use teardownd::simulator::{Customer, Kind, Mix, Options, Purchase, Sandbox, Simulator};
use tokio::net::TcpListener;
use uuid::Uuid;

/// The client secret. It must be found nowhere but in its files.
pub const SECRET: &str = "kept~between.you-and_me";

pub struct Account {
    pub simulator: Simulator,
    /// Every customer with its domain, the certain one first.
    pub tenants: Vec<(Uuid, String)>,
    server: ServerHandle,
}

impl Account {
    /// An account with these ids, a customer of a certain domain, and so many others.
    pub async fn serve(partner: Uuid, client: Uuid, customer: (Uuid, &str), others: usize) -> Self {
        let mut sandbox = Sandbox::new(partner, client, SECRET);
        let first = Customer::new(customer.0, customer.1);
        sandbox.add(first.with(Purchase::new(Kind::NewCommerce))).unwrap();
        sandbox.populate(others, 7, &Mix::default()).unwrap();
        let customers = sandbox.customers().iter();
        let tenants = customers.map(|each| (each.id, each.domain.clone())).collect();
        let millis = |least, most| (Duration::from_millis(least), Duration::from_millis(most));
        let options = Options {
            latency: millis(1, 10),
            cancellation: millis(50, 600),
            removal: millis(20, 200),
            limit_per_minute: None,
            ..Options::default()
        };
        let simulator = Simulator::new(Arc::new(SystemClock::start()), 11, options, [sandbox]);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = serve(simulator.clone(), listener).unwrap();
        Self { simulator, tenants, server }
    }

    /// The base URL for both the API and the token authority.
    pub fn url(&self) -> String {
        self.server.url()
    }
}

/// A port of loopback that was free just now.
pub async fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}
