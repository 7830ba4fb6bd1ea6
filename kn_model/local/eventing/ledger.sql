-- What the broker has promised to deliver (used by ledger.py).
--
-- One row is one event for one trigger. due_at is both when to try next and, while a dispatcher has the row in hand, its
-- lease: a row that nobody renews is due again by itself. No statement that touches several rows waits for a row that
-- another one holds, apart from `finish`, so none can deadlock with another.
--
-- Only `accept` waits for the disk, for that is what the broker promises. What a crash of PostgreSQL undoes of the others
-- makes an event arrive twice, which receivers expect, or earlier than its back-off says.

-- name: create
-- Made at every start; does nothing when it is there.
CREATE SCHEMA IF NOT EXISTS broker;
CREATE TABLE IF NOT EXISTS broker.owed (
    id UUID PRIMARY KEY,
    trigger TEXT NOT NULL,
    attributes JSON NOT NULL,
    data BYTEA,
    headers JSON NOT NULL,
    hops INT NOT NULL,
    failures INT NOT NULL DEFAULT 0,
    error JSON,
    owner UUID,
    due_at TIMESTAMPTZ NOT NULL,
    scheduled_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE broker.owed IS 'one row for each event and trigger that is to have it, until it has had it';
COMMENT ON COLUMN broker.owed.headers IS 'HTTP headers that go with the event';
COMMENT ON COLUMN broker.owed.hops IS 'what is left of knativebrokerttl: replies of replies that may still follow';
COMMENT ON COLUMN broker.owed.error IS 'attributes for the dead letter sink; null while the subscriber is still tried';
COMMENT ON COLUMN broker.owed.owner IS 'the dispatcher that has it in hand, until due_at';
COMMENT ON COLUMN broker.owed.scheduled_at IS 'when due_at was set: in the future, the clock was set back';
CREATE INDEX IF NOT EXISTS owed_due ON broker.owed (trigger, due_at);

-- name: take_over
-- At start, where nobody else can be running: what a killed dispatcher had in hand is due at once.
UPDATE broker.owed SET owner = NULL, due_at = now(), scheduled_at = now() WHERE owner IS NOT NULL;

-- name: accept
-- A batch of events for their triggers: all or nothing. Those in hand ($7) are leased to owner $8 for $9 seconds from birth.
INSERT INTO broker.owed (id, trigger, attributes, data, headers, hops, owner, due_at)
SELECT id, trigger, attributes, data, headers, hops, CASE WHEN in_hand THEN $8::uuid END,
    CASE WHEN in_hand THEN now() + make_interval(secs => $9) ELSE now() END
FROM unnest($1::uuid[], $2::text[], $3::json[], $4::bytea[], $5::json[], $6::int[], $7::bool[])
    AS event (id, trigger, attributes, data, headers, hops, in_hand);

-- name: claim
-- Up to $4 due rows of trigger $1 for owner $2, leased for $3 seconds.
-- MATERIALIZED: as a mere subquery, PostgreSQL may choose to run it once per row, and then takes more than $4.
WITH due AS MATERIALIZED (
    SELECT id FROM broker.owed
    WHERE trigger = $1 AND due_at <= now() AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE broker.owed AS o
SET owner = $2, due_at = now() + make_interval(secs => $3), scheduled_at = now()
FROM due WHERE o.id = due.id
RETURNING o.id, o.failures, o.error::text, o.attributes::text, o.data, o.headers::text, o.hops;

-- name: finish
-- These are over.
DELETE FROM broker.owed
WHERE id = ANY ($1::uuid[]) AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL;

-- name: postpone
-- A failed attempt: due again in $5 seconds, from then on for the dead letter sink if it carries an error. Not when
-- another dispatcher than $2 has it by now.
UPDATE broker.owed
SET failures = $3, error = $4::json, owner = NULL, due_at = now() + make_interval(secs => $5), scheduled_at = now()
WHERE id = $1 AND owner = $2 AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL;

-- name: renew
-- Dispatcher $1 still has these in hand. What another statement holds is being finished or postponed.
WITH held AS MATERIALIZED (
    SELECT id FROM broker.owed
    WHERE id = ANY ($2::uuid[]) AND owner = $1
      AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
    LIMIT cardinality($2::uuid[]) FOR UPDATE SKIP LOCKED
)
UPDATE broker.owed AS o SET due_at = now() + make_interval(secs => $3), scheduled_at = now() FROM held WHERE o.id = held.id;

-- name: set_back
-- The clock was set back by more than a minute: what was scheduled in what is now the future is due.
WITH ahead AS MATERIALIZED (
    SELECT id FROM broker.owed WHERE scheduled_at > now() + interval '1 minute'
    LIMIT 10000 FOR UPDATE SKIP LOCKED
)
UPDATE broker.owed AS o SET due_at = now(), scheduled_at = now() FROM ahead WHERE o.id = ahead.id;

-- name: waits
-- Seconds until each trigger's next row is due; zero or less is due.
SELECT trigger, extract(epoch FROM min(due_at) - now())::float8 AS wait FROM broker.owed GROUP BY trigger;

-- name: forget
-- Nobody wants these any more. What is being claimed right now goes the next time.
WITH unwanted AS MATERIALIZED (
    SELECT id FROM broker.owed WHERE trigger = $1 LIMIT 10000 FOR UPDATE SKIP LOCKED
)
DELETE FROM broker.owed AS o USING unwanted WHERE o.id = unwanted.id;
