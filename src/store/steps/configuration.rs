//! The configurations that replicas work with, and requests to read them anew.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::core::reason::Reason;
use crate::store::model::time::millis;
use crate::store::tables::{in_force, reloads, replicas, waiting};
use crate::store::{ReloadAnswer, Replica, Result, Store, Tx};

impl Store {
    /// Asks every replica to read its configuration anew. Returns the number of the request.
    pub async fn ask_reload(&self, actor: &str, now: Timestamp) -> Result<i64> {
        self.write("ask_reload", || {
            async move |tx: &mut Tx| reloads::insert(tx, actor, millis(now)).await
        })
        .await
    }

    /// The numbers of the requests to reload that a replica has not answered yet, oldest first.
    pub async fn open_reloads(&self, replica: &str) -> Result<Vec<i64>> {
        self.read("open_reloads", || async move |tx: &mut Tx| reloads::open(tx, replica).await)
            .await
    }

    /// Stores what a replica answers to these requests, and forgets all but the latest hundred.
    pub async fn answer_reloads(
        &self,
        replica: &str,
        ids: &[i64],
        answer: &ReloadAnswer,
        now: Timestamp,
    ) -> Result<()> {
        self.write("answer_reloads", || {
            async move |tx: &mut Tx| answer_all(tx, replica, ids, answer, millis(now)).await
        })
        .await
    }

    /// The answer to a request to reload, once every replica that works has given its own.
    pub async fn reload_answer(&self, id: i64, now: Timestamp) -> Result<Option<ReloadAnswer>> {
        self.snapshot("reload_answer", || {
            async move |tx: &mut Tx| {
                let (asked_at, answers) = reloads::answers(tx, id).await?;
                // One that has started since has read its file in any case.
                let has_answered = |one: &Replica| {
                    one.started_at > asked_at || answers.iter().any(|(name, _)| *name == one.name)
                };
                let working = replicas::working(tx, now).await?;
                let answer = working.iter().all(has_answered).then_some(answers);
                Ok(answer.and_then(|answers| ReloadAnswer::of_all(&answers)))
            }
        })
        .await
    }

    /// Stores the configuration that a replica works with, by key.
    ///
    /// # Errors
    /// The engine's.
    pub async fn put_in_force(
        &self,
        replica: &str,
        values: &BTreeMap<String, String>,
    ) -> Result<()> {
        self.write("put_in_force", || {
            async move |tx: &mut Tx| in_force::put(tx, replica, values).await
        })
        .await
    }

    /// The configuration that a replica works with; empty where it has not told it yet.
    ///
    /// # Errors
    /// The engine's.
    pub async fn in_force(&self, replica: &str) -> Result<BTreeMap<String, String>> {
        self.read("in_force", || async move |tx: &mut Tx| in_force::of(tx, replica).await).await
    }
}

/// The waits that an answer of the API leads to.
const WAITING_FOR_AN_ANSWER: [Reason; 4] = [
    Reason::CancellationPending,
    Reason::PurchasePending,
    Reason::ProofPending,
    Reason::RetryBackoff,
];

async fn answer_all(
    tx: &mut Tx,
    replica: &str,
    ids: &[i64],
    answer: &ReloadAnswer,
    now: Timestamp,
) -> Result<()> {
    reloads::answer(tx, replica, ids, answer, now).await?;
    if answer.changed.iter().any(|key| key.starts_with("codes.")) {
        // The meaning of an answer may have changed for rows that wait because of one.
        waiting::wake(tx, &WAITING_FOR_AN_ANSWER, now).await?;
    }
    reloads::forget(tx).await
}
