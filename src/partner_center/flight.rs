//! One reading at a time whose result everybody who waits for it shares.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::error::ApiError;

/// A shared value that is read at most once at a time. Those who come while it is being read wait
/// and share the result, also a failure: an outage must not be tried anew by each of them in turn.
#[derive(Debug)]
pub(super) struct Flight<T> {
    slot: Mutex<Slot<T>>,
    /// Counts callers, to tell who was already waiting when a reading failed.
    callers: AtomicU64,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    /// The last failure, and the newest caller that was waiting for it.
    failure: Option<(u64, ApiError)>,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        let slot = Slot { value: None, failure: None };
        Self { slot: Mutex::new(slot), callers: AtomicU64::new(0) }
    }
}

impl<T: Clone> Flight<T> {
    /// The value if it is usable, else what `read` brings. If the caller that reads goes away, the
    /// next one reads.
    pub(super) async fn get(
        &self,
        usable: impl Fn(&T) -> bool,
        read: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let ticket = self.callers.fetch_add(1, Ordering::Relaxed);
        let mut slot = self.slot.lock().await;
        if let Some(value) = slot.value.as_ref().filter(|value| usable(value)) {
            return Ok(value.clone());
        }
        if let Some((_, error)) = slot.failure.as_ref().filter(|(newest, _)| ticket <= *newest) {
            return Err(error.clone().shared());
        }
        match read.await {
            Ok(value) => {
                *slot = Slot { value: Some(value.clone()), failure: None };
                Ok(value)
            }
            Err(error) => {
                let newest = self.callers.load(Ordering::Relaxed).saturating_sub(1);
                slot.failure = Some((newest, error.clone()));
                Err(error)
            }
        }
    }

    /// The value as it is, if it passes.
    pub(super) async fn peek(&self, passes: impl Fn(&T) -> bool) -> Option<T> {
        self.slot.lock().await.value.as_ref().filter(|value| passes(value)).cloned()
    }

    /// Forgets the value if it is the one meant.
    pub(super) async fn forget(&self, meant: impl Fn(&T) -> bool) {
        let mut slot = self.slot.lock().await;
        if slot.value.as_ref().is_some_and(meant) {
            slot.value = None;
        }
    }
}
