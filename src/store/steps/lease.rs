//! Leases (invariant 10): claim, renew, give back, take over.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::identity::stands_for_another;
use super::{account, forged};
use crate::core::account::Account;
use crate::core::gates::Verdict;
use crate::core::ids::{AccountName, Fence, TeardownId};
use crate::core::reason::Reason;
use crate::core::teardown::{Lease, Teardown};
use crate::store::model::time::{after, millis};
use crate::store::rules::stops;
use crate::store::tables::{
    accounts, commands, identities, jobs, leases, replicas, teardowns, transitions,
};
use crate::store::{ClaimRequest, Claimed, Engine, Result, Slots, Store, StoreError, Tx, rules};

impl Store {
    /// Called once by a replica that starts, whose name nobody else may have: gives back the leases of
    /// earlier processes of that name, with a new fence, and makes those rows due at once. Returns how many.
    /// A file has one process, so that every lease there is of a process that is gone, and every call is over.
    /// On a server a host that was cut off may still wait for an answer.
    pub async fn take_over(&self, replica: &str, now: Timestamp) -> Result<u64> {
        let is_alone = matches!(self.engine, Engine::File(_));
        self.write("take_over", || {
            async move |tx: &mut Tx| take_over(tx, replica, is_alone, millis(now)).await
        })
        .await
    }

    /// Claims due rows, each with a new fence: by priority, then by what becomes impossible to cancel
    /// soonest, then by how long they have been due. A row that a newer program has written in words of its
    /// own is left alone.
    pub async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claimed>> {
        self.write("claim", || async move |tx: &mut Tx| claim(tx, request, millis(now)).await).await
    }

    /// When the earliest row becomes due that [`claim`](Self::claim) would give to one of these
    /// accounts; `None` if no row waits for a time.
    pub async fn next_due(
        &self,
        accounts: &[AccountName],
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        self.read("next_due", || async move |tx: &mut Tx| next_due(tx, accounts, millis(now)).await)
            .await
    }

    /// Renews these leases and returns the ids of those that are lost.
    pub async fn renew(
        &self,
        owner: &str,
        leases: &[(TeardownId, Fence)],
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<TeardownId>> {
        self.write("renew", || {
            async move |tx: &mut Tx| renew(tx, owner, leases, ttl, millis(now)).await
        })
        .await
    }

    /// Gives a lease back without a change; the row is due again at once.
    pub async fn release(&self, teardown: TeardownId, fence: Fence, now: Timestamp) -> Result<()> {
        self.write("release", || {
            async move |tx: &mut Tx| release(tx, teardown, fence, millis(now)).await
        })
        .await
    }

    /// Holds a row whose pass has met damage in what is stored of it, and gives its lease back. Forged
    /// commands of the tenant are settled with it. Returns what holds it; `None` for a row of a newer program,
    /// to which it is left.
    pub async fn set_aside(
        &self,
        teardown: TeardownId,
        fence: Fence,
        text: &str,
        now: Timestamp,
    ) -> Result<Option<Verdict>> {
        self.write("set_aside", || {
            async move |tx: &mut Tx| set_aside(tx, teardown, fence, text, millis(now)).await
        })
        .await
    }
}

async fn take_over(tx: &mut Tx, replica: &str, is_alone: bool, now: Timestamp) -> Result<u64> {
    if is_alone {
        commands::end_calls(tx).await?;
        replicas::forget_others(tx, replica).await?;
    }
    let whose = (!is_alone).then_some(replica);
    jobs::take_over(tx, whose).await?;
    leases::take_away(tx, whose, None, now).await
}

async fn claim(tx: &mut Tx, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claimed>> {
    let mut stored = account::load_halting_damaged(tx, now).await?;
    account::expire_pauses(tx, &mut stored, now).await?;
    let every = row_of(&stored, &AccountName::every());
    let until = millis(after(now, request.ttl));
    let in_force = identities::in_force(tx).await?;
    let mut claimed = Vec::new();
    for Slots { account: name, free, most, identity } in &request.slots {
        if identity.as_ref().is_some_and(|own| stands_for_another(&in_force, name, own)) {
            continue;
        }
        let account = row_of(&stored, name);
        // Other processes work on the account, too.
        let leased = leases::count(tx, name, now).await?;
        let wanted = (*free).min(most.saturating_sub(leased));
        let slots = stops::allowance(&account, &every, leased, wanted, now);
        if slots == 0 {
            continue;
        }
        let outage = account.trouble.as_ref().map(|trouble| trouble.kind);
        for mut row in due(tx, name, slots, &request.working, now).await? {
            rules::lease(&mut row, Lease { owner: request.owner.clone(), until }, now);
            claimed.push(Claimed { fence: row.fence, teardown: row, outage });
        }
    }
    leases::save(tx, &claimed).await?;
    Ok(claimed)
}

/// The row of an account among those that are stored, fresh if there is none.
fn row_of(stored: &[Account], name: &AccountName) -> Account {
    let row = stored.iter().find(|account| account.name == *name);
    row.cloned().unwrap_or_else(|| Account::fresh(name.clone()))
}

/// The rows to claim, in order. A damaged one is set aside and another one looked for.
async fn due(
    tx: &mut Tx,
    name: &AccountName,
    slots: usize,
    working: &[TeardownId],
    now: Timestamp,
) -> Result<Vec<Teardown>> {
    let mut left = working.to_vec();
    loop {
        let found = leases::due(tx, name, slots, &left, now).await?;
        let mut sound = Vec::with_capacity(found.len());
        let mut damaged = false;
        for row in found {
            match row {
                Ok(row) => sound.push(row),
                Err((id, _)) if super::is_of_a_newer_program(tx, now).await? => {
                    left.push(id);
                    damaged = true;
                }
                Err((id, error)) => {
                    tracing::error!(teardown = %id, %error, "a damaged row is held");
                    let text = error.to_string();
                    hold_unread(tx, id, Reason::DamagedRow, &text, now).await?;
                    damaged = true;
                }
            }
        }
        if !damaged {
            return Ok(sound);
        }
    }
}

/// Holds a row that cannot be read, or whose records cannot, until a person has looked. Nothing of it
/// need be understood for that.
async fn hold_unread(
    tx: &mut Tx,
    id: TeardownId,
    guard: Reason,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    if teardowns::hold_unread(tx, id, guard, text, now).await? {
        transitions::record_unread(tx, id, guard, text, now).await?;
    }
    Ok(())
}

/// Sets a row aside whose pass has met damage, if its lease is still the pass's own. What is forged among
/// its commands is settled with it.
async fn set_aside(
    tx: &mut Tx,
    id: TeardownId,
    fence: Fence,
    text: &str,
    now: Timestamp,
) -> Result<Option<Verdict>> {
    let shown = teardowns::shown_leased(tx, id, fence).await?.ok_or(StoreError::LeaseLost(id))?;
    if super::is_of_a_newer_program(tx, now).await? {
        leases::give_back(tx, id, now).await?;
        return Ok(None);
    }
    let damage = || Verdict::Hold { guard: Reason::DamagedRow, text: text.to_owned() };
    let verdict = forged::set_aside(tx, &shown, now).await?;
    let verdict = verdict.unwrap_or_else(damage);
    if let Verdict::Hold { guard, text } = &verdict {
        hold_unread(tx, id, *guard, text, now).await?;
    }
    Ok(Some(verdict))
}

async fn next_due(tx: &mut Tx, names: &[AccountName], now: Timestamp) -> Result<Option<Timestamp>> {
    let stored = accounts::load_all(tx).await?;
    let every = row_of(&stored, &AccountName::every());
    let mut due = None;
    for (name, at, leased_until) in leases::earliest(tx, names, now).await? {
        let account = row_of(&stored, &name);
        if let Some(opens) = stops::next_opens_at(&account, &every, leased_until) {
            let at = at.max(opens);
            due = Some(due.map_or(at, |earlier: Timestamp| earlier.min(at)));
        }
    }
    Ok(due)
}

async fn renew(
    tx: &mut Tx,
    owner: &str,
    leases: &[(TeardownId, Fence)],
    ttl: Duration,
    now: Timestamp,
) -> Result<Vec<TeardownId>> {
    let until = millis(after(now, ttl));
    let every = async |tx: &mut Tx| leases::renew(tx, owner, leases, until).await;
    let kept = match tx.attempt(every).await {
        Err(StoreError::Refused(_)) => {
            // The table refuses one of them, which is no reason to lose the others.
            let mut kept = BTreeSet::new();
            for lease in leases {
                let one = std::slice::from_ref(lease);
                let renew = async |tx: &mut Tx| leases::renew(tx, owner, one, until).await;
                match tx.attempt(renew).await {
                    Ok(renewed) => kept.extend(renewed),
                    Err(StoreError::Refused(why)) => {
                        tracing::error!(teardown = %lease.0, why, "a lease cannot be renewed");
                    }
                    Err(error) => return Err(error),
                }
            }
            kept
        }
        kept => kept?,
    };
    Ok(leases.iter().map(|(id, _)| *id).filter(|id| !kept.contains(id)).collect())
}

async fn release(tx: &mut Tx, id: TeardownId, fence: Fence, now: Timestamp) -> Result<()> {
    let row = teardowns::load(tx, id).await?;
    rules::check_lease(&row, fence)?;
    leases::give_back(tx, id, now).await
}
