-- What `serve` reads and writes: models to serve, and the records of servers.

-- name: find_model
-- One model by uuid or name that is not deleted; an available one first, then the newest.
SELECT uuid, model_name, status, model_metadata, serve, error
FROM model_records
WHERE (uuid = $1 OR model_name = $1 OR hf_name = $1) AND status <> 'deleted'
ORDER BY (uuid = $1) DESC, (status = 'available') DESC, created_at DESC
LIMIT 1;

-- name: take_wish
-- Serving the model is taken up, by this transaction alone: however its event comes, and comes again, it is served once.
UPDATE model_records SET serve = NULL WHERE uuid = $1 AND serve IS NOT NULL RETURNING uuid;

-- name: list_unserved_models
-- Available and to be served, and nobody took that up: the event was lost. In the future is before a clock was set back.
SELECT uuid, model_name, actor FROM model_records
WHERE status = 'available' AND serve IS NOT NULL
  AND (downloaded_at < now() - $1::float8 * interval '1 second' OR downloaded_at > now() + interval '2 minutes')
ORDER BY downloaded_at LIMIT 100;

-- name: lock_name
-- Serialise requests for one server name until the transaction ends; the unique index alone would answer with an error.
SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0));

-- name: find_server
-- The live server of this name, locked.
SELECT * FROM server_records
WHERE namespace = $1 AND service_name = $2 AND status <> 'deleted'
FOR UPDATE;

-- name: lock_server
-- One server by uuid, locked.
SELECT * FROM server_records WHERE uuid = $1 FOR UPDATE;

-- name: read_server
-- One server by uuid.
SELECT * FROM server_records WHERE uuid = $1;

-- name: add_server
-- A new record.
INSERT INTO server_records (uuid, model_uuid, model_name, status, runtime_params, memory_max_mb, service_name,
                            namespace, endpoint, gateway_url, request, contract, error, actor)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
RETURNING *;

-- name: change_server
-- What is asked for has changed.
UPDATE server_records
SET model_uuid = $2, model_name = $3, status = $4, runtime_params = $5, memory_max_mb = $6, request = $7,
    contract = $8, error = $9, updated_at = now()
WHERE uuid = $1
RETURNING *;

-- name: move_server
-- What the cluster last said, and the state that follows; started_at is when the server last became ready.
UPDATE server_records
SET status = $2::text, error = nullif($3, ''), observed = $4, revision = nullif($5, ''), updated_at = now(),
    started_at = CASE WHEN $2::text = 'ready' AND status <> 'ready' THEN now() ELSE started_at END
WHERE uuid = $1
RETURNING *;

-- name: list_live_servers
-- Servers whose objects should exist: compared with what the API lists, on every tick.
SELECT uuid, status FROM server_records
WHERE namespace = $1 AND status IN ('deploying', 'ready', 'asleep');

-- name: list_stalled_servers
-- Servers that nobody is working on: pending for longer than a handler can take, or since before a clock was set back.
-- With who asked for it; a server that has run before is repaired whether that person is still here or not.
SELECT uuid, CASE WHEN started_at IS NULL THEN actor ELSE '' END AS actor FROM server_records
WHERE namespace = $1 AND status = 'pending'
  AND (updated_at < now() - $2::float8 * interval '1 second' OR updated_at > now() + interval '2 minutes')
ORDER BY updated_at LIMIT 100;

