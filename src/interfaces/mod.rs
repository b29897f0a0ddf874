//! How people and machines meet the daemon: configuration, command line, logs and metrics, and the
//! HTTP listener for health.

pub mod assemble;
pub mod cli;
pub mod config;
pub mod http;
pub mod metering;
pub mod reload;
mod step;
pub mod telemetry;
