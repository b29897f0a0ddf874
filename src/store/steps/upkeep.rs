//! Upkeep: the jobs of the schedule, and retention.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::model::time::{after, millis};
use crate::store::tables::{jobs, retention};
use crate::store::{Begun, Result, Store, Tx};

/// By then whoever has begun a job has ended it, or is gone.
const LONGEST_JOB: Duration = Duration::from_secs(600);

/// The clocks of replicas are no further apart than this.
const APART: Duration = Duration::from_secs(60);

impl Store {
    /// When the job of this name was last done. One that is new here counts as done now.
    pub async fn last_run(&self, job: &str, now: Timestamp) -> Result<Timestamp> {
        self.write("last_run", || {
            async move |tx: &mut Tx| jobs::last_run(tx, job, millis(now)).await
        })
        .await
    }

    /// Begins a job for `owner`, who leases it, if it is due by when it was last done and nobody does it now.
    /// `wall` is the wall clock, by which schedules go.
    pub async fn begin_run(
        &self,
        job: &str,
        owner: &str,
        is_due: impl Fn(Timestamp) -> bool,
        now: Timestamp,
        wall: Timestamp,
    ) -> Result<Begun> {
        let (is_due, now, wall) = (&is_due, millis(now), millis(wall));
        self.write("begin_run", || {
            async move |tx: &mut Tx| {
                let ran_at = jobs::last_run(tx, job, wall).await?;
                // A clock that was set back must not silence a job until it has caught up.
                if ran_at <= after(wall, APART) && !is_due(ran_at) {
                    return Ok(Begun::NotDue);
                }
                let leased = jobs::lease(tx, job, owner, after(now, LONGEST_JOB), now).await?;
                Ok(if leased { Begun::Here } else { Begun::Elsewhere })
            }
        })
        .await
    }

    /// Ends a job that [`begin_run`](Self::begin_run) has begun; `done` says when, where it was done.
    pub async fn end_run(&self, job: &str, owner: &str, done: Option<Timestamp>) -> Result<()> {
        self.write("end_run", || {
            async move |tx: &mut Tx| jobs::end(tx, job, owner, done.map(millis)).await
        })
        .await
    }

    /// Removes terminal rows that finished before `finished`, and history and settled commands
    /// older than `history` of rows that no longer exist, and answered requests of operators older
    /// than that. Returns how many teardowns went.
    /// A DELETE that is unsettled or accepted is never removed while its tenant has a row.
    pub async fn purge(&self, finished: Timestamp, history: Timestamp) -> Result<u64> {
        self.write("purge", || {
            async move |tx: &mut Tx| retention::purge(tx, millis(finished), millis(history)).await
        })
        .await
    }
}
