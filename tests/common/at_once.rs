//! A door of the store for tests under simulated time: each step ends before any time may pass.

use std::future::{poll_fn, ready};
use std::sync::LazyLock;
use std::task::{Context, Poll};

use teardownd::core::clock::BoxFuture;
use teardownd::store::{Passage, Step};
use tokio::runtime::{Builder, Runtime};
use tokio::task::coop::unconstrained;

/// Lets each step through at once, to its end.
#[derive(Debug)]
pub(crate) struct AtOnce;

/// Serves connections to a database server, in the time of the machine.
pub(crate) static NETWORK: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// Runs a step to its end.
pub(crate) fn run(step: &mut Step<'_>) {
    let _network = NETWORK.enter();
    // A task that never lets others run would be made to wait by tokio, for ever.
    futures::executor::block_on(unconstrained(poll_fn(step)));
}

impl Passage for AtOnce {
    fn enter(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn poll(&self, _cx: &mut Context<'_>, step: &mut Step<'_>) -> Poll<()> {
        run(step);
        Poll::Ready(())
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}
