//! The ground of commands that read from the API beside a daemon.

use std::sync::Arc;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::open;
use crate::interfaces::assemble::Ground;
use crate::interfaces::config::Config;
use crate::partner_center::{ReqwestTransport, TransportSettings};
use crate::runtime::clock::SystemEntropy;
use crate::store::{Result, Store};

/// The network and, where it can be opened, the database: its request budget is shared with the
/// daemon. Without one the budget is kept in memory, and nothing is written anywhere.
pub(super) async fn ground(config: &Config) -> std::result::Result<(Ground, Result<()>), Failure> {
    let clock = open::clock();
    let (store, database): (Arc<Store>, Result<()>) = match open::store(config, &clock, false).await
    {
        Ok(store) => (store, Ok(())),
        Err(error) => (Arc::new(Store::scratch().await?), Err(error)),
    };
    let transport = ReqwestTransport::new(&TransportSettings::default())
        .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    let entropy = Arc::new(SystemEntropy);
    Ok((Ground { store, transport: Arc::new(transport), clock, entropy }, database))
}

/// The network beside a database that is open.
pub(super) fn on(context: &Context) -> std::result::Result<Ground, Failure> {
    let transport = ReqwestTransport::new(&TransportSettings::default())
        .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    Ok(Ground {
        store: Arc::clone(&context.store),
        transport: Arc::new(transport),
        clock: Arc::clone(&context.clock),
        entropy: Arc::new(SystemEntropy),
    })
}
