//! The configuration that the daemon works with, and requests to read it anew.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::core::reason::Reason;
use crate::store::model::time::millis;
use crate::store::tables::{in_force, reloads, waiting};
use crate::store::{ReloadAnswer, Result, Store, Tx};

impl Store {
    /// Asks the daemon to read its configuration anew. Returns the number of the request.
    pub async fn ask_reload(&self, actor: &str, now: Timestamp) -> Result<i64> {
        self.write("ask_reload", || {
            async move |tx: &mut Tx| reloads::insert(tx, actor, millis(now)).await
        })
        .await
    }

    /// The numbers of the requests to reload that are not answered yet, oldest first.
    pub async fn open_reloads(&self) -> Result<Vec<i64>> {
        self.read("open_reloads", || async move |tx: &mut Tx| reloads::open(tx).await).await
    }

    /// Answers these requests, and forgets all but the latest hundred.
    pub async fn answer_reloads(
        &self,
        ids: &[i64],
        answer: &ReloadAnswer,
        now: Timestamp,
    ) -> Result<()> {
        self.write("answer_reloads", || {
            async move |tx: &mut Tx| answer_all(tx, ids, answer, millis(now)).await
        })
        .await
    }

    /// The answer to a request to reload, once there is one.
    pub async fn reload_answer(&self, id: i64) -> Result<Option<ReloadAnswer>> {
        self.read("reload_answer", || async move |tx: &mut Tx| reloads::answered(tx, id).await)
            .await
    }

    /// Stores the configuration that the daemon works with, by key.
    ///
    /// # Errors
    /// The engine's.
    pub async fn put_in_force(&self, values: &BTreeMap<String, String>) -> Result<()> {
        self.write("put_in_force", || async move |tx: &mut Tx| in_force::put(tx, values).await)
            .await
    }

    /// The configuration that the daemon works with; empty where none has told it yet.
    ///
    /// # Errors
    /// The engine's.
    pub async fn in_force(&self) -> Result<BTreeMap<String, String>> {
        self.read("in_force", || async move |tx: &mut Tx| in_force::get(tx).await).await
    }
}

/// The waits that an answer of the API leads to.
const WAITING_FOR_AN_ANSWER: [Reason; 4] = [
    Reason::CancellationPending,
    Reason::PurchasePending,
    Reason::ProofPending,
    Reason::RetryBackoff,
];

async fn answer_all(tx: &mut Tx, ids: &[i64], answer: &ReloadAnswer, now: Timestamp) -> Result<()> {
    reloads::answer(tx, ids, answer, now).await?;
    if answer.changed.iter().any(|key| key.starts_with("codes.")) {
        // The meaning of an answer may have changed for rows that wait because of one.
        waiting::wake(tx, &WAITING_FOR_AN_ANSWER, now).await?;
    }
    reloads::forget(tx).await
}
