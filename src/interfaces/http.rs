//! The listener for machines that watch the daemon: `/healthz`, `/readyz`, `/metrics` and nothing
//! else, so that it may be public. Nobody who connects can take more than a bounded share of the
//! process: connections, their time and the size of their headers are limited.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::core::clock::Clock;
use crate::interfaces::step;
use crate::store::{Presence, Replica};

/// So many connections at once. One more takes the place of the oldest, so that a probe is answered
/// however many others stand open.
const MOST_CONNECTIONS: usize = 256;
/// From the beginning of a connection to the end of its headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// The longest life of a connection. Each serves one request.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// In bytes.
const LONGEST_HEADERS: usize = 16 * 1024;
/// How soon a connection is taken again after the system could not give one.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "metrics.listen = \"{address}\": cannot listen there: {source}; end the program that does, or set another address"
)]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Whether the daemon is fit to work, as its parts report it.
#[derive(Debug)]
pub struct Readiness {
    clock: Arc<dyn Clock>,
    tick_limit: Duration,
    facts: Mutex<Facts>,
}

#[derive(Debug)]
struct Facts {
    store: Result<(), String>,
    ticked_at: Option<Duration>,
    closed: Option<String>,
    draining: bool,
    reload_refused: bool,
    replicas: Option<String>,
}

impl Readiness {
    /// A daemon that is starting. A scheduler that has not ticked for `tick_limit` of the clock's
    /// uptime is not ready.
    pub fn new(clock: Arc<dyn Clock>, tick_limit: Duration) -> Self {
        let store = Err("it was not opened yet".to_owned());
        let facts = Mutex::new(Facts {
            store,
            ticked_at: None,
            closed: None,
            draining: false,
            reload_refused: false,
            replicas: None,
        });
        Self { clock, tick_limit, facts }
    }

    /// The store answered.
    pub fn store_answered(&self) {
        self.change(|facts| facts.store = Ok(()));
    }

    /// The store did not answer, and why.
    pub fn store_failed(&self, text: impl Into<String>) {
        let text = text.into();
        self.change(|facts| facts.store = Err(text));
    }

    /// The scheduler ticked.
    pub fn ticked(&self) {
        let now = self.clock.uptime();
        self.change(|facts| facts.ticked_at = Some(now));
    }

    /// Whether new rows may be claimed, and if not why.
    pub fn closed(&self, why: Option<String>) {
        self.change(|facts| facts.closed = why);
    }

    /// Whether the latest reload was refused. The daemon then works on with what it had.
    pub fn reload_refused(&self, refused: bool) {
        self.change(|facts| facts.reload_refused = refused);
    }

    /// The clock by which the daemon goes.
    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The replicas of the database, of which this is one.
    pub fn replicas(&self, replicas: &[Replica], now: Timestamp) {
        let text = told(replicas, now);
        self.change(|facts| facts.replicas = text);
    }

    /// The daemon is shutting down: nothing new is claimed.
    pub fn drain(&self) {
        self.change(|facts| facts.draining = true);
    }

    /// What is not ready, in words; empty when everything is.
    pub fn complaints(&self) -> Vec<String> {
        let now = self.clock.uptime();
        let mut complaints = Vec::new();
        self.change(|facts| {
            if let Err(text) = &facts.store {
                complaints.push(format!("the database cannot be reached: {text}"));
            }
            match facts.ticked_at.map(|at| now.saturating_sub(at)) {
                None => complaints.push("the scheduler has not ticked yet".to_owned()),
                Some(silent) if silent > self.tick_limit => complaints
                    .push(format!("the scheduler has not ticked for {} s", silent.as_secs())),
                Some(_) => {}
            }
            if let Some(why) = &facts.closed {
                complaints.push(format!("nothing new is claimed: {why}"));
            }
            if facts.draining {
                complaints.push("the daemon is shutting down".to_owned());
            }
        });
        complaints
    }

    /// What should be looked at although everything works.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        self.change(|facts| {
            if facts.reload_refused {
                notes.push(
                    "the latest reload was refused and the former configuration is in force; the log \
                     says why"
                        .to_owned(),
                );
            }
            notes.extend(facts.replicas.clone());
        });
        notes.extend(step::note(self.clock.as_ref()));
        notes
    }

    fn change(&self, change: impl FnOnce(&mut Facts)) {
        // The facts are whole after every change, so those of a thread that panicked can be read.
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Says how the replicas are, where there are several.
fn told(replicas: &[Replica], now: Timestamp) -> Option<String> {
    let each = replicas.iter().map(|replica| match replica.presence(now) {
        Presence::Working => format!("{} works", replica.name),
        Presence::Stopped => format!("{} was stopped", replica.name),
        Presence::Silent => {
            let silent = now.duration_since(replica.ticked_at).as_secs();
            format!("{} has been silent for {silent} s", replica.name)
        }
    });
    let each: Vec<String> = each.collect();
    (each.len() > 1).then(|| format!("replicas: {}", each.join(", ")))
}

/// Opens the listener.
///
/// # Errors
/// When the address is taken or cannot be used here.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Answers for as long as it is polled. Every connection ends with it.
pub async fn serve(listener: TcpListener, readiness: Arc<Readiness>, metrics: PrometheusHandle) {
    let clock = Arc::clone(&readiness.clock);
    let router = router(readiness, metrics);
    let mut open = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection: &AbortOnDropHandle<()>| !connection.is_finished());
                if open.len() >= MOST_CONNECTIONS {
                    open.pop_front();
                }
                let connection = tokio::spawn(answer(stream, router.clone()));
                open.push_back(AbortOnDropHandle::new(connection));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "the listener was given no connection");
                // Too many open files, most likely: one less.
                open.pop_front();
                clock.sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one request of a connection.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(LONGEST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A connection that breaks or takes too long is its client's trouble.
    tokio::time::timeout(ANSWERED_WITHIN, connection).await.ok();
}

fn router(readiness: Arc<Readiness>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> impl IntoResponse {
    let complaints = readiness.complaints();
    if complaints.is_empty() {
        let notes = readiness.notes().into_iter().map(|note| format!("note: {note}\n"));
        return (StatusCode::OK, notes.fold("ready\n".to_owned(), |text, note| text + &note));
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", complaints.join("; ")))
}

async fn scrape(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    // The text format of Prometheus; `render` writes this version.
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::core::clock::BoxFuture;

    #[derive(Debug, Default)]
    struct Hands(Mutex<Duration>);

    impl Hands {
        fn advance(&self, by: Duration) {
            *self.0.lock().unwrap() += by;
        }
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn uptime(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn readiness() -> (Arc<Hands>, Readiness) {
        let clock = Arc::new(Hands::default());
        (clock.clone(), Readiness::new(clock, Duration::from_secs(30)))
    }

    #[test]
    fn what_is_not_ready_is_said_in_words() {
        let (clock, readiness) = readiness();
        assert_eq!(readiness.complaints().len(), 2, "{:?}", readiness.complaints());
        readiness.store_answered();
        readiness.ticked();
        assert_eq!(readiness.complaints(), Vec::<String>::new());
        clock.advance(Duration::from_secs(31));
        assert_eq!(readiness.complaints(), ["the scheduler has not ticked for 31 s"]);
        readiness.ticked();
        readiness.store_failed("disk full");
        readiness.drain();
        assert_eq!(
            readiness.complaints(),
            ["the database cannot be reached: disk full", "the daemon is shutting down"]
        );
    }

    async fn status_and_text(address: SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn three_paths_answer_and_no_other() {
        let (_, readiness) = readiness();
        let readiness = Arc::new(readiness);
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("teardownd_test_total").increment(1);
        });
        let handle = recorder.handle();
        tokio::spawn(serve(listener, readiness.clone(), handle));

        assert_eq!(status_and_text(address, "/healthz").await, ("200".into(), "alive\n".into()));
        let (status, text) = status_and_text(address, "/readyz").await;
        assert_eq!(status, "503");
        assert!(text.contains("the scheduler has not ticked yet"), "{text}");
        readiness.store_answered();
        readiness.ticked();
        assert_eq!(status_and_text(address, "/readyz").await.0, "200");
        let (status, text) = status_and_text(address, "/metrics").await;
        assert_eq!(status, "200");
        assert!(text.contains("teardownd_test_total 1"), "{text}");
        for other in ["/", "/api/v1/teardowns", "/metrics/x"] {
            assert_eq!(status_and_text(address, other).await.0, "404", "{other}");
        }
    }

    async fn listening() -> SocketAddr {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        tokio::spawn(serve(listener, Arc::new(readiness().1), metrics));
        address
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_finish_its_request_is_left() {
        let address = listening().await;
        for begun in ["", "GET /healthz HTTP/1.1\r\nHost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok();
            assert!(!answer.contains("alive"), "{answer}");
        }
        let endless = format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(LONGEST_HEADERS));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(endless.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok();
        assert!(!answer.contains("alive"), "{answer}");
    }

    #[tokio::test]
    async fn a_probe_is_answered_however_many_connections_stand_open() {
        let address = listening().await;
        let mut open = Vec::new();
        for _ in 0..MOST_CONNECTIONS + 20 {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(status_and_text(address, "/healthz").await.0, "200");
        // The oldest made room.
        assert_eq!(open[0].read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[test]
    fn what_is_not_ready_and_what_is_merely_noted_is_said_in_words() {
        let (_, readiness) = readiness();
        readiness.store_answered();
        readiness.ticked();
        readiness.closed(Some("the disk is full".to_owned()));
        assert_eq!(readiness.complaints(), ["nothing new is claimed: the disk is full"]);
        readiness.closed(None);
        readiness.reload_refused(true);
        assert_eq!(readiness.complaints(), Vec::<String>::new());
        assert!(readiness.notes()[0].contains("the former configuration is in force"));
        readiness.reload_refused(false);
        assert_eq!(readiness.notes(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named_with_its_key() {
        let first = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).await.unwrap_err().to_string();
        assert!(
            error.contains("metrics.listen") && error.contains(&address.to_string()),
            "{error}"
        );
    }
}
