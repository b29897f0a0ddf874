//! A door of the store for tests under simulated time: each step ends before any time may pass.

use std::future::{poll_fn, ready};
use std::task::{Context, Poll};

use teardownd::core::clock::BoxFuture;
use teardownd::store::{Passage, Step};

/// Lets each step through at once, to its end.
#[derive(Debug)]
pub(crate) struct AtOnce;

impl Passage for AtOnce {
    fn enter(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn poll(&self, _cx: &mut Context<'_>, step: &mut Step<'_>) -> Poll<()> {
        futures::executor::block_on(poll_fn(step));
        Poll::Ready(())
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}
