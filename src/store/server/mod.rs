//! The PostgreSQL server. Every step is a serializable transaction. A step that met another one is made
//! again, and a COMMIT that nobody acknowledged is looked up.

mod lock;
mod notices;
mod open;
mod schema;
mod url;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use self::lock::Held;
use self::notices::Notices;
pub use self::open::ServerSettings;
pub use self::url::{InvalidUrl, ServerUrl};
use super::lanes::{Lane, Lanes};
use super::sql::{Ended, How};
use super::tables::{version, writers};
use super::{Result, StoreError, Tx};
use crate::core::clock::Clock;
use crate::core::database_time::{self, Anchor, Reading, Timekeeping};

/// Every transaction sees what it would see if the others ran before or after it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE";
/// A look that consists of several statements sees one moment.
pub(super) const LOOK: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A step that meets others is made this often.
const MEETINGS: u32 = 100;
/// A connection is opened anew this often, with pauses that add up to six seconds: a server restarts within
/// them, and the caller tries again later in any case.
const RECONNECTIONS: u32 = 7;
/// The fate of a COMMIT is asked for this often, with pauses that add up to half a minute.
const QUESTIONS: u32 = 20;

/// An answer within this tells the time well enough.
const PROMPT: Duration = Duration::from_millis(50);
/// The server is asked for the time this often where it answers late.
const TIME_QUESTIONS: u32 = 5;

/// Whose clock tells the time of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerTime {
    /// The server's: the clocks of replicas may differ.
    Server,
    /// The caller's, as with SQLite. For tests, which have a time of their own.
    Caller,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    url: ServerUrl,
    /// The name that sessions show to whoever looks at the server.
    application: String,
    time: ServerTime,
    /// For pauses.
    clock: Arc<dyn Clock>,
    /// The row of this process among the writers.
    writer: OnceCell<i64>,
    /// The number of the latest write.
    mark: AtomicI64,
    /// Where database time was when the server told it last.
    told: Mutex<Option<Anchor>>,
    /// The lock on the name of the replica, where this process is one.
    held: AsyncMutex<Option<Held>>,
    /// The connection that listens, where somebody waits for changes.
    notices: AsyncMutex<Option<Notices>>,
}

impl Server {
    fn new(settings: &ServerSettings) -> Self {
        Self {
            url: settings.url.clone(),
            application: match &settings.replica {
                Some(name) => format!("teardownd {name}"),
                None => "teardownd".to_owned(),
            },
            time: settings.time,
            clock: Arc::clone(&settings.clock),
            writer: OnceCell::new(),
            mark: AtomicI64::new(0),
            told: Mutex::new(None),
            held: AsyncMutex::new(None),
            notices: AsyncMutex::new(None),
        }
    }

    /// One step that may change something.
    ///
    /// # Errors
    /// The step's. [`StoreError::Conflict`] or [`StoreError::Lost`] when it could not be made for too long.
    pub(super) async fn write<T, S: AsyncFnOnce(&mut Tx) -> Result<T>>(
        &self,
        lanes: &Lanes,
        step: impl Fn() -> S,
    ) -> Result<T> {
        let lane = lanes.lane().await?;
        let (mut met, mut lost) = (0, 0);
        loop {
            let error = match self.attempt(&lane, step()).await {
                Ok(How::Done((done, _))) => return Ok(done),
                Ok(How::NotCommitted((done, has_changed), StoreError::Lost(text))) => {
                    lane.forget();
                    tracing::warn!(text, "a COMMIT was not acknowledged, and is looked up");
                    // Where nothing has changed, it does not matter what became of it.
                    if !has_changed || self.is_committed(&lane).await? {
                        return Ok(done);
                    }
                    StoreError::Lost(text)
                }
                Ok(How::NotCommitted(_, error) | How::Failed(error) | How::NotBegun(error))
                | Err(error) => error,
            };
            match error {
                StoreError::Conflict(_) if met < MEETINGS => {
                    met += 1;
                    self.clock.sleep(Duration::from_millis(u64::from(met.min(20)))).await;
                }
                StoreError::Lost(_) if lost < RECONNECTIONS => {
                    self.reconnect(&lane, lost).await;
                    lost += 1;
                }
                other => return Err(other),
            }
        }
    }

    /// Makes a step. Beside what it brought stands whether it has changed anything.
    async fn attempt<T>(
        &self,
        lane: &Lane<'_>,
        step: impl AsyncFnOnce(&mut Tx) -> Result<T>,
    ) -> Result<How<(T, bool)>> {
        let writer = self.writer.get_or_try_init(|| {
            lane.lend(async |tx| tx.run(async |tx| writers::insert(tx).await).await)
        });
        let writer = *writer.await?;
        let mark = self.mark.fetch_add(1, Ordering::Relaxed) + 1;
        lane.lend(async |tx| {
            let marked = async |tx: &mut Tx| {
                let done = step(tx).await?;
                Ok((done, writers::mark(tx, writer, mark).await?))
            };
            let ended = Box::pin(tx.transact(BEGIN, marked)).await;
            (Ok(ended.how), ended.is_clean)
        })
        .await
    }

    /// Whether the latest transaction of this process is committed. One that is still under way is waited
    /// for: the row that it has marked is locked until it ends.
    async fn is_committed(&self, lane: &Lane<'_>) -> Result<bool> {
        let Some(writer) = self.writer.get() else { return Ok(false) };
        let mark = self.mark.load(Ordering::Relaxed);
        for asked in 0.. {
            let latest = async |tx: &mut Tx| writers::latest(tx, *writer).await;
            match lane.lend(async |tx| tx.run(latest).await).await {
                Ok(found) => return Ok(found == Some(mark)),
                Err(StoreError::Lost(_) | StoreError::Conflict(_)) if asked < QUESTIONS => {
                    lane.forget();
                    self.clock.sleep(pause(asked)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// A step that only reads, in a transaction that begins with this statement where it needs one.
    ///
    /// # Errors
    /// The step's; [`StoreError::Lost`] when the server cannot be reached.
    pub(super) async fn read<T, S: AsyncFnOnce(&mut Tx) -> Result<T>>(
        &self,
        lanes: &Lanes,
        begin: Option<&'static str>,
        step: impl Fn() -> S,
    ) -> Result<T> {
        let lane = lanes.lane().await?;
        let mut lost = 0;
        loop {
            let step = step();
            let done = lane.lend(async |tx| match begin {
                None => tx.run(step).await,
                Some(begin) => match tx.transact(begin, step).await {
                    // It has read what it has read.
                    Ended { how: How::NotCommitted(done, _), is_clean } => (Ok(done), is_clean),
                    ended => ended.plainly(),
                },
            });
            match done.await {
                Err(StoreError::Lost(_)) if lost < RECONNECTIONS => {
                    self.reconnect(&lane, lost).await;
                    lost += 1;
                }
                done => return done,
            }
        }
    }

    /// Drops the connections, and waits before the next try. The first connection may only have been idle
    /// for too long.
    async fn reconnect(&self, lane: &Lane<'_>, lost: u32) {
        lane.forget();
        if lost > 0 {
            self.clock.sleep(pause(lost)).await;
        }
    }

    /// Bytes that the database takes.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(super) async fn size(&self, lanes: &Lanes) -> Result<u64> {
        let size =
            self.read(lanes, None, || async move |tx: &mut Tx| version::size(tx).await).await?;
        Ok(u64::try_from(size).unwrap_or_default())
    }

    /// A number that changes with each transaction.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(super) async fn version(&self, lanes: &Lanes) -> Result<i64> {
        let version =
            self.read(lanes, None, || async move |tx: &mut Tx| version::load(tx).await).await?;
        Ok(version.unwrap_or_default())
    }

    /// Continues database time where the server tells it: `None` where the caller's clock does.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(super) async fn tell_time(
        &self,
        lanes: &Lanes,
        reading: &Reading,
    ) -> Result<Option<Timekeeping>> {
        if self.time == ServerTime::Caller {
            return Ok(None);
        }
        let begun = self.clock.uptime();
        let mut tries = 0;
        loop {
            let asked = self.clock.uptime();
            let at =
                self.read(lanes, None, || async move |tx: &mut Tx| version::time(tx).await).await?;
            let answered = self.clock.uptime();
            // As if the answer had taken no time: so this process is never ahead of the server, and takes
            // no lease before it has lapsed. What it is behind the next answer may make good.
            let uptime = reading.uptime.saturating_add(answered.saturating_sub(begun));
            let placed = self.place(at, &Reading { uptime, ..reading.clone() });
            tries += 1;
            if answered.saturating_sub(asked) <= PROMPT || tries == TIME_QUESTIONS {
                return Ok(Some(placed));
            }
        }
    }

    /// Whether a replica works on the database.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(super) async fn is_worked_on(&self, lanes: &Lanes) -> Result<bool> {
        self.read(lanes, None, || async move |tx: &mut Tx| lock::is_held(tx).await).await
    }

    /// Takes the row of this process away, as it ends in good order.
    pub(super) async fn leave(&self, lanes: &Lanes) {
        let Some(writer) = self.writer.get() else { return };
        if let Err(error) = lanes.run(async |tx| writers::remove(tx, *writer).await).await {
            tracing::debug!(%error, "the row among the writers stays for a week");
        }
    }

    /// Database time from here on, where the server's clock showed `at` when the machine's were read. The
    /// server's may be set back: database time goes on.
    fn place(&self, at: Timestamp, reading: &Reading) -> Timekeeping {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let here = told.as_ref().map_or(at, |told| told.now(reading.uptime).max(at));
        let anchor = database_time::told(here, reading);
        *told = Some(anchor.clone());
        Timekeeping { anchor, steps: 0, last: None, is_told: true }
    }
}

/// Before the next try: 50 ms after the first, twice as long after each, at most two seconds.
fn pause(tried: u32) -> Duration {
    Duration::from_millis(50 << tried.min(6)).min(Duration::from_secs(2))
}
