//! One step of a reconcile pass (invariants 3, 4 and 11).

use jiff::Timestamp;

use super::{account, facts, forged, send};
use crate::core::command::Action;
use crate::core::teardown::Teardown;
use crate::store::model::time::millis;
use crate::store::rules::admission::{self, Admission};
use crate::store::tables::{accounts, commands, faults, purchases, teardowns, transitions};
use crate::store::{Commit, Committed, Result, Store, Tx, rules};

impl Store {
    /// Commits one step. See [`Commit`].
    pub async fn commit(&self, commit: Commit<'_>, now: Timestamp) -> Result<Committed> {
        let commit = &commit;
        self.write("commit", || async move |tx: &mut Tx| take(tx, commit, millis(now)).await).await
    }
}

async fn take(tx: &mut Tx, commit: &Commit<'_>, now: Timestamp) -> Result<Committed> {
    let mut row = teardowns::load(tx, commit.teardown).await?;
    rules::check_commit(&row, commit)?;
    // First, or a reading would settle a forged command as if it had been one.
    let forged = match commit.transition.settled.is_empty() && commit.commands.is_empty() {
        true => None,
        false => forged::set_aside(tx, &row, now).await?,
    };
    for (id, outcome, text) in &commit.transition.settled {
        send::settle(tx, *id, *outcome, text, now).await?;
    }
    if let Some(read) = &commit.purchases {
        purchases::save(tx, row.id, read, now).await?;
    }
    let admission = match forged {
        Some(verdict) => Admission { admitted: Vec::new(), verdict: Some(verdict) },
        None => admit(tx, &row, commit, now).await?,
    };
    let from = row.state;
    let step = rules::apply(&mut row, commit, &admission, now);
    teardowns::save(tx, &row, from).await?;
    transitions::record(tx, &row, &step.events, now).await?;
    let reason = rules::failure_reason(commit, &admission);
    faults::append(tx, &row, reason, &commit.failures).await?;
    if row.state.is_terminal() {
        commands::withdraw_unsent(tx, &row, now).await?;
    }
    if let Some((guard, text)) = &step.halt {
        account::halt(tx, &row.account, guard.as_str(), text, now).await?;
    }
    Ok(Committed { teardown: row, admitted: admission.admitted, verdict: admission.verdict })
}

/// Asks the gates and stores the commands they allow.
async fn admit(
    tx: &mut Tx,
    row: &Teardown,
    commit: &Commit<'_>,
    now: Timestamp,
) -> Result<Admission> {
    if commit.commands.is_empty() {
        return Ok(Admission { admitted: Vec::new(), verdict: None });
    }
    let deleting = commit.commands.iter().any(|c| c.intent.action == Action::DeleteCustomer);
    let mut facts = facts::gather(tx, row, None, deleting, commit.policy, now).await?;
    let busy = commands::unsettled_resources(tx, row).await?;
    let admission = admission::admit(commit, &mut facts, busy, now);
    if !admission.admitted.is_empty() {
        commands::insert(tx, &admission.admitted).await?;
        if let Some(canary) = facts.account.canary {
            accounts::set_canary(tx, &row.account, canary).await?;
        }
    }
    Ok(admission)
}
