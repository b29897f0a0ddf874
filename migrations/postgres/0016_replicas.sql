-- Replicas: several processes that work on one database. What programs of before need stays as it is: the tables
-- daemon and in_force, and the answers in reloads.

-- The processes that work on the database, each by the name that it keeps through every restart. Their
-- heartbeat is `ticked_at`. `accounts` is a list of the accounts in their configuration.
CREATE TABLE replicas (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    owner      text NOT NULL,
    version    text NOT NULL,
    accounts   text NOT NULL
        CONSTRAINT "accounts must be JSON" CHECK (is_json(accounts)),
    started_at timestamptz(3) NOT NULL,
    ticked_at  timestamptz(3) NOT NULL,
    -- When it ended in good order, unless it has started again since.
    stopped_at timestamptz(3)
);

-- An older program named its process by its host. It has ended by now.
INSERT INTO replicas (name, owner, version, accounts, started_at, ticked_at, stopped_at)
SELECT split_part(owner, '/', 1), owner, version, '[]', started_at, ticked_at, ticked_at FROM daemon;

-- What each of them works with, key by key, each value as JSON: written when it starts and after each reload.
-- Commands compare their file with it, and `why` asks the guards with it.
CREATE TABLE configurations (
    replica text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   text NOT NULL,
    PRIMARY KEY (replica, key)
);

-- A request to reload is answered by every replica that works.
CREATE TABLE reload_answers (
    reload      bigint NOT NULL,
    replica     text COLLATE "C" NOT NULL,
    answered_at timestamptz(3) NOT NULL,
    taken_up    boolean NOT NULL,
    answer      text NOT NULL,
    changed     text NOT NULL
        CONSTRAINT "changed must be JSON" CHECK (is_json(changed)),
    restart     text NOT NULL
        CONSTRAINT "restart must be JSON" CHECK (is_json(restart)),
    PRIMARY KEY (reload, replica)
);

INSERT INTO reload_answers (reload, replica, answered_at, taken_up, answer, changed, restart)
SELECT id, coalesce((SELECT name FROM replicas), ''), answered_at, coalesce(taken_up, false),
       coalesce(answer, ''), changed, restart
FROM reloads WHERE answered_at IS NOT NULL;

-- A job is done by one replica at a time, which leases it.
ALTER TABLE jobs ADD COLUMN lease_owner text;
ALTER TABLE jobs ADD COLUMN lease_until timestamptz(3);

-- An account whose canary has come back lets the tenants go on that wait for it, in whichever replica.
CREATE TRIGGER accounts_notify AFTER UPDATE OF canary ON accounts FOR EACH ROW
    WHEN (OLD.canary IS NOT NULL AND NEW.canary IS NULL) EXECUTE FUNCTION tell_teardownd();
