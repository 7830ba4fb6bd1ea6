-- Requests for asynchronous inference: the queue, the leases of those who ask, and what came of it.

-- name: find_server
-- A server that is not deleted, by its name or, where $3 says so, by its model's; one that works before one that failed.
SELECT uuid, service_name, model_name, status, error, runtime_params
FROM server_records
WHERE namespace = $1 AND status <> 'deleted' AND (service_name = $2 OR $3::bool AND (model_name = $2 OR model_uuid = $2))
ORDER BY service_name = $2 DESC, status <> 'failed' DESC, created_at DESC
LIMIT 1;

-- name: find_by_key
-- The request that somebody made under this key.
SELECT * FROM inference_requests WHERE subject = $1 AND idempotency_key = $2;

-- name: count_open
-- How many requests of somebody wait or run.
SELECT count(*) FROM inference_requests WHERE subject = $1 AND status IN ('queued', 'running');

-- name: add_request
-- A new request, which nobody runs before its body is stored. Answers nothing when the key is taken.
INSERT INTO inference_requests (uuid, subject, key_id, idempotency_key, fingerprint, server_uuid, server_name, model_name,
                                path, deadline_at, callback_url, callback_secret)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + $10::float8 * interval '1 second', $11, $12)
ON CONFLICT (subject, idempotency_key) DO NOTHING
RETURNING *;

-- name: accept_request
-- Its body is stored: from here on it waits for a place.
UPDATE inference_requests SET accepted_at = now(), due_at = now() WHERE uuid = $1 AND accepted_at IS NULL RETURNING *;

-- name: lock_request
-- One request, locked, with the time by which its deadline and its lease are judged.
SELECT *, clock_timestamp() AS read_at FROM inference_requests WHERE uuid = $1 FOR UPDATE;

-- name: lock_queue
-- Who gets a place is decided by one transaction at a time, so that no place is given twice and none is forgotten.
SELECT pg_advisory_xact_lock(7305520);

-- name: places_taken
-- How many of the server $1, and of all, are being asked right now, $2 not counted.
SELECT count(*) FILTER (WHERE server_uuid = $1) AS of_server, count(*) AS of_all
FROM inference_requests
WHERE status = 'running' AND uuid <> $2 AND lease_until BETWEEN now() AND now() + interval '2 minutes';

-- name: server_of
-- The server of a request, as far as it matters whether and how often it can be asked.
SELECT status, runtime_params FROM server_records WHERE uuid = $1;

-- name: tell_next
-- Those who can run now, the oldest of each server first, as far as there are places: $1 in all, $2 of one server or, where
-- that is 0, as many calls as its replicas take at once. Their events hold the places for $3 seconds.
-- Places that are few go to the servers that have the fewest of them: nobody's backlog keeps the others waiting.
-- Queued and due, or running under a lease that ran out. A time far ahead is from before a clock was set back.
-- However many wait, a server's index is read only as far as it has places.
WITH taken AS (
    SELECT server_uuid, count(*) AS places FROM inference_requests
    WHERE status IN ('queued', 'running') AND (told_at IS NOT NULL OR lease_until IS NOT NULL)
      AND (coalesce(lease_until BETWEEN now() AND now() + interval '2 minutes', false)
           OR coalesce(told_at BETWEEN now() - $3::float8 * interval '1 second' AND now() + interval '1 minute', false))
    GROUP BY server_uuid
), chosen AS (
    SELECT next.uuid
    FROM server_records AS server
    LEFT JOIN taken ON taken.server_uuid = server.uuid
    CROSS JOIN LATERAL (
        SELECT uuid, created_at, row_number() OVER (ORDER BY created_at, uuid) AS place FROM inference_requests
        WHERE server_uuid = server.uuid AND status IN ('queued', 'running') AND accepted_at IS NOT NULL
          AND (due_at <= now() OR due_at > now() + interval '2 minutes')
          AND NOT coalesce(lease_until BETWEEN now() AND now() + interval '2 minutes', false)
          AND NOT coalesce(told_at BETWEEN now() - $3::float8 * interval '1 second' AND now() + interval '1 minute', false)
        ORDER BY created_at, uuid
        LIMIT greatest(0, CASE WHEN $2::int > 0 THEN $2::int ELSE greatest(1, coalesce(
                  (server.runtime_params -> 'scale' ->> 'max')::int * (server.runtime_params -> 'scale' ->> 'target')::int, 1
              )) END - coalesce(taken.places, 0))
    ) AS next
    ORDER BY coalesce(taken.places, 0) + next.place, next.created_at, next.uuid
    LIMIT greatest(0, $1::int - (SELECT coalesce(sum(places), 0) FROM taken))
)
UPDATE inference_requests AS request SET told_at = now()
FROM chosen WHERE request.uuid = chosen.uuid
RETURNING request.uuid, request.subject;

-- name: untell_request
-- There was no place for it: whoever ends next tells it.
UPDATE inference_requests SET told_at = NULL WHERE uuid = $1;

-- name: claim_request
-- Ask the model under the lease $2 for $3 seconds, which are renewed.
UPDATE inference_requests
SET status = $4, lease = $2, lease_until = clock_timestamp() + $3::float8 * interval '1 second', attempts = attempts + 1,
    started_at = coalesce(started_at, now()), told_at = NULL
WHERE uuid = $1
RETURNING *;

-- name: renew_lease
-- Still at it. Answers nothing when the request is no longer this lease's: cancelled, or taken over. Not flushed to disk:
-- a lease that a crash shortens is one that somebody takes over earlier.
UPDATE inference_requests SET lease_until = clock_timestamp() + $3::float8 * interval '1 second'
WHERE uuid = $1 AND lease = $2 AND status = 'running' AND set_config('synchronous_commit', 'off', true) IS NOT NULL
RETURNING uuid;

-- name: release_request
-- Not now: queued again, due in $3 seconds.
UPDATE inference_requests
SET status = $2, lease = NULL, lease_until = NULL, told_at = NULL,
    due_at = now() + $3::float8 * interval '1 second', http_status = $4, error = $5
WHERE uuid = $1
RETURNING *;

-- name: end_request
-- It is over; whoever wanted to be told is to be told.
UPDATE inference_requests
SET status = $2, finished_at = now(), lease = NULL, lease_until = NULL, told_at = NULL, http_status = $3, error = $4,
    result_bytes = $5, callback_told_at = now(), callback_attempts = 0, callback_error = NULL,
    callback_status = CASE WHEN callback_url IS NULL THEN NULL ELSE 'pending' END
WHERE uuid = $1
RETURNING *;

-- name: was_redriven
-- Whether an operator had the event's dead letter sent again after $3: a mere duplicate of a failed event does not revive.
SELECT 1 FROM dead_letters WHERE source = $1 AND event_id = $2 AND redriven_at > $3;

-- name: revive_request
-- From the beginning, because an operator says so.
UPDATE inference_requests
SET status = $2, attempts = 0, finished_at = NULL, error = NULL, http_status = NULL, due_at = now(), callback_status = NULL
WHERE uuid = $1
RETURNING *;

-- name: key_is_good
-- Whether an API key still is one.
SELECT 1 FROM api_keys WHERE id = $1 AND revoked_at IS NULL AND expires_at > now();

-- name: list_overdue
-- Past their deadline, and nobody is asking for them.
SELECT uuid FROM inference_requests
WHERE status IN ('queued', 'running') AND accepted_at IS NOT NULL AND deadline_at <= now()
  AND (status = 'queued' OR lease_until NOT BETWEEN now() AND now() + interval '2 minutes')
ORDER BY deadline_at LIMIT $1;

-- name: note_callback
-- How one delivery of the webhook went.
UPDATE inference_requests
SET callback_status = $2, callback_attempts = callback_attempts + 1, callback_error = $3, callback_told_at = now()
WHERE uuid = $1;

-- name: revive_callback
-- An operator has its dead letter sent again.
UPDATE inference_requests SET callback_attempts = 0, callback_status = 'pending' WHERE uuid = $1;

-- name: tell_callbacks
-- Webhooks that nobody has tried for $1 seconds, longer than a Trigger retries: their events were lost.
WITH lost AS MATERIALIZED (
    SELECT uuid FROM inference_requests
    WHERE callback_status = 'pending'
      AND (callback_told_at < now() - $1::float8 * interval '1 second' OR callback_told_at > now() + interval '2 minutes')
    ORDER BY callback_told_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE inference_requests AS request SET callback_told_at = now() FROM lost WHERE request.uuid = lost.uuid
RETURNING request.uuid, request.subject;

-- name: forget_requests
-- What ended more than $1 seconds ago, and what was never stored: its caller had no answer and has not come back for $2.
-- Whoever comes back, or sends its dead letter again, at this very moment waits for the end of this transaction.
WITH forgotten AS MATERIALIZED (
    SELECT uuid FROM inference_requests
    WHERE finished_at < now() - $1::float8 * interval '1 second'
       OR accepted_at IS NULL AND created_at < now() - $2::float8 * interval '1 second'
    ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
DELETE FROM inference_requests AS request USING forgotten WHERE request.uuid = forgotten.uuid
RETURNING request.uuid;
