-- A row that is inserted with its answer comes from the program, with a time of this database's clock.
-- Only rows that are typed in take theirs from the wall clock. Without the second condition a row of the
-- program was refused as changed history when both clocks showed the same millisecond.
DROP TRIGGER operator_requests_insert_time;
CREATE TRIGGER operator_requests_insert_time AFTER INSERT ON operator_requests
WHEN NEW.answered_at IS NULL AND NEW.created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
BEGIN
    UPDATE operator_requests SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', coalesce(
        (SELECT printf('%+.3f seconds', -ahead_ms / 1000.0) FROM clock), '+0 days'))
    WHERE id = NEW.id;
END;
