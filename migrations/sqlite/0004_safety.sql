-- Arming, approvals, and the order of work by what becomes impossible to cancel soonest.

-- An older program would write without asking for an approval or an arming that the configuration
-- wants.
UPDATE meta SET value = '4' WHERE key = 'min_reader';

-- The account as a person confirmed it. Another partner tenant, cloud or client id in the
-- configuration makes it count as not armed.
ALTER TABLE accounts ADD COLUMN armed_by TEXT;
ALTER TABLE accounts ADD COLUMN armed_since TEXT;
ALTER TABLE accounts ADD COLUMN armed_partner_tenant TEXT;
ALTER TABLE accounts ADD COLUMN armed_cloud TEXT;
ALTER TABLE accounts ADD COLUMN armed_client_id TEXT;
-- How often teardownd itself armed or disarmed it: a change that leaves this alone was typed in.
ALTER TABLE accounts ADD COLUMN armings INTEGER NOT NULL DEFAULT 0;

-- Who arms has seen what the API says of the account, which no statement can show.
CREATE TRIGGER accounts_insert_arming BEFORE INSERT ON accounts
WHEN NOT EXISTS (
        SELECT 1 FROM (SELECT 1) LEFT JOIN accounts AS old ON old.name = NEW.name
        WHERE NEW.armings = coalesce(old.armings, 0) + 1
           OR (NEW.armings = coalesce(old.armings, 0) AND NEW.armed_by IS old.armed_by
               AND NEW.armed_since IS old.armed_since
               AND NEW.armed_partner_tenant IS old.armed_partner_tenant
               AND NEW.armed_cloud IS old.armed_cloud
               AND NEW.armed_client_id IS old.armed_client_id))
BEGIN
    SELECT RAISE(ABORT, 'an account is armed with `teardownd arm`: leave those columns alone');
END;

CREATE TRIGGER accounts_update_arming BEFORE UPDATE ON accounts
WHEN NEW.armings <> OLD.armings + 1
 AND (NEW.armings IS NOT OLD.armings OR NEW.armed_by IS NOT OLD.armed_by
      OR NEW.armed_since IS NOT OLD.armed_since
      OR NEW.armed_partner_tenant IS NOT OLD.armed_partner_tenant
      OR NEW.armed_cloud IS NOT OLD.armed_cloud OR NEW.armed_client_id IS NOT OLD.armed_client_id)
BEGIN
    SELECT RAISE(ABORT, 'an account is armed with `teardownd arm`: leave those columns alone');
END;

-- approved: what may be cancelled, as JSON. approved_run: the run_since it was given for, so that it
-- does not count after a retry. approvals: how many teardownd stored itself.
ALTER TABLE teardowns ADD COLUMN approvals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE teardowns ADD COLUMN approved_by TEXT;
ALTER TABLE teardowns ADD COLUMN approved_at TEXT;
ALTER TABLE teardowns ADD COLUMN approved_run TEXT;
ALTER TABLE teardowns ADD COLUMN approved TEXT CHECK (approved IS NULL OR json_valid(approved));
ALTER TABLE teardowns ADD COLUMN uncancellable_at TEXT
    CONSTRAINT "uncancellable_at must be UTC text such as 2027-01-31T08:00:00.000Z"
    CHECK (uncancellable_at IS strftime('%Y-%m-%dT%H:%M:%fZ', uncancellable_at, '+0 days'));

ALTER TABLE purchases ADD COLUMN cancellable_until TEXT;

-- In the order in which rows are claimed.
DROP INDEX teardowns_claim;
CREATE INDEX teardowns_claim ON teardowns
    (lower(account), priority DESC, coalesce(uncancellable_at, '9999'),
     max(coalesce(next_attempt_at, updated_at), coalesce(not_before, '')), id)
    WHERE state NOT IN ('deleted', 'aborted', 'failed');

CREATE TRIGGER teardowns_insert_approval BEFORE INSERT ON teardowns
WHEN coalesce(NEW.approved_by, NEW.approved_at, NEW.approved_run, NEW.approved) IS NOT NULL
  OR NEW.approvals <> 0
BEGIN
    SELECT RAISE(ABORT, 'a teardown is approved with `teardownd approve`: leave those columns out');
END;

CREATE TRIGGER teardowns_update_approval BEFORE UPDATE ON teardowns
WHEN NEW.approvals <> OLD.approvals + 1
 AND (NEW.approvals IS NOT OLD.approvals OR NEW.approved_by IS NOT OLD.approved_by
      OR NEW.approved_at IS NOT OLD.approved_at OR NEW.approved_run IS NOT OLD.approved_run
      OR NEW.approved IS NOT OLD.approved)
BEGIN
    SELECT RAISE(ABORT, 'a teardown is approved with `teardownd approve`: leave those columns alone');
END;
