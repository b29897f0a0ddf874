//! The timing rules that a decision goes by.

use std::time::Duration;

use super::settlement::Codes;

/// The timing rules, from `[engine]`, `[polling]` and `[retry]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `engine.deadline`: bound on eligible time.
    pub deadline: Duration,
    /// `polling.initial`.
    pub polling_initial: Duration,
    /// `polling.max`.
    pub polling_max: Duration,
    /// `polling.reissue_after`.
    pub reissue_after: Duration,
    /// `retry.initial`.
    pub retry_initial: Duration,
    /// `retry.max`.
    pub retry_max: Duration,
    /// `retry.max_attempts`.
    pub max_attempts: u32,
    /// `[codes]`: further answers that an operator has classified.
    pub codes: Codes,
}
