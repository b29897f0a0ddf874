//! Approvals and the arming of accounts.

use jiff::Timestamp;

use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::model::time::millis;
use crate::store::rules::consent;
use crate::store::tables::{accounts, purchases, requests, teardowns, transitions};
use crate::store::{
    ApproveRequest, ArmRequest, Filter, RequestEffect, RequestRecord, Result, Store, Tx, rules,
};

impl Store {
    /// Approves teardowns, each for the inventory that is stored of it or that a plan names, and lets
    /// go of those that were held for want of that. Stored with its effects like any request.
    pub async fn approve(
        &self,
        request: &ApproveRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        self.write("approve", || async move |tx: &mut Tx| approve(tx, request, millis(now)).await)
            .await
    }

    /// Arms or disarms an account; arming lets go of its teardowns that were held for want of it.
    /// Stored with its effect like any request.
    pub async fn arm(&self, request: &ArmRequest, now: Timestamp) -> Result<RequestEffect> {
        self.write("arm", || async move |tx: &mut Tx| arm(tx, request, millis(now)).await).await
    }
}

/// Applies an approval and keeps it with its answer.
async fn approve(
    tx: &mut Tx,
    request: &ApproveRequest,
    now: Timestamp,
) -> Result<Vec<RequestEffect>> {
    let mut effects = Vec::new();
    for row in super::request::to_change(tx, &request.filter).await? {
        let mut row = match row {
            Ok(row) => row,
            Err(damaged) => {
                effects.push(damaged);
                continue;
            }
        };
        let (account, every) = accounts::load_with_every(tx, &row.account).await?;
        let runs = rules::runs(&account, &every, now);
        let stored = purchases::of_teardown(tx, row.id).await?;
        let (effect, event) = consent::approve(&mut row, request, &stored, runs, now);
        if let Some(event) = event {
            teardowns::save(tx, &row, row.state).await?;
            teardowns::save_approval(tx, &row).await?;
            transitions::record(tx, &row, &[event], now).await?;
        }
        effects.push(effect);
    }
    let record = RequestRecord::of_approval(request, rules::requests::answer(&effects), now);
    requests::insert(tx, &record, request.filter.latest_only).await?;
    Ok(effects)
}

/// Arms or disarms an account and keeps the request with its answer.
async fn arm(tx: &mut Tx, request: &ArmRequest, now: Timestamp) -> Result<RequestEffect> {
    let (mut account, every) = accounts::load_with_every(tx, &request.account).await?;
    let effect = consent::arm(&mut account, request, now);
    if effect.applied {
        accounts::save(tx, &account).await?;
    }
    let runs = rules::runs(&account, &every, now);
    let filter = Filter { account: Some(request.account.clone()), ..Filter::default() };
    if account.armed.is_some() {
        for mut row in held_for_arming(tx, &filter).await? {
            if let Some(event) = consent::account_was_armed(&mut row, &request.actor, runs, now) {
                super::keep(tx, &row, event, now).await?;
            }
        }
    }
    let answer = rules::requests::answer(std::slice::from_ref(&effect));
    requests::insert(tx, &RequestRecord::of_arming(request, answer, now), false).await?;
    Ok(effect)
}

async fn held_for_arming(tx: &mut Tx, filter: &Filter) -> Result<Vec<Teardown>> {
    let mut rows = teardowns::list(tx, filter).await?;
    rows.retain(|row| row.holds.guard().is_some_and(|hold| hold.code == Reason::Arming));
    Ok(rows)
}
