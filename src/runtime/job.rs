//! Jobs that a schedule wakes. Each is done by one replica at a time.

use std::time::Duration;

use super::cron::Schedule;
use crate::core::clock::Clock;
use crate::store::{Begun, Store, StoreError};

/// How often it is asked whether another replica has done a job.
const PACE: Duration = Duration::from_secs(15);

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
    /// Does the job, unless another replica has done it. One that does it now is waited for: should it fail, or
    /// end half-way, it is this one's turn. `None` says that it was not done here. A job that fails everywhere is
    /// made up for at the next start, if not before.
    ///
    /// # Errors
    /// The errors of the work, and the store's.
    pub async fn run<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        let begun = loop {
            let (now, wall) = (self.clock.now(), self.clock.wall());
            let is_due = |ran_at| self.schedule.next_after(ran_at).is_some_and(|at| at <= wall);
            match self.store.begin_run(self.name, self.owner, is_due, now, wall).await? {
                Begun::Here => break wall,
                Begun::NotDue => return Ok(None),
                Begun::Elsewhere => self.clock.sleep(PACE).await,
            }
        };
        let done = work.await;
        let ended = self.store.end_run(self.name, self.owner, done.is_ok().then_some(begun)).await;
        let done = done?;
        ended?;
        Ok(Some(done))
    }
}
