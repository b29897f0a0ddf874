-- The operator's hand: what must never be touched, what rings no more, and when each customer was
-- first read. Needs SQLite 3.40.

-- An older program does not ask the deny entries.
UPDATE meta SET value = '5' WHERE key = 'min_reader';

-- ---- lasting deny entries (`teardownd protect`) -------------------------------------------------

-- account '*' is every account. subject is a tenant id, or a domain or pattern such as *.prod.example.
-- Typed in:
--   INSERT INTO protections (kind, subject, actor) VALUES ('tenant', '…', 'anna');
CREATE TABLE protections (
    account TEXT NOT NULL DEFAULT '*' CHECK (account = lower(account)),
    kind    TEXT NOT NULL CHECK (kind IN ('tenant', 'domain')),
    subject TEXT NOT NULL
        CONSTRAINT "subject must be a tenant id or a domain in lower case, as kind says"
        CHECK (CASE kind
            WHEN 'tenant' THEN subject GLOB '????????-????-????-????-????????????'
                AND length(replace(subject, '-', '')) = 32
                AND replace(subject, '-', '') NOT GLOB '*[^0-9a-f]*'
            ELSE subject GLOB '?*.?*' AND subject NOT GLOB '*[^a-z0-9.*-]*'
                AND subject NOT GLOB '?*[*]*' AND subject NOT GLOB '[*][^.]*'
                AND subject NOT GLOB '*..*' AND subject NOT GLOB '.*' AND subject NOT GLOB '*.'
            END),
    actor   TEXT NOT NULL DEFAULT 'sql',
    reason  TEXT,
    since   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CONSTRAINT "since must be UTC text such as 2027-01-31T08:00:00.000Z"
        CHECK (since IS strftime('%Y-%m-%dT%H:%M:%fZ', since, '+0 days')),
    PRIMARY KEY (account, kind, subject)
) STRICT, WITHOUT ROWID;

-- Whoever inserts, also by plain SQL, is told at once.
CREATE TRIGGER teardowns_insert_protected BEFORE INSERT ON teardowns
WHEN EXISTS (SELECT 1 FROM protections
             WHERE account IN ('*', lower(NEW.account))
               AND CASE
                   WHEN kind = 'tenant' THEN subject = lower(NEW.tenant_id)
                   WHEN subject GLOB '[*]*'
                       THEN lower(rtrim(trim(NEW.expected_domain), '.')) GLOB '?' || subject
                   ELSE subject = lower(rtrim(trim(NEW.expected_domain), '.')) END)
BEGIN
    SELECT RAISE(ABORT, 'this tenant is protected: see `teardownd protect --list`; only `teardownd unprotect` lifts that');
END;

-- ---- acknowledgements (`teardownd ack`) ---------------------------------------------------------

CREATE TABLE acks (
    teardown_id INTEGER NOT NULL PRIMARY KEY,
    at          TEXT NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT
) STRICT;

-- It was about that state and that hold; the next one rings anew.
CREATE TRIGGER teardowns_update_ack AFTER UPDATE ON teardowns
WHEN NEW.state IS NOT OLD.state OR NEW.hold_code IS NOT OLD.hold_code
BEGIN
    DELETE FROM acks WHERE teardown_id = NEW.id;
END;

CREATE TRIGGER teardowns_delete_ack AFTER DELETE ON teardowns
BEGIN
    DELETE FROM acks WHERE teardown_id = OLD.id;
END;

-- ---- operators' requests ------------------------------------------------------------------------

-- Verbs since this version: ack; set, with priority and not_before; protect and unprotect, with
-- tenant_id or domain (one value or several, separated by commas), for one account or for all.
ALTER TABLE operator_requests ADD COLUMN domain TEXT;
ALTER TABLE operator_requests ADD COLUMN priority INTEGER;
ALTER TABLE operator_requests ADD COLUMN not_before TEXT;

CREATE INDEX operator_requests_by_time ON operator_requests (created_at);
CREATE INDEX commands_by_time ON commands (created_at);

CREATE TRIGGER operator_requests_update BEFORE UPDATE ON operator_requests
WHEN OLD.answered_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'an answered request is history: insert another one');
END;

CREATE TRIGGER operator_requests_delete BEFORE DELETE ON operator_requests
WHEN OLD.answered_at IS NULL
  OR OLD.created_at >= coalesce((SELECT value FROM meta WHERE key = 'history_cutoff'), '')
BEGIN
    SELECT RAISE(ABORT, 'requests are history: retention removes them once they are answered and old');
END;

-- ---- customers of an account --------------------------------------------------------------------

-- The latest complete customer list of each account.
CREATE TABLE customer_lists (
    account   TEXT NOT NULL PRIMARY KEY CHECK (account = lower(account)),
    read_at   TEXT NOT NULL,
    customers INTEGER NOT NULL CHECK (customers >= 0)
) STRICT, WITHOUT ROWID;

-- When each customer of it was first read: the API tells no age.
CREATE TABLE customers (
    account       TEXT NOT NULL CHECK (account = lower(account)),
    tenant_id     TEXT NOT NULL CHECK (tenant_id = lower(tenant_id)),
    domain        TEXT,
    first_seen_at TEXT NOT NULL,
    PRIMARY KEY (account, tenant_id)
) STRICT, WITHOUT ROWID;
