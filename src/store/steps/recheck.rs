//! The rows that wait behind gates of their account: those that are open now let them go, and the others
//! keep them, without a look at the API in between.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::account::forget_lapsed_canary;
use crate::core::gates::{SafetyPolicy, StoredGates};
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::store::model::time::{before, millis};
use crate::store::tables::{accounts, commands, waiting};
use crate::store::{Result, Store, Tx, Waiting};

impl Store {
    /// Lets the rows go on that wait behind a gate of their account which is open now, and those wait on
    /// whose gate is not. `policies` are the guards in force, `wall` is the wall clock.
    pub async fn recheck(
        &self,
        policies: &BTreeMap<AccountName, SafetyPolicy>,
        now: Timestamp,
        wall: Timestamp,
    ) -> Result<Waiting> {
        let now = millis(now);
        let look = || async move |tx: &mut Tx| look(tx, policies, now, wall).await;
        let found = self.read("recheck", look).await?;
        if found == Waiting::Changed {
            self.write("recheck", || {
                async move |tx: &mut Tx| recheck(tx, policies, now, wall).await
            })
            .await?;
        }
        Ok(found)
    }
}

/// The next step with the rows behind one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// How many of them may go on.
    go: usize,
    /// Rows that were queued later than this wait on all the same.
    queued_by: Timestamp,
}

/// The gates behind which rows of an account wait, with the next step for those that do not just wait.
/// The rest of the rows whose time has come waits on.
async fn steps(
    tx: &mut Tx,
    name: &AccountName,
    policy: &SafetyPolicy,
    now: Timestamp,
    wall: Timestamp,
) -> Result<Vec<(Reason, Option<Step>)>> {
    let waiting = waiting::gates(tx, name).await?;
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let (mut account, every) = accounts::load_with_every(tx, name).await?;
    forget_lapsed_canary(tx, &mut account, now).await?;
    let mut steps = Vec::new();
    // Both caps count the same deletions.
    let mut deletions = None;
    for (gate, due) in waiting {
        if matches!(gate, Reason::CapHour | Reason::CapDay) && deletions.is_none() {
            deletions = Some(commands::deletions(tx, &account, None, now).await?);
        }
        let (oldest, queued_by) = match gate {
            Reason::Grace => (waiting::oldest(tx, name, gate).await?, before(now, policy.grace)),
            _ => (now, Timestamp::MAX),
        };
        let counted = deletions.as_deref().unwrap_or_default();
        let (account, every, deletions) = (&account, &every, counted);
        let gates = StoredGates { account, every, policy, deletions, oldest, now, wall };
        let go = gates.room(gate);
        steps.push((gate, (go > 0 || due <= now).then_some(Step { go, queued_by })));
    }
    Ok(steps)
}

/// Whether somebody waits, and [`recheck`] would change a row.
async fn look(
    tx: &mut Tx,
    policies: &BTreeMap<AccountName, SafetyPolicy>,
    now: Timestamp,
    wall: Timestamp,
) -> Result<Waiting> {
    let mut found = Waiting::Nobody;
    for (name, policy) in policies {
        let steps = steps(tx, name, policy, now, wall).await?;
        if steps.iter().any(|(_, step)| step.is_some()) {
            return Ok(Waiting::Changed);
        }
        if !steps.is_empty() {
            found = Waiting::Closed;
        }
    }
    Ok(found)
}

/// Asks the gates behind which somebody waits.
async fn recheck(
    tx: &mut Tx,
    policies: &BTreeMap<AccountName, SafetyPolicy>,
    now: Timestamp,
    wall: Timestamp,
) -> Result<()> {
    for (name, policy) in policies {
        for (gate, step) in steps(tx, name, policy, now, wall).await? {
            if let Some(step) = step {
                waiting::let_go(tx, name, gate, step.go, step.queued_by, now).await?;
                waiting::keep(tx, name, gate, now).await?;
            }
        }
    }
    Ok(())
}
