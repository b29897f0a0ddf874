//! Settings that are replaced while the daemon runs: who works with them asks anew each time, and what
//! was asked for once stays whole.

use std::sync::{Arc, PoisonError, RwLock};

use crate::core::gates::SafetyPolicy;

/// A value that can be replaced as a whole. Clones share it.
#[derive(Debug)]
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Live<T> {
    /// Starts with this value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value that holds now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this value holds.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// What of an account's settings a reload replaces. Each commit and each send asks for them anew, so
/// that a guard that was tightened stops also what was decided before (invariant 3).
#[derive(Debug, Clone)]
pub struct AccountRules {
    /// The guards.
    pub safety: Live<SafetyPolicy>,
    /// Requests a minute of each resource.
    pub requests_per_minute: Live<u32>,
}

impl AccountRules {
    /// Starts with these.
    pub fn new(safety: SafetyPolicy, requests_per_minute: u32) -> Self {
        Self { safety: Live::new(safety), requests_per_minute: Live::new(requests_per_minute) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_is_set_and_what_was_taken_stays() {
        let live = Live::new(1);
        let other = live.clone();
        let taken = other.get();
        live.set(2);
        assert_eq!((*taken, *other.get()), (1, 2));
    }
}
