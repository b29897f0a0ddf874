-- What is sent, and what is typed in.
--
-- A command is derived from its action, its tenant and its resource. The program derives it again before
-- it sends anything; here the table refuses what was typed in. All that cannot be told here is whether the
-- body of a subscription is, but for its status, what was read.

CREATE TRIGGER commands_insert_request BEFORE INSERT ON commands
BEGIN
    SELECT RAISE(ABORT, 'this is not the command that its action, tenant and resource lead to: only teardownd writes commands')
    WHERE NOT EXISTS (
        -- The ids of the resource, and its path below the customer, percent-encoded.
        SELECT 1 FROM (
            SELECT raw, kind, one, two, '/v1/customers/' || NEW.tenant_id AS customer,
                CASE WHEN json_valid(NEW.body) THEN NEW.body END AS body,
                replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
                replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(raw,
                       '!', '%21'), '"', '%22'), '$', '%24'), '&', '%26'), '''', '%27'), '(', '%28'),
                       ')', '%29'), '*', '%2A'), '+', '%2B'), ',', '%2C'), ':', '%3A'), ';', '%3B'),
                       '<', '%3C'), '=', '%3D'), '>', '%3E'), '@', '%40'), '[', '%5B'), ']', '%5D'),
                       '^', '%5E'), '`', '%60'), '{', '%7B'), '|', '%7C'), '}', '%7D')
                AS path
            FROM (
                SELECT raw, kind,
                    CASE kind WHEN 'azure' THEN substr(raw, 1, instr(raw, '/') - 1) ELSE raw END AS one,
                    CASE kind WHEN 'azure' THEN substr(raw, instr(raw, '/') + 1) ELSE 'none' END AS two
                FROM (
                    SELECT substr(NEW.resource, 1, instr(NEW.resource, ':') - 1) AS kind,
                        substr(NEW.resource, instr(NEW.resource, ':') + 1) AS raw)))
        WHERE CASE NEW.action WHEN 'delete_customer'
            THEN NEW.resource = 'customer' AND NEW.method = 'DELETE' AND NEW.path = customer
                AND NEW.body IS NULL
            ELSE length(one) BETWEEN 1 AND 200 AND length(two) BETWEEN 1 AND 200
                AND one NOT IN ('.', '..') AND two NOT IN ('.', '..')
                AND one || two NOT GLOB '*[^!-~]*' AND one || two NOT GLOB '*[/\%?#]*'
                AND CASE NEW.action
                WHEN 'cancel_order'
                    THEN kind = 'order' AND NEW.method = 'PATCH'
                        AND NEW.path = customer || '/orders/' || path
                        AND NEW.body = json_object('id', raw, 'status', 'cancelled')
                WHEN 'cancel_azure_entitlement'
                    THEN kind = 'azure' AND NEW.method = 'POST'
                        AND NEW.path = customer || '/subscriptions/'
                            || replace(path, '/', '/azureEntitlements/') || '/cancel'
                        AND NEW.body = '{"cancellationReason":"compromise"}'
                WHEN 'activate_subscription'
                    THEN kind = 'subscription' AND NEW.method = 'POST'
                        AND NEW.path = customer || '/subscriptions/' || path || '/activate'
                        AND NEW.body IS NULL
                ELSE NEW.action IN ('delete_subscription', 'suspend_subscription')
                    AND kind = 'subscription' AND NEW.method = 'PATCH'
                    AND NEW.path = customer || '/subscriptions/' || path
                    AND json_type(body) = 'object'
                    AND (SELECT count(*) > 0 AND min(trim(value) = raw)
                         FROM json_each(body) WHERE lower(key) = 'id' AND type <> 'null')
                    AND (SELECT count(*) > 0 AND min(value IS CASE NEW.action
                                WHEN 'delete_subscription' THEN 'deleted' ELSE 'suspended' END)
                         FROM json_each(body) WHERE lower(key) = 'status')
                END
            END);
END;

-- `deleted` is proof, and nothing is proven without a DELETE that worked or may have.
CREATE TRIGGER teardowns_update_deleted BEFORE UPDATE ON teardowns
WHEN NEW.state IS 'deleted' AND OLD.state IS NOT 'deleted'
 AND NOT EXISTS (SELECT 1 FROM commands
                 WHERE account = lower(OLD.account) AND tenant_id = lower(OLD.tenant_id)
                   AND action = 'delete_customer'
                   AND (outcome IN ('accepted', 'goal_reached')
                        -- Sent again and told that the customer is gone: the first one did it.
                        OR (outcome = 'refused' AND sends > 1)))
BEGIN
    SELECT RAISE(ABORT, 'a teardown ends as deleted only by an accepted DELETE of its customer: leave the column state alone');
END;

-- Rows that are typed in say whom it is about and what the operator wants; the rest is the daemon's.
CREATE TRIGGER teardowns_insert_own BEFORE INSERT ON teardowns
BEGIN
    SELECT RAISE(ABORT, 'domain is the daemon''s own: leave the column domain out')
    WHERE NEW.domain IS NOT NULL;
    SELECT RAISE(ABORT, 'run_since is the daemon''s own: leave the column run_since out')
    WHERE NEW.run_since NOT IN (NEW.created_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
    SELECT RAISE(ABORT, 'state_since is the daemon''s own: leave the column state_since out')
    WHERE NEW.state_since NOT IN (NEW.created_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
    SELECT RAISE(ABORT, 'updated_at is the daemon''s own: leave the column updated_at out')
    WHERE NEW.updated_at NOT IN (NEW.created_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
    SELECT RAISE(ABORT, 'reason is the daemon''s own: leave the column reason out')
    WHERE NEW.reason IS NOT NULL;
    SELECT RAISE(ABORT, 'reason_text is the daemon''s own: leave the column reason_text out')
    WHERE NEW.reason_text IS NOT NULL;
    SELECT RAISE(ABORT, 'hold_code is the daemon''s own: leave the column hold_code out')
    WHERE NEW.hold_code IS NOT NULL;
    SELECT RAISE(ABORT, 'attempts is the daemon''s own: leave the column attempts out')
    WHERE NEW.attempts <> 0;
    SELECT RAISE(ABORT, 'polls is the daemon''s own: leave the column polls out')
    WHERE NEW.polls <> 0;
    SELECT RAISE(ABORT, 'rounds is the daemon''s own: leave the column rounds out')
    WHERE NEW.rounds <> 0;
    SELECT RAISE(ABORT, 'next_attempt_at is the daemon''s own: leave the column next_attempt_at out')
    WHERE NEW.next_attempt_at IS NOT NULL;
    SELECT RAISE(ABORT, 'eligible_since is the daemon''s own: leave the column eligible_since out')
    WHERE NEW.eligible_since NOT IN (NEW.created_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
    SELECT RAISE(ABORT, 'eligible_used_ms is the daemon''s own: leave the column eligible_used_ms out')
    WHERE NEW.eligible_used_ms <> 0;
    SELECT RAISE(ABORT, 'suspects is the daemon''s own: leave the column suspects out')
    WHERE NEW.suspects <> '[]';
    SELECT RAISE(ABORT, 'lease_owner is the daemon''s own: leave the column lease_owner out')
    WHERE NEW.lease_owner IS NOT NULL;
    SELECT RAISE(ABORT, 'fence is the daemon''s own: leave the column fence out')
    WHERE NEW.fence <> 0;
    SELECT RAISE(ABORT, 'moves is the daemon''s own: leave the column moves out')
    WHERE NEW.moves <> 0;
    SELECT RAISE(ABORT, 'finished_at is the daemon''s own: leave the column finished_at out')
    WHERE NEW.finished_at IS NOT NULL;
    SELECT RAISE(ABORT, 'cross_checked is the daemon''s own: leave the column cross_checked out')
    WHERE NEW.cross_checked IS NOT NULL;
    SELECT RAISE(ABORT, 'uncancellable_at is the daemon''s own: leave the column uncancellable_at out')
    WHERE NEW.uncancellable_at IS NOT NULL;
END;

-- The numbers it counts in are its own too. Within these bounds no sum of them is too large.
CREATE TRIGGER teardowns_update_bounds BEFORE UPDATE ON teardowns
BEGIN
    SELECT RAISE(ABORT, 'fence grows by one with each claim: leave the column fence alone')
    WHERE NEW.fence IS NOT OLD.fence
      AND (NEW.fence NOT BETWEEN OLD.fence AND OLD.fence + 1 OR NEW.fence > 1000000000000000);
    SELECT RAISE(ABORT, 'eligible_used_ms is the daemon''s own and no more than a hundred years: leave the column alone')
    WHERE NEW.eligible_used_ms IS NOT OLD.eligible_used_ms AND NEW.eligible_used_ms > 3153600000000;
    SELECT RAISE(ABORT, 'attempts, polls, rounds and moves are the daemon''s own counters: leave them alone')
    WHERE (NEW.attempts IS NOT OLD.attempts AND NEW.attempts > 1000000000)
       OR (NEW.polls IS NOT OLD.polls AND NEW.polls > 1000000000)
       OR (NEW.rounds IS NOT OLD.rounds AND NEW.rounds > 1000000000)
       OR (NEW.moves IS NOT OLD.moves AND NEW.moves NOT BETWEEN OLD.moves AND OLD.moves + 1);
END;

-- A row of accounts holds its stops, and what was proven of it.
CREATE TRIGGER accounts_delete BEFORE DELETE ON accounts
BEGIN
    SELECT RAISE(ABORT, 'an account keeps its row, with its stops: lift them with `teardownd resume` or `unhalt`');
END;
