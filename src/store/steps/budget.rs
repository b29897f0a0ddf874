//! The request budget (invariant 9).

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::core::budget::{Ask, Budget, Grant};
use crate::core::ids::AccountName;
use crate::store::model::time::{before, millis};
use crate::store::rules::window;
use crate::store::tables::sends;
use crate::store::{Result, Store, Tx};

impl Store {
    /// Reserves sends in the budget, durably, before they go out (invariant 9).
    pub async fn reserve(
        &self,
        account: &AccountName,
        asks: &[Ask],
        budget: &Budget,
        now: Timestamp,
    ) -> Result<Vec<Grant>> {
        self.write("reserve", || {
            async move |tx: &mut Tx| reserve(tx, account, asks, budget, millis(now)).await
        })
        .await
    }
}

async fn reserve(
    tx: &mut Tx,
    name: &AccountName,
    asks: &[Ask],
    budget: &Budget,
    now: Timestamp,
) -> Result<Vec<Grant>> {
    let head = sends::head(tx, name).await?;
    if let Some(until) = head.closed_until.filter(|until| now < *until) {
        return Ok(window::closed(asks, until));
    }
    let budget = &window::paced(budget, head.closed_until, now);
    let window_start = before(now, budget.window);
    if head.oldest.is_some_and(|oldest| oldest < window_start) {
        sends::forget(tx, name, window_start).await?;
    }
    let mut used = sends::used(tx, name).await?;
    let mut grants = window::grant(asks, &mut used, budget);
    sends::insert(tx, name, &grants, now).await?;
    // Many asks are blocked by the same thing.
    let mut known = BTreeMap::new();
    for (ask, grant) in asks.iter().zip(&mut grants) {
        for (scope, limit) in window::blocked_by(ask, grant, &used, budget) {
            let opens = match known.get(&(scope, limit)) {
                Some(opens) => *opens,
                None => {
                    let blocking = sends::blocking(tx, name, scope, limit).await?;
                    window::opens_at(blocking, budget.window, now)
                }
            };
            known.insert((scope, limit), opens);
            window::put_off(grant, scope, opens);
        }
    }
    Ok(grants)
}
