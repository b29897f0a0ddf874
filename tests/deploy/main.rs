//! What stands in `deploy` and `docs/install.md` works: the unit is strict, the manifests are valid, the
//! image's files are enough to run on, and a fresh Debian with the package tears customers down.
#![cfg(feature = "simulator")]

mod container;
mod daemon;
mod debian;
mod manifests;
mod page;
mod root;
mod sandbox;
mod support;
mod unit;
