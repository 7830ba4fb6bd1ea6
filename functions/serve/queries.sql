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
SET status = $2::text, error = nullif($3, ''), observed = $4,
    memory_usage_mb = CASE WHEN $2::text IN ('asleep', 'deleted') THEN 0 ELSE memory_usage_mb END,
    cpu_usage_percent = CASE WHEN $2::text IN ('asleep', 'deleted') THEN 0 ELSE cpu_usage_percent END,
    revision = nullif($5, ''), updated_at = now(),
    started_at = CASE WHEN $2::text = 'ready' AND status <> 'ready' THEN now() ELSE started_at END
WHERE uuid = $1
RETURNING *;

-- name: note_wake
-- The cluster has begun to bring up a revision that had no replica; told of again and again until it is there.
INSERT INTO wakes (revision, woken_at) VALUES ($1, $2) ON CONFLICT DO NOTHING;

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


-- name: add_rollout
-- Something new is on trial; there is no other trial of the server, or the unique index would say so.
INSERT INTO rollouts (uuid, server_uuid, server_name, namespace, strategy, options, model_uuid, model_name, request,
                      runtime_params, memory_max_mb, contract, previous_model_uuid, previous_model_name,
                      stable_revision, actor, why)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 'its revision is being made')
RETURNING *;

-- name: lock_rollout_under_way
-- The rollout of a server that has not ended, locked.
SELECT * FROM rollouts WHERE server_uuid = $1 AND finished_at IS NULL FOR UPDATE;

-- name: lock_rollout
-- One rollout by uuid, locked.
SELECT * FROM rollouts WHERE uuid = $1 FOR UPDATE;

-- name: read_rollout
-- One rollout by uuid, with its server's name and whether that is still there.
SELECT * FROM rollouts WHERE uuid = $1;

-- name: find_last_rollout
-- The newest rollout of a server, ended or not.
SELECT * FROM rollouts WHERE server_uuid = $1 ORDER BY created_at DESC, uuid LIMIT 1;

-- name: move_rollout
-- A move: state, cause, why, step and percent, when; whether it is the end, and a bad one; the candidate and its measures
-- where they are known by now.
UPDATE rollouts
SET status = $2::text, cause = $3::text, why = $4::text, step = $5, percent = $6, step_started_at = $7::timestamptz,
    updated_at = now(), finished_at = CASE WHEN $8::boolean THEN $7::timestamptz END,
    error = CASE WHEN $9::boolean THEN $4::text END,
    candidate_revision = coalesce(nullif($10::text, ''), candidate_revision), measures = coalesce($11::jsonb, measures)
WHERE uuid = $1
RETURNING *;

-- name: note_rollout
-- It waits: for what, and what was seen.
UPDATE rollouts
SET why = $2, candidate_revision = coalesce(nullif($3::text, ''), candidate_revision),
    measures = coalesce($4::jsonb, measures),
    updated_at = now()
WHERE uuid = $1 AND finished_at IS NULL;

-- name: promote_server
-- What was on trial is what serves; pending until the cluster was told.
UPDATE server_records s
SET model_uuid = r.model_uuid, model_name = r.model_name, request = r.request, runtime_params = r.runtime_params,
    memory_max_mb = r.memory_max_mb, contract = r.contract, status = 'pending', error = NULL, pinned_revision = NULL,
    updated_at = now()
FROM rollouts r
WHERE r.uuid = $1 AND s.uuid = r.server_uuid AND s.status <> 'deleted';

-- name: pin_server
-- All traffic stays with this revision until what served is the latest one again.
UPDATE server_records SET pinned_revision = $2, updated_at = now() WHERE uuid = $1 AND status <> 'deleted';

-- name: unpin_server
-- What served is the latest revision again, and ready.
UPDATE server_records SET pinned_revision = NULL WHERE uuid = $1;

-- name: list_rollouts_under_way
-- For every tick: rollouts that have not ended.
SELECT uuid, server_uuid FROM rollouts WHERE namespace = $1 AND finished_at IS NULL ORDER BY created_at LIMIT 1000;

-- name: list_pinned_servers
-- For every tick: servers whose traffic is kept where it was until what served is the latest revision again.
SELECT uuid FROM server_records
WHERE namespace = $1 AND pinned_revision IS NOT NULL AND status <> 'deleted'
ORDER BY updated_at LIMIT 1000;

-- name: measure_revision
-- What one revision answered since $2, and since $3: the newest $4, so that a busy year costs no more than a busy minute.
-- Not what was the caller's fault. A call that is no stream shows its first token at its end. A caller who left (499) waited
-- for a first token as long as is said; without one it is an error.
SELECT count(*) AS requests,
       count(*) FILTER (WHERE status >= 500 OR status = 499 AND first_token_ms IS NULL) AS errors,
       count(*) FILTER (WHERE started_at >= $3) AS recent,
       count(*) FILTER (WHERE status < 500) AS first_tokens,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY coalesce(first_token_ms, duration_ms))
           FILTER (WHERE status < 500) AS ttft_p95_ms
FROM (
    SELECT status, started_at, first_token_ms, duration_ms FROM usage
    WHERE revision = $1 AND started_at >= $2 AND (status < 400 OR status >= 499)
    ORDER BY started_at DESC LIMIT $4
) AS newest;

-- name: find_declared_model
-- The model that a ModelServe means: the newest available one of a name, else the newest; one uuid; what lies under a prefix.
SELECT uuid, model_name, status, model_metadata
FROM model_records
WHERE status <> 'deleted' AND CASE $1::text
    WHEN 'uuid' THEN uuid = $2
    WHEN 'path' THEN trim(trailing '/' from minio_path) = trim(trailing '/' from $2)
    ELSE model_name = $2 OR hf_name = $2
END
ORDER BY (status = 'available') DESC, created_at DESC
LIMIT 1;

-- name: lock_modelserve
-- What was done for a resource, locked.
SELECT * FROM modelserves WHERE namespace = $1 AND name = $2 FOR UPDATE;

-- name: put_modelserve
-- What was done for a resource.
INSERT INTO modelserves (namespace, name, uid, generation, token_digest, actor, models, asked, model_uuid, server_uuid, waiting)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (namespace, name) DO UPDATE
SET uid = $3, generation = $4, token_digest = $5, actor = $6, models = $7, asked = $8, model_uuid = $9, server_uuid = $10,
    waiting = $11, updated_at = now()
WHERE (modelserves.uid, modelserves.generation, modelserves.token_digest, modelserves.actor, modelserves.models,
       modelserves.asked, modelserves.model_uuid, modelserves.server_uuid, modelserves.waiting)
      IS DISTINCT FROM ($3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: drop_modelserve
-- The resource is gone.
DELETE FROM modelserves WHERE namespace = $1 AND name = $2;

-- name: list_modelserves
-- For every tick: the resources that something was done for.
SELECT name FROM modelserves WHERE namespace = $1;

-- name: list_waiting_modelserves
-- Resources whose model was not available.
SELECT name FROM modelserves WHERE namespace = $1 AND waiting;

-- name: find_modelserve_of_server
-- The resource that a server belongs to.
SELECT name FROM modelserves WHERE server_uuid = $1;
