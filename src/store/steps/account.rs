//! Accounts: halts, outages and closures, and what their customer lists taught.

use jiff::Timestamp;

use crate::core::account::{Account, Proven, TroubleKind};
use crate::core::ids::AccountName;
use crate::store::model::time::millis;
use crate::store::rules::stops;
use crate::store::tables::{accounts, customers, identities, leases};
use crate::store::{CustomersRead, Result, Store, Tx};

impl Store {
    /// Halts an account (invariant 2). A second halt keeps the first one's reason.
    pub async fn halt(
        &self,
        account: &AccountName,
        guard: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.write("halt", || {
            async move |tx: &mut Tx| halt(tx, account, guard, text, millis(now)).await
        })
        .await
    }

    /// Stores an outage of the account; `since` of a running one of the same kind is kept.
    pub async fn set_trouble(
        &self,
        account: &AccountName,
        kind: TroubleKind,
        text: &str,
        next_probe_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        self.write("set_trouble", || {
            async move |tx: &mut Tx| {
                set_trouble(tx, account, kind, text, next_probe_at, millis(now)).await
            }
        })
        .await
    }

    /// Makes the next probe of an outage due at once, if there is one.
    pub async fn probe_now(&self, account: &AccountName, now: Timestamp) -> Result<()> {
        self.write("probe_now", || {
            async move |tx: &mut Tx| probe_now(tx, account, millis(now)).await
        })
        .await
    }

    /// Ends an outage.
    pub async fn clear_trouble(&self, account: &AccountName) -> Result<()> {
        self.write("clear_trouble", || async move |tx: &mut Tx| clear_trouble(tx, account).await)
            .await
    }

    /// Closes an account after a 429. A later end that is already stored stays.
    pub async fn throttle(
        &self,
        account: &AccountName,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        self.write("throttle", || {
            async move |tx: &mut Tx| throttle(tx, account, until, millis(now)).await
        })
        .await
    }

    /// Notes a complete customer list: when each customer was first seen, how many there are. An
    /// older list than the latest one is passed over.
    pub async fn note_customers(&self, account: &AccountName, read: &CustomersRead) -> Result<()> {
        self.write("note_customers", || {
            async move |tx: &mut Tx| customers::note(tx, account, read).await
        })
        .await
    }

    /// When the API last refused entitlements to the app of an account, unless it gave them since.
    pub async fn no_entitlements_at(&self, account: &AccountName) -> Result<Option<Timestamp>> {
        self.read("no_entitlements_at", || {
            async move |tx: &mut Tx| identities::no_entitlements_at(tx, account).await
        })
        .await
    }

    /// Notes that the API refuses entitlements to the app of an account, or gives them again.
    pub async fn note_entitlements(
        &self,
        account: &AccountName,
        refused_at: Option<Timestamp>,
    ) -> Result<()> {
        let refused_at = refused_at.map(millis);
        self.write("note_entitlements", || {
            async move |tx: &mut Tx| identities::note_entitlements(tx, account, refused_at).await
        })
        .await
    }
}

/// Every account as it counts. The halt that stands for a damaged row is stored, so that it is seen, reported
/// once, and lifted by a person alone.
pub(super) async fn load_halting_damaged(tx: &mut Tx, now: Timestamp) -> Result<Vec<Account>> {
    let mut accounts = Vec::new();
    for (account, damaged) in accounts::counted(tx).await? {
        if let Some(halt) = account.halted.as_ref().filter(|_| damaged) {
            let text = &halt.reason;
            tracing::error!(account = %account.name, text, "a damaged account is halted");
            accounts::clear_canary(tx, &account.name).await?;
            accounts::save(tx, &account).await?;
            accounts::set_clocks(tx, &account.name, now).await?;
        }
        accounts.push(account);
    }
    Ok(accounts)
}

/// Forgets the canary of an account whose tenant nobody works on any more: a replica that is gone for good
/// would keep all others waiting. Its call, if one is out, keeps first steps waiting for as long as a call
/// takes.
pub(super) async fn forget_lapsed_canary(
    tx: &mut Tx,
    account: &mut Account,
    now: Timestamp,
) -> Result<()> {
    if let Some(canary) = account.canary
        && !leases::is_leased(tx, &account.name, canary.tenant_id, now).await?
    {
        account.canary = None;
    }
    Ok(())
}

/// Ends the pauses whose time has come.
pub(super) async fn expire_pauses(
    tx: &mut Tx,
    accounts: &mut [Account],
    now: Timestamp,
) -> Result<()> {
    for account in accounts {
        if stops::expire_pause(account, now) {
            accounts::save(tx, account).await?;
            accounts::set_clocks(tx, &account.name, now).await?;
        }
    }
    Ok(())
}

/// Stores that first steps were accepted.
pub(super) async fn prove(tx: &mut Tx, name: &AccountName, class: Proven) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    let before = account.proven;
    account.proven.write |= class.write;
    account.proven.reservation |= class.reservation;
    account.proven.delete |= class.delete;
    if account.proven != before {
        accounts::save(tx, &account).await?;
    }
    Ok(())
}

/// Halts an account in the step that is under way.
pub(super) async fn halt(
    tx: &mut Tx,
    name: &AccountName,
    guard: &str,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    if stops::halt(&mut account, guard, text, now) {
        accounts::save(tx, &account).await?;
        accounts::set_clocks(tx, name, now).await?;
    }
    Ok(())
}

async fn set_trouble(
    tx: &mut Tx,
    name: &AccountName,
    kind: TroubleKind,
    text: &str,
    next_probe_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    stops::set_trouble(&mut account, kind, text, next_probe_at, now);
    accounts::save(tx, &account).await
}

async fn probe_now(tx: &mut Tx, name: &AccountName, now: Timestamp) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    if stops::probe_now(&mut account, now) {
        accounts::save(tx, &account).await?;
    }
    Ok(())
}

async fn clear_trouble(tx: &mut Tx, name: &AccountName) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    if account.trouble.take().is_some() {
        accounts::save(tx, &account).await?;
    }
    Ok(())
}

async fn throttle(tx: &mut Tx, name: &AccountName, until: Timestamp, now: Timestamp) -> Result<()> {
    let mut account = accounts::load(tx, name).await?;
    stops::throttle(&mut account, until, now);
    accounts::save(tx, &account).await
}
