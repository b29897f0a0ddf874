//! What a restored database takes over from the one it replaces.
//!
//! Two rules: what stops something is taken over, and what permits something counts only where the
//! replaced database permits it as well. Where that one cannot be read, nothing is permitted.
//! In the statements `present` is the replaced database; both have this program's schema.

use serde::Serialize;
use sqlx::SqliteConnection;

use super::Given;
use crate::store::Result;

/// What the replaced database knew and the backup did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Accounts whose halt or pause was taken over.
    pub stops: u64,
    /// Teardowns that are held because they had been held or aborted, or had failed, since.
    pub held: u64,
    /// Accounts that are armed in the backup and not any more, or as another account.
    pub disarmed: u64,
    /// Teardowns whose approval in the backup does not count any more.
    pub unapproved: u64,
    /// Teardowns that the backup does not have.
    pub missing: u64,
}

const PROTECTIONS: &str = "
    INSERT INTO protections (account, kind, subject, actor, reason, since)
    SELECT account, kind, subject, actor, reason, since FROM present.protections WHERE 1
    ON CONFLICT DO NOTHING";

/// The same rows, and not only the same numbers: a restore may have happened before.
const SAME: [&str; 1] = ["
    CREATE TEMP TABLE same AS
    SELECT t.id FROM teardowns AS t JOIN present.teardowns AS p
      ON p.id = t.id AND p.created_at = t.created_at
     AND lower(p.account) = lower(t.account) AND lower(p.tenant_id) = lower(t.tenant_id)"];

/// The consents that the replaced database knows as well.
const STANDING_CONSENTS: [&str; 2] = [
    "CREATE TEMP TABLE still_armed AS
     SELECT a.name FROM accounts AS a JOIN present.accounts AS p ON p.name = a.name
     WHERE p.armed_by IS NOT NULL AND p.armed_partner_tenant IS a.armed_partner_tenant
       AND p.armed_cloud IS a.armed_cloud AND p.armed_client_id IS a.armed_client_id",
    "CREATE TEMP TABLE still_approved AS
     SELECT t.id FROM teardowns AS t
     JOIN temp.same AS s ON s.id = t.id JOIN present.teardowns AS p ON p.id = t.id
     WHERE p.state NOT IN ('aborted', 'failed')
       AND (p.hold_code IS NULL OR p.hold_code IS t.hold_code)
       AND (p.operator_hold_since IS NULL OR p.operator_hold_since IS t.operator_hold_since)
       AND p.run_since IS t.run_since AND p.approved_run IS t.approved_run
       AND p.approved_at IS t.approved_at AND p.approved_by IS t.approved_by
       AND p.approved IS t.approved",
];

/// Where the replaced database cannot be read: none.
const NO_CONSENTS: [&str; 2] =
    ["CREATE TEMP TABLE still_armed (name TEXT)", "CREATE TEMP TABLE still_approved (id INTEGER)"];

/// Takes back the other consents of the backup.
const REVOKE: [&str; 6] = [
    "CREATE TEMP TABLE disarmed AS
     SELECT name, armed_by FROM accounts
     WHERE armed_by IS NOT NULL AND name NOT IN (SELECT name FROM temp.still_armed)",
    "INSERT INTO operator_requests (verb, account, actor, reason, created_at, answered_at, answer)
     SELECT 'disarm', name, ?3, ?4, ?1, ?1,
            'account ' || name || ': disarmed; it was armed by ' || armed_by FROM temp.disarmed",
    "UPDATE accounts SET armings = armings + 1, armed_by = NULL, armed_since = NULL,
         armed_partner_tenant = NULL, armed_cloud = NULL, armed_client_id = NULL
     WHERE name IN (SELECT name FROM temp.disarmed)",
    "CREATE TEMP TABLE unapproved AS
     SELECT id FROM teardowns
     WHERE approved_by IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')
       AND id NOT IN (SELECT id FROM temp.still_approved)",
    "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, text, actor)
     SELECT t.id, lower(t.account), lower(t.tenant_id), ?1, t.state, t.state,
            'the approval by ' || t.approved_by || ' does not count any more: the database was '
                || ?4, ?3
     FROM teardowns AS t JOIN temp.unapproved AS u ON u.id = t.id",
    "UPDATE teardowns SET approvals = approvals + 1, approved_by = NULL, approved_at = NULL,
         approved_run = NULL, approved = NULL
     WHERE id IN (SELECT id FROM temp.unapproved)",
];

/// What had been stopped, put off or acknowledged of single teardowns.
const TEARDOWNS: [&str; 7] = [
    // An abort or a failure becomes a hold that a person lifts; a guard's never stands for it.
    "CREATE TEMP TABLE stopped AS
     SELECT t.id, 'operator' AS code,
            'in the database that was replaced it was '
                || CASE WHEN p.operator_hold_since IS NULL THEN p.state ELSE 'held' END
                || coalesce(': ' || coalesce(p.operator_hold_text, p.reason_text), '') AS text,
            coalesce(p.operator_hold_by, ?3) AS by, coalesce(p.operator_hold_since, ?1) AS since
     FROM teardowns AS t
     JOIN temp.same AS s ON s.id = t.id JOIN present.teardowns AS p ON p.id = t.id
     WHERE t.state NOT IN ('deleted', 'aborted', 'failed') AND t.operator_hold_since IS NULL
       AND (p.state IN ('aborted', 'failed') OR p.operator_hold_since IS NOT NULL)
     UNION ALL
     SELECT t.id, p.hold_code,
            'in the database that was replaced it was held: ' || p.hold_text, p.hold_by, p.hold_since
     FROM teardowns AS t
     JOIN temp.same AS s ON s.id = t.id JOIN present.teardowns AS p ON p.id = t.id
     WHERE t.state NOT IN ('deleted', 'aborted', 'failed') AND p.hold_code IS NOT NULL
       AND p.state NOT IN ('aborted', 'failed') AND t.hold_code IS NOT p.hold_code",
    "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, reason, text, actor)
     SELECT t.id, lower(t.account), lower(t.tenant_id), ?1, t.state, t.state, s.code, s.text, ?3
     FROM teardowns AS t JOIN stopped AS s ON s.id = t.id",
    "UPDATE teardowns SET operator_hold_text = s.text, operator_hold_by = s.by,
         operator_hold_since = s.since
     FROM stopped AS s WHERE s.id = teardowns.id AND s.code = 'operator'",
    "UPDATE teardowns SET hold_code = s.code, hold_text = s.text, hold_by = s.by, hold_since = s.since
     FROM stopped AS s WHERE s.id = teardowns.id AND s.code <> 'operator'",
    "UPDATE teardowns SET priority = p.priority,
         not_before = nullif(max(coalesce(teardowns.not_before, ''), coalesce(p.not_before, '')), '')
     FROM present.teardowns AS p JOIN temp.same AS s ON s.id = p.id
     WHERE p.id = teardowns.id AND teardowns.state NOT IN ('deleted', 'aborted', 'failed')",
    // An acknowledgement is about a state and a hold.
    "DELETE FROM acks",
    "INSERT INTO acks (teardown_id, at, actor, reason)
     SELECT a.teardown_id, a.at, a.actor, a.reason FROM present.acks AS a
     JOIN temp.same AS s ON s.id = a.teardown_id
     JOIN teardowns AS t ON t.id = s.id JOIN present.teardowns AS p ON p.id = s.id
     WHERE p.state IS t.state AND p.hold_code IS t.hold_code
       AND p.operator_hold_since IS t.operator_hold_since",
];

/// What the backup has no row of. Its history tells discovery that it was queued before, so that
/// nobody who was spared is queued anew by itself; and its ids are not given to others.
const MISSING: [&str; 3] = [
    "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, reason, text, actor)
     SELECT p.teardown_id, p.account, p.tenant_id, p.at, p.from_state, p.to_state, p.reason, p.text,
            p.actor
     FROM present.transitions AS p
     WHERE NOT EXISTS (SELECT 1 FROM main.transitions AS t
                       WHERE t.tenant_id = p.tenant_id AND t.account = p.account)
     ORDER BY p.id",
    "INSERT INTO sqlite_sequence (name, seq)
     SELECT 'teardowns', 0
     WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'teardowns')",
    "UPDATE sqlite_sequence SET seq = max(seq,
         coalesce((SELECT seq FROM present.sqlite_sequence WHERE name = 'teardowns'), 0))
     WHERE name = 'teardowns'",
];

/// What was typed in and is not answered yet, as far as it stops something.
const REQUESTS: [&str; 1] =
    ["INSERT INTO operator_requests (verb, account, tenant_id, domain, batch, state, latest_only,
         actor, reason, created_at)
     SELECT verb, account, tenant_id, domain, batch, state, latest_only, actor, reason, created_at
     FROM present.operator_requests
     WHERE answered_at IS NULL AND teardown_id IS NULL AND verb IN ('hold', 'abort', 'protect')"];

/// The stops of accounts, and what their budget was spent on.
const ACCOUNTS: [&str; 8] = [
    "DELETE FROM sends",
    "INSERT INTO sends (account, resource, at, customer, reads, writes)
     SELECT account, resource, at, customer, reads, writes FROM present.sends",
    // Only those that are missing: the trigger on armings is asked of an ignored row, too.
    "INSERT INTO accounts (name) SELECT name FROM present.accounts
     WHERE name <> '*' AND name NOT IN (SELECT name FROM main.accounts)",
    // A pause is never shortened.
    "CREATE TEMP TABLE longer_pauses AS
     SELECT a.name FROM accounts AS a JOIN present.accounts AS p ON p.name = a.name
     WHERE a.name <> '*' AND p.paused_reason IS NOT NULL
       AND (a.paused_reason IS NULL OR coalesce(p.paused_until, '9999') > coalesce(a.paused_until, '9999'))",
    "CREATE TEMP TABLE halts AS
     SELECT a.name FROM accounts AS a JOIN present.accounts AS p ON p.name = a.name
     WHERE a.name <> '*' AND ((p.halted_reason IS NOT NULL AND a.halted_reason IS NULL)
        OR a.name IN (SELECT name FROM temp.longer_pauses))",
    "UPDATE accounts SET paused_reason = p.paused_reason, paused_by = p.paused_by,
         paused_since = p.paused_since, paused_until = p.paused_until
     FROM present.accounts AS p
     WHERE p.name = accounts.name AND accounts.name IN (SELECT name FROM temp.longer_pauses)",
    "UPDATE accounts SET
         halted_reason = coalesce(accounts.halted_reason, p.halted_reason),
         halted_by = CASE WHEN accounts.halted_reason IS NULL THEN p.halted_by ELSE accounts.halted_by END,
         halted_since = CASE WHEN accounts.halted_reason IS NULL THEN p.halted_since ELSE accounts.halted_since END,
         throttled_since = CASE WHEN coalesce(p.throttled_until, '') > coalesce(accounts.throttled_until, '')
             THEN p.throttled_since ELSE accounts.throttled_since END,
         throttled_until = nullif(max(coalesce(accounts.throttled_until, ''), coalesce(p.throttled_until, '')), '')
     FROM present.accounts AS p WHERE p.name = accounts.name AND accounts.name <> '*'",
    // Halts of partners that no account stands for now, and the names they have had.
    "INSERT INTO identities (account, cloud, partner_tenant, client_id, since, left_at,
         halted_reason, halted_by, halted_since)
     SELECT p.account, p.cloud, p.partner_tenant, p.client_id, p.since, coalesce(p.left_at, ?1),
            p.halted_reason, p.halted_by, p.halted_since
     FROM present.identities AS p
     WHERE NOT EXISTS (SELECT 1 FROM main.identities AS t
                       WHERE t.account = p.account AND t.cloud = p.cloud
                         AND t.partner_tenant = p.partner_tenant AND t.client_id = p.client_id)",
];

/// The clock of the database goes on from the later one: what is taken over is not of the future then.
const CLOCK: [&str; 2] = [
    "INSERT INTO clock SELECT * FROM present.clock WHERE NOT EXISTS (SELECT 1 FROM main.clock)",
    "UPDATE clock SET boot = p.boot, uptime_ns = p.uptime_ns, at = p.at
     FROM present.clock AS p WHERE p.at > clock.at",
];

/// Since when customers are known, where the replaced database has read the newer list: whoever has come
/// back since is as new as it says.
const CUSTOMERS: [&str; 4] = [
    "CREATE TEMP TABLE newer_lists AS
     SELECT p.account FROM present.customer_lists AS p
     LEFT JOIN main.customer_lists AS t ON t.account = p.account
     WHERE t.read_at IS NULL OR t.read_at <= p.read_at",
    "DELETE FROM customers WHERE account IN (SELECT account FROM temp.newer_lists)",
    "INSERT INTO customers (account, tenant_id, domain, first_seen_at)
     SELECT account, tenant_id, domain, first_seen_at FROM present.customers
     WHERE account IN (SELECT account FROM temp.newer_lists)",
    "REPLACE INTO customer_lists (account, read_at, customers)
     SELECT account, read_at, customers FROM present.customer_lists
     WHERE account IN (SELECT account FROM temp.newer_lists)",
];

const COUNTS: [&str; 5] = [
    "SELECT count(*) FROM temp.halts",
    "SELECT count(DISTINCT id) FROM temp.stopped",
    "SELECT count(*) FROM temp.disarmed",
    "SELECT count(*) FROM temp.unapproved",
    "SELECT count(*) FROM present.teardowns AS p WHERE NOT EXISTS (
         SELECT 1 FROM main.teardowns AS t WHERE t.id = p.id AND t.created_at = p.created_at)",
];

/// Takes over the deny entries, by themselves: damage elsewhere must not lose them. An entry that was
/// lifted since stays. Returns how many the backup did not have.
pub(super) async fn keep_protections(conn: &mut SqliteConnection) -> Result<u64> {
    Ok(sqlx::query(PROTECTIONS).execute(conn).await?.rows_affected())
}

/// Takes over everything else, or nothing.
pub(super) async fn carry_over(conn: &mut SqliteConnection, given: &Given) -> Result<Carried> {
    let steps: Vec<&'static str> = [
        &SAME[..],
        &STANDING_CONSENTS,
        &REVOKE,
        &TEARDOWNS,
        &MISSING,
        &REQUESTS,
        &ACCOUNTS,
        &CUSTOMERS,
        &CLOCK,
    ]
    .concat();
    given.run(conn, &steps).await?;
    let mut counts = [0_u64; COUNTS.len()];
    for (count, sql) in counts.iter_mut().zip(COUNTS) {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *conn).await?;
        *count = u64::try_from(found).unwrap_or_default();
    }
    let [stops, held, disarmed, unapproved, missing] = counts;
    Ok(Carried { stops, held, disarmed, unapproved, missing })
}

/// Where nothing is known of what was sent since: as if the whole budget had been.
const CLOSE: [&str; 2] = [
    "INSERT INTO accounts (name)
     SELECT DISTINCT lower(account) FROM teardowns
     WHERE state NOT IN ('deleted', 'aborted', 'failed')
       AND lower(account) NOT IN (SELECT name FROM accounts)",
    "UPDATE accounts SET throttled_until = max(coalesce(throttled_until, ''), ?2) WHERE name <> '*'",
];

/// Tables that a takeover that was broken off may have left.
const FORGET: [&str; 4] = [
    "DROP TABLE IF EXISTS temp.still_armed",
    "DROP TABLE IF EXISTS temp.still_approved",
    "DROP TABLE IF EXISTS temp.disarmed",
    "DROP TABLE IF EXISTS temp.unapproved",
];

/// Closes the accounts for a moment and takes back every consent.
pub(super) async fn trust_nothing(conn: &mut SqliteConnection, given: &Given) -> Result<()> {
    given.run(conn, &[&FORGET[..], &NO_CONSENTS, &REVOKE, &CLOSE].concat()).await
}
