//! The tables in SQLite.

/// The condition on a teardown that it has not ended: the one place where its terminal states stand.
macro_rules! open {
    () => {
        "state NOT IN ('deleted', 'aborted', 'failed')"
    };
}

/// The condition on a teardown that it has ended.
macro_rules! ended {
    () => {
        "state IN ('deleted', 'aborted', 'failed')"
    };
}

/// When a teardown is due, or has been since.
macro_rules! due {
    () => {
        "max(coalesce(next_attempt_at, updated_at), coalesce(not_before, ''))"
    };
}

pub(in crate::store) mod accounts;
pub(in crate::store) mod acks;
pub(in crate::store) mod audit;
pub(in crate::store) mod clock;
pub(in crate::store) mod commands;
pub(in crate::store) mod customers;
pub(in crate::store) mod daemon;
pub(in crate::store) mod faults;
pub(in crate::store) mod identities;
pub(in crate::store) mod in_force;
pub(in crate::store) mod jobs;
pub(in crate::store) mod leases;
pub(in crate::store) mod protections;
pub(in crate::store) mod purchases;
pub(in crate::store) mod reloads;
pub(in crate::store) mod requests;
pub(in crate::store) mod retention;
pub(in crate::store) mod rows;
pub(in crate::store) mod sends;
pub(in crate::store) mod survey;
pub(in crate::store) mod teardowns;
pub(in crate::store) mod transitions;
pub(in crate::store) mod version;
pub(in crate::store) mod waiting;
