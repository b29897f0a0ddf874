-- A lease ends with its row, however that was ended: typed in, too. Renewals are made for all leases at
-- once, and would else be refused for the sake of one row. The fence stops the pass that lives in it.

DROP TRIGGER teardowns_update_terminal;
CREATE TRIGGER teardowns_update_terminal BEFORE UPDATE ON teardowns
WHEN OLD.state IN ('deleted', 'aborted', 'failed')
 AND NOT (OLD.state = 'failed' AND NEW.state IS 'queued')
 AND NOT (OLD.lease_owner IS NOT NULL AND NEW.lease_owner IS NULL AND NEW.state IS OLD.state)
BEGIN
    SELECT RAISE(ABORT, 'this teardown has ended and stays as it is: a failed one can be queued anew with `teardownd retry`');
END;

UPDATE teardowns SET lease_owner = NULL, lease_until = NULL
WHERE lease_owner IS NOT NULL AND state IN ('deleted', 'aborted', 'failed');

CREATE TRIGGER teardowns_update_lease AFTER UPDATE ON teardowns
WHEN NEW.state IN ('deleted', 'aborted', 'failed') AND NEW.lease_owner IS NOT NULL
BEGIN
    UPDATE teardowns SET lease_owner = NULL, lease_until = NULL, fence = fence + 1 WHERE id = NEW.id;
END;

-- When what has a schedule was last done: what was due while no daemon ran is made up for at the start.
CREATE TABLE jobs (
    name   TEXT NOT NULL PRIMARY KEY,
    ran_at TEXT NOT NULL CHECK (ran_at IS strftime('%Y-%m-%dT%H:%M:%fZ', ran_at, '+0 days'))
);
