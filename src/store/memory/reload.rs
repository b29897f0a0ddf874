//! Requests to read the configuration anew.

use std::collections::BTreeMap;

use crate::store::reload::KEPT;
use crate::store::{ReloadAnswer, Result, StoreError};

/// The requests by number, each with its answer once there is one.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    rows: BTreeMap<i64, Option<ReloadAnswer>>,
    last: i64,
}

impl Reloads {
    pub(super) fn ask(&mut self) -> i64 {
        self.last += 1;
        self.rows.insert(self.last, None);
        self.last
    }

    pub(super) fn open(&self) -> Vec<i64> {
        self.rows.iter().filter(|(_, answer)| answer.is_none()).map(|(id, _)| *id).collect()
    }

    pub(super) fn answer(&mut self, ids: &[i64], answer: &ReloadAnswer) {
        for id in ids {
            if let Some(row @ None) = self.rows.get_mut(id) {
                *row = Some(answer.clone());
            }
        }
        let oldest_kept = self.rows.keys().rev().nth(KEPT - 1).copied();
        self.rows.retain(|id, answer| answer.is_none() || oldest_kept.is_none_or(|old| *id >= old));
    }

    pub(super) fn answered(&self, id: i64) -> Result<Option<ReloadAnswer>> {
        self.rows
            .get(&id)
            .cloned()
            .ok_or_else(|| StoreError::NotFound(format!("request {id} to reload")))
    }
}
