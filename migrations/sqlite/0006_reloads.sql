-- Requests to the daemon to read its configuration anew: by `teardownd reload`, by SIGHUP, or typed in:
--   INSERT INTO reloads (actor) VALUES ('anna');
-- The daemon answers in the same row. It keeps the latest hundred.
CREATE TABLE reloads (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    actor       TEXT NOT NULL DEFAULT 'sql',
    created_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    answered_at TEXT,
    taken_up    INTEGER CHECK (taken_up IN (0, 1)),
    answer      TEXT,
    changed     TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(changed)),
    restart     TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(restart))
) STRICT;

CREATE INDEX reloads_open ON reloads (id) WHERE answered_at IS NULL;
