-- The ids that an answer carried in its own headers, where the answer is not understood: with them
-- Microsoft finds the request in its own books.
ALTER TABLE faults ADD COLUMN answer_ids TEXT;
