//! The Partner Center REST client: everything between the core's words and bytes on a wire.

pub mod decode;
pub mod ledger;
pub mod transport;
