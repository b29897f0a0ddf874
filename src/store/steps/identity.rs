//! Which account stands for which partner. Proofs, halts and deletion caps belong to the partner
//! (invariants 2 and 3): they stay with it whatever the account is called, and another one starts
//! without them.

use jiff::Timestamp;

use super::account;
use crate::core::account::{Account, Identity, Proven};
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::settlement;
use crate::store::model::time::millis;
use crate::store::tables::{accounts, identities, leases};
use crate::store::{Result, Store, Tx};

impl Store {
    /// Takes up what the configuration says the accounts stand for: proofs, halts and deletion caps are
    /// a partner's and go with it. An answer on record that halts an account does so, unless a person has
    /// lifted a halt there since.
    /// An account that this configuration lacks stays what it is: another replica may know it.
    pub async fn adopt(
        &self,
        configured: &[(AccountName, Identity)],
        now: Timestamp,
    ) -> Result<()> {
        self.write("adopt", || async move |tx: &mut Tx| adopt(tx, configured, millis(now)).await)
            .await
    }

    /// Which of these accounts stand for another partner by now: a replica has started since, with another
    /// configuration.
    pub async fn other_partners(
        &self,
        configured: &[(AccountName, Identity)],
    ) -> Result<Vec<AccountName>> {
        self.read("other_partners", || {
            async move |tx: &mut Tx| {
                let in_force = identities::in_force(tx).await?;
                let others = configured
                    .iter()
                    .filter(|(name, own)| stands_for_another(&in_force, name, own));
                Ok(others.map(|(name, _)| name.clone()).collect())
            }
        })
        .await
    }
}

/// Whether an account stands for another partner than for this one, or for none.
pub(super) fn stands_for_another(
    in_force: &[(AccountName, identities::Words)],
    name: &AccountName,
    own: &Identity,
) -> bool {
    let known = in_force.iter().find(|(known, _)| known == name);
    known.is_none_or(|(_, words)| *words != identities::words(own))
}

/// Takes up what the configuration says these accounts stand for. Names that it has no more, and those
/// that stand for something else now, leave their proofs and halts to whoever takes the partner up.
async fn adopt(tx: &mut Tx, configured: &[(AccountName, Identity)], now: Timestamp) -> Result<()> {
    halt_by_recorded_answers(tx, now).await?;
    let in_force = identities::in_force(tx).await?;
    let wanted: Vec<(AccountName, identities::Words)> = configured
        .iter()
        .map(|(name, identity)| (name.clone(), identities::words(identity)))
        .collect();
    // A name has one partner, and a partner one name.
    let partner =
        |[cloud, partner_tenant, _]: &identities::Words| (cloud.clone(), partner_tenant.clone());
    let gives_way = |(name, held): &&(AccountName, identities::Words)| {
        wanted.iter().any(|(other, words)| other == name || partner(words) == partner(held))
    };
    for (name, _) in in_force.iter().filter(|held| !wanted.contains(held)).filter(gives_way) {
        leave(tx, name, now).await?;
    }
    for (name, identity) in wanted.iter().filter(|wanted| !in_force.contains(wanted)) {
        take_up(tx, name, identity, now).await?;
    }
    Ok(())
}

async fn leave(tx: &mut Tx, name: &AccountName, now: Timestamp) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    let (proven, halted) = (std::mem::take(&mut account.proven), account.halted.take());
    identities::leave(tx, name, proven, halted.as_ref(), now).await?;
    // Another process may work for what it stood for until now.
    leases::take_away(tx, None, Some(name), now).await?;
    settle(tx, &account, now).await
}

async fn take_up(
    tx: &mut Tx,
    name: &AccountName,
    identity: &identities::Words,
    now: Timestamp,
) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    // A proof of an older version is nobody's: that one did not store whose it was.
    account.proven = Proven::default();
    for former in identities::of_partner(tx, identity, now).await? {
        if former.is_the_same_app {
            account.proven.write |= former.proven.write;
            account.proven.reservation |= former.proven.reservation;
            account.proven.delete |= former.proven.delete;
        }
        account.halted = account.halted.or(former.halted);
    }
    // A halt stands in one place, or lifting it there would not lift it.
    identities::clear_halts(tx, identity).await?;
    identities::take_up(tx, name, identity, now).await?;
    let [cloud, partner_tenant, client_id] = identity;
    tracing::info!(
        account = %name, cloud, partner_tenant, client_id, proven = ?account.proven,
        halted = account.halted.is_some(), "the account stands for this partner from now on"
    );
    settle(tx, &account, now).await
}

/// Stores an account whose halt may have come or gone.
async fn settle(tx: &mut Tx, account: &Account, now: Timestamp) -> Result<()> {
    accounts::save(tx, account).await?;
    accounts::set_clocks(tx, &account.name, now).await
}

/// Halts the accounts where an answer on record demands it that came after a person last lifted a halt
/// there, if one did: an older version stored the halt after the answer, and may have been killed in
/// between.
async fn halt_by_recorded_answers(tx: &mut Tx, now: Timestamp) -> Result<()> {
    for answer in identities::answers_since_lifted(tx).await? {
        if let Some(text) = settlement::halts(answer.status, answer.code, answer.text) {
            account::halt(tx, &answer.account, Reason::Halted.as_str(), &text, now).await?;
        }
    }
    Ok(())
}
