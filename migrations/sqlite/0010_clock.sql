-- The database's own clock. Every time that the program stores is one of this clock, which never steps,
-- whatever is done to the system's. Times that people mean by the clock on the wall (not_before,
-- paused_until) are stored by this one, too, and moved when the other one is stepped.

-- An older program would store times of the wall clock beside those of this one.
UPDATE meta SET value = '10' WHERE key = 'min_reader';

CREATE TABLE clock (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    -- Names the boot of the machine, and how long it had been up at `at`.
    boot       TEXT NOT NULL,
    uptime_ns  INTEGER NOT NULL CHECK (uptime_ns >= 0),
    -- Time of this clock.
    at         TEXT NOT NULL
        CONSTRAINT "at must be UTC text such as 2027-01-31T08:00:00.000Z"
        CHECK (at IS strftime('%Y-%m-%dT%H:%M:%fZ', at, '+0 days')),
    -- How far the wall clock is ahead of this one.
    ahead_ms   INTEGER NOT NULL,
    -- Steps of the wall clock that were followed, and the latest of them.
    steps      INTEGER NOT NULL DEFAULT 0 CHECK (steps >= 0),
    stepped_at TEXT
        CHECK (stepped_at IS strftime('%Y-%m-%dT%H:%M:%fZ', stepped_at, '+0 days')),
    step_ms    INTEGER CHECK ((step_ms IS NULL) = (stepped_at IS NULL))
) STRICT;

CREATE TRIGGER clock_insert BEFORE INSERT ON clock
WHEN EXISTS (SELECT 1 FROM clock)
BEGIN
    SELECT RAISE(ABORT, 'the database has one clock, and has it already');
END;

CREATE TRIGGER clock_update BEFORE UPDATE ON clock
WHEN NEW.at < OLD.at OR NEW.id IS NOT OLD.id
BEGIN
    SELECT RAISE(ABORT, 'the clock of the database never runs backwards');
END;

CREATE TRIGGER clock_delete BEFORE DELETE ON clock
BEGIN
    SELECT RAISE(ABORT, 'the database keeps its clock: every time in it is one of that clock');
END;

-- The caps go by the clock now.
ALTER TABLE accounts DROP COLUMN clock_high;

-- ---- what is typed in ---------------------------------------------------------------------------

-- SQLite takes the times of rows that are typed in from the wall clock. The daemon gives them times of
-- the database when it first sees them, so that none comes from the future or is overdue at once.
ALTER TABLE teardowns ADD COLUMN typed INTEGER NOT NULL DEFAULT 1 CHECK (typed IN (0, 1));
UPDATE teardowns SET typed = 0 WHERE state NOT IN ('deleted', 'aborted', 'failed');
CREATE INDEX teardowns_typed ON teardowns (id)
    WHERE typed = 1 AND state NOT IN ('deleted', 'aborted', 'failed');

DROP TRIGGER teardowns_insert_history;
CREATE TRIGGER teardowns_insert_history AFTER INSERT ON teardowns
BEGIN
    INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, text, actor)
    VALUES (NEW.id, lower(NEW.account), lower(NEW.tenant_id),
            CASE WHEN NEW.created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
                 THEN strftime('%Y-%m-%dT%H:%M:%fZ', 'now', coalesce(
                     (SELECT printf('%+.3f seconds', -ahead_ms / 1000.0) FROM clock), '+0 days'))
                 ELSE NEW.created_at END,
            NULL, NEW.state, NEW.note, coalesce(NEW.requested_by, 'unknown'));
END;

DROP TRIGGER teardowns_update_history;
CREATE TRIGGER teardowns_update_history AFTER UPDATE ON teardowns
WHEN NEW.state IS NOT OLD.state AND NEW.moves = OLD.moves
BEGIN
    INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, reason, text, actor)
    VALUES (NEW.id, lower(NEW.account), lower(NEW.tenant_id),
            strftime('%Y-%m-%dT%H:%M:%fZ', 'now', coalesce(
                (SELECT printf('%+.3f seconds', -ahead_ms / 1000.0) FROM clock), '+0 days')),
            OLD.state, NEW.state, NEW.reason, 'changed by SQL', 'sql');
    -- A retry begins a new run, also one that was typed in. The daemon says when.
    UPDATE teardowns SET run_since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), finished_at = NULL, typed = 1
    WHERE id = NEW.id AND NEW.state = 'queued';
END;

CREATE TRIGGER operator_requests_insert_time AFTER INSERT ON operator_requests
WHEN NEW.created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
BEGIN
    UPDATE operator_requests SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', coalesce(
        (SELECT printf('%+.3f seconds', -ahead_ms / 1000.0) FROM clock), '+0 days'))
    WHERE id = NEW.id;
END;

CREATE TRIGGER protections_insert_time AFTER INSERT ON protections
WHEN NEW.since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
BEGIN
    UPDATE protections SET since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', coalesce(
        (SELECT printf('%+.3f seconds', -ahead_ms / 1000.0) FROM clock), '+0 days'))
    WHERE account = NEW.account AND kind = NEW.kind AND subject = NEW.subject;
END;
