//! A clock that a test moves, and a client without any sense of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use teardownd::core::clock::{BoxFuture, Clock};
use teardownd::simulator::{
    Answer, BreachKind, Call, Customer, Delivery, Options, Purchase, PurchaseView, Reply, Sandbox,
    Simulator,
};
use uuid::Uuid;

pub(crate) const PARTNER: Uuid = Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0001);
pub(crate) const CLIENT: Uuid = Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0002);
pub(crate) const CUSTOMER: Uuid = Uuid::from_u128(0xcccc_0000_0000_4000_8000_0000_0000_0001);
pub(crate) const OTHER: Uuid = Uuid::from_u128(0xcccc_0000_0000_4000_8000_0000_0000_0002);
pub(crate) const SECRET: &str = "a secret of the tests";

/// Time that passes only on request; sleeping moves it on at once.
#[derive(Debug)]
pub(crate) struct ManualClock {
    start: Timestamp,
    passed: Mutex<Duration>,
    stuck: AtomicBool,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        let start = "2026-11-22T10:00:00Z".parse().unwrap();
        Arc::new(Self { start, passed: Mutex::default(), stuck: AtomicBool::new(false) })
    }

    /// Lets nobody who sleeps from now on wake up.
    pub(crate) fn stop(&self) {
        self.stuck.store(true, Ordering::SeqCst);
    }

    pub(crate) fn pass(&self, duration: Duration) {
        *self.passed.lock().unwrap() += duration;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start + self.uptime()
    }

    fn uptime(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if self.stuck.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        self.pass(duration);
        Box::pin(std::future::ready(()))
    }
}

/// A simulator, its clock and a client with a token.
pub(crate) struct Bench {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) simulator: Simulator,
    pub(crate) token: String,
    ids: u128,
}

/// No limit, and cancellations of exactly 5 seconds.
pub(crate) fn plain() -> Options {
    Options {
        cancellation: (seconds(5), seconds(5)),
        removal: (seconds(2), seconds(2)),
        limit_per_minute: None,
        ..Options::default()
    }
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(PARTNER, CLIENT, SECRET)
}

/// The customer of most tests, with these purchases.
pub(crate) fn customer(purchases: impl IntoIterator<Item = Purchase>) -> Customer {
    let customer = Customer::new(CUSTOMER, "one.onmicrosoft.com");
    purchases.into_iter().fold(customer, Customer::with)
}

impl Bench {
    pub(crate) fn new(options: Options, customers: impl IntoIterator<Item = Customer>) -> Self {
        let mut sandbox = sandbox();
        for customer in customers {
            sandbox.add(customer).unwrap();
        }
        Self::of(options, sandbox)
    }

    pub(crate) fn of(options: Options, sandbox: Sandbox) -> Self {
        let clock = ManualClock::new();
        let simulator = Simulator::new(clock.clone(), 1, options, [sandbox]);
        let mut bench = Self { clock, simulator, token: String::new(), ids: 0 };
        bench.sign_in();
        bench
    }

    /// One customer with these purchases and plain options.
    pub(crate) fn with(purchases: impl IntoIterator<Item = Purchase>) -> Self {
        Self::new(plain(), [customer(purchases)])
    }

    pub(crate) fn pass(&self, count: u64) {
        self.clock.pass(seconds(count));
    }

    pub(crate) fn sign_in(&mut self) {
        let answer = token_answer(&self.simulator, "oauth2/token", SECRET, "resource=https://api");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        self.token = body["access_token"].as_str().unwrap().to_owned();
    }

    pub(crate) fn fresh_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(0xffff_0000_0000_4000_8000_0000_0000_0000 + self.ids)
    }

    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        id: Uuid,
        body: Option<&Value>,
    ) -> Call {
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let correlation = self.fresh_id();
        let mut headers = vec![
            ("Authorization".to_owned(), format!("Bearer {}", self.token)),
            ("Accept".to_owned(), "application/json".to_owned()),
            ("MS-RequestId".to_owned(), id.to_string()),
            ("MS-CorrelationId".to_owned(), correlation.to_string()),
        ];
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        Call {
            method: method.to_owned(),
            path: format!("/v1/{path}"),
            query: query.map(str::to_owned),
            headers,
            body: body.map(|body| body.to_string().into()).unwrap_or_default(),
        }
    }

    /// Sends under an id of the test's choice and does not wait for the answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        id: Uuid,
        body: Option<&Value>,
    ) -> Reply {
        let call = self.call(method, path, id, body);
        self.simulator.handle(&call)
    }

    pub(crate) fn get(&mut self, path: &str) -> (u16, Value) {
        let id = self.fresh_id();
        read(&self.send("GET", path, id, None))
    }

    pub(crate) fn items(&mut self, path: &str) -> Vec<Value> {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        body["items"].as_array().unwrap().clone()
    }

    /// Writes under a new id.
    pub(crate) fn write(&mut self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let id = self.fresh_id();
        read(&self.send(method, path, id, body))
    }

    pub(crate) fn own(&self, rest: &str) -> String {
        format!("customers/{CUSTOMER}{rest}")
    }

    pub(crate) fn purchases(&self) -> Vec<PurchaseView> {
        self.simulator.purchases(CUSTOMER)
    }

    /// Cancels the order of the n-th purchase under a new id.
    pub(crate) fn cancel_order(&mut self, index: usize) -> (u16, Value) {
        let (path, body) = self.cancellation(index);
        self.write("PATCH", &path, Some(&body))
    }

    pub(crate) fn cancellation(&self, index: usize) -> (String, Value) {
        let id = self.purchases()[index].order_id.clone();
        (self.own(&format!("/orders/{id}")), json!({ "id": id, "status": "cancelled" }))
    }

    /// Reads a subscription and sends it back with another status.
    pub(crate) fn set_status(&mut self, index: usize, nth: usize, status: &str) -> (u16, Value) {
        let path = self.subscription_path(index, nth);
        let (_, mut resource) = self.get(&path);
        resource["status"] = json!(status);
        self.write("PATCH", &path, Some(&resource))
    }

    pub(crate) fn subscription_path(&self, index: usize, nth: usize) -> String {
        self.own(&format!("/subscriptions/{}", self.purchases()[index].subscriptions[nth].id))
    }

    /// Everything a DELETE must rest on.
    pub(crate) fn look(&mut self) {
        for path in ["/orders", "/subscriptions", "/entitlements"] {
            let path = self.own(path);
            self.get(&path);
        }
        self.get("customers?size=0");
    }

    pub(crate) fn delete(&mut self) -> (u16, Value) {
        let path = self.own("");
        self.write("DELETE", &path, None)
    }

    pub(crate) fn breaches(&self) -> Vec<BreachKind> {
        self.simulator.journal().breaches().iter().map(|breach| breach.kind).collect()
    }
}

pub(crate) fn token_answer(
    simulator: &Simulator,
    endpoint: &str,
    secret: &str,
    aim: &str,
) -> Answer {
    let body = format!(
        "grant_type=client_credentials&client_id={CLIENT}&client_secret={}&{aim}",
        secret.replace(' ', "+")
    );
    let call = Call {
        method: "POST".to_owned(),
        path: format!("/{PARTNER}/{endpoint}"),
        body: body.into(),
        ..Call::default()
    };
    simulator.handle(&call).answer().unwrap().clone()
}

/// Status and JSON of a reply; JSON `null` for an empty body.
pub(crate) fn read(reply: &Reply) -> (u16, Value) {
    let Delivery::Whole(answer) = &reply.delivery else { panic!("no answer: {reply:?}") };
    (answer.status, json_of(answer))
}

pub(crate) fn json_of(answer: &Answer) -> Value {
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() }
}

/// A `code` in a fault: a number, as in every documented example.
pub(crate) fn code(body: &Value) -> u64 {
    body["code"].as_u64().unwrap_or_else(|| panic!("no numeric code: {body}"))
}
