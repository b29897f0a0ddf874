//! What the daemon answers to a request to read its configuration anew.

use serde::Serialize;

/// How many requests are kept.
pub(in crate::store) const KEPT: usize = 100;

/// The daemon's answer to a request to reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadAnswer {
    /// Whether the file was fit. If not, the daemon runs on with what it had.
    pub taken_up: bool,
    /// In words: what was done, or everything that is wrong with the file.
    pub text: String,
    /// Keys whose new values hold from now on.
    pub changed: Vec<String>,
    /// Keys that have changed and are taken up at the next start only.
    pub restart: Vec<String>,
}
