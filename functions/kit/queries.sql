-- The outbox and the inbox, and who asked: what the kit needs, whichever function runs it.

-- name: mark_processed
-- Remember (consumer, source, id); answers nothing when the event was processed before.
INSERT INTO inbox (consumer, source, id) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: is_processed
-- Whether the event's effect is committed already.
SELECT 1 FROM inbox WHERE consumer = $1 AND source = $2 AND id = $3;

-- name: claim_processing
-- Work on the event alone for $4 seconds; answers nothing while another instance does. Not flushed to disk: what a
-- crash of PostgreSQL forgets, the mark at the end of the work makes up for.
INSERT INTO inbox_claims AS held (consumer, source, id, until)
SELECT $1, $2, $3, now() + $4::float8 * interval '1 second'
WHERE set_config('synchronous_commit', 'off', true) IS NOT NULL
ON CONFLICT (consumer, source, id) DO UPDATE SET until = excluded.until WHERE held.until < now()
RETURNING until;

-- name: end_processing
-- The work is over, well or not; a claim that ran out and is somebody else's by now stays.
DELETE FROM inbox_claims
WHERE consumer = $1 AND source = $2 AND id = $3 AND until = $4
  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL;

-- name: add_events
-- Write the outgoing events in one round trip, leased to the caller: it publishes them right after its commit.
-- The bytes are kept as they are, since JSONB would give them back in another order; data is for people who look.
INSERT INTO outbox (id, source, type, subject, extensions, data, body, due_at)
SELECT id, $2, type, subject, extensions::jsonb, data::jsonb, convert_to(data, 'UTF8'),
       now() + $7::float8 * interval '1 second'
FROM unnest($1::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS event (id, type, subject, extensions, data);

-- name: claim_events
-- Lease what is due. SKIP LOCKED lets two publishers share the work; a lease that runs out is due again.
-- Nothing is due later than a minute from now (BACKOFF_CAP_S), unless the server's clock was set back meanwhile.
-- A row with an event_source is a redriven event: it goes out again under that source and its own id, with its signature.
-- MATERIALIZED: as a mere subquery, PostgreSQL may choose to run it once per row, and then takes more than $2.
WITH due AS MATERIALIZED (
    SELECT id FROM outbox
    WHERE source = $1 AND (due_at <= now() OR due_at > now() + interval '2 minutes')
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE outbox AS o SET due_at = now() + $3::float8 * interval '1 second', attempts = o.attempts + 1
FROM due WHERE o.id = due.id
RETURNING o.id AS key, coalesce(o.event_id, o.id) AS id, coalesce(o.event_source, o.source) AS source, o.type,
          o.subject, o.extensions,
          coalesce(o.body, convert_to(o.data::text, 'UTF8')) AS body, o.event_source IS NOT NULL AS redriven;

-- name: remove_events
-- The Broker has accepted these. Not flushed to disk before it returns: a delete that a crash undoes sends an event
-- twice, which receivers expect, and a flush for every event would be half of the cost of sending it.
DELETE FROM outbox
WHERE id = ANY ($1::text[]) AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL;

-- name: postpone_events
-- The Broker did not take these: due again after a back-off that doubles up to its cap, with the reason kept.
UPDATE outbox
SET due_at = now() + least($3::float8, power(2, least(attempts, 20)) * $2::float8) * interval '1 second', last_error = $4
WHERE id = ANY ($1::text[]);

-- name: bury_events
-- The Broker will never take these: dead letters from here on, with its answer, as if it had sent them there.
WITH buried AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[])
        AS event (id, extensions, error_dest, error_code, error_data)
), gone AS (
    DELETE FROM outbox WHERE id IN (SELECT id FROM buried) RETURNING *
)
INSERT INTO dead_letters (source, event_id, type, subject, extensions, content_type, data, error_dest, error_code, error_data)
SELECT coalesce(gone.event_source, gone.source), coalesce(gone.event_id, gone.id), gone.type, gone.subject,
       buried.extensions::jsonb - 'datacontenttype',
       coalesce(buried.extensions::jsonb ->> 'datacontenttype', 'application/json'),
       coalesce(gone.body, convert_to(gone.data::text, 'UTF8')), buried.error_dest, buried.error_code, buried.error_data
FROM gone JOIN buried ON buried.id = gone.id
ON CONFLICT (source, event_id, error_dest) DO UPDATE
SET error_code = excluded.error_code, error_data = excluded.error_data, received_at = now(), redriven_at = NULL;

-- name: forget_processed
-- A duplicate can arrive while a broker still retries (minutes); a week is far beyond it. Claims are left by instances
-- that were killed.
WITH left_behind AS (DELETE FROM inbox_claims WHERE consumer = $1 AND until < now() - interval '1 hour')
DELETE FROM inbox WHERE consumer = $1 AND processed_at < now() - interval '7 days';

-- name: add_history
-- What changed nothing, by the transaction that acknowledges it.
INSERT INTO event_log (kind, record_kind, record_uuid, state, cause, event_source, event_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: role_of_actor
-- The role that a user has now; answers nothing when there is no such user any more.
SELECT role FROM users WHERE username = $1;
