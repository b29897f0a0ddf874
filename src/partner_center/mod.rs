//! The Partner Center REST client: everything between the core's words and bytes on a wire.
//!
//! Reads bring a fact and the time its reading *started*; a write is exactly one exchange, and what
//! becomes of it is the reconciler's to decide. The client repeats nothing but a read: once with a new
//! token after a 401, and once on a new connection where a kept one turned out closed.

mod calls;
mod census;
mod client;
pub mod clouds;
pub mod credentials;
pub mod decode;
mod entitled;
mod error;
mod exchange;
mod flight;
pub mod ledger;
mod paging;
mod permits;
mod reads;
mod reqwest_transport;
mod send;
mod skew;
mod throttle;
mod token;
pub mod transport;
mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use calls::{CALLS, Call, bucket_of, call_of, call_of_read};
pub use client::{AccountSettings, Client, Timeouts};
pub use error::{ApiError, Kind};
pub use exchange::{Exchange, SentAs};
pub use permits::{Permit, PermitKind};
pub use reqwest_transport::{ReqwestTransport, TransportSettings};
pub use send::Sent;
pub use wire::ANSWERS;
