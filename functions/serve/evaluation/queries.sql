-- Evaluations: what is asked of which candidates, and what came of it.

-- name: add_evaluation
-- A new one. Answers nothing when the same was asked for already and has not failed.
INSERT INTO evaluations (uuid, namespace, alias, fingerprint, why, prompts, min_score, options, rollout, models, actor, deadline_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + $12::float8 * interval '1 second')
ON CONFLICT (namespace, fingerprint) WHERE status NOT IN ('failed', 'superseded', 'cancelled') DO NOTHING
RETURNING *;

-- name: add_candidates
-- Its candidates, in the order of the request.
INSERT INTO evaluation_candidates (evaluation_uuid, position, asked_as)
SELECT $1, place - 1, name FROM unnest($2::text[]) WITH ORDINALITY AS asked (name, place);

-- name: find_same
-- The one that was asked for with the same content.
SELECT * FROM evaluations
WHERE namespace = $1 AND fingerprint = $2 AND status NOT IN ('failed', 'superseded', 'cancelled');

-- name: read_evaluation
-- One, with whether its deadline has passed.
SELECT *, deadline_at <= now() AS overdue FROM evaluations WHERE uuid = $1;

-- name: lock_evaluation
-- One, locked: every change of it and of its candidates begins so.
SELECT * FROM evaluations WHERE uuid = $1 FOR UPDATE;

-- name: list_candidates
-- Its candidates, with whether one has been served for longer than $2 seconds.
SELECT *, deployed_at < now() - $2::float8 * interval '1 second' AS late
FROM evaluation_candidates WHERE evaluation_uuid = $1 ORDER BY position;

-- name: find_model
-- What a candidate's name means now: the newest available model of that name, else the newest.
SELECT uuid, model_name, status, error FROM model_records
WHERE (uuid = $1 OR model_name = $1 OR hf_name = $1) AND status <> 'deleted'
ORDER BY (uuid = $1) DESC, (status = 'available') DESC, created_at DESC
LIMIT 1;

-- name: find_alias
-- The live server of the alias.
SELECT * FROM server_records WHERE namespace = $1 AND service_name = $2 AND status <> 'deleted';

-- name: server_of
-- How a temporary server is.
SELECT status, error FROM server_records WHERE uuid = $1;

-- name: move_evaluation
-- Enter a state; some are the end.
UPDATE evaluations
SET status = $2, why = $3, winner = coalesce($4, winner), updated_at = now(), finished_at = CASE WHEN $5::bool THEN now() END
WHERE uuid = $1
RETURNING *;

-- name: touch_evaluation
-- It was looked at, or has got on.
UPDATE evaluations SET why = $2, updated_at = now() WHERE uuid = $1;

-- name: name_candidate
-- Which model it is.
UPDATE evaluation_candidates SET model_uuid = $3, model_name = $4 WHERE evaluation_uuid = $1 AND position = $2;

-- name: move_candidate
-- Enter a state, with the reason.
UPDATE evaluation_candidates SET status = $3, why = $4 WHERE evaluation_uuid = $1 AND position = $2;

-- name: deploy_candidate
-- Its temporary server is asked for.
UPDATE evaluation_candidates
SET status = $3, server_uuid = $4, server_name = $5, model_uuid = $6, model_name = $7, deployed_at = now()
WHERE evaluation_uuid = $1 AND position = $2;

-- name: add_results
-- Further answers, if nobody else has brought the same ones: $3 is how many there were. Answers nothing otherwise.
UPDATE evaluation_candidates SET results = results || $4::jsonb
WHERE evaluation_uuid = $1 AND position = $2 AND status = 'asking' AND jsonb_array_length(results) = $3
RETURNING position;

-- name: score_candidate
-- Its last prompt is answered.
UPDATE evaluation_candidates SET status = $3, score = $4, latency_ms = $5 WHERE evaluation_uuid = $1 AND position = $2;

-- name: promote
-- The winner of an alias, unless a later evaluation has one already. Answers nothing then.
INSERT INTO promotions (namespace, alias, number, evaluation_uuid, model_uuid, model_name, score)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (namespace, alias) DO UPDATE
SET number = $3, evaluation_uuid = $4, model_uuid = $5, model_name = $6, score = $7, selected_at = now()
WHERE promotions.number <= $3
RETURNING alias;

-- name: list_waiting
-- Those that wait for models.
SELECT uuid, actor FROM evaluations WHERE namespace = $1 AND status = 'waiting' ORDER BY number LIMIT 100;

-- name: of_server
-- The evaluation that waits for this server.
SELECT e.uuid, e.actor FROM evaluation_candidates c JOIN evaluations e ON e.uuid = c.evaluation_uuid
WHERE c.server_uuid = $1 AND c.status = 'deploying';

-- name: list_stalled
-- Those under way that nobody has got on with for $2 seconds, or whose deadline has passed. In the future is before a clock was set back.
SELECT uuid, actor FROM evaluations
WHERE namespace = $1 AND finished_at IS NULL
  AND (updated_at < now() - $2::float8 * interval '1 second' OR updated_at > now() + interval '2 minutes'
       OR status = 'waiting' AND deadline_at <= now())
ORDER BY number LIMIT 100;

-- name: forget_evaluation
-- A person wants it gone; candidates go with it.
DELETE FROM evaluations WHERE uuid = $1;
