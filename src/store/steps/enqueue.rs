//! Enqueue, and the record of what was refused.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::core::ids::TeardownId;
use crate::core::teardown::NewTeardown;
use crate::store::model::time::millis;
use crate::store::rules::protect::check_enqueue;
use crate::store::tables::{protections, requests, teardowns};
use crate::store::{
    EnqueueOutcome, RefusedEnqueue, RequestRecord, Result, Store, StoreError, Tx, rules,
};

impl Store {
    /// Queues all of these or none. The answers stand in the order of the input; a tenant that
    /// occurs twice is `AlreadyActive` the second time. Protected tenants are refused with
    /// [`Protected`](crate::store::StoreError::Protected). Tenants that are active with another domain
    /// than the one named, or with none, are refused with
    /// [`OtherDomain`](crate::store::StoreError::OtherDomain).
    pub async fn enqueue(
        &self,
        rows: &[NewTeardown],
        now: Timestamp,
    ) -> Result<Vec<(TeardownId, EnqueueOutcome)>> {
        self.write("enqueue", || async move |tx: &mut Tx| enqueue(tx, rows, millis(now)).await)
            .await
    }

    /// Keeps that guards refused to queue these, for the audit and to be counted.
    pub async fn note_refused(&self, refused: &[RefusedEnqueue], now: Timestamp) -> Result<()> {
        self.write("note_refused", || {
            async move |tx: &mut Tx| {
                for one in refused {
                    let record = RequestRecord::of_refused(one, millis(now));
                    requests::insert(tx, &record, false).await?;
                }
                Ok(())
            }
        })
        .await
    }
}

async fn enqueue(
    tx: &mut Tx,
    rows: &[NewTeardown],
    now: Timestamp,
) -> Result<Vec<(TeardownId, EnqueueOutcome)>> {
    rows.iter().try_for_each(|row| rules::check_account(&row.account))?;
    check_enqueue(rows, &protections::load_all(tx).await?)?;
    let mut standing = teardowns::standing(tx, rows).await?;
    rules::check_named_domains(rows, |row| {
        let found = standing.get(&(row.account.clone(), row.tenant_id))?;
        Some((found.active?, found.expected_domain.as_deref()))
    })?;
    // A tenant that occurs twice is inserted once.
    let mut taken = BTreeSet::<teardowns::Key>::new();
    let wanted = rows.iter().filter(|row| {
        let key = (row.account.clone(), row.tenant_id);
        let is_free = standing
            .get(&key)
            .is_none_or(|found| found.active.is_none() && (found.deleted.is_none() || row.again));
        is_free && taken.insert(key)
    });
    let mut fresh = teardowns::insert(tx, wanted, now).await?;
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows {
        let key = (row.account.clone(), row.tenant_id);
        let found = standing.entry(key.clone()).or_default();
        let outcome = match (found.active, found.deleted) {
            (Some(id), _) => (id, EnqueueOutcome::AlreadyActive),
            (None, Some(id)) if !row.again => (id, EnqueueOutcome::AlreadyDeleted),
            (None, _) => {
                let id = fresh.remove(&key).ok_or_else(|| {
                    StoreError::Engine(format!("tenant {} was not inserted", row.tenant_id))
                })?;
                found.active = Some(id);
                (id, EnqueueOutcome::Queued)
            }
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
