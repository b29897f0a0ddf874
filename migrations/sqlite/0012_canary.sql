-- The canary: the command of an account that goes out alone, because its kind was never accepted there
-- (invariant 2). Set by the transaction that admits it. It ends with its call, whatever became of that,
-- and with the lease under which it was admitted, so that a teardown that parks, is held or has ended
-- keeps nobody waiting.

ALTER TABLE accounts ADD COLUMN canary TEXT;
ALTER TABLE accounts ADD COLUMN canary_tenant TEXT;

-- Whether a call of the command is under way: the latest send was begun and has no answer yet.
ALTER TABLE commands ADD COLUMN calling INTEGER NOT NULL DEFAULT 0 CHECK (calling IN (0, 1));
CREATE INDEX commands_calling ON commands (account) WHERE calling = 1;

CREATE TRIGGER commands_update_canary AFTER UPDATE OF calling, outcome ON commands
WHEN (OLD.calling = 1 AND NEW.calling = 0) OR NEW.outcome IS NOT NULL
BEGIN
    UPDATE accounts SET canary = NULL, canary_tenant = NULL WHERE canary = NEW.id;
END;

CREATE TRIGGER teardowns_update_canary AFTER UPDATE OF lease_owner, fence, state ON teardowns
WHEN NEW.lease_owner IS NULL OR NEW.fence IS NOT OLD.fence
  OR NEW.state IN ('deleted', 'aborted', 'failed')
BEGIN
    UPDATE accounts SET canary = NULL, canary_tenant = NULL
    WHERE name = lower(NEW.account) AND canary_tenant = lower(NEW.tenant_id);
END;

-- Rows that wait for a gate of their account, so that those can be found which it lets through now.
CREATE INDEX teardowns_waiting ON teardowns (lower(account), reason, next_attempt_at)
    WHERE lease_owner IS NULL AND next_attempt_at IS NOT NULL
      AND state NOT IN ('deleted', 'aborted', 'failed');

-- The scheduler looks for typed requests and gates at every look.
UPDATE meta SET value = '12' WHERE key = 'min_reader';
