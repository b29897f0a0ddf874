//! Permission to send, from the request budget (invariant 9).
//!
//! Whoever wants to send queues here. One of those who wait asks the ledger for all of them at once,
//! and while that is under way the next round gathers: so the books are written a few times a second
//! and not once per request. There is no task behind it; when the one who asks goes away, another
//! takes over.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};

use super::error::ApiError;
use super::ledger::Ledger;
use super::throttle::Closure;
use crate::core::budget::{self, Ask, Bucket, Grant};
use crate::core::clock::Clock;
use crate::core::ids::AccountName;

/// A reservation counts from when the ledger was asked; sending within this time keeps every 61 seconds
/// of sends inside the ledger's windows, which are a second longer.
const USABLE_FOR: Duration = Duration::from_secs(1);
/// When to ask again if the ledger does not say.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Waiting for longer than this is not done here but by the tenant, which then holds no lease.
const PATIENCE: Duration = Duration::from_secs(65);
/// No one waits longer in this queue, however many stand in it.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A command that is about to go out waits no longer than this for another permit: its lease and the
/// facts it rests on grow old meanwhile.
const HURRY: Duration = Duration::from_secs(1);

/// What a permit is for. Writes are granted before reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PermitKind {
    /// A mutating call.
    Write,
    /// A read.
    Read,
}

/// The right to send one request within a second.
#[derive(Debug)]
#[must_use = "a permit that is not used is lost to the budget"]
pub struct Permit {
    pub(super) kind: PermitKind,
    pub(super) bucket: Bucket,
    asked_at: Duration,
}

impl Permit {
    fn is_usable(&self, uptime: Duration) -> bool {
        uptime.saturating_sub(self.asked_at) <= USABLE_FOR
    }
}

/// The gate in front of every request of an account.
#[derive(Debug)]
pub(super) struct Gate {
    account: AccountName,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held by the one who asks the ledger.
    asking: tokio::sync::Mutex<()>,
    /// Tells the one who asks that somebody has come.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    closure: Closure,
    /// Those of which somebody waits, or of which the ledger has said when to ask again.
    queues: BTreeMap<(Bucket, PermitKind), Queue>,
    /// How many have come so far.
    arrivals: u64,
}

/// Those who wait for one kind of permit of one bucket.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiter>,
    /// The ledger said that nothing is to be had before then.
    not_before: Option<Timestamp>,
}

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Duration, ApiError>>,
    /// Its place among all who have come.
    number: u64,
    /// Does not wait for a later round.
    hurried: bool,
}

impl Gate {
    pub(super) fn new(
        account: AccountName,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            account,
            ledger,
            clock,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::new(()),
            arrived: Notify::new(),
        }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`ApiError::Throttled`] when the account is closed, or the wait would be a long one;
    /// [`ApiError::Ledger`] when the books cannot be written.
    pub(super) async fn acquire(
        &self,
        kind: PermitKind,
        bucket: Bucket,
    ) -> Result<Permit, ApiError> {
        self.queue_up(kind, bucket, false).await
    }

    /// Makes sure that a permit may be used this instant, or gets another if that takes no waiting.
    pub(super) async fn refresh(&self, permit: Permit, bucket: Bucket) -> Result<Permit, ApiError> {
        self.check_open()?;
        if permit.bucket == bucket && permit.is_usable(self.clock.uptime()) {
            return Ok(permit);
        }
        let permit = self.queue_up(permit.kind, bucket, true).await?;
        if permit.is_usable(self.clock.uptime()) {
            return Ok(permit);
        }
        Err(ApiError::held_back(soon(self.clock.now())))
    }

    /// Whether a read's permit may be used this instant.
    pub(super) fn is_usable(&self, permit: &Permit) -> Result<bool, ApiError> {
        self.check_open()?;
        Ok(permit.is_usable(self.clock.uptime()))
    }

    /// Closes the account after a 429 to a request sent at `sent_at`: at once for everybody here,
    /// and lastingly in the ledger.
    pub(super) async fn close(&self, asked: Option<Duration>, sent_at: Timestamp) -> Timestamp {
        let until = {
            let mut state = self.state();
            let until = state.closure.close(asked, sent_at, self.clock.now());
            for queue in state.queues.values_mut() {
                queue.refuse_all(&ApiError::held_back(until));
            }
            until
        };
        let account = self.account.to_string();
        metrics::counter!("teardownd_api_throttled_total", "account" => account).increment(1);
        tracing::warn!(account = %self.account, %until, "throttled: the account is closed until then");
        if let Err(error) = self.ledger.close(until).await {
            tracing::error!(
                account = %self.account, %until, error,
                "the closure cannot be stored: it holds until this process ends",
            );
        }
        until
    }

    /// How many of `slots` tenants the budget serves at the present pace.
    pub(super) fn capacity(&self, slots: usize) -> usize {
        let pace = budget::pace(self.state().closure.reopened(), self.clock.now());
        budget::capacity(slots, self.ledger.reads_per_minute(), pace)
    }

    /// A request sent at `sent_at` was answered with something other than 429.
    pub(super) fn let_through(&self, sent_at: Timestamp) {
        self.state().closure.let_through(sent_at);
    }

    fn check_open(&self) -> Result<(), ApiError> {
        match self.state().closure.until(self.clock.now()) {
            Some(until) => Err(ApiError::held_back(until)),
            None => Ok(()),
        }
    }

    async fn queue_up(
        &self,
        kind: PermitKind,
        bucket: Bucket,
        hurried: bool,
    ) -> Result<Permit, ApiError> {
        let (answer, mut answered) = oneshot::channel();
        {
            let now = self.clock.now();
            let mut state = self.state();
            if let Some(until) = state.closure.until(now) {
                return Err(ApiError::held_back(until));
            }
            state.arrivals += 1;
            let number = state.arrivals;
            let queue = state.queues.entry((bucket, kind)).or_default();
            if let Some(until) = queue.not_before.filter(|until| hurried && now < *until) {
                return Err(ApiError::held_back(until));
            }
            queue.waiting.push_back(Waiter { answer, number, hurried });
        }
        self.arrived.notify_one();
        let mut too_long = self.clock.sleep(if hurried { HURRY } else { LONGEST_WAIT });
        loop {
            tokio::select! {
                biased;
                answer = &mut answered => {
                    let lost = || Err(ApiError::Ledger("the queue was dropped".to_owned()));
                    return answer
                        .unwrap_or_else(|_| lost())
                        .map(|asked_at| Permit { kind, bucket, asked_at });
                }
                () = &mut too_long => {
                    return Err(ApiError::held_back(soon(self.clock.now())));
                }
                () = self.ask() => {}
            }
        }
    }

    /// One round: asks the ledger for all who wait, or waits until there is something to ask.
    async fn ask(&self) {
        let _alone = self.asking.lock().await;
        let now = self.clock.now();
        let (asks, earliest) = self.state().asks(now);
        if asks.is_empty() {
            let wait = earliest.map_or(LONGEST_WAIT, |at| wait_until(at, now));
            tokio::select! {
                biased;
                () = self.clock.sleep(wait) => {}
                () = self.arrived.notified() => {}
            }
            return;
        }
        let asked_at = self.clock.uptime();
        let answer = self.ledger.reserve(&asks).await;
        let now = self.clock.now();
        let mut state = self.state();
        for ask in asks {
            match &answer {
                Ok(grants) => state.hand_out(ask, grants, asked_at, now),
                Err(text) => state.refuse(ask, &ApiError::Ledger(text.clone())),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is to be asked for now, those who came first before the others, and if there is nothing,
    /// when there will be something.
    fn asks(&mut self, now: Timestamp) -> (Vec<Ask>, Option<Timestamp>) {
        self.queues.retain(|_, queue| {
            queue.waiting.retain(|waiter| !waiter.answer.is_closed());
            !queue.waiting.is_empty() || queue.not_before.is_some_and(|at| now < at)
        });
        let mut earliest: Option<Timestamp> = None;
        let mut asks: BTreeMap<Bucket, (u64, Ask)> = BTreeMap::new();
        for ((bucket, kind), queue) in &self.queues {
            let Some(first) = queue.waiting.front() else { continue };
            if let Some(at) = queue.not_before.filter(|at| now < *at) {
                earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
                continue;
            }
            let count = u32::try_from(queue.waiting.len()).unwrap_or(u32::MAX);
            let nothing = Ask { bucket: *bucket, writes: 0, reads: 0 };
            let (number, ask) = asks.entry(*bucket).or_insert((first.number, nothing));
            *number = first.number.min(*number);
            match kind {
                PermitKind::Write => ask.writes = count,
                PermitKind::Read => ask.reads = count,
            }
        }
        let mut asks: Vec<(u64, Ask)> = asks.into_values().collect();
        asks.sort_by_key(|(number, _)| *number);
        (asks.into_iter().map(|(_, ask)| ask).collect(), earliest)
    }

    /// Gives what was granted to those who have waited longest. Nobody waits while the account is
    /// closed: closing it sends everybody away.
    fn hand_out(&mut self, ask: Ask, grants: &[Grant], asked_at: Duration, now: Timestamp) {
        let grant = grants.iter().find(|grant| grant.bucket == ask.bucket);
        let retry_at = grant.and_then(|grant| grant.retry_at).unwrap_or(soon(now));
        for (kind, asked, granted) in [
            (PermitKind::Write, ask.writes, grant.map_or(0, |grant| grant.writes)),
            (PermitKind::Read, ask.reads, grant.map_or(0, |grant| grant.reads)),
        ] {
            if asked == 0 {
                continue;
            }
            let queue = self.queues.entry((ask.bucket, kind)).or_default();
            queue.grant(granted.min(asked), asked_at);
            queue.not_before = (granted < asked).then_some(retry_at);
            if granted == asked {
                continue;
            }
            // A write that waits has its account's turn; while others may send, they must not wait
            // for that.
            let own_part_is_full = grant.is_some_and(|grant| grant.own_part_is_full);
            if kind == PermitKind::Write && own_part_is_full {
                queue.refuse_all(&ApiError::held_back(retry_at));
            } else {
                queue.refuse_impatient(retry_at, now);
            }
        }
    }

    fn refuse(&mut self, ask: Ask, error: &ApiError) {
        for (kind, asked) in [(PermitKind::Write, ask.writes), (PermitKind::Read, ask.reads)] {
            if let Some(queue) = self.queues.get_mut(&(ask.bucket, kind)).filter(|_| asked > 0) {
                queue.refuse_all(error);
            }
        }
    }
}

impl Queue {
    fn grant(&mut self, mut granted: u32, asked_at: Duration) {
        while granted > 0 {
            let Some(waiter) = self.waiting.pop_front() else { break };
            if waiter.answer.send(Ok(asked_at)).is_ok() {
                granted -= 1;
            }
        }
    }

    fn refuse_all(&mut self, error: &ApiError) {
        for waiter in self.waiting.drain(..) {
            // Whoever has gone away needs no answer.
            let _ = waiter.answer.send(Err(error.clone()));
        }
    }

    /// Sends away those who do not wait, or everybody if the wait is a long one.
    fn refuse_impatient(&mut self, until: Timestamp, now: Timestamp) {
        let long = wait_until(until, now) > PATIENCE;
        for waiter in std::mem::take(&mut self.waiting) {
            if long || waiter.hurried {
                let _ = waiter.answer.send(Err(ApiError::held_back(until)));
            } else {
                self.waiting.push_back(waiter);
            }
        }
    }
}

fn soon(now: Timestamp) -> Timestamp {
    now.checked_add(ASK_AGAIN).unwrap_or(now)
}

fn wait_until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
