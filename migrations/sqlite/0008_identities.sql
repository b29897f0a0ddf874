-- Proofs, halts and deletion caps belong to a partner, and not to the name of an account: which account
-- has stood for which identity, since when. The proofs and the halt of what an account stands for now
-- are in its own row; those of what it stood for before are kept here until they are taken up again.
CREATE TABLE identities (
    account            TEXT NOT NULL CHECK (account = lower(account)),
    cloud              TEXT NOT NULL,
    partner_tenant     TEXT NOT NULL CHECK (partner_tenant = lower(partner_tenant)),
    client_id          TEXT NOT NULL CHECK (client_id = lower(client_id)),
    -- Since when it stands for it, the last time.
    since              TEXT NOT NULL,
    -- When it ceased to; NULL while it does.
    left_at            TEXT,
    proven_write       INTEGER NOT NULL DEFAULT 0 CHECK (proven_write IN (0, 1)),
    proven_reservation INTEGER NOT NULL DEFAULT 0 CHECK (proven_reservation IN (0, 1)),
    proven_delete      INTEGER NOT NULL DEFAULT 0 CHECK (proven_delete IN (0, 1)),
    halted_reason      TEXT,
    halted_by          TEXT,
    halted_since       TEXT,
    -- When the API last refused entitlements to this app; NULL where it gave them since.
    no_entitlements_at TEXT,
    PRIMARY KEY (account, cloud, partner_tenant, client_id),
    CONSTRAINT "halted_reason, halted_by and halted_since go together"
        CHECK ((halted_reason IS NULL) = (halted_by IS NULL)
           AND (halted_reason IS NULL) = (halted_since IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX identities_in_force ON identities (account) WHERE left_at IS NULL;

-- A row that is removed, or renamed, would take a halt, a proof or a cap with it.
CREATE TRIGGER identities_delete BEFORE DELETE ON identities
BEGIN
    SELECT RAISE(ABORT, 'what an account has stood for is kept: its halts and deletion caps rest on it');
END;

CREATE TRIGGER identities_update BEFORE UPDATE ON identities
WHEN NEW.account IS NOT OLD.account OR NEW.cloud IS NOT OLD.cloud
  OR NEW.partner_tenant IS NOT OLD.partner_tenant OR NEW.client_id IS NOT OLD.client_id
BEGIN
    SELECT RAISE(ABORT, 'what an account has stood for is kept: its halts and deletion caps rest on it');
END;

-- REPLACE fires no delete trigger.
CREATE TRIGGER identities_insert BEFORE INSERT ON identities
WHEN EXISTS (SELECT 1 FROM identities
             WHERE account = NEW.account AND (left_at IS NULL AND NEW.left_at IS NULL
                OR (cloud = NEW.cloud AND partner_tenant = NEW.partner_tenant
                    AND client_id = NEW.client_id)))
BEGIN
    SELECT RAISE(ABORT, 'what an account has stood for is kept: its halts and deletion caps rest on it');
END;

-- Proofs come from the account's own row, when it is left.
CREATE TRIGGER identities_insert_proven BEFORE INSERT ON identities
WHEN NEW.proven_write + NEW.proven_reservation + NEW.proven_delete > 0
BEGIN
    SELECT RAISE(ABORT, 'the first steps of identities are proven by accepted commands: leave those columns out');
END;

CREATE TRIGGER identities_update_proven BEFORE UPDATE ON identities
WHEN (NEW.proven_write > OLD.proven_write OR NEW.proven_reservation > OLD.proven_reservation
      OR NEW.proven_delete > OLD.proven_delete)
 AND NOT (OLD.left_at IS NULL AND NEW.left_at IS NOT NULL)
BEGIN
    SELECT RAISE(ABORT, 'the first steps of identities are proven by accepted commands: leave those columns alone');
END;
