//! Upkeep: the jobs of the schedule, and retention.

use jiff::Timestamp;

use crate::store::model::time::millis;
use crate::store::tables::{jobs, retention};
use crate::store::{Result, Store, Tx};

impl Store {
    /// When the job of this name was last done. One that is new here counts as done now.
    pub async fn last_run(&self, job: &str, now: Timestamp) -> Result<Timestamp> {
        self.write("last_run", || {
            async move |tx: &mut Tx| jobs::last_run(tx, job, millis(now)).await
        })
        .await
    }

    /// Stores that a job was done.
    pub async fn note_run(&self, job: &str, at: Timestamp) -> Result<()> {
        self.write("note_run", || {
            async move |tx: &mut Tx| jobs::note_run(tx, job, millis(at)).await
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
