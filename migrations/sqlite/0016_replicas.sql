-- Replicas: several processes that work on one database, on a server. A file has one, whatever its name.
-- What programs of before need stays as it is: the tables daemon and in_force, and the answers in reloads.

-- The processes that work on the database, each by the name that it keeps through every restart. Their
-- heartbeat is `ticked_at`. `accounts` is a list of the accounts in their configuration.
CREATE TABLE replicas (
    name       TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    version    TEXT NOT NULL,
    accounts   TEXT NOT NULL CHECK (json_valid(accounts)),
    started_at TEXT NOT NULL,
    ticked_at  TEXT NOT NULL,
    -- When it ended in good order, unless it has started again since.
    stopped_at TEXT
) STRICT;

-- An older program named its process by its host. It has ended by now.
INSERT INTO replicas (name, owner, version, accounts, started_at, ticked_at, stopped_at)
SELECT substr(owner, 1, instr(owner || '/', '/') - 1), owner, version, '[]', started_at, ticked_at, ticked_at FROM daemon;

-- What each of them works with, key by key, each value as JSON: written when it starts and after each reload.
-- Commands compare their file with it, and `why` asks the guards with it.
CREATE TABLE configurations (
    replica TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (replica, key)
) STRICT, WITHOUT ROWID;

-- A request to reload is answered by every replica that works.
CREATE TABLE reload_answers (
    reload      INTEGER NOT NULL,
    replica     TEXT NOT NULL,
    answered_at TEXT NOT NULL,
    taken_up    INTEGER NOT NULL CHECK (taken_up IN (0, 1)),
    answer      TEXT NOT NULL,
    changed     TEXT NOT NULL CHECK (json_valid(changed)),
    restart     TEXT NOT NULL CHECK (json_valid(restart)),
    PRIMARY KEY (reload, replica)
) STRICT, WITHOUT ROWID;

INSERT INTO reload_answers (reload, replica, answered_at, taken_up, answer, changed, restart)
SELECT id, coalesce((SELECT name FROM replicas), ''), answered_at, coalesce(taken_up, 0),
       coalesce(answer, ''), changed, restart
FROM reloads WHERE answered_at IS NOT NULL;

-- A job is done by one replica at a time, which leases it.
ALTER TABLE jobs ADD COLUMN lease_owner TEXT;
ALTER TABLE jobs ADD COLUMN lease_until TEXT;
