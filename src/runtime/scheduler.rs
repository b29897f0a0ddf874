//! The scheduler: claims due rows and starts a reconcile pass for each.
//!
//! It wakes on a cron tick (`scheduler.pickup`), when a pass ends, and when the earliest parked row
//! becomes due, on monotonic timers. Schedules go by the wall clock, which people and services set,
//! so it only sends wake-ups; nothing depends on it alone (invariant 14).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::account::AccountRuntime;
use super::lease::LeaseTable;
use super::reconciler::Reconciler;
use super::refusal;
use super::slots::{self, Demand};
use super::timekeeping;
use crate::core::gates::SafetyPolicy;
use crate::core::ids::{AccountName, TeardownId};
use crate::store::{ClaimRequest, Claimed, Replica, Result, Slots, StoreError, Waiting, due_at};

/// The longest sleep between two looks, whatever cron does: what was typed in beside the daemon is in
/// effect within two seconds, and nothing tells the daemon of it.
const LONGEST_SLEEP: Duration = Duration::from_millis(1800);
/// The shortest sleep, so that a row that is due and cannot be claimed does not make a busy loop.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);
/// How soon a file of a refused credential is looked at again.
const CREDENTIAL_WATCH: Duration = Duration::from_secs(2);
/// How often the heartbeat is written.
const TICK: Duration = Duration::from_secs(10);
/// How long a replica that ends waits until that is stored. Without it the replica counts as silent.
const GOODBYE: Duration = Duration::from_secs(1);

/// An account and how many of its tenants are worked on.
#[derive(Debug)]
struct Lane {
    account: Arc<AccountRuntime>,
    busy: Arc<AtomicUsize>,
}

/// A taken slot; given back when dropped, also by a pass that panics.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(busy: &Arc<AtomicUsize>) -> Self {
        busy.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(busy))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Says whether new rows may be claimed, and if not why: below `database.min_free`, for one.
pub type ClaimCheck = Arc<dyn Fn() -> std::result::Result<(), String> + Send + Sync>;

/// Claims and starts passes.
pub struct Scheduler {
    reconciler: Reconciler,
    lanes: Vec<Lane>,
    leases: Arc<LeaseTable>,
    replica: Replica,
    /// Wakes it up.
    pub wake: Arc<Notify>,
    passes: TaskTracker,
    may_claim: ClaimCheck,
    /// Rows that a newer program has written in words of its own. They are left to it.
    left_alone: Mutex<BTreeSet<TeardownId>>,
    /// Accounts that stand for another partner in the configuration of a replica that started later.
    others: Mutex<BTreeSet<AccountName>>,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// What a look saw that found nothing to claim. Another look would find the same until that changes.
#[derive(Debug)]
struct Idle {
    /// The store's version. The tick changes it too, so that a whole look follows each tick.
    version: i64,
    /// How many tenants of each account could have been taken on.
    free: Vec<(AccountName, usize)>,
    /// Whether rows wait behind gates of their accounts.
    waiting: Waiting,
    /// When the earliest row becomes due.
    until: Option<Timestamp>,
}

/// What one look at the queue found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Rows claimed.
    pub claimed: usize,
    /// Why nothing may be claimed, if so.
    pub closed: Option<String>,
    /// How long nothing is due.
    pub sleep: Duration,
}

impl Scheduler {
    /// Puts a scheduler together. The accounts share `max_in_flight` as `slots` says.
    pub fn new(
        reconciler: Reconciler,
        accounts: Vec<Arc<AccountRuntime>>,
        leases: Arc<LeaseTable>,
        replica: Replica,
        may_claim: ClaimCheck,
    ) -> Self {
        let lanes =
            accounts.into_iter().map(|account| Lane { account, busy: Arc::default() }).collect();
        Self {
            reconciler,
            lanes,
            leases,
            replica,
            wake: Arc::new(Notify::new()),
            passes: TaskTracker::new(),
            may_claim,
            left_alone: Mutex::default(),
            others: Mutex::default(),
        }
    }

    /// The guards in force, by account, but for those of accounts that stand for another partner by now.
    fn policies(&self) -> BTreeMap<AccountName, SafetyPolicy> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.lanes.iter().filter(|lane| !others.contains(&lane.account.name));
        let policy = |lane: &Lane| {
            (lane.account.name.clone(), SafetyPolicy::clone(&lane.account.rules.safety.get()))
        };
        own.map(policy).collect()
    }

    /// The passes that run; closed and awaited at shutdown.
    pub fn passes(&self) -> &TaskTracker {
        &self.passes
    }

    /// Looks and claims until `stop`. A store that fails is tried again; `looked` hears of each look.
    pub async fn run(
        self: &Arc<Self>,
        stop: CancellationToken,
        looked: impl Fn(&Result<Look>) + Send + Sync,
    ) {
        let clock = &self.reconciler.clock;
        let mut next_tick = Duration::ZERO;
        let mut last = Ok(None);
        let mut idle = None;
        while !stop.is_cancelled() {
            if clock.uptime() >= next_tick {
                next_tick = clock.uptime().saturating_add(TICK);
                self.tick().await;
            }
            let look = self.look(&mut idle, &stop).await;
            let outcome = if look.is_ok() { "ok" } else { "failed" };
            metrics::counter!("teardownd_scheduler_ticks_total", "outcome" => outcome).increment(1);
            looked(&look);
            let sleep = look.as_ref().map_or(LONGEST_SLEEP, |look| look.sleep);
            let found = look.map(|look| look.closed).map_err(|error| error.to_string());
            tell(&last, &found);
            last = found;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = clock.sleep(sleep) => {}
            }
        }
    }

    async fn tick(&self) {
        let Reconciler { store, clock, .. } = &self.reconciler;
        self.left_alone.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let ticked = async {
            let kept = store.tick(&clock.reading(), &self.replica).await?;
            timekeeping::take_up(clock.as_ref(), kept);
            let own: Vec<_> = self.lanes.iter().map(|lane| lane.account.standing()).collect();
            self.note_other_partners(store.other_partners(&own).await?);
            Ok::<_, StoreError>(())
        };
        // The look that follows meets the same trouble, and tells of it once.
        if let Err(error) = ticked.await {
            tracing::debug!(%error, "the heartbeat could not be stored");
        }
    }

    /// Takes note of the accounts that stand for another partner by now, and says so once.
    fn note_other_partners(&self, names: Vec<AccountName>) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        for account in names.iter().filter(|name| !others.contains(*name)) {
            tracing::warn!(
                %account,
                "another replica started with another partner for the account: nothing of it is done here"
            );
        }
        *others = names.into_iter().collect();
    }

    /// Stores that this replica has ended in good order.
    pub async fn say_goodbye(&self) {
        let Reconciler { store, clock, .. } = &self.reconciler;
        let limit = clock.sleep(GOODBYE);
        tokio::select! {
            biased;
            stored = store.stop(&self.replica, clock.now()) => {
                if let Err(error) = stored {
                    tracing::debug!(%error, "the end of this replica could not be stored");
                }
            }
            () = limit => {}
        }
    }

    /// One look: applies what operators asked for by SQL, claims what is due and starts it. While what an
    /// earlier look saw in `idle` holds, it goes no further than to the gates behind which rows wait.
    async fn look(
        self: &Arc<Self>,
        idle: &mut Option<Idle>,
        stop: &CancellationToken,
    ) -> Result<Look> {
        let earlier = idle.take();
        let store = &self.reconciler.store;
        let clock = &self.reconciler.clock;
        timekeeping::follow(store, clock.as_ref()).await?;
        let now = clock.now();
        for lane in &self.lanes {
            lane.account.store_halt(store.as_ref(), now).await?;
        }
        // Asked first: what is stored from here on changes it again.
        let version = store.version().await?;
        let free = self.free_slots();
        let earlier = earlier.filter(|earlier| {
            version == Some(earlier.version)
                && free == earlier.free
                && earlier.until.is_none_or(|until| now < until)
        });
        if earlier.is_none() {
            store.apply_requests(now).await?;
            let known: Vec<_> = self.lanes.iter().map(|lane| lane.account.name.clone()).collect();
            store.check_accounts(&known, now).await?;
        }
        // Time opens gates, and so does a reload.
        let waiting = match &earlier {
            Some(earlier) if earlier.waiting == Waiting::Nobody => Waiting::Nobody,
            _ => store.recheck(&self.policies(), now, clock.wall()).await?,
        };
        if let Err(why) = (self.may_claim)() {
            return Ok(Look { claimed: 0, closed: Some(why), sleep: LONGEST_SLEEP });
        }
        if let Some(earlier) = earlier.filter(|_| waiting != Waiting::Changed) {
            let sleep = sleep_until(earlier.until, clock.now());
            *idle = Some(earlier);
            return Ok(Look { claimed: 0, closed: None, sleep });
        }
        let asked_at = clock.uptime();
        let left_alone = self.left_alone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = ClaimRequest {
            owner: self.replica.owner.clone(),
            ttl: self.reconciler.settings.lease_ttl,
            slots: self.slots(&free),
            working: self.leases.ids().into_iter().chain(left_alone).collect(),
        };
        let claimed = store.claim(&request, now).await?;
        let count = claimed.len();
        for claim in claimed {
            let lag = now.duration_since(due_at(&claim.teardown)).as_secs_f64().max(0.0);
            metrics::histogram!("teardownd_scheduler_lag_seconds").record(lag);
            self.start(claim, asked_at, stop);
        }
        let names: Vec<AccountName> = free.iter().map(|(name, _)| name.clone()).collect();
        let due = store.next_due(&names, now).await?;
        if count == 0 {
            *idle = version.map(|version| Idle { version, free, waiting, until: due });
        }
        Ok(Look { claimed: count, closed: None, sleep: sleep_until(due, clock.now()) })
    }

    /// The free slots of each account, with what holds for all replicas together.
    fn slots(&self, free: &[(AccountName, usize)]) -> Vec<Slots> {
        let slots = |(name, free): &(AccountName, usize)| {
            let lane = self.lanes.iter().find(|lane| lane.account.name == *name)?;
            let (account, identity) = lane.account.standing();
            let most = lane.account.client.capacity(usize::MAX);
            Some(Slots { account, free: *free, most, identity: Some(identity) })
        };
        free.iter().filter_map(slots).collect()
    }

    /// How many tenants of which account may be taken on now.
    fn free_slots(&self) -> Vec<(AccountName, usize)> {
        let all = self.reconciler.settings.max_in_flight;
        let demands: Vec<Demand> = self
            .lanes
            .iter()
            .map(|lane| Demand {
                busy: lane.busy.load(Ordering::Acquire),
                most: lane.account.client.capacity(all),
            })
            .collect();
        let offers = slots::offers(all, &demands);
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.lanes.iter().map(|lane| lane.account.name.clone());
        names.zip(offers).filter(|(name, offer)| *offer > 0 && !others.contains(name)).collect()
    }

    /// Watches the files of refused credentials until `stop`. Each account is watched by itself, so
    /// that a file system that does not answer concerns its account alone.
    pub async fn watch_credentials(&self, stop: &CancellationToken) {
        let watches = join_all(self.lanes.iter().map(|lane| self.watch_credential(&lane.account)));
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = watches => {}
        }
    }

    async fn watch_credential(&self, account: &AccountRuntime) {
        let Reconciler { store, clock, .. } = &self.reconciler;
        loop {
            match account.probe_if_renewed(store.as_ref(), clock.now()).await {
                Ok(true) => self.wake.notify_one(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(account = %account.name, %error, "the account cannot be read");
                }
            }
            clock.sleep(CREDENTIAL_WATCH).await;
        }
    }

    /// Leaves a row to a newer program, in whose words it is written, until the next tick.
    fn leave_alone(&self, id: TeardownId) {
        tracing::debug!("the row is left to a newer teardownd, which works on the database, too");
        self.left_alone.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    fn start(self: &Arc<Self>, claim: Claimed, asked_at: Duration, stop: &CancellationToken) {
        let Some(lane) = self.lanes.iter().find(|l| l.account.name == claim.teardown.account)
        else {
            return;
        };
        let account = Arc::clone(&lane.account);
        account.learn(claim.outage);
        let slot = Slot::take(&lane.busy);
        let (id, fence) = (claim.teardown.id, claim.fence);
        let lease = self.leases.enter(id, claim.fence, asked_at, stop.child_token());
        let span = tracing::info_span!(
            "reconcile",
            account = %account.name,
            tenant = %claim.teardown.tenant_id,
            teardown = %id
        );
        let (reconciler, wake) = (self.reconciler.clone(), Arc::clone(&self.wake));
        let scheduler = Arc::clone(self);
        let pass = async move {
            match reconciler.reconcile(&account, claim.teardown, &lease).await {
                Ok(()) => {}
                Err(StoreError::LeaseLost(_)) => {
                    tracing::info!("the row was taken away; the pass ends");
                }
                // Nothing of the row moves until a person has put right what cannot be read.
                Err(StoreError::Damaged { table, row, text }) => {
                    let text = StoreError::Damaged { table, row, text }.to_string();
                    let now = reconciler.clock.now();
                    match reconciler.store.set_aside(id, fence, &text, now).await {
                        Ok(Some(verdict)) => refusal::note(&account.name, &verdict),
                        Ok(None) => scheduler.leave_alone(id),
                        Err(error) => tracing::error!(%error, "the pass ended on the store"),
                    }
                }
                // The lease is left to lapse, which spaces the tries: a row that cannot be stored
                // would otherwise be claimed again at once.
                Err(error) => tracing::error!(%error, "the pass ended on the store"),
            }
            drop(lease);
            drop(slot);
            account.call_ended();
            wake.notify_one();
        };
        self.passes.spawn(pass.instrument(span));
    }
}

/// Why nothing may be claimed, if so, or why the queue cannot be read.
type Found = std::result::Result<Option<String>, String>;

/// Says how the looks went, once each time that changes and not at every look. Texts may hold figures
/// that change, so it is the kind that counts.
fn tell(last: &Found, found: &Found) {
    match (last, found) {
        (Ok(_), Err(error)) => {
            tracing::error!(error, "the queue cannot be read; it is tried again every few seconds");
        }
        (Ok(None) | Err(_), Ok(Some(why))) => tracing::warn!(why, "nothing new is claimed"),
        (Ok(Some(_)) | Err(_), Ok(None)) => tracing::info!("the queue is worked on again"),
        (Err(_), Err(_)) | (Ok(None), Ok(None)) | (Ok(Some(_)), Ok(Some(_))) => {}
    }
}

fn sleep_until(due: Option<Timestamp>, now: Timestamp) -> Duration {
    let wait = due.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
    wait.unwrap_or(LONGEST_SLEEP).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
}
