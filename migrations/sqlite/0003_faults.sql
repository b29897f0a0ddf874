-- Failed calls, reads and writes alike, and whether an inventory had its cross-check.

-- Whether the latest inventory was checked against the entitlements; 0 where the API refuses them to
-- this app, so that the inventory rests on orders and subscriptions alone.
ALTER TABLE teardowns ADD COLUMN cross_checked INTEGER CHECK (cross_checked IN (0, 1));

-- A command keeps its latest answer only, and a read has no row of its own: here each failure stands
-- with what a ticket to Microsoft needs. Only appended to, and only the newest 50 of a teardown are
-- kept, so that an outage of days does not fill the disk.
CREATE TABLE faults (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    teardown_id    INTEGER NOT NULL,
    account        TEXT NOT NULL CHECK (account = lower(account)),
    tenant_id      TEXT NOT NULL CHECK (tenant_id = lower(tenant_id)),
    -- When the request was sent.
    at             TEXT NOT NULL,
    -- The reason of the wait, the hold or the end it led to; NULL where the work went on.
    reason         TEXT,
    method         TEXT NOT NULL,
    route          TEXT NOT NULL,
    request_id     TEXT,
    correlation_id TEXT,
    http_status    INTEGER,
    ms_code        TEXT,
    text           TEXT NOT NULL,
    body           TEXT
) STRICT;

CREATE INDEX faults_by_tenant ON faults (account, tenant_id, id);
CREATE INDEX faults_by_teardown ON faults (teardown_id, id);

CREATE TRIGGER faults_insert BEFORE INSERT ON faults
WHEN EXISTS (SELECT 1 FROM faults WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'failures are only appended to: leave the column id out');
END;

CREATE TRIGGER faults_insert_bound AFTER INSERT ON faults
BEGIN
    DELETE FROM faults
    WHERE teardown_id = NEW.teardown_id
      AND id <= (SELECT id FROM faults WHERE teardown_id = NEW.teardown_id
                 ORDER BY id DESC LIMIT 1 OFFSET 50);
END;

CREATE TRIGGER faults_update BEFORE UPDATE ON faults
BEGIN
    SELECT RAISE(ABORT, 'failures are only appended to: they never change');
END;

CREATE TRIGGER faults_delete BEFORE DELETE ON faults
WHEN EXISTS (SELECT 1 FROM teardowns WHERE id = OLD.teardown_id)
 AND (SELECT count(*) FROM faults WHERE teardown_id = OLD.teardown_id AND id > OLD.id) < 50
BEGIN
    SELECT RAISE(ABORT, 'failures are only appended to: they go with their teardown');
END;

CREATE TRIGGER teardowns_delete_faults AFTER DELETE ON teardowns
BEGIN
    DELETE FROM faults WHERE teardown_id = OLD.id;
END;
