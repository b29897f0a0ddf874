//! The life of one daemon process. A process that is killed stops between two steps: its next call
//! of the store or of the network never comes back, and what it had on the wire is cut off.

#[path = "../../common/at_once.rs"]
mod at_once;
#[path = "../../common/postgres.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod postgres_server;

use std::future::{Future, pending};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use futures::executor::block_on;
use teardownd::core::clock::{BoxFuture, Clock};
use teardownd::partner_center::transport::{Request, Response, Transport, TransportError};
use teardownd::store::{Door, Passage, Step, Store};
use teardownd::store::{MigrateMode, SqliteSettings};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::at_once::AtOnce;
use super::given::START;

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
    /// Until then the store refuses every step.
    locked_until: Duration,
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

    /// Has every step of the store fail for so long.
    pub(crate) fn lock_store(&self, duration: Duration) {
        self.pulse.lock().unwrap().locked_until = self.clock.uptime() + duration;
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

/// Every step of the store is two steps of a life, and takes no simulated time: it runs to its end
/// before anything else does.
impl Passage for Life {
    fn enter(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.step())
    }

    fn poll(&self, _cx: &mut Context<'_>, step: &mut Step<'_>) -> Poll<()> {
        if self.clock.uptime() < self.pulse.lock().unwrap().locked_until {
            return Poll::Ready(());
        }
        at_once::run(step);
        Poll::Ready(())
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.step())
    }
}

/// A database, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Database {
    /// The store on it.
    pub(crate) store: Store,
    _place: Place,
}

/// Where it is.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held until the end of the scenario")]
enum Place {
    File(TempDir),
    Server(postgres_server::Database),
}

impl Database {
    /// An empty one: on a server where `TEARDOWND_TEST_ENGINE` is `postgres`, else in a file.
    pub(crate) fn new() -> Self {
        match std::env::var("TEARDOWND_TEST_ENGINE").as_deref() {
            Ok("postgres") => Self::on_server(),
            Ok(other) => panic!("TEARDOWND_TEST_ENGINE is {other:?}, and not postgres"),
            Err(_) => Self::in_file(),
        }
    }

    fn on_server() -> Self {
        let made = async {
            let database = postgres_server::Database::migrated().await;
            let database = database.expect("TEARDOWND_TEST_POSTGRES names a server");
            (database.store(MigrateMode::Manual).await, database)
        };
        // The runtime of the scenario runs already, and blocking in it is not possible.
        let made = thread::scope(|scope| scope.spawn(|| at_once::NETWORK.block_on(made)).join());
        let (store, database) = made.unwrap();
        let store = store.behind(Door::guarded(Arc::new(AtOnce)));
        Self { store, _place: Place::Server(database) }
    }

    /// In memory where the system offers that: a scenario loses nothing with the machine.
    fn in_file() -> Self {
        static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let folder = folder();
            block_on(open(&folder).close());
            std::fs::read(folder.path().join(FILE)).unwrap()
        });
        let folder = folder();
        std::fs::write(folder.path().join(FILE), &*EMPTY).unwrap();
        let store = open(&folder).behind(Door::guarded(Arc::new(AtOnce)));
        Self { store, _place: Place::File(folder) }
    }

    /// A number that changes with every change of the database. Asking for it is much cheaper than reading
    /// rows.
    pub(crate) fn version(&self) -> i64 {
        let version = self.store.version().now_or_never();
        version.expect("the store of a scenario answers at once").unwrap().unwrap()
    }
}

const FILE: &str = "teardownd.db";

fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.unwrap()
}

fn open(folder: &TempDir) -> Store {
    let path = folder.path().join(FILE);
    let settings = SqliteSettings { path, create: true, migrate: MigrateMode::Auto };
    block_on(Store::open(&settings, START.parse().unwrap())).unwrap()
}
