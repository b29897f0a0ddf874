//! Jobs that a schedule wakes. Each is done by one replica at a time.

use super::cron::Schedule;
use crate::core::clock::Clock;
use crate::store::{Store, StoreError};

/// A job.
pub struct Job<'a> {
    /// Its name in the database.
    pub name: &'a str,
    /// When it is due.
    pub schedule: &'a Schedule,
    /// The process that does it, as leases name it.
    pub owner: &'a str,
    /// The store.
    pub store: &'a Store,
    /// The clock.
    pub clock: &'a dyn Clock,
}

impl Job<'_> {
    /// Does the job, unless another replica does it or has done it. `None` says that it was not done here. A
    /// job that fails is not done: it is made up for at the next start, if not before.
    ///
    /// # Errors
    /// Those of the work, and the store's.
    pub async fn run<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        let (now, begun) = (self.clock.now(), self.clock.wall());
        let is_due = |ran_at| self.schedule.next_after(ran_at).is_some_and(|at| at <= begun);
        if !self.store.begin_run(self.name, self.owner, is_due, now, begun).await? {
            return Ok(None);
        }
        let done = work.await;
        let ended = self.store.end_run(self.name, self.owner, done.is_ok().then_some(begun)).await;
        let done = done?;
        ended?;
        Ok(Some(done))
    }
}
