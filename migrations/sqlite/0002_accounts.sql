-- Since when an account is closed by 429s, so that the time it has cost can be told.
ALTER TABLE accounts ADD COLUMN throttled_since TEXT;

-- Reserved sends, one row for each grant (invariant 9), now also by customer: '' for what names none.
-- A program of the first version goes on working with it: it sums over all customers.
CREATE TABLE sends_by_customer (
    account  TEXT NOT NULL,
    resource TEXT NOT NULL,
    at       TEXT NOT NULL,
    customer TEXT NOT NULL DEFAULT '',
    reads    INTEGER NOT NULL,
    writes   INTEGER NOT NULL,
    PRIMARY KEY (account, resource, at, customer)
) STRICT, WITHOUT ROWID;

INSERT INTO sends_by_customer (account, resource, at, reads, writes)
SELECT account, resource, at, reads, writes FROM sends;

DROP TABLE sends;
ALTER TABLE sends_by_customer RENAME TO sends;
