//! The one door of the store: every step passes it, whatever it does. Steps are timed here and their
//! failures counted, and a test stands here that kills its daemon between two steps.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::core::clock::{BoxFuture, Clock};
use crate::store::{Result, StoreError};

/// The operations, as they are counted.
pub const OPERATIONS: &[&str] = &[
    "enqueue",
    "list",
    "purchases",
    "commands",
    "history",
    "faults",
    "take_over",
    "adopt",
    "claim",
    "next_due",
    "renew",
    "release",
    "set_aside",
    "commit",
    "begin_send",
    "record_answer",
    "account",
    "accounts",
    "halt",
    "set_trouble",
    "probe_now",
    "clear_trouble",
    "throttle",
    "reserve",
    "no_entitlements_at",
    "note_entitlements",
    "note_customers",
    "customers",
    "request",
    "apply_requests",
    "approve",
    "arm",
    "protections",
    "acks",
    "note_refused",
    "audit",
    "audit_begins",
    "check_accounts",
    "recheck",
    "version",
    "ask_reload",
    "open_reloads",
    "answer_reloads",
    "reload_answer",
    "keep_time",
    "told_time",
    "timekeeping",
    "tick",
    "stop",
    "replicas",
    "other_partners",
    "facts",
    "put_in_force",
    "in_force",
    "survey",
    "purge",
    "last_run",
    "begin_run",
    "end_run",
];

/// Stands at the door and lets each step through.
pub trait Passage: Send + Sync + fmt::Debug {
    /// Completes when the next step may begin.
    fn enter(&self) -> BoxFuture<'_, ()>;

    /// Drives a step on.
    fn poll(&self, cx: &mut Context<'_>, step: &mut Step<'_>) -> Poll<()> {
        step(cx)
    }

    /// Completes when the caller may hear of the step's end.
    fn leave(&self) -> BoxFuture<'_, ()>;
}

/// A step under way: polls it once.
pub type Step<'a> = dyn FnMut(&mut Context<'_>) -> Poll<()> + 'a;

/// A way into the store.
#[derive(Debug, Clone, Default)]
pub struct Door {
    measure: Option<Arc<dyn Clock>>,
    passage: Option<Arc<dyn Passage>>,
}

impl Door {
    /// A door at which steps are timed and failures counted.
    pub fn measured(clock: Arc<dyn Clock>) -> Self {
        Self { measure: Some(clock), passage: None }
    }

    /// A door at which somebody stands.
    pub fn guarded(passage: Arc<dyn Passage>) -> Self {
        Self { measure: None, passage: Some(passage) }
    }

    pub(super) async fn pass<T>(
        &self,
        operation: &'static str,
        step: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        debug_assert!(OPERATIONS.contains(&operation), "{operation} is not in OPERATIONS");
        let begun = self.measure.as_ref().map(|clock| clock.uptime());
        let done = match &self.passage {
            Some(passage) => let_through(passage.as_ref(), step).await,
            None => step.await,
        };
        if let (Some(clock), Some(begun)) = (&self.measure, begun) {
            let took = clock.uptime().saturating_sub(begun);
            note(operation, took.as_secs_f64(), done.as_ref().err());
        }
        done
    }
}

async fn let_through<T>(passage: &dyn Passage, step: impl Future<Output = Result<T>>) -> Result<T> {
    passage.enter().await;
    let mut done = None;
    let mut step = pin!(step);
    poll_fn(|cx| {
        passage.poll(cx, &mut |cx| step.as_mut().poll(cx).map(|ended| done = Some(ended)))
    })
    .await;
    passage.leave().await;
    done.unwrap_or_else(|| Err(StoreError::Engine("the step was given up".to_owned())))
}

fn note(operation: &'static str, took: f64, error: Option<&StoreError>) {
    metrics::histogram!("teardownd_store_operation_duration_seconds", "operation" => operation)
        .record(took);
    // A lost lease and a row that is not there are answers; anything else is a failure.
    if error.is_some_and(|e| !matches!(e, StoreError::LeaseLost(_) | StoreError::NotFound(_))) {
        metrics::counter!("teardownd_store_errors_total", "operation" => operation).increment(1);
    }
}
