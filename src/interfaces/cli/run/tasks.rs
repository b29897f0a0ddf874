//! The tasks that run for as long as the daemon does. None of them may be gone without a word.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// The tasks beside the engine. They end with this.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Tasks {
    /// Starts one.
    pub(super) fn spawn(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name.into());
    }

    /// Completes with the name of one that has panicked, or ended although nothing was to stop.
    pub(super) async fn fallen(&mut self, stop: &CancellationToken) -> String {
        loop {
            let id = match self.running.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok(_)) if stop.is_cancelled() => continue,
                Some(Ok((id, ()))) => id,
                Some(Err(error)) => error.id(),
            };
            return self.names.remove(&id).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_too_early_is_named() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        tasks.spawn("lasting", std::future::pending());
        assert_eq!(tasks.fallen(&stop).now_or_never(), None);
        tasks.spawn("early", async {});
        assert_eq!(tasks.fallen(&stop).await, "early");
        stop.cancel();
        tasks.spawn("in time", async {});
        tasks.spawn("broken", async {
            tokio::task::yield_now().await;
            panic!("a fault of the program");
        });
        assert_eq!(tasks.fallen(&stop).await, "broken");
    }
}
