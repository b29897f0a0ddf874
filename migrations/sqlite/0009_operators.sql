-- Operators: a hold of theirs beside a guard's, and the configuration that the daemon works with.

-- An older program would claim what an operator holds.
UPDATE meta SET value = '9' WHERE key = 'min_reader' AND CAST(value AS INTEGER) < 9;

-- ---- holds --------------------------------------------------------------------------------------

-- hold_code, hold_text, hold_by and hold_since are a guard's from now on; an operator's stands beside it,
-- so that what lets a guard's go leaves an operator's alone.
ALTER TABLE teardowns ADD COLUMN operator_hold_text TEXT;
ALTER TABLE teardowns ADD COLUMN operator_hold_by TEXT;
ALTER TABLE teardowns ADD COLUMN operator_hold_since TEXT
    CONSTRAINT "operator_hold_text, operator_hold_by and operator_hold_since go together"
    CHECK ((operator_hold_since IS NULL) = (operator_hold_text IS NULL)
       AND (operator_hold_since IS NULL) = (operator_hold_by IS NULL));

-- Whether one of them stands.
ALTER TABLE teardowns ADD COLUMN held INTEGER
    GENERATED ALWAYS AS (hold_code IS NOT NULL OR operator_hold_since IS NOT NULL) VIRTUAL;

CREATE TRIGGER teardowns_insert_operator_hold BEFORE INSERT ON teardowns
WHEN coalesce(NEW.operator_hold_text, NEW.operator_hold_by, NEW.operator_hold_since) IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a teardown is held with `teardownd hold`, or by an insert into operator_requests: leave those columns out');
END;

-- An acknowledgement was about that state and those holds; the next one rings anew. It outlives the move
-- of an operator's hold to its own columns.
DROP TRIGGER teardowns_update_ack;

UPDATE teardowns SET operator_hold_text = hold_text, operator_hold_by = hold_by,
    operator_hold_since = hold_since,
    hold_code = NULL, hold_text = NULL, hold_by = NULL, hold_since = NULL
WHERE hold_code = 'operator' AND state NOT IN ('deleted', 'aborted', 'failed');

CREATE TRIGGER teardowns_update_ack AFTER UPDATE ON teardowns
WHEN NEW.state IS NOT OLD.state OR NEW.hold_code IS NOT OLD.hold_code
  OR NEW.operator_hold_since IS NOT OLD.operator_hold_since
BEGIN
    DELETE FROM acks WHERE teardown_id = NEW.id;
END;

-- ---- the configuration in force -----------------------------------------------------------------

-- What the daemon works with, key by key, each value as JSON: written when it starts and after each reload.
-- Commands compare their file with it, and `why` asks the guards with it.
CREATE TABLE in_force (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
