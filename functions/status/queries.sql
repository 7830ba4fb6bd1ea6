-- What `status` reads, and the three things that it stores: usage, dead letters, inbox marks (those in the kit).
-- Lists ask for one row more than a page has; a NULL cursor starts at the newest.

-- name: list_models
-- A page of models in the states asked for, newest first, with the sums over their files.
SELECT m.uuid, m.model_name, m.source, m.revision, m.status, m.error, m.error_code, m.file_size_bytes,
       m.created_at, m.downloaded_at, m.updated_at, f.bytes_done, f.bytes_total, f.files, f.sized, f.verified, f.waiting
FROM model_records m
CROSS JOIN LATERAL (
    SELECT coalesce(sum(bytes_done), 0)::bigint AS bytes_done, sum(size_bytes)::bigint AS bytes_total,
           count(*) AS files, count(size_bytes) AS sized,
           count(*) FILTER (WHERE status = 'verified') AS verified, max(error) AS waiting
    FROM model_files WHERE model_uuid = m.uuid
) f
WHERE m.status = ANY ($1::text[])
  AND ($2::timestamptz IS NULL OR (m.created_at, m.uuid) < ($2::timestamptz, $3::text))
ORDER BY m.created_at DESC, m.uuid DESC
LIMIT $4;

-- name: find_model
-- One model by uuid, else by name or hub name; a deleted one only by uuid, the newest where a name was used twice.
SELECT m.uuid, m.model_name, m.source, m.revision, m.status, m.error, m.error_code, m.file_size_bytes,
       m.created_at, m.downloaded_at, m.updated_at, f.bytes_done, f.bytes_total, f.files, f.sized, f.verified, f.waiting
FROM model_records m
CROSS JOIN LATERAL (
    SELECT coalesce(sum(bytes_done), 0)::bigint AS bytes_done, sum(size_bytes)::bigint AS bytes_total,
           count(*) AS files, count(size_bytes) AS sized,
           count(*) FILTER (WHERE status = 'verified') AS verified, max(error) AS waiting
    FROM model_files WHERE model_uuid = m.uuid
) f
WHERE m.uuid = $1 OR ((m.model_name = $1 OR m.hf_name = $1) AND m.status <> 'deleted')
ORDER BY (m.uuid = $1) DESC, m.created_at DESC
LIMIT 1;

-- name: list_files
-- The files of one model, by path.
SELECT model_uuid, path, size_bytes, sha256, status, bytes_done, rate_bps, error, updated_at
FROM model_files WHERE model_uuid = $1 ORDER BY path;

-- name: storage_of_model
-- What of a model's content other models have too, what would go with it, and what was found about its signature.
SELECT coalesce(sum(own.size_bytes) FILTER (WHERE own.shared), 0)::bigint AS shared_bytes,
       coalesce(sum(own.size_bytes) FILTER (WHERE NOT own.shared), 0)::bigint AS unique_bytes,
       (SELECT signature FROM model_records WHERE uuid = $1) AS signature
FROM (
    SELECT DISTINCT ON (f.sha256) f.size_bytes, EXISTS (
        SELECT 1 FROM referring_files o WHERE o.sha256 = f.sha256 AND o.model_uuid <> f.model_uuid
    ) AS shared
    FROM model_files f WHERE f.model_uuid = $1 AND f.status = 'verified'
) AS own;

-- name: list_moving_files
-- The files of these models that are being transferred: what a page's rates are made of.
SELECT model_uuid, path, size_bytes, sha256, status, bytes_done, rate_bps, error, updated_at
FROM model_files WHERE model_uuid = ANY ($1::text[]) AND status = 'transferring';

-- name: servers_of_models
-- The newest live server of each of these models.
SELECT DISTINCT ON (model_uuid)
       uuid, model_uuid, model_name, service_name, namespace, status, revision, endpoint, gateway_url, error,
       runtime_params, memory_usage_mb, memory_max_mb, cpu_usage_percent, pod_name, request, contract, observed,
       created_at, started_at, updated_at
FROM server_records
WHERE model_uuid = ANY ($1::text[]) AND status <> 'deleted'
ORDER BY model_uuid, created_at DESC;

-- name: list_servers
-- A page of live servers, newest first.
SELECT uuid, model_uuid, model_name, service_name, namespace, status, revision, endpoint, gateway_url, error,
       runtime_params, memory_usage_mb, memory_max_mb, cpu_usage_percent, pod_name, request, contract, observed,
       created_at, started_at, updated_at
FROM server_records
WHERE status <> 'deleted'
  AND ($1::timestamptz IS NULL OR (created_at, uuid) < ($1::timestamptz, $2::text))
ORDER BY created_at DESC, uuid DESC
LIMIT $3;

-- name: find_server
-- One server by uuid, else a live one by its name.
SELECT uuid, model_uuid, model_name, service_name, namespace, status, revision, endpoint, gateway_url, error,
       runtime_params, memory_usage_mb, memory_max_mb, cpu_usage_percent, pod_name, request, contract, observed,
       created_at, started_at, updated_at
FROM server_records
WHERE uuid = $1 OR (service_name = $1 AND status <> 'deleted')
ORDER BY (uuid = $1) DESC, created_at DESC
LIMIT 1;

-- name: sum_usage
-- A page of usage by UTC day, model, subject and key, newest day first; $1 limits it to one subject, NULL sees all.
SELECT day, model_name, subject, key, count(*) AS requests, sum(prompt_tokens)::bigint AS prompt_tokens,
       sum(completion_tokens)::bigint AS completion_tokens, count(*) FILTER (WHERE status >= 400) AS errors
FROM (
    SELECT (started_at AT TIME ZONE 'UTC')::date AS day, model_name, subject, coalesce(key_id, '') AS key,
           prompt_tokens, completion_tokens, status
    FROM usage
    WHERE ($1::text IS NULL OR subject = $1)
      AND ($2::timestamptz IS NULL OR started_at >= $2)
      AND ($3::timestamptz IS NULL OR started_at < $3)
      AND ($4::text IS NULL OR model_name = $4)
) record
WHERE $5::date IS NULL OR (day, model_name, subject, key) < ($5::date, $6::text, $7::text, $8::text)
GROUP BY day, model_name, subject, key
ORDER BY day DESC, model_name DESC, subject DESC, key DESC
LIMIT $9;

-- name: add_usage
-- Store a batch; the event's (source, id) and the place in the batch make each row countable once.
INSERT INTO usage (event_source, event_id, position, request_id, server_name, model_name, subject, key_id,
                   prompt_tokens, completion_tokens, started_at, duration_ms, status, streamed, revision, first_token_ms)
SELECT $1, $2, record.*
FROM unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[],
            $11::timestamptz[], $12::int[], $13::int[], $14::boolean[], $15::text[], $16::int[]) AS record
ON CONFLICT (event_source, event_id, position) DO NOTHING;

-- name: list_evaluations
-- A page of evaluations, newest first, with the winner's name.
SELECT e.*, c.model_name AS winner_name, c.score AS winner_score
FROM evaluations e
LEFT JOIN evaluation_candidates c ON c.evaluation_uuid = e.uuid AND c.position = e.winner
WHERE $1::timestamptz IS NULL OR (e.created_at, e.uuid) < ($1::timestamptz, $2::text)
ORDER BY e.created_at DESC, e.uuid DESC
LIMIT $3;

-- name: find_evaluation
-- One of them.
SELECT e.*, c.model_name AS winner_name, c.score AS winner_score
FROM evaluations e
LEFT JOIN evaluation_candidates c ON c.evaluation_uuid = e.uuid AND c.position = e.winner
WHERE e.uuid = $1;

-- name: list_candidates
-- Its candidates, in the order in which they were named.
SELECT * FROM evaluation_candidates WHERE evaluation_uuid = $1 ORDER BY position;

-- name: add_cold_start
-- One start of an engine.
INSERT INTO cold_starts (event_id, server_name, revision, began_at, fetched_ms, loaded_ms, ready_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (event_id) DO NOTHING;

-- name: list_cold_starts
-- The last starts of a server's engines, the latest first. schedule_ms: from when the cluster began to wake the revision,
-- known to the second; the first engine that starts after that is the one that was waited for, later ones were added.
SELECT c.revision, c.began_at, c.fetched_ms, c.loaded_ms, c.ready_ms,
       round(extract(epoch FROM c.began_at - w.woken_at) * 1000)::int AS schedule_ms
FROM cold_starts c
LEFT JOIN LATERAL (
    SELECT max(woken_at) AS woken_at FROM wakes
    WHERE revision = c.revision AND woken_at <= c.began_at AND woken_at > c.began_at - interval '1 hour'
      AND NOT EXISTS (
          SELECT 1 FROM cold_starts earlier
          WHERE earlier.revision = c.revision AND earlier.began_at < c.began_at AND earlier.began_at >= wakes.woken_at
      )
) w ON true
WHERE c.server_name = $1
ORDER BY c.began_at DESC
LIMIT 100;

-- name: forget_cold_starts
-- A revision that started a month ago starts differently by now. A part at a time: a tick ends in seconds.
DELETE FROM cold_starts
WHERE event_id IN (SELECT event_id FROM cold_starts WHERE began_at < now() - interval '30 days' LIMIT 10000);

-- name: forget_wakes
-- Those that no start asks for any more.
DELETE FROM wakes
WHERE (revision, woken_at) IN (
    SELECT revision, woken_at FROM wakes WHERE woken_at < now() - interval '30 days' LIMIT 10000
);

-- name: note_consumption
-- What one of a server's engines uses, while that differs enough to be worth a write a second.
UPDATE server_records SET memory_usage_mb = $3::float8::int, cpu_usage_percent = $4
WHERE namespace = $1 AND service_name = $2 AND status NOT IN ('deleted', 'asleep')
  AND (abs(memory_usage_mb - $3::float8) >= 8 OR abs(cpu_usage_percent - $4) >= 5);

-- name: note_measured
-- The rollouts under way of a server whose usage was just stored, each at most once a second: the first usage of a second
-- takes it, the tick has the rest. In the future is before a clock was set back.
UPDATE rollouts SET measured_at = now()
WHERE namespace = $1 AND server_name = $2 AND finished_at IS NULL
  AND (measured_at IS NULL OR measured_at < now() - interval '1 second' OR measured_at > now() + interval '2 minutes')
RETURNING uuid;

-- name: add_dead_letter
-- Keep an event that nobody could handle, once per destination that failed; a later failure brings the newer reason,
-- and says that a redrive is over.
INSERT INTO dead_letters (source, event_id, type, subject, extensions, content_type, data, error_dest, error_code, error_data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (source, event_id, error_dest) DO UPDATE
SET error_code = excluded.error_code, error_data = excluded.error_data, received_at = now(), redriven_at = NULL;

-- name: list_dead_letters
-- A page of dead letters without their data, newest first. $1 to $8 are the filter, in the order of Filter.arguments.
SELECT id, source, event_id, type, subject, extensions, content_type, error_dest, error_code, error_data, received_at,
       redriven_at, redriven_by, redrives
FROM dead_letters
WHERE ($1::bigint[] IS NULL OR id = ANY ($1::bigint[]))
  AND ($2::text IS NULL OR type = $2::text)
  AND ($3::text IS NULL OR subject = $3::text)
  AND ($4::text IS NULL OR error_dest = $4::text)
  AND ($5::int IS NULL OR error_code = $5::int)
  AND ($6::timestamptz IS NULL OR received_at >= $6::timestamptz)
  AND ($7::timestamptz IS NULL OR received_at < $7::timestamptz)
  AND ($8::boolean IS NULL OR (redriven_at IS NOT NULL) = $8::boolean)
  AND ($9::timestamptz IS NULL OR (received_at, id) < ($9::timestamptz, $10::bigint))
ORDER BY received_at DESC, id DESC
LIMIT $11;

-- name: find_dead_letter
-- One dead letter, with the event's bytes.
SELECT * FROM dead_letters WHERE id = $1;

-- name: redrive
-- Put the letters that match into the outbox as the events that they were, and mark them; at most $10, the oldest first.
-- Not those that were redriven less than $9 seconds ago: they are under way. SKIP LOCKED: another call has them in hand.
-- Two letters of one event (two destinations) share a row. Its key is its own: under the event's id there may still be
-- the row of an earlier redrive, whose sender takes it away once the whole of its batch is answered.
WITH chosen AS MATERIALIZED (
    SELECT id, source, event_id, type, subject, extensions, content_type, data
    FROM dead_letters
    WHERE ($1::bigint[] IS NULL OR id = ANY ($1::bigint[]))
      AND ($2::text IS NULL OR type = $2::text)
      AND ($3::text IS NULL OR subject = $3::text)
      AND ($4::text IS NULL OR error_dest = $4::text)
      AND ($5::int IS NULL OR error_code = $5::int)
      AND ($6::timestamptz IS NULL OR received_at >= $6::timestamptz)
      AND ($7::timestamptz IS NULL OR received_at < $7::timestamptz)
      AND ($8::boolean IS NULL OR (redriven_at IS NOT NULL) = $8::boolean)
      AND (redriven_at IS NULL OR redriven_at < now() - $9::float8 * interval '1 second')
    ORDER BY received_at, id
    LIMIT $10 FOR UPDATE SKIP LOCKED
), sent AS (
    INSERT INTO outbox (id, source, event_id, event_source, type, subject, extensions, data, body)
    SELECT gen_random_uuid()::text, $11::text, event_id, source, type, coalesce(subject, ''),
           CASE WHEN content_type = '' THEN extensions
                ELSE extensions || jsonb_build_object('datacontenttype', content_type) END,
           'null', data
    FROM (SELECT DISTINCT ON (source, event_id) * FROM chosen ORDER BY source, event_id) AS event
)
UPDATE dead_letters AS d
SET redriven_at = now(), redriven_by = $12::text, redrives = d.redrives + 1
FROM chosen WHERE d.id = chosen.id
RETURNING d.id;

-- name: forget_history
-- What changed nothing a month ago explains nothing any more. A part at a time: a tick ends in seconds.
DELETE FROM event_log
WHERE id IN (SELECT id FROM event_log WHERE at < now() - interval '30 days' ORDER BY at LIMIT 10000);

-- name: lock_feed
-- Until the end of the transaction: ids then become visible in their order. A number of our own among advisory locks.
SELECT pg_advisory_xact_lock(7305521);

-- name: add_news
-- Keep one piece of news, under the name of its model, which may be known by its server alone.
INSERT INTO feed (type, subject, model_uuid, model_name, asker, data)
SELECT $1, $2, coalesce(m.uuid, $3::text), coalesce(m.model_name, $4::text), $6::text, $7::jsonb
FROM (SELECT) AS always
LEFT JOIN model_records m ON m.uuid = coalesce($3::text, (SELECT s.model_uuid FROM server_records s WHERE s.uuid = $5::text));

-- name: newest_news
-- Where the feed stands.
SELECT max(id) AS id FROM feed;

-- name: news_after
-- What follows a position, oldest first, up to $2 where it is given.
SELECT id, at, type, subject, model_uuid, model_name, asker, data FROM feed
WHERE id > $1 AND ($2::bigint IS NULL OR id <= $2::bigint)
ORDER BY id LIMIT $3;

-- name: forget_news
-- Whoever was away for a week reads the records. A part at a time: a tick ends in seconds.
DELETE FROM feed WHERE id IN (SELECT id FROM feed WHERE at < now() - interval '7 days' ORDER BY at LIMIT 10000);

-- name: changing_models
-- Models with a file under way, and those whose record changed within $1 seconds. The sums are those of list_models.
SELECT m.uuid, m.model_name, m.source, m.revision, m.status, m.error, m.error_code, m.file_size_bytes,
       m.created_at, m.downloaded_at, m.updated_at, f.bytes_done, f.bytes_total, f.files, f.sized, f.verified, f.waiting
FROM model_records m
CROSS JOIN LATERAL (
    SELECT coalesce(sum(bytes_done), 0)::bigint AS bytes_done, sum(size_bytes)::bigint AS bytes_total,
           count(*) AS files, count(size_bytes) AS sized,
           count(*) FILTER (WHERE status = 'verified') AS verified, max(error) AS waiting
    FROM model_files WHERE model_uuid = m.uuid
) f
WHERE (m.status = 'downloading'
       AND EXISTS (SELECT FROM model_files w WHERE w.model_uuid = m.uuid AND w.status = 'transferring'))
   OR m.updated_at > now() - $1::float8 * interval '1 second'
ORDER BY m.updated_at DESC LIMIT $2;

-- name: changing_servers
-- Servers whose record changed within $1 seconds.
SELECT uuid, model_uuid, model_name, service_name, namespace, status, revision, endpoint, gateway_url, error,
       runtime_params, memory_usage_mb, memory_max_mb, cpu_usage_percent, pod_name, request, contract, observed,
       created_at, started_at, updated_at
FROM server_records
WHERE updated_at > now() - $1::float8 * interval '1 second'
ORDER BY updated_at DESC LIMIT $2;

-- name: find_inference
-- One request for asynchronous inference, if it is the caller's ($2) or the caller may see everybody's ($3).
SELECT uuid, subject, server_name, model_name, path, status, attempts, error, http_status, result_bytes, created_at,
       started_at, finished_at, deadline_at, callback_url, callback_status, callback_attempts, callback_error
FROM inference_requests WHERE uuid = $1 AND accepted_at IS NOT NULL AND (subject = $2 OR $3::bool);

-- name: list_rollouts
-- The last rollouts of a server, the latest first. The default steps are those of RolloutOptions (functions/serve/requests.py).
SELECT uuid, status, strategy, model_uuid, model_name, previous_model_name, stable_revision, candidate_revision, step,
       coalesce(options->'steps', '[5, 25, 50, 100]'::jsonb) AS steps, percent, why, measures, actor, created_at,
       step_started_at, finished_at, error
FROM rollouts WHERE server_uuid = $1
ORDER BY created_at DESC, uuid LIMIT $2;
