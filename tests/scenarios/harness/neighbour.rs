//! A second account of the same daemon, in whatever trouble a scenario wants.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use teardownd::core::clock::{BoxFuture, Clock};
use teardownd::core::ids::AccountName;
use teardownd::core::teardown::NewTeardown;
use teardownd::partner_center::transport::{Request, Response, Transport, TransportError};
use teardownd::simulator::{Customer, Sandbox};
use uuid::Uuid;

use super::given::{CLIENT, SECRET, customer, tenant};
use super::scene::Scene;
use super::{Kind, Purchase};

pub(crate) const NEIGHBOUR: &str = "neighbour";
pub(crate) const NEIGHBOUR_PARTNER: Uuid =
    Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0003);
/// The number of its first customer.
pub(crate) const FIRST_NEIGHBOUR: usize = 1001;

#[derive(Debug, Clone)]
pub(crate) struct Neighbour {
    pub(crate) customers: Vec<Customer>,
    /// When nothing of it gets through, counted from the start.
    pub(crate) cut: Range<Duration>,
}

impl Neighbour {
    /// So many customers, each with a reservation and a new-commerce licence.
    pub(crate) fn of(count: usize) -> Self {
        let bought = || [Purchase::new(Kind::Reservation), Purchase::new(Kind::NewCommerce)];
        let customers =
            (FIRST_NEIGHBOUR..FIRST_NEIGHBOUR + count).map(|n| customer(n, bought())).collect();
        Self { customers, cut: Duration::ZERO..Duration::ZERO }
    }

    pub(crate) fn cut(mut self, cut: Range<Duration>) -> Self {
        self.cut = cut;
        self
    }

    /// The numbers of its customers.
    pub(crate) fn numbers(&self) -> Range<usize> {
        FIRST_NEIGHBOUR..FIRST_NEIGHBOUR + self.customers.len()
    }

    pub(super) fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::new(NEIGHBOUR_PARTNER, CLIENT, SECRET);
        for customer in &self.customers {
            sandbox.add(customer.clone()).unwrap();
        }
        sandbox
    }
}

impl Scene {
    /// Queues every customer of the neighbour.
    pub(crate) async fn enqueue_neighbours(&self) {
        let numbers = self.given.neighbour.as_ref().expect("there is a neighbour").numbers();
        let rows: Vec<NewTeardown> = numbers
            .map(|n| NewTeardown {
                account: AccountName::new(NEIGHBOUR),
                tenant_id: tenant(n),
                ..self.new_teardown(n)
            })
            .collect();
        self.enqueue_rows(&rows).await;
    }
}

/// A network that is cut off for some time.
#[derive(Debug)]
pub(super) struct CutTransport<T> {
    pub(super) inner: T,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cut: Range<Duration>,
}

impl<T: Transport> Transport for CutTransport<T> {
    fn exchange(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            if self.cut.contains(&self.clock.uptime()) {
                return Err(TransportError::Connect("no route to host".to_owned()));
            }
            self.inner.exchange(request).await
        })
    }
}
