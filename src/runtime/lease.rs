//! Leases this process holds (invariants 5 and 10).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::core::clock::Clock;
use crate::core::ids::{Fence, TeardownId};
use crate::store::{Result, Store};

/// One lease, as the reconciler that works under it sees it.
#[derive(Debug, Clone)]
pub struct Lease {
    id: TeardownId,
    /// The fence of the claim.
    pub fence: Fence,
    /// Cancelled when the lease is lost or the process is to stop.
    pub stop: CancellationToken,
    table: Arc<LeaseTable>,
}

impl Lease {
    /// Whether a write may start: at least a third of the lease must be left, counted from the start
    /// of the last renewal by a clock that counts suspension.
    pub fn may_write(&self) -> bool {
        let held = self.table.lock();
        let own = held.get(&self.id).filter(|held| held.fence == self.fence);
        own.map(|held| held.renewed_at).is_some_and(|at| {
            self.table.clock.uptime().saturating_sub(at) <= self.table.ttl.mul_f64(2.0 / 3.0)
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.table.lock();
        // A pass that ends late has nothing to do with the lease of a newer one.
        if held.get(&self.id).is_some_and(|held| held.fence == self.fence) {
            held.remove(&self.id);
        }
    }
}

#[derive(Debug)]
struct Held {
    fence: Fence,
    renewed_at: Duration,
    stop: CancellationToken,
}

/// All leases of the process.
#[derive(Debug)]
pub struct LeaseTable {
    owner: String,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    held: Mutex<BTreeMap<TeardownId, Held>>,
}

impl LeaseTable {
    /// An empty table.
    pub fn new(owner: String, ttl: Duration, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { owner, ttl, clock, held: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TeardownId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a claim whose request was started at `asked_at` of the clock's uptime.
    pub fn enter(
        self: &Arc<Self>,
        id: TeardownId,
        fence: Fence,
        asked_at: Duration,
        stop: CancellationToken,
    ) -> Lease {
        self.lock().insert(id, Held { fence, renewed_at: asked_at, stop: stop.clone() });
        Lease { id, fence, stop, table: Arc::clone(self) }
    }

    /// The rows that are worked on.
    pub fn ids(&self) -> Vec<TeardownId> {
        self.lock().keys().copied().collect()
    }

    /// The process, as leases name it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// How many leases are held.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Renews every lease once and stops the work of those that are lost. Returns how many were.
    ///
    /// # Errors
    /// The store's. The leases then run on until they lapse, and no write starts in their last third.
    pub async fn renew(&self, store: &Store) -> Result<usize> {
        let asked_at = self.clock.uptime();
        let leases: Vec<_> = self.lock().iter().map(|(id, held)| (*id, held.fence)).collect();
        if leases.is_empty() {
            return Ok(0);
        }
        let lost = store.renew(&self.owner, &leases, self.ttl, self.clock.now()).await?;
        let mut held = self.lock();
        for (id, fence) in leases {
            // The row may have been given back and claimed anew while the store was asked.
            let Some(entry) = held.get_mut(&id).filter(|entry| entry.fence == fence) else {
                continue;
            };
            if lost.contains(&id) {
                metrics::counter!("teardownd_lease_losses_total").increment(1);
                tracing::warn!(teardown = %id, "the lease was lost; its work stops");
                entry.stop.cancel();
            } else {
                entry.renewed_at = asked_at;
            }
        }
        Ok(lost.len())
    }

    /// Renews at a third of the leases' life until `stop`.
    pub async fn keep(self: Arc<Self>, store: Arc<Store>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.clock.sleep(self.ttl / 3) => {}
            }
            if let Err(error) = self.renew(store.as_ref()).await {
                tracing::error!(%error, "leases could not be renewed; tried again in a moment");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use jiff::Timestamp;

    use super::*;
    use crate::core::clock::BoxFuture;

    /// A clock that a test moves by hand, as a suspended machine moves it.
    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn uptime(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn invariant_5_no_write_starts_in_the_last_third_of_a_lease() {
        let clock = Arc::new(Hand::default());
        let ttl = Duration::from_secs(60);
        let table = LeaseTable::new("me".to_owned(), ttl, clock.clone());
        let asked_at = clock.uptime();
        let lease = table.enter(TeardownId(1), Fence(1), asked_at, CancellationToken::new());
        for (second, may) in [(0, true), (40, true), (41, false), (600, false)] {
            clock.0.store(second, Ordering::Relaxed);
            assert_eq!(lease.may_write(), may, "after {second} s");
        }
    }

    #[test]
    fn invariant_10_a_pass_that_ends_late_leaves_a_newer_one_its_lease() {
        let clock = Arc::new(Hand::default());
        let table = LeaseTable::new("me".to_owned(), Duration::from_secs(60), clock);
        let enter = |fence| {
            table.enter(TeardownId(1), Fence(fence), Duration::ZERO, CancellationToken::new())
        };
        let (late, newer) = (enter(1), enter(2));
        assert!(!late.may_write() && newer.may_write());
        drop(late);
        assert_eq!(table.ids(), [TeardownId(1)]);
        assert!(newer.may_write());
        drop(newer);
        assert!(table.is_empty());
    }

    #[tokio::test]
    async fn invariant_10_a_lost_lease_stops_the_work() {
        let clock = Arc::new(Hand::default());
        let ttl = Duration::from_secs(60);
        let table = LeaseTable::new("me".to_owned(), ttl, clock.clone());
        let stop = CancellationToken::new();
        let lease = table.enter(TeardownId(1), Fence(1), Duration::ZERO, stop.clone());
        // The store knows no such lease: it is lost.
        let store = Store::scratch().await.unwrap();
        assert_eq!(table.renew(&store).await.unwrap(), 1);
        assert!(stop.is_cancelled() && lease.stop.is_cancelled());
        drop(lease);
        assert!(table.is_empty(), "a lease that is dropped is held no more");
    }
}
