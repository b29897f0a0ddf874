//! Keeps the number of customers of every account known, also while nothing is torn down: a sandbox
//! that fills up blocks whoever tests against it, and that is when nothing is queued.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::account::AccountRuntime;
use crate::core::account::AccountState;
use crate::core::clock::Clock;
use crate::core::ids::AccountName;
use crate::store::{Result, Store};

/// How often an account's customer list is read for this alone: one request.
const PERIOD: Duration = Duration::from_secs(600);

/// Reads the customer lists until the task is dropped. The store keeps what was counted, and the metrics show it.
pub async fn watch(accounts: Vec<Arc<AccountRuntime>>, store: Arc<Store>, clock: Arc<dyn Clock>) {
    loop {
        for done in join_all(accounts.iter().map(|account| count(account, &store, &clock))).await {
            if let Err(error) = done {
                tracing::warn!(%error, "whether an account is fit to be counted cannot be read");
            }
        }
        clock.sleep(PERIOD).await;
    }
}

/// An account that is stopped, by itself or with every other, or in trouble is left alone; its own passes
/// find out when it is over.
async fn count(account: &AccountRuntime, store: &Arc<Store>, clock: &Arc<dyn Clock>) -> Result<()> {
    if !store.other_partners(&[account.standing()]).await?.is_empty() {
        return Ok(());
    }
    let every = store.account(&AccountName::every()).await?;
    let condition = store.account(&account.name).await?.condition_under(&every, clock.now());
    if condition.state != AccountState::Ok {
        return Ok(());
    }
    if let Err(error) = account.client.customer_list().await {
        tracing::warn!(account = %account.name, %error, "the customers cannot be counted");
    }
    Ok(())
}
