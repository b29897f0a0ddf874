//! Cron: wake-ups only. It reads the wall clock, so nothing may depend on it alone.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// A running cron scheduler.
pub struct Cron(JobScheduler);

impl std::fmt::Debug for Cron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cron")
    }
}

impl Cron {
    /// Starts it with one job for each expression (with seconds), which notifies.
    ///
    /// # Errors
    /// An expression that cannot be read.
    pub async fn start(jobs: Vec<(String, Arc<Notify>)>) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        for (expression, wake) in jobs {
            let job = Job::new(expression.as_str(), move |_id, _scheduler| wake.notify_one())?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(Self(scheduler))
    }

    /// Stops it.
    pub async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            tracing::debug!(%error, "cron did not stop in good order");
        }
    }
}
