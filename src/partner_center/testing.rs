//! A scripted network, books that grant what they are told to, and a clock that runs only when
//! everybody waits.

use std::collections::VecDeque;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::client::{AccountSettings, Client, Timeouts};
use super::credentials::{Credential, SecretSource};
use super::ledger::Ledger;
use super::transport::{Request, Response, Transport, TransportError};
use crate::core::budget::{Ask, Grant};
use crate::core::clock::{BoxFuture, Clock, Entropy};
use crate::core::ids::{AccountName, TenantId};
use crate::core::observation::{CustomerList, Seen};

pub(super) const PARTNER: &str = "1f2e3d4c-5b6a-4788-9900-aabbccddeeff";
pub(super) const TENANT: &str = "2a3b4c5d-6e7f-4081-9293-a4b5c6d7e8f9";
pub(super) const SECRET: &str = "s3cret/value of the app";

pub(super) fn tenant() -> TenantId {
    TENANT.parse().unwrap()
}

/// Tokio's paused time: it moves on by itself when every task waits for it.
#[derive(Debug)]
pub(super) struct PausedClock {
    start: tokio::time::Instant,
}

// The paused clock of a test runtime is what these tests pass in as a clock.
#[allow(clippy::disallowed_methods)]
impl PausedClock {
    fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        tokio::time::Instant::now().duration_since(self.start)
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_750_000_000).unwrap() + self.elapsed()
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(1000) + self.elapsed()
    }

    // As above.
    #[allow(clippy::disallowed_methods)]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Counts instead of drawing.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn uuid(&self) -> Uuid {
        Uuid::from_u64_pair(0, self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn unit(&self) -> f64 {
        0.5
    }
}

/// The books of the test.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// How many requests may still be granted, writes first; `None` is no limit.
    pub(super) left: Mutex<Option<u32>>,
    /// How many may be granted again when `retry_at` has come.
    pub(super) refill: Mutex<u32>,
    /// How far `retry_at` lies ahead.
    pub(super) retry_after: Mutex<Duration>,
    /// Whether what is not granted is the fault of the customer's own part.
    pub(super) own_part_is_full: Mutex<bool>,
    /// How long one reservation takes.
    pub(super) latency: Mutex<Duration>,
    /// An error to answer with.
    pub(super) broken: Mutex<Option<String>>,
    /// Every reservation that was asked for.
    pub(super) asked: Mutex<Vec<Vec<Ask>>>,
    /// Every closure.
    pub(super) closed: Mutex<Vec<Timestamp>>,
    /// When entitlements were refused.
    pub(super) no_entitlements_at: Mutex<Option<Timestamp>>,
    /// Every customer list that was noted.
    pub(super) noted: Mutex<Vec<Seen<CustomerList>>>,
    reopens_at: Mutex<Option<Timestamp>>,
    clock: Mutex<Option<Arc<dyn Clock>>>,
}

impl Books {
    fn grant(&self, ask: Ask, now: Timestamp) -> Grant {
        let Ask { bucket, writes, reads } = ask;
        let mut left = self.left.lock().unwrap();
        let Some(left) = left.as_mut() else {
            return Grant { bucket, writes, reads, retry_at: None, own_part_is_full: false };
        };
        let mut reopens_at = self.reopens_at.lock().unwrap();
        if reopens_at.is_some_and(|at| at <= now) {
            *left = *self.refill.lock().unwrap();
            *reopens_at = None;
        }
        let mut granted = |wanted: u32| {
            let granted = wanted.min(*left);
            *left -= granted;
            granted
        };
        let (granted_writes, granted_reads) = (granted(writes), granted(reads));
        let short = granted_writes < writes || granted_reads < reads;
        let retry_at =
            short.then(|| *reopens_at.get_or_insert(now + *self.retry_after.lock().unwrap()));
        Grant {
            bucket,
            writes: granted_writes,
            reads: granted_reads,
            retry_at,
            own_part_is_full: short && *self.own_part_is_full.lock().unwrap(),
        }
    }
}

#[async_trait]
impl Ledger for Books {
    async fn reserve(&self, asks: &[Ask]) -> Result<Vec<Grant>, String> {
        self.asked.lock().unwrap().push(asks.to_vec());
        if let Some(text) = self.broken.lock().unwrap().clone() {
            return Err(text);
        }
        let clock = self.clock.lock().unwrap().clone().unwrap();
        let now = clock.now();
        let latency = *self.latency.lock().unwrap();
        clock.sleep(latency).await;
        Ok(asks.iter().map(|ask| self.grant(*ask, now)).collect())
    }

    fn reads_per_minute(&self) -> u32 {
        240
    }

    async fn close(&self, until: Timestamp) -> Result<(), String> {
        self.closed.lock().unwrap().push(until);
        Ok(())
    }

    async fn no_entitlements_at(&self) -> Result<Option<Timestamp>, String> {
        Ok(*self.no_entitlements_at.lock().unwrap())
    }

    async fn note_entitlements(&self, refused_at: Option<Timestamp>) -> Result<(), String> {
        *self.no_entitlements_at.lock().unwrap() = refused_at;
        Ok(())
    }

    async fn note_customers(&self, list: &Seen<CustomerList>) -> Result<(), String> {
        self.noted.lock().unwrap().push(list.clone());
        Ok(())
    }
}

/// What the network of the test does with a request.
pub(super) type Reply = Result<Response, TransportError>;

/// A network that answers API calls from a list, in order, and token requests from another one; when
/// that is empty, with good tokens.
pub(super) struct Script {
    replies: Mutex<VecDeque<Reply>>,
    pub(super) tokens: Mutex<VecDeque<Reply>>,
    /// Every API request.
    pub(super) requests: Mutex<Vec<Request>>,
    /// Every token request.
    pub(super) token_requests: Mutex<Vec<Request>>,
    /// How long an exchange takes.
    pub(super) latency: Mutex<Duration>,
    pub(super) in_flight: AtomicUsize,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Transport for Script {
    fn exchange(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let latency = *self.latency.lock().unwrap();
            let is_token = request.url.host_str() == Some("login.example");
            let reply = if is_token {
                let mut seen = self.token_requests.lock().unwrap();
                seen.push(request);
                let reply = self.tokens.lock().unwrap().pop_front();
                reply.unwrap_or_else(|| Ok(ok(&token_body(PARTNER, seen.len()))))
            } else {
                let target = format!("{} {}", request.method, request.url);
                self.requests.lock().unwrap().push(request);
                let reply = self.replies.lock().unwrap().pop_front();
                reply.unwrap_or_else(|| panic!("no reply is left for {target}"))
            };
            self.clock.sleep(latency).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            reply
        })
    }
}

/// A client and what it is connected to.
pub(super) struct Bench {
    pub(super) client: Arc<Client>,
    pub(super) script: Arc<Script>,
    pub(super) books: Arc<Books>,
    pub(super) clock: Arc<PausedClock>,
    /// Where the files of the credential are.
    pub(super) folder: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(replies, |_| Credential::client_secret(SecretSource::Value(SECRET.into())))
    }

    /// With a credential that is made of files in a folder of its own.
    pub(super) fn with(
        replies: impl IntoIterator<Item = Reply>,
        credential: impl FnOnce(&Path) -> Credential,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let credential = credential(folder.path());
        let clock = Arc::new(PausedClock::new());
        let books = Arc::new(Books::default());
        *books.clock.lock().unwrap() = Some(clock.clone());
        let script = Arc::new(Script {
            replies: Mutex::new(replies.into_iter().collect()),
            tokens: Mutex::default(),
            requests: Mutex::default(),
            token_requests: Mutex::default(),
            latency: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            clock: clock.clone(),
        });
        let settings = AccountSettings {
            name: AccountName::new("test"),
            partner_tenant: PARTNER.parse().unwrap(),
            client_id: "app".to_owned(),
            credential,
            api_base: "https://api.example".parse().unwrap(),
            authority: "https://login.example".parse().unwrap(),
            timeouts: Timeouts::default(),
        };
        let entropy = Arc::new(Counter::default());
        let client =
            Client::new(settings, script.clone(), books.clone(), clock.clone(), entropy).unwrap();
        Self { client: Arc::new(client), script, books, clock, folder }
    }

    /// Method, and address below the API base, of each API request.
    pub(super) fn calls(&self) -> Vec<String> {
        let requests = self.script.requests.lock().unwrap();
        let path = |r: &Request| r.url.as_str().replace("https://api.example", "");
        requests.iter().map(|r| format!("{} {}", r.method, path(r))).collect()
    }

    /// A header of an API request.
    pub(super) fn header(&self, request: usize, name: &str) -> Option<String> {
        let requests = self.script.requests.lock().unwrap();
        let headers = &requests[request].headers;
        headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }

    pub(super) fn token_requests(&self) -> usize {
        self.script.token_requests.lock().unwrap().len()
    }
}

/// Writes a file that only its owner may read.
pub(super) fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub(super) fn reply(status: u16, body: &str) -> Response {
    Response { status, headers: Vec::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

pub(super) fn ok(body: &str) -> Response {
    reply(200, body)
}

pub(super) fn with_header(mut response: Response, name: &str, value: &str) -> Response {
    response.headers.push((name.to_owned(), value.to_owned()));
    response
}

/// Fault shape 1.
pub(super) fn fault(status: u16, code: u32) -> Response {
    reply(status, &format!(r#"{{"code":{code},"description":"fault {code}","source":"test"}}"#))
}

/// A token answer for a tenant; `serial` makes each another token.
pub(super) fn token_body(tid: &str, serial: usize) -> String {
    let payload = URL_SAFE_NO_PAD.encode(format!(r#"{{"tid":"{tid}","n":{serial}}}"#));
    format!(
        r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"eyJhbGciOiJub25lIn0.{payload}.c2ln"}}"#
    )
}
