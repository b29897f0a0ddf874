//! Rules without a database: what becomes of a row, and what happened to it.

pub(super) mod admission;
pub(super) mod consent;
pub(super) mod protect;
pub(super) mod requests;
pub(super) mod stops;
pub(super) mod teardown;
pub(super) mod typed;
pub(super) mod window;

pub(super) use self::teardown::*;
pub use self::teardown::{DAEMON, due_at};
pub use self::window::paced;
