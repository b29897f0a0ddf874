//! Puts the engine together from the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::{AccountConfig, Config, Database};
use crate::core::clock::{Clock, Entropy};
use crate::core::ids::AccountName;
use crate::partner_center::clouds::InvalidEndpoint;
use crate::partner_center::transport::Transport;
use crate::partner_center::{AccountSettings, Client, Timeouts};
use crate::runtime::account::AccountRuntime;
use crate::runtime::ledger::StoreLedger;
use crate::runtime::live::AccountRules;
use crate::runtime::scheduler::ClaimCheck;
use crate::store::free_bytes;
use crate::store::{Replica, Store};

/// What the parts of the engine share.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The store.
    pub store: Arc<Store>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Ground {
    /// An account as configured.
    ///
    /// # Errors
    /// When one of its addresses is not fit.
    pub fn account(&self, account: &AccountConfig) -> Result<AccountRuntime, InvalidEndpoint> {
        self.account_within(account, Timeouts::default())
    }

    /// An account as configured, with other limits on time.
    ///
    /// # Errors
    /// When one of its addresses is not fit.
    pub fn account_within(
        &self,
        account: &AccountConfig,
        timeouts: Timeouts,
    ) -> Result<AccountRuntime, InvalidEndpoint> {
        let rules = AccountRules::new(account.policy.clone(), account.requests_per_minute);
        let ledger = StoreLedger::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            account.name.clone(),
            rules.requests_per_minute.clone(),
        );
        let client = Client::new(
            account_settings(account, timeouts),
            Arc::clone(&self.transport),
            Arc::new(ledger),
            Arc::clone(&self.clock),
            Arc::clone(&self.entropy),
        )?;
        client.set_codes(account.codes.clone());
        Ok(AccountRuntime::new(account.name.clone(), client, rules))
    }

    /// Every configured account.
    ///
    /// # Errors
    /// When an address of one of them is not fit.
    pub fn accounts(
        &self,
        accounts: &BTreeMap<AccountName, AccountConfig>,
    ) -> Result<Vec<Arc<AccountRuntime>>, InvalidEndpoint> {
        accounts.values().map(|account| self.account(account).map(Arc::new)).collect()
    }
}

fn account_settings(account: &AccountConfig, timeouts: Timeouts) -> AccountSettings {
    AccountSettings {
        name: account.name.clone(),
        partner_tenant: account.policy.partner_tenant,
        client_id: account.client_id.to_string(),
        credential: account.credential.clone(),
        api_base: account.api_base.clone(),
        authority: account.authority.clone(),
        timeouts,
    }
}

/// The replica that this process is. Without a name in the configuration it has that of the host.
pub fn replica(config: &Config, clock: &dyn Clock, entropy: &dyn Entropy) -> Replica {
    let name = match config.replica.as_str() {
        "" => rustix::system::uname().nodename().to_string_lossy().replace('/', "-"),
        name => name.to_owned(),
    };
    let random = entropy.uuid().simple().to_string();
    let owner = format!("{name}/{}/{}", std::process::id(), &random[..8]);
    Replica::starting(&name, owner, clock.now())
}

/// Nothing new is claimed while the disk under the database has less than `database.min_free`. The disk of a
/// server is the server's.
pub fn enough_room(database: &Database) -> ClaimCheck {
    match database.place.file() {
        Some(path) => room(path.to_owned(), database.min_free.0, free_bytes),
        None => Arc::new(|| Ok(())),
    }
}

fn room(
    path: PathBuf,
    min_free: u64,
    free_bytes: impl Fn(&Path) -> crate::store::Result<u64> + Send + Sync + 'static,
) -> ClaimCheck {
    Arc::new(move || match free_bytes(&path) {
        Ok(free) if free < min_free => Err(format!(
            "{} has {} free, below database.min_free = {}",
            path.display(),
            bytesize::ByteSize(free),
            bytesize::ByteSize(min_free)
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::store::StoreError;

    #[test]
    fn nothing_is_claimed_below_min_free_and_the_text_says_why() {
        let free = Arc::new(AtomicU64::new(300));
        let reader = Arc::clone(&free);
        let check =
            room("/data/t.db".into(), 256, move |_: &Path| Ok(reader.load(Ordering::Relaxed)));
        assert_eq!(check(), Ok(()));
        free.store(255, Ordering::Relaxed);
        let why = check().unwrap_err();
        assert!(why.contains("/data/t.db") && why.contains("database.min_free = 256 B"), "{why}");
        free.store(256, Ordering::Relaxed);
        assert_eq!(check(), Ok(()), "it goes on by itself");

        let unreadable = |_: &Path| Err(StoreError::Unfit("/data cannot be looked at".to_owned()));
        assert_eq!(
            room("/data/t.db".into(), 1, unreadable)().unwrap_err(),
            "/data cannot be looked at"
        );
    }
}
