//! Every metric of the daemon. What is not listed here is not exported: the layers below count under
//! the names that stand here, and `docs/metrics.md` and the tests are compared with this list.
//!
//! Names follow the conventions of Prometheus: one prefix, base units, `_total` for counters. Labels
//! have closed sets of values, and never a tenant among them.

use metrics::Unit;

use super::labels::{
    ACCOUNT, ACCOUNT_STATE, ACKNOWLEDGED, ANSWER, BLOCKED, CALL, DIRECTION, END, FAILED, GUARD,
    HELD, MOVE, OPERATION, PRESENCE, RESOURCE, ROW_ACCOUNT, STANDING, STATE, TICK, VERSION,
    WAITING, WINDOW,
};
use super::metric::Kind::{Counter, Gauge, Histogram};
use super::metric::Metric;
use super::metric::Start::{Absent, Unknown, Zero};

/// An exchange over the network.
const CALLS: Buckets = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A transaction.
const TRANSACTIONS: Buckets = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];
/// Until a row that is due is claimed.
const LAG: Buckets = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
/// From seconds over minutes and hours to the default deadline of 14 days.
const TEARDOWN: Buckets = &[
    1.0,
    5.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    14_400.0,
    28_800.0,
    86_400.0,
    259_200.0,
    604_800.0,
    1_209_600.0,
];

type Buckets = &'static [f64];

macro_rules! catalogue {
    ($($id:ident: $kind:expr, $name:literal, $unit:ident, [$($dimension:ident),*], $start:ident, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: Unit::$unit,
                dimensions: &[$(&$dimension),*],
                start: $start,
                help: $help,
            };
        )*

        /// Every metric, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($id,)*];
    };
}

catalogue! {
    // Teardowns.
    TEARDOWNS: Gauge, "teardownd_teardowns", Count, [ROW_ACCOUNT, STANDING], Zero,
        "Teardowns by account, state and status.";
    TEARDOWNS_WAITING: Gauge, "teardownd_teardowns_waiting", Count, [ROW_ACCOUNT, WAITING], Zero,
        "Waiting teardowns by what they wait for.";
    TEARDOWNS_HELD: Gauge, "teardownd_teardowns_held", Count, [ROW_ACCOUNT, HELD], Zero,
        "Held teardowns by the guard or person that holds them.";
    TEARDOWNS_STUCK: Gauge, "teardownd_teardowns_stuck", Count, [ROW_ACCOUNT, BLOCKED, ACKNOWLEDGED], Zero,
        "Teardowns in one state for longer than engine.stuck_after, by what blocks them.";
    TEARDOWNS_FAILED: Gauge, "teardownd_teardowns_failed", Count, [ROW_ACCOUNT, FAILED, ACKNOWLEDGED], Zero,
        "Failed teardowns that were neither retried nor queued anew.";
    OLDEST_DUE_AGE: Gauge, "teardownd_oldest_due_age_seconds", Seconds, [ACCOUNT], Zero,
        "For how long the oldest due teardown of an account that nothing stops has not been claimed; 0 without one.";
    TRANSITIONS: Counter, "teardownd_transitions_total", Count, [ROW_ACCOUNT, MOVE], Zero,
        "Changes of state, whoever made them.";
    STATE_DURATION: Histogram(TEARDOWN), "teardownd_state_duration_seconds", Seconds, [ROW_ACCOUNT, STATE], Zero,
        "Time that teardowns spent in a state, counted when they leave it.";
    TEARDOWN_DURATION: Histogram(TEARDOWN), "teardownd_teardown_duration_seconds", Seconds, [ROW_ACCOUNT, END], Zero,
        "Time from the enqueue or the latest retry of a teardown to its end.";

    // Accounts.
    ACCOUNT_STATES: Gauge, "teardownd_account_state", Count, [ACCOUNT, ACCOUNT_STATE], Zero,
        "1 for the state that the account is in, 0 for the others.";
    THROTTLED_UNTIL: Gauge, "teardownd_account_throttled_until_timestamp_seconds", Seconds, [ACCOUNT], Unknown,
        "Until when the latest 429 closes or closed the account; NaN without one.";
    CUSTOMERS: Gauge, "teardownd_customers", Count, [ACCOUNT], Unknown,
        "Customers in the account, as last listed; NaN until the first list.";
    CUSTOMERS_LIMIT: Gauge, "teardownd_customers_limit", Count, [ACCOUNT], Zero,
        "The account's customers_limit.";
    DELETIONS_LEFT: Gauge, "teardownd_deletions_left", Count, [ACCOUNT, WINDOW], Zero,
        "Deletions that the caps still allow.";
    GUARD_REFUSALS: Counter, "teardownd_guard_refusals_total", Count, [ACCOUNT, GUARD], Zero,
        "Writes that a guard refused, each with a hold or a halt.";
    ENQUEUE_REFUSALS: Gauge, "teardownd_enqueue_refusals", Count, [ACCOUNT, GUARD], Zero,
        "Tenants that a guard kept out of the queue, as long as the history is kept.";
    UNCANCELLABLE: Gauge, "teardownd_orders_uncancellable_timestamp_seconds", Seconds, [ACCOUNT], Unknown,
        "When the first active order of an active teardown is too old to be cancelled; NaN without one.";

    // Credentials.
    TOKEN_EXPIRY: Gauge, "teardownd_token_expiry_timestamp_seconds", Seconds, [ACCOUNT], Unknown,
        "When the latest access token expires; NaN until the first one.";
    REFRESH_TOKEN_AGE: Gauge, "teardownd_refresh_token_age_seconds", Seconds, [ACCOUNT], Absent,
        "Time since the refresh token was last used, for accounts that have one.";
    CREDENTIAL_EXPIRY: Gauge, "teardownd_credential_expiry_timestamp_seconds", Seconds, [ACCOUNT], Absent,
        "When the credential lapses, for accounts whose configuration says so.";

    // The API.
    API_REQUESTS: Counter, "teardownd_api_requests_total", Count, [ACCOUNT, CALL, ANSWER], Zero,
        "Requests to the API and to the token endpoint.";
    API_DURATION: Histogram(CALLS), "teardownd_api_request_duration_seconds", Seconds, [ACCOUNT, CALL], Zero,
        "Time that requests took.";
    API_THROTTLED: Counter, "teardownd_api_throttled_total", Count, [ACCOUNT], Zero,
        "Answers with 429.";
    API_REQUESTS_LEFT: Gauge, "teardownd_api_requests_left", Count, [ACCOUNT, RESOURCE], Zero,
        "Requests that the budget of the present minute still allows.";
    COMMANDS_UNSETTLED: Gauge, "teardownd_commands_unsettled", Count, [ACCOUNT], Zero,
        "Commands of active teardowns whose outcome is not known.";
    UNSETTLED_AGE: Gauge, "teardownd_commands_unsettled_oldest_age_seconds", Seconds, [ACCOUNT], Zero,
        "Time since the oldest of them was committed; 0 without one.";

    // The daemon.
    TICKS: Counter, "teardownd_scheduler_ticks_total", Count, [TICK], Zero,
        "Looks at the queue.";
    LAG_SECONDS: Histogram(LAG), "teardownd_scheduler_lag_seconds", Seconds, [], Zero,
        "For how long claimed teardowns had been due.";
    LEASE_LOSSES: Counter, "teardownd_lease_losses_total", Count, [], Zero,
        "Leases that were lost to another process.";
    STORE_DURATION: Histogram(TRANSACTIONS), "teardownd_store_operation_duration_seconds", Seconds, [OPERATION], Zero,
        "Time that operations of the store took.";
    STORE_ERRORS: Counter, "teardownd_store_errors_total", Count, [OPERATION], Zero,
        "Operations of the store that failed.";
    STORE_SIZE: Gauge, "teardownd_store_size_bytes", Bytes, [], Unknown,
        "Size of the database, its write-ahead log included.";
    STORE_FREE: Gauge, "teardownd_store_free_bytes", Bytes, [], Unknown,
        "Space left on the disk under the database.";
    STORE_MIN_FREE: Gauge, "teardownd_store_min_free_bytes", Bytes, [], Zero,
        "database.min_free: with less left nothing new is claimed.";
    REPLICAS: Gauge, "teardownd_replicas", Count, [PRESENCE], Zero,
        "Replicas that work on the database, were stopped in good order, or are silent.";
    CLOCK_STEPS: Counter, "teardownd_clock_steps_total", Count, [DIRECTION], Zero,
        "Steps of the system's clock that were followed.";
    CLOCK_AHEAD: Gauge, "teardownd_clock_ahead_seconds", Seconds, [], Zero,
        "How far the system's clock is ahead of the database's own, by which waits, caps and deadlines go.";
    BUILD_INFO: Gauge, "teardownd_build_info", Count, [VERSION], Zero,
        "Always 1; the version is a label.";
}
