//! The tables: load and save, and nothing else. A statement has one text where both engines understand it.

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
    (sqlite) => {
        "max(coalesce(next_attempt_at, updated_at), coalesce(not_before, ''))"
    };
    (postgres) => {
        "GREATEST(COALESCE(next_attempt_at, updated_at), not_before)"
    };
}

/// The condition that a lease is a process's of the replica with this name, or anybody's where none is named.
macro_rules! owned_by {
    ($replica:literal) => {
        concat!(
            "(",
            $replica,
            " IS NULL OR substr(lease_owner, 1, length(",
            $replica,
            ") + 1) = ",
            $replica,
            " || '/')"
        )
    };
}

pub(super) mod accounts;
pub(super) mod acks;
pub(super) mod audit;
pub(super) mod clock;
pub(super) mod commands;
pub(super) mod customers;
pub(super) mod faults;
pub(super) mod identities;
pub(super) mod in_force;
pub(super) mod jobs;
pub(super) mod leases;
pub(super) mod protections;
pub(super) mod purchases;
pub(super) mod reloads;
pub(super) mod replicas;
pub(super) mod requests;
pub(super) mod retention;
pub(super) mod rows;
pub(super) mod sends;
pub(super) mod survey;
pub(super) mod teardowns;
pub(super) mod transitions;
pub(super) mod version;
pub(super) mod waiting;
pub(super) mod writers;
