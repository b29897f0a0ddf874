//! Whether an app may read entitlements.

use jiff::Timestamp;

use crate::core::ids::TenantId;

/// The right of this app to ask for entitlements, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Entitled {
    /// Whether the books were asked.
    pub(super) known: bool,
    /// When the latest request that was given some was sent.
    pub(super) given_at: Option<Timestamp>,
    /// When they were last refused to it, unless they were given since.
    pub(super) refused_at: Option<Timestamp>,
    /// The latest refusal that none was given after: who met it, its status and its code.
    pub(super) refused: Option<(TenantId, u16, Option<String>)>,
}
