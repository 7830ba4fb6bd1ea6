-- Accepted events and what is still to be delivered of them (used by broker_ledger.py).

-- name: create
-- Made at every start; does nothing when it is there.
CREATE SCHEMA IF NOT EXISTS broker;
CREATE TABLE IF NOT EXISTS broker.events (
    id UUID PRIMARY KEY,
    attributes JSONB NOT NULL,
    data BYTEA,
    hops INT NOT NULL
);
CREATE TABLE IF NOT EXISTS broker.deliveries (
    event UUID NOT NULL REFERENCES broker.events (id) ON DELETE CASCADE,
    trigger TEXT NOT NULL,
    failures INT NOT NULL DEFAULT 0,
    error JSONB,
    due_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    scheduled_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    owner UUID,
    lease_until TIMESTAMPTZ,
    PRIMARY KEY (event, trigger)
);
COMMENT ON COLUMN broker.events.hops IS 'replies that this event may still cause (knativebrokerttl)';
COMMENT ON COLUMN broker.deliveries.error IS 'attributes for the dead letter sink; null while the subscriber is still tried';
COMMENT ON COLUMN broker.deliveries.scheduled_at IS 'when due_at was set: in the future, the clock was set back';
CREATE INDEX IF NOT EXISTS deliveries_due ON broker.deliveries (trigger, due_at);

-- name: take_over
-- At start, where nobody else can be running: what a killed dispatcher had in hand is due at once.
UPDATE broker.deliveries SET owner = NULL, lease_until = NULL WHERE owner IS NOT NULL;

-- name: accept
-- A batch of events with all of their deliveries, in one statement: all or nothing.
WITH stored AS (
    INSERT INTO broker.events (id, attributes, data, hops)
    SELECT * FROM unnest($1::uuid[], $2::jsonb[], $3::bytea[], $4::int[])
)
INSERT INTO broker.deliveries (event, trigger) SELECT * FROM unnest($5::uuid[], $6::text[]);

-- name: claim
-- Up to $4 due deliveries of trigger $1 for owner $2, leased for $3 seconds. A minute of grace for a clock set back.
-- MATERIALIZED: as a mere subquery, PostgreSQL may choose to run it once per row, and then takes more than $4.
WITH due AS MATERIALIZED (
    SELECT event FROM broker.deliveries
    WHERE trigger = $1
      AND (due_at <= now() OR scheduled_at > now() + interval '1 minute')
      AND (owner IS NULL OR (owner <> $2 AND lease_until < now()))
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE broker.deliveries AS d
SET owner = $2, lease_until = now() + make_interval(secs => $3)
FROM due JOIN broker.events AS e ON e.id = due.event
WHERE d.event = due.event AND d.trigger = $1
RETURNING d.event, d.failures, d.error::text, e.attributes::text, e.data, e.hops;

-- name: finish
-- Deliveries that are over; an event leaves with its last one.
WITH finished AS (
    DELETE FROM broker.deliveries AS d USING unnest($1::uuid[], $2::text[]) AS f (event, trigger)
    WHERE d.event = f.event AND d.trigger = f.trigger
    RETURNING d.event, d.trigger
)
DELETE FROM broker.events AS e USING (SELECT DISTINCT event FROM finished) AS gone
WHERE e.id = gone.event AND NOT EXISTS (
    SELECT FROM broker.deliveries AS d
    WHERE d.event = e.id AND NOT EXISTS (SELECT FROM finished AS f WHERE f.event = d.event AND f.trigger = d.trigger)
);

-- name: postpone
-- A failed attempt: due again in $5 seconds, from then on for the dead letter sink if it carries an error.
UPDATE broker.deliveries
SET failures = $3, error = $4::jsonb, owner = NULL, lease_until = NULL,
    due_at = now() + make_interval(secs => $5), scheduled_at = now()
WHERE event = $1 AND trigger = $2;

-- name: renew
-- The dispatcher lives: its leases with it.
UPDATE broker.deliveries SET lease_until = now() + make_interval(secs => $2) WHERE owner = $1;

-- name: waits
-- Seconds until each trigger's next delivery that owner $1 does not have in hand; zero or less is due.
SELECT trigger, extract(epoch FROM min(CASE WHEN owner IS NULL THEN due_at ELSE lease_until END) - now())::float8 AS wait
FROM broker.deliveries WHERE owner IS DISTINCT FROM $1 GROUP BY trigger;

-- name: drop_trigger
-- Nobody wants these any more.
DELETE FROM broker.deliveries WHERE trigger = $1;

-- name: sweep
-- Events whose last deliveries went in two transactions at once, or with their trigger.
DELETE FROM broker.events AS e WHERE NOT EXISTS (SELECT FROM broker.deliveries AS d WHERE d.event = e.id);
