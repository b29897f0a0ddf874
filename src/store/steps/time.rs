//! The database's own clock, and what moves when the wall clock is stepped.

use jiff::Timestamp;

use crate::core::database_time;
use crate::core::database_time::{Reading, Step, Timekeeping};
use crate::core::ids::AccountName;
use crate::store::model::time::millis;
use crate::store::tables::{accounts, clock, replicas, teardowns};
use crate::store::{Engine, Replica, Result, Store, Tx};

impl Store {
    /// Continues the database's own clock from what the machine's clocks say, and follows a step of
    /// the wall clock: what is meant by that one moves with it.
    pub async fn keep_time(&self, reading: &Reading) -> Result<(Timekeeping, Option<Step>)> {
        if let Some(told) = self.told_time(reading).await? {
            return Ok((told, None));
        }
        self.write("keep_time", || async move |tx: &mut Tx| keep(tx, reading).await).await
    }

    /// Database time where a server tells it: nothing is stored of its clock, and no step is followed.
    /// `None` for an SQLite file, whose clock the daemon keeps.
    pub async fn told_time(&self, reading: &Reading) -> Result<Option<Timekeeping>> {
        match &self.engine {
            Engine::File(_) => Ok(None),
            Engine::Server(server) => {
                self.door.pass("told_time", server.tell_time(&self.readers, reading)).await
            }
        }
    }

    /// What is stored of the database's clock; `None` in one that was never worked on.
    pub async fn timekeeping(&self) -> Result<Option<Timekeeping>> {
        self.read("timekeeping", || async move |tx: &mut Tx| clock::load(tx).await).await
    }

    /// Stores the heartbeat of a replica, at a time of the clock that [`keep_time`](Self::keep_time)
    /// continues in the same step.
    pub async fn tick(
        &self,
        reading: &Reading,
        replica: &Replica,
    ) -> Result<(Timekeeping, Option<Step>)> {
        let told = self.told_time(reading).await?.map(|told| (told, None));
        let told = &told;
        self.write("tick", || {
            async move |tx: &mut Tx| {
                let kept = match told {
                    Some(told) => told.clone(),
                    None => keep(tx, reading).await?,
                };
                let replica = Replica { ticked_at: kept.0.anchor.at, ..replica.clone() };
                replicas::save(tx, &replica).await?;
                Ok(kept)
            }
        })
        .await
    }

    /// Stores that a replica has ended in good order.
    pub async fn stop(&self, replica: &Replica, now: Timestamp) -> Result<()> {
        self.write("stop", || {
            async move |tx: &mut Tx| replicas::stop(tx, &replica.owner, millis(now)).await
        })
        .await
    }
}

/// Continues the clock, follows a step of the wall clock and moves what is meant by that one.
async fn keep(tx: &mut Tx, reading: &Reading) -> Result<(Timekeeping, Option<Step>)> {
    let known = clock::load(tx).await?;
    let stored = known.as_ref().map(|known| &known.anchor);
    // Only a crash of the machine loses the end of what is stored.
    let latest = match stored {
        Some(stored) if stored.boot == reading.boot => None,
        _ => clock::latest(tx).await?,
    };
    let (anchor, by) = database_time::follow(stored, latest, reading);
    let step = by.map(|by| Step { at: anchor.at, by });
    clock::save(tx, &anchor, step).await?;
    if let Some(step) = step {
        clock::shift(tx, step).await?;
    }
    let steps = known.as_ref().map_or(0, |known| known.steps) + u64::from(step.is_some());
    let last = step.or(known.and_then(|known| known.last));
    Ok((Timekeeping { anchor, steps, last, is_told: false }, step))
}

/// Gives rows that a shell has queued times of the database: SQLite gave them the wall clock's, which may
/// have been stepped since. A row that is new and some seconds old keeps the time of its making.
pub(super) async fn adopt(tx: &mut Tx, now: Timestamp) -> Result<()> {
    let by = -clock::ahead(tx).await?;
    teardowns::adopt_times(tx, by, now).await?;
    accounts::set_clocks(tx, &AccountName::every(), now).await
}
