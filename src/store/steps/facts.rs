//! The facts that the gates ask of the store.

use jiff::Timestamp;

use super::account::forget_lapsed_canary;
use crate::core::gates::{SafetyPolicy, StoredFacts};
use crate::core::ids::{CommandId, TeardownId};
use crate::core::teardown::Teardown;
use crate::store::model::time::millis;
use crate::store::tables::{accounts, clock, commands, protections, teardowns};
use crate::store::{Result, Store, Tx};

impl Store {
    /// The facts that the gates ask for before the next write of a teardown, as the transaction that
    /// commits it reads it. `question` is the command that is to be sent again; `None` for one that is not
    /// stored yet.
    ///
    /// # Errors
    /// [`NotFound`](crate::store::StoreError::NotFound) for a teardown that is gone.
    pub async fn facts(
        &self,
        teardown: TeardownId,
        question: Option<CommandId>,
        policy: &SafetyPolicy,
        now: Timestamp,
    ) -> Result<StoredFacts> {
        self.read("facts", || {
            async move |tx: &mut Tx| {
                let row = teardowns::load(tx, teardown).await?;
                gather(tx, &row, question, true, policy, millis(now)).await
            }
        })
        .await
    }
}

/// The facts that the gates ask of the store, without the command in question. Past deletions are read only
/// when a DELETE asks.
pub(super) async fn gather(
    tx: &mut Tx,
    row: &Teardown,
    command: Option<CommandId>,
    deleting: bool,
    policy: &SafetyPolicy,
    now: Timestamp,
) -> Result<StoredFacts> {
    let (mut account, every) = accounts::load_with_every(tx, &row.account).await?;
    forget_lapsed_canary(tx, &mut account, now).await?;
    let question = command.map(|id| id.to_string());
    let deletions = if deleting {
        commands::deletions(tx, &account, question.as_deref(), now).await?
    } else {
        Vec::new()
    };
    let unapproved = teardowns::unapproved(tx, &row.account, policy).await?;
    Ok(StoredFacts {
        teardown: row.clone(),
        command,
        calls: 0,
        account,
        every,
        deletions,
        resource_busy: false,
        unapproved,
        protections: protections::load_for(tx, row).await?,
        ahead: clock::ahead(tx).await?,
    })
}
