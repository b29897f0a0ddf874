//! The engine as a whole: takes over, runs the scheduler and the leases, keeps house and drains.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::account::AccountRuntime;
use super::job::Job;
use super::lease::LeaseTable;
use super::reconciler::Reconciler;
use super::scheduler::{ClaimCheck, Look, Scheduler};
use super::settings::EngineSettings;
use super::timekeeping;
use crate::core::clock::{Clock, Entropy};
use crate::store::{Replica, Result, Store};

/// The name of the job that keeps house.
pub const MAINTENANCE: &str = "maintenance";

/// The engine, ready to run.
#[derive(Debug)]
pub struct Daemon {
    scheduler: Arc<Scheduler>,
    leases: Arc<LeaseTable>,
    reconciler: Reconciler,
    /// Asks for a round of maintenance.
    pub maintenance: Arc<Notify>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Passes that had not come to rest within the drain limit. Their rows are taken over at the next
    /// start.
    pub left: usize,
}

impl Daemon {
    /// Puts the engine together and takes over whatever an earlier process of this replica left leased.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(
        settings: EngineSettings,
        accounts: Vec<Arc<AccountRuntime>>,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        replica: Replica,
        may_claim: ClaimCheck,
    ) -> Result<Self> {
        timekeeping::keep(&store, clock.as_ref()).await?;
        let names = accounts.iter().map(|account| account.name.clone()).collect();
        let replica = Replica { started_at: clock.now(), accounts: names, ..replica };
        let taken = store.take_over(&replica.name, clock.now()).await?;
        if taken > 0 {
            tracing::info!(rows = taken, "took over what an earlier process had in flight");
        }
        let configured: Vec<_> = accounts.iter().map(|account| account.standing()).collect();
        store.adopt(&configured, clock.now()).await?;
        let owner = replica.owner.clone();
        let leases = LeaseTable::new(owner, settings.lease_ttl, Arc::clone(&clock));
        let settings = Arc::new(settings);
        let reconciler = Reconciler { store, clock, entropy, settings };
        let leased = Arc::clone(&leases);
        let scheduler = Scheduler::new(reconciler.clone(), accounts, leased, replica, may_claim);
        Ok(Self { scheduler: Arc::new(scheduler), leases, reconciler, maintenance: Arc::default() })
    }

    /// Wakes the scheduler: something may be due.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.scheduler.wake)
    }

    /// Runs until `stop`, then stops claiming and waits for what is in flight: reads are given up,
    /// writes that have begun are waited for, and every lease is given back.
    pub async fn run(
        &self,
        stop: CancellationToken,
        looked: impl Fn(&Result<Look>) + Send + Sync,
    ) -> Drained {
        let leases_stop = CancellationToken::new();
        let mut keeper = AbortOnDropHandle::new(tokio::spawn(
            Arc::clone(&self.leases).keep(Arc::clone(&self.reconciler.store), leases_stop.clone()),
        ));
        let passes = self.scheduler.passes();
        let work = async {
            tokio::join!(
                self.scheduler.run(stop.clone(), looked),
                self.scheduler.watch_credentials(&stop),
                self.keep_house(&stop)
            );
            passes.close();
            passes.wait().await;
        };
        // Counted from the stop: a store that does not answer must not lengthen it.
        let limit = async {
            stop.cancelled().await;
            self.reconciler.clock.sleep(self.reconciler.settings.drain_timeout).await;
        };
        let in_time = tokio::select! {
            biased;
            // Without it every lease would lapse, so that its fault is the engine's.
            Err(fault) = &mut keeper => resume_unwind(fault.into_panic()),
            () = work => true,
            () = limit => false,
        };
        leases_stop.cancel();
        let left = if in_time { 0 } else { passes.len() };
        if left > 0 {
            tracing::warn!(left, "the drain limit passed; the next start takes these over");
        }
        self.scheduler.say_goodbye().await;
        Drained { left }
    }

    async fn keep_house(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.maintenance.notified() => {}
            }
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                done = self.maintain() => done,
            };
            match done {
                Ok(Some(rows)) => tracing::info!(rows, "maintenance: finished teardowns removed"),
                Ok(None) => tracing::debug!("maintenance: another replica has done it"),
                Err(error) => tracing::error!(%error, "maintenance failed"),
            }
        }
    }

    async fn maintain(&self) -> Result<Option<u64>> {
        let Reconciler { store, clock, settings, .. } = &self.reconciler;
        let now = clock.now();
        let finished = now.checked_sub(settings.keep_finished).unwrap_or(now);
        let history = now.checked_sub(settings.keep_history).unwrap_or(now);
        let job = Job {
            name: MAINTENANCE,
            schedule: &settings.maintenance,
            owner: self.leases.owner(),
            store,
            clock: clock.as_ref(),
        };
        job.run(store.purge(finished, history)).await
    }
}
