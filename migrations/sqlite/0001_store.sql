-- The store, first version. Needs SQLite 3.40.
--
-- Times are text in UTC, always 24 characters wide (2027-01-31T08:00:00.000Z), so that they can be
-- read and sort as text. Ids of tenants and names of accounts compare without case. The triggers
-- hold whatever writes here, the `sqlite3` shell as well; nothing in them needs a setting of the
-- connection. In particular REPLACE fires no delete trigger by default, so what must not be
-- replaced is looked for before the insert.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- min_reader: the oldest schema version whose programs may still use this database.
-- history_cutoff: history and commands from this time on cannot be removed; `purge` moves it.
INSERT INTO meta (key, value) VALUES
    ('min_reader', '1'),
    ('history_cutoff', '0000-01-01T00:00:00.000Z');

-- ---- teardowns ------------------------------------------------------------------------------

-- '+0 days' makes SQLite reckon with the date, so that a 30th of February is none.
CREATE TABLE teardowns (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    account          TEXT NOT NULL DEFAULT 'default',
    tenant_id        TEXT NOT NULL,
    expected_domain  TEXT,
    domain           TEXT,
    batch            TEXT,
    priority         INTEGER NOT NULL DEFAULT 0,
    note             TEXT,
    requested_by     TEXT DEFAULT 'sql',
    created_at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CONSTRAINT "created_at must be UTC text such as 2027-01-31T08:00:00.000Z"
        CHECK (created_at IS strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '+0 days')),
    -- When the present run began: at the enqueue, or at the latest retry.
    run_since        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- `retry --try-anyway`: send what is held to be impossible, to find out.
    try_anyway       INTEGER NOT NULL DEFAULT 0 CHECK (try_anyway IN (0, 1)),
    not_before       TEXT
        CONSTRAINT "not_before must be UTC text such as 2027-01-31T08:00:00.000Z"
        CHECK (not_before IS strftime('%Y-%m-%dT%H:%M:%fZ', not_before, '+0 days')),
    state            TEXT NOT NULL DEFAULT 'queued'
        CONSTRAINT "state is none that teardownd knows"
        CHECK (state IN ('queued', 'entitlements_fetched', 'orders_cancelling', 'polling',
                         'deleting', 'deleted', 'aborted', 'failed')),
    state_since      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    reason           TEXT,
    reason_text      TEXT,
    hold_code        TEXT,
    hold_text        TEXT,
    hold_by          TEXT,
    hold_since       TEXT,
    attempts         INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    polls            INTEGER NOT NULL DEFAULT 0 CHECK (polls >= 0),
    rounds           INTEGER NOT NULL DEFAULT 0 CHECK (rounds >= 0),
    next_attempt_at  TEXT
        CONSTRAINT "next_attempt_at must be UTC text such as 2027-01-31T08:00:00.000Z"
        CHECK (next_attempt_at IS strftime('%Y-%m-%dT%H:%M:%fZ', next_attempt_at, '+0 days')),
    eligible_since   TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    eligible_used_ms INTEGER NOT NULL DEFAULT 0 CHECK (eligible_used_ms >= 0),
    suspects         TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(suspects)),
    lease_owner      TEXT,
    lease_until      TEXT,
    fence            INTEGER NOT NULL DEFAULT 0 CHECK (fence >= 0),
    -- Changes of state that teardownd made itself, each with a history row of its own. A change
    -- that leaves this alone was typed in, and a trigger writes its history row.
    moves            INTEGER NOT NULL DEFAULT 0,
    updated_at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    finished_at      TEXT,
    CONSTRAINT "hold_code, hold_text, hold_by and hold_since go together"
        CHECK ((hold_code IS NULL) = (hold_text IS NULL)
           AND (hold_code IS NULL) = (hold_by IS NULL)
           AND (hold_code IS NULL) = (hold_since IS NULL)),
    CONSTRAINT "lease_owner and lease_until go together"
        CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
) STRICT;

-- One active teardown per account and tenant (invariant 10).
CREATE UNIQUE INDEX teardowns_active ON teardowns (lower(account), lower(tenant_id))
    WHERE state NOT IN ('deleted', 'aborted', 'failed');
-- In the order in which rows are claimed.
CREATE INDEX teardowns_claim ON teardowns
    (lower(account), priority DESC, max(coalesce(next_attempt_at, updated_at), coalesce(not_before, '')), id)
    WHERE state NOT IN ('deleted', 'aborted', 'failed');
CREATE INDEX teardowns_by_account ON teardowns (lower(account), lower(tenant_id), id);
CREATE INDEX teardowns_by_tenant ON teardowns (lower(tenant_id), id);
CREATE INDEX teardowns_by_batch ON teardowns (batch, id) WHERE batch IS NOT NULL;
CREATE INDEX teardowns_finished ON teardowns (coalesce(finished_at, updated_at))
    WHERE state IN ('deleted', 'aborted', 'failed');
CREATE INDEX teardowns_leased ON teardowns (lower(account)) WHERE lease_owner IS NOT NULL;

-- ---- purchases ------------------------------------------------------------------------------

CREATE TABLE purchases (
    teardown_id   INTEGER NOT NULL REFERENCES teardowns (id),
    key           TEXT NOT NULL,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    route         TEXT NOT NULL,
    status        TEXT NOT NULL,
    standing      TEXT NOT NULL,
    order_id      TEXT,
    blocked       TEXT,
    first_seen_at TEXT NOT NULL,
    last_seen_at  TEXT NOT NULL,
    inactive_at   TEXT,
    PRIMARY KEY (teardown_id, key)
) STRICT, WITHOUT ROWID;

-- ---- commands: outbox, idempotency record and audit (invariant 4) -----------------------------

CREATE TABLE commands (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    account        TEXT NOT NULL CHECK (account = lower(account)),
    tenant_id      TEXT NOT NULL CHECK (tenant_id = lower(tenant_id)),
    teardown_id    INTEGER NOT NULL,
    action         TEXT NOT NULL,
    reservation    INTEGER NOT NULL CHECK (reservation IN (0, 1)),
    resource       TEXT NOT NULL,
    method         TEXT NOT NULL,
    path           TEXT NOT NULL,
    body           TEXT,
    if_match       TEXT,
    created_at     TEXT NOT NULL,
    sends          INTEGER NOT NULL DEFAULT 0,
    first_sent_at  TEXT,
    last_sent_at   TEXT,
    correlation_id TEXT,
    outcome        TEXT
        CHECK (outcome IN ('accepted', 'refused', 'goal_reached', 'withdrawn')),
    settled_at     TEXT,
    http_status    INTEGER,
    ms_code        TEXT,
    text           TEXT
) STRICT;

CREATE UNIQUE INDEX commands_unsettled ON commands (account, tenant_id, resource)
    WHERE outcome IS NULL;
CREATE INDEX commands_by_tenant ON commands (account, tenant_id, seq);
CREATE INDEX commands_deletions ON commands (account, created_at)
    WHERE action = 'delete_customer';
CREATE INDEX commands_settled ON commands (settled_at) WHERE outcome IS NOT NULL;

-- ---- transitions: history, append-only --------------------------------------------------------

CREATE TABLE transitions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    teardown_id INTEGER NOT NULL,
    account     TEXT NOT NULL,
    tenant_id   TEXT NOT NULL,
    at          TEXT NOT NULL,
    from_state  TEXT,
    to_state    TEXT NOT NULL,
    reason      TEXT,
    text        TEXT,
    actor       TEXT NOT NULL
) STRICT;

CREATE INDEX transitions_by_tenant ON transitions (tenant_id, id);
CREATE INDEX transitions_by_teardown ON transitions (teardown_id, id);
CREATE INDEX transitions_by_time ON transitions (at);

-- ---- accounts and their budget ----------------------------------------------------------------

CREATE TABLE accounts (
    name                  TEXT NOT NULL PRIMARY KEY CHECK (name = lower(name)),
    paused_reason         TEXT,
    paused_by             TEXT,
    paused_since          TEXT,
    paused_until          TEXT,
    halted_reason         TEXT,
    halted_by             TEXT,
    halted_since          TEXT,
    throttled_until       TEXT,
    trouble_kind          TEXT,
    trouble_text          TEXT,
    trouble_since         TEXT,
    trouble_next_probe_at TEXT,
    proven_write          INTEGER NOT NULL DEFAULT 0 CHECK (proven_write IN (0, 1)),
    proven_reservation    INTEGER NOT NULL DEFAULT 0 CHECK (proven_reservation IN (0, 1)),
    proven_delete         INTEGER NOT NULL DEFAULT 0 CHECK (proven_delete IN (0, 1)),
    clock_high            TEXT
) STRICT, WITHOUT ROWID;

-- Reserved sends, one row for each grant (invariant 9).
CREATE TABLE sends (
    account  TEXT NOT NULL,
    resource TEXT NOT NULL,
    at       TEXT NOT NULL,
    reads    INTEGER NOT NULL,
    writes   INTEGER NOT NULL,
    PRIMARY KEY (account, resource, at)
) STRICT, WITHOUT ROWID;

-- ---- operators and the daemon -----------------------------------------------------------------

-- Typed in, a request is applied at the daemon's next tick:
--   INSERT INTO operator_requests (verb, tenant_id, reason) VALUES ('hold', '…', 'wait for Ann');
-- Verbs: pause, resume, hold, release, abort, retry, unhalt. tenant_id, teardown_id and state take
-- one value or several, separated by commas; the conditions are joined by "and".
CREATE TABLE operator_requests (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    verb        TEXT NOT NULL,
    account     TEXT,
    tenant_id   TEXT,
    teardown_id TEXT,
    batch       TEXT,
    state       TEXT,
    latest_only INTEGER NOT NULL DEFAULT 0 CHECK (latest_only IN (0, 1)),
    actor       TEXT NOT NULL DEFAULT 'sql',
    reason      TEXT,
    until       TEXT,
    try_anyway  INTEGER NOT NULL DEFAULT 0 CHECK (try_anyway IN (0, 1)),
    created_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    answered_at TEXT,
    answer      TEXT
) STRICT;

CREATE INDEX operator_requests_open ON operator_requests (id) WHERE answered_at IS NULL;

CREATE TABLE daemon (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    owner      TEXT NOT NULL,
    version    TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ticked_at  TEXT NOT NULL
) STRICT;

-- ---- what the database itself refuses (invariants 10 to 12) -----------------------------------

CREATE TRIGGER teardowns_insert_tenant BEFORE INSERT ON teardowns
WHEN NOT coalesce(NEW.tenant_id GLOB '????????-????-????-????-????????????'
              AND length(CAST(NEW.tenant_id AS BLOB)) = 36
              AND length(replace(NEW.tenant_id, '-', '')) = 32
              AND replace(NEW.tenant_id, '-', '') NOT GLOB '*[^0-9a-fA-F]*', 0)
BEGIN
    SELECT RAISE(ABORT, 'tenant_id is not a GUID: write the customer''s tenant id like 1f2e3d4c-5b6a-4788-9900-aabbccddeeff');
END;

CREATE TRIGGER teardowns_insert_account BEFORE INSERT ON teardowns
WHEN NOT coalesce(length(NEW.account) BETWEEN 1 AND 64
              AND NEW.account NOT GLOB '*[^0-9A-Za-z._-]*', 0)
BEGIN
    SELECT RAISE(ABORT, 'account is not a name: use 1 to 64 letters, digits, dots, hyphens or underscores, as in [accounts.NAME]');
END;

CREATE TRIGGER teardowns_insert_state BEFORE INSERT ON teardowns
WHEN NEW.state IS NOT 'queued'
BEGIN
    SELECT RAISE(ABORT, 'a teardown starts as queued: leave the column state out');
END;

CREATE TRIGGER teardowns_insert_id BEFORE INSERT ON teardowns
WHEN EXISTS (SELECT 1 FROM teardowns WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM transitions WHERE teardown_id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'this teardown id is or was in use: leave the column id out');
END;

CREATE TRIGGER teardowns_insert_active BEFORE INSERT ON teardowns
WHEN EXISTS (SELECT 1 FROM teardowns
             WHERE lower(account) = lower(NEW.account) AND lower(tenant_id) = lower(NEW.tenant_id)
               AND state NOT IN ('deleted', 'aborted', 'failed'))
BEGIN
    SELECT RAISE(ABORT, 'this tenant already has an active teardown in this account: see `teardownd show`, or abort that one first');
END;

CREATE TRIGGER teardowns_insert_history AFTER INSERT ON teardowns
BEGIN
    INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, text, actor)
    VALUES (NEW.id, lower(NEW.account), lower(NEW.tenant_id), NEW.created_at, NULL, NEW.state,
            NEW.note, coalesce(NEW.requested_by, 'unknown'));
END;

CREATE TRIGGER teardowns_update_identity BEFORE UPDATE ON teardowns
WHEN NEW.id IS NOT OLD.id OR NEW.tenant_id IS NOT OLD.tenant_id OR NEW.account IS NOT OLD.account
BEGIN
    SELECT RAISE(ABORT, 'id, account and tenant_id of a teardown never change: abort it and insert another one');
END;

CREATE TRIGGER teardowns_update_terminal BEFORE UPDATE ON teardowns
WHEN OLD.state IN ('deleted', 'aborted', 'failed')
 AND NOT (OLD.state = 'failed' AND NEW.state IS 'queued')
BEGIN
    SELECT RAISE(ABORT, 'this teardown has ended and stays as it is: a failed one can be queued anew with `teardownd retry`');
END;

CREATE TRIGGER teardowns_update_state BEFORE UPDATE ON teardowns
WHEN OLD.state NOT IN ('deleted', 'aborted', 'failed')
 AND NEW.state IS NOT OLD.state AND NEW.state NOT IN ('aborted', 'failed')
 AND (OLD.state, NEW.state) NOT IN (VALUES
        ('queued', 'entitlements_fetched'),
        ('entitlements_fetched', 'orders_cancelling'),
        ('entitlements_fetched', 'deleting'),
        ('orders_cancelling', 'polling'),
        ('polling', 'orders_cancelling'),
        ('polling', 'deleting'),
        ('deleting', 'orders_cancelling'),
        ('deleting', 'deleted'))
BEGIN
    SELECT RAISE(ABORT, 'a teardown cannot go from its state to that one: ask with `teardownd hold`, `abort` or `retry`, or leave the column state alone');
END;

CREATE TRIGGER teardowns_update_abort BEFORE UPDATE ON teardowns
WHEN NEW.state IS 'aborted' AND OLD.state IS NOT 'aborted'
 AND EXISTS (SELECT 1 FROM commands
             WHERE account = lower(OLD.account) AND tenant_id = lower(OLD.tenant_id)
               AND action = 'delete_customer'
               AND (outcome IN ('accepted', 'goal_reached') OR (outcome IS NULL AND sends > 0)))
BEGIN
    SELECT RAISE(ABORT, 'this teardown cannot be aborted: a DELETE of the customer was sent and may have been carried out');
END;

-- UPDATE OR REPLACE would otherwise push the other active row out.
CREATE TRIGGER teardowns_update_active BEFORE UPDATE ON teardowns
WHEN OLD.state IN ('deleted', 'aborted', 'failed') AND NEW.state IS 'queued'
 AND EXISTS (SELECT 1 FROM teardowns
             WHERE lower(account) = lower(OLD.account) AND lower(tenant_id) = lower(OLD.tenant_id)
               AND id <> OLD.id AND state NOT IN ('deleted', 'aborted', 'failed'))
BEGIN
    SELECT RAISE(ABORT, 'this tenant already has an active teardown in this account: it cannot be retried beside it');
END;

CREATE TRIGGER teardowns_update_history AFTER UPDATE ON teardowns
WHEN NEW.state IS NOT OLD.state AND NEW.moves = OLD.moves
BEGIN
    INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, reason, text, actor)
    VALUES (NEW.id, lower(NEW.account), lower(NEW.tenant_id),
            strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), OLD.state, NEW.state, NEW.reason,
            'changed by SQL', 'sql');
    -- A retry begins a new run, also one that was typed in.
    UPDATE teardowns SET run_since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), finished_at = NULL
    WHERE id = NEW.id AND NEW.state = 'queued';
END;

CREATE TRIGGER teardowns_delete BEFORE DELETE ON teardowns
WHEN OLD.state NOT IN ('deleted', 'aborted', 'failed')
BEGIN
    SELECT RAISE(ABORT, 'an active teardown cannot be removed: abort it with `teardownd abort`');
END;

CREATE TRIGGER teardowns_delete_purchases AFTER DELETE ON teardowns
BEGIN
    DELETE FROM purchases WHERE teardown_id = OLD.id;
END;

CREATE TRIGGER commands_insert BEFORE INSERT ON commands
BEGIN
    SELECT RAISE(ABORT, 'this command stands already: a command is inserted once and keeps its id')
    WHERE EXISTS (SELECT 1 FROM commands WHERE id = NEW.id OR seq = NEW.seq);
    SELECT RAISE(ABORT, 'another command on the same resource is unsettled: it is settled first')
    WHERE EXISTS (SELECT 1 FROM commands
                  WHERE account = NEW.account AND tenant_id = NEW.tenant_id
                    AND resource = NEW.resource AND outcome IS NULL);
    SELECT RAISE(ABORT, 'a command needs an active teardown of its account and tenant')
    WHERE NOT EXISTS (SELECT 1 FROM teardowns
                      WHERE id = NEW.teardown_id AND lower(account) = NEW.account
                        AND lower(tenant_id) = NEW.tenant_id
                        AND state NOT IN ('deleted', 'aborted', 'failed'));
    SELECT RAISE(ABORT, 'a command starts unsent and unsettled')
    WHERE NEW.outcome IS NOT NULL OR NEW.sends <> 0;
END;

CREATE TRIGGER commands_update BEFORE UPDATE ON commands
BEGIN
    SELECT RAISE(ABORT, 'a command is repeated unchanged: its id, target, method, path, body and if_match never change')
    WHERE NEW.seq IS NOT OLD.seq OR NEW.id IS NOT OLD.id OR NEW.account IS NOT OLD.account
       OR NEW.tenant_id IS NOT OLD.tenant_id OR NEW.teardown_id IS NOT OLD.teardown_id
       OR NEW.action IS NOT OLD.action OR NEW.reservation IS NOT OLD.reservation
       OR NEW.resource IS NOT OLD.resource OR NEW.method IS NOT OLD.method
       OR NEW.path IS NOT OLD.path OR NEW.body IS NOT OLD.body
       OR NEW.if_match IS NOT OLD.if_match OR NEW.created_at IS NOT OLD.created_at;
    SELECT RAISE(ABORT, 'a settled command stays settled as it is: a new attempt is a new command')
    WHERE OLD.outcome IS NOT NULL
      AND (NEW.outcome IS NOT OLD.outcome OR NEW.settled_at IS NOT OLD.settled_at
           OR NEW.sends IS NOT OLD.sends);
    SELECT RAISE(ABORT, 'sends of a command are counted up only')
    WHERE NEW.sends < OLD.sends;
    SELECT RAISE(ABORT, 'a command that was sent cannot be withdrawn: its effect is unknown until it is read')
    WHERE NEW.outcome IS 'withdrawn' AND NEW.sends > 0;
END;

CREATE TRIGGER commands_delete BEFORE DELETE ON commands
BEGIN
    SELECT RAISE(ABORT, 'commands are the record of what was sent: only retention removes them, once settled, old and without their teardown')
    WHERE OLD.outcome IS NULL
       OR OLD.settled_at >= coalesce((SELECT value FROM meta WHERE key = 'history_cutoff'), '')
       OR EXISTS (SELECT 1 FROM teardowns WHERE id = OLD.teardown_id)
       OR (OLD.action = 'delete_customer' AND OLD.outcome IN ('accepted', 'goal_reached')
           AND EXISTS (SELECT 1 FROM teardowns
                       WHERE lower(account) = OLD.account AND lower(tenant_id) = OLD.tenant_id));
END;

CREATE TRIGGER transitions_insert BEFORE INSERT ON transitions
WHEN EXISTS (SELECT 1 FROM transitions WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'history is only appended to: leave the column id out');
END;

CREATE TRIGGER transitions_update BEFORE UPDATE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'history is only appended to: it never changes');
END;

CREATE TRIGGER transitions_delete BEFORE DELETE ON transitions
WHEN OLD.at >= coalesce((SELECT value FROM meta WHERE key = 'history_cutoff'), '')
  OR EXISTS (SELECT 1 FROM teardowns WHERE id = OLD.teardown_id)
BEGIN
    SELECT RAISE(ABORT, 'history is only appended to: retention removes it once it is old and its teardown is gone');
END;
