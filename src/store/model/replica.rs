//! The processes that work on a database.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::core::ids::AccountName;

/// A replica that has not ticked for this long does not work.
const SILENT: SignedDuration = SignedDuration::from_secs(30);
/// One that has not ticked for this long is forgotten.
pub(in crate::store) const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// A process that works on the database: one on a file, several on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replica {
    /// Its name, which is the same after each restart. No two that work have the same.
    pub name: String,
    /// Name of the process: that of the replica, process id and a random part.
    pub owner: String,
    /// Version of the program.
    pub version: String,
    /// The accounts in its configuration.
    pub accounts: Vec<AccountName>,
    /// When it started.
    pub started_at: Timestamp,
    /// When its scheduler last ticked: its heartbeat.
    pub ticked_at: Timestamp,
    /// When it ended in good order, unless it has started again since.
    pub stopped_at: Option<Timestamp>,
}

/// Whether a replica works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Its heartbeat is there.
    Working,
    /// It was stopped in good order.
    Stopped,
    /// Its heartbeat is missing: it has crashed, is frozen, or cannot reach the database.
    Silent,
}

impl Presence {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Working, Self::Stopped, Self::Silent];

    /// The stable name used in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Stopped => "stopped",
            Self::Silent => "silent",
        }
    }
}

impl Replica {
    /// A replica that starts now.
    pub fn starting(name: &str, owner: String, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            owner,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            accounts: Vec::new(),
            started_at: now,
            ticked_at: now,
            stopped_at: None,
        }
    }

    /// Whether it works, as far as its heartbeat tells.
    pub fn presence(&self, now: Timestamp) -> Presence {
        let silent = now.duration_since(self.ticked_at);
        if self.stopped_at.is_some() {
            Presence::Stopped
        } else if silent > SILENT {
            Presence::Silent
        } else {
            Presence::Working
        }
    }
}
