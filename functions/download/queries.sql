-- The rows of `download`: models and their files. The states that allow a change are arguments, out of states.py.
-- A worker holds a file by its lease: whoever knows the current lease_until is the holder, PostgreSQL's clock decides.
-- No lease is longer than half a minute: a time two minutes ahead was written before that clock was set back, and is past.

-- name: add_model
-- A new request; answers nothing when the same request is there.
INSERT INTO model_records (uuid, model_name, hf_name, source, request_key, include, exclude, serve, actor, quant_level)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (request_key) DO NOTHING
RETURNING uuid;

-- name: find_request
-- The record of an earlier, equal request.
SELECT uuid, status FROM model_records WHERE request_key = $1;

-- name: find_models
-- Models by uuid or name; a deleted one only by uuid.
SELECT uuid, status FROM model_records
WHERE uuid = $1 OR (model_name = $1 AND status <> 'deleted')
ORDER BY (uuid = $1) DESC LIMIT 2;

-- name: show_model
-- What the API answers of a model.
SELECT uuid, model_name AS name, source, revision, quant_level, external_source_id, status, error, error_code, created_at,
    downloaded_at
FROM model_records WHERE uuid = $1;

-- name: model
-- What a plan needs.
SELECT uuid, model_name, hf_name, source, revision, status, include, exclude, quant_level, actor, created_at
FROM model_records WHERE uuid = $1;

-- name: lock_model
-- Hold the row to the end of the transaction: whoever finishes the last file sees the others finished.
SELECT status FROM model_records WHERE uuid = $1 FOR UPDATE;

-- name: move_model
-- Change a model's state where its table allows it; an error is set or cleared with it.
UPDATE model_records SET status = $3, error_code = $4, error = $5, updated_at = now()
WHERE uuid = $1 AND status = ANY ($2::text[])
RETURNING uuid;

-- name: delete_model
-- Likewise, and free the request key, so that the same request makes a new record.
UPDATE model_records SET status = $3, request_key = NULL, updated_at = now()
WHERE uuid = $1 AND status = ANY ($2::text[])
RETURNING uuid;

-- name: asked_by
-- Somebody else asks for the model from now on: whoever tries it again.
UPDATE model_records SET actor = $2 WHERE uuid = $1;

-- name: note_model
-- Say why a plan has to wait; the state stays.
UPDATE model_records SET error = $2 WHERE uuid = $1 AND status = 'downloading';

-- name: pin_model
-- The plan's result: the commit or ETag, the size, the level where there is one, and no more trouble.
UPDATE model_records
SET revision = $2, file_size_bytes = $3, quant_level = coalesce($4, quant_level), external_source_id = $5, error = NULL,
    error_code = NULL, updated_at = now()
WHERE uuid = $1 AND status = 'downloading'
RETURNING uuid;

-- name: publish_model
-- The one atomic step that makes a model available.
UPDATE model_records
SET status = $3, minio_path = $4, file_size_bytes = $5, model_metadata = $6, downloaded_at = now(), updated_at = now(),
    error = NULL, error_code = NULL
WHERE uuid = $1 AND status = ANY ($2::text[])
RETURNING uuid;

-- name: keep_signature
-- What was found about the model's signature; NULL where the policy does not ask.
UPDATE model_records SET signature = $2 WHERE uuid = $1;

-- name: servers_of_model
-- Who keeps a model from being deleted.
SELECT service_name FROM server_records WHERE model_uuid = $1 AND status <> 'deleted'
UNION SELECT server_name FROM rollouts WHERE (model_uuid = $1 OR previous_model_uuid = $1) AND finished_at IS NULL
ORDER BY service_name;

-- name: live_upload
-- Whether an upload still belongs to a file on its way.
SELECT EXISTS (
    SELECT 1 FROM model_files f JOIN model_records m ON m.uuid = f.model_uuid
    WHERE f.model_uuid = $1 AND f.path = $2 AND f.upload_id = $3 AND m.status = 'downloading'
      AND f.status IN ('pending', 'transferring')
);

-- name: add_files
-- The planned files; a second plan of the same model changes nothing.
INSERT INTO model_files (model_uuid, path, size_bytes, sha256, git_oid, url, etag)
SELECT $1, file.* FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[]) AS file
ON CONFLICT DO NOTHING;

-- name: list_files
-- All files of a model.
SELECT path, size_bytes, sha256, status, upload_id FROM model_files WHERE model_uuid = $1 ORDER BY path;

-- name: claim_file
-- Take the lease of a file that nobody holds; answers nothing when it is held, finished or no longer wanted.
UPDATE model_files f
SET status = $4, lease_until = now() + $5::float8 * interval '1 second', updated_at = now()
FROM model_records m
WHERE m.uuid = f.model_uuid AND f.model_uuid = $1 AND f.path = $2 AND m.status = 'downloading'
  AND f.status = ANY ($3::text[])
  AND (f.lease_until IS NULL OR f.lease_until < now() OR f.lease_until > now() + interval '2 minutes')
RETURNING f.model_uuid, f.path, f.size_bytes, f.sha256, f.git_oid, f.url, f.etag, f.bytes_done, f.upload_id,
          f.hash_state, f.attempts, f.restarts, f.lease_until, m.hf_name, m.revision, m.source;

-- name: is_leased
-- Whether a worker holds the file now; answers nothing when there is no such file.
SELECT coalesce(lease_until > now() AND lease_until <= now() + interval '2 minutes', false)
FROM model_files WHERE model_uuid = $1 AND path = $2;

-- name: claimable
-- Whether a worker could take the file by now: another one gave its lease back since the claim was tried.
SELECT m.status = 'downloading' AND f.status IN ('pending', 'transferring')
FROM model_files f JOIN model_records m ON m.uuid = f.model_uuid
WHERE f.model_uuid = $1 AND f.path = $2;

-- name: state_of_file
-- For the history: the file's state and its model's; `absent` when the model has no such file any more.
SELECT coalesce(f.status, 'absent') AS file, m.status AS model
FROM model_records m LEFT JOIN model_files f ON f.model_uuid = m.uuid AND f.path = $2
WHERE m.uuid = $1;

-- name: holds_file
-- Whether the lease is still the worker's; if so it stays so to the end of the transaction.
SELECT path FROM model_files WHERE model_uuid = $1 AND path = $2 AND lease_until = $3 FOR UPDATE;

-- name: beat_file
-- Progress of the holder: renews the lease. Answers nothing when the lease or the model is no longer the worker's.
UPDATE model_files f
SET bytes_done = $4, rate_bps = $5, upload_id = $6, etag = $7,
    lease_until = now() + $8::float8 * interval '1 second', updated_at = now()
FROM model_records m
WHERE m.uuid = f.model_uuid AND f.model_uuid = $1 AND f.path = $2 AND f.lease_until = $3 AND m.status = 'downloading'
RETURNING f.lease_until;

-- name: release_file
-- End of a slice: where it stands, without a lease. attempts counts slices in a row that brought nothing.
-- hash_state is carried on by advance_digest alone; here it is forgotten, when the file begins anew.
UPDATE model_files
SET status = $4, bytes_done = $5, rate_bps = $6, hash_state = CASE WHEN $7 THEN hash_state END, upload_id = $8, etag = $9, attempts = $10, error = $11,
    restarts = $12, lease_until = NULL, updated_at = now()
WHERE model_uuid = $1 AND path = $2 AND lease_until = $3
RETURNING path;

-- name: advance_digest
-- The digest has seen more of the file. Answers nothing when it is not where the worker took it from, or of another upload.
UPDATE model_files SET hash_state = $5, updated_at = now()
WHERE model_uuid = $1 AND path = $2 AND upload_id IS NOT DISTINCT FROM $3 AND hash_state IS NOT DISTINCT FROM $4
RETURNING path;

-- name: digest_of_upload
-- How far the digest is; answers no row when the file's upload is another one by now.
SELECT hash_state FROM model_files WHERE model_uuid = $1 AND path = $2 AND upload_id IS NOT DISTINCT FROM $3;

-- name: shared_file
-- A file that somebody leads the transfer of, for a worker that helps.
SELECT f.model_uuid, f.path, f.size_bytes, f.sha256, f.git_oid, f.url, f.etag, f.bytes_done, f.upload_id,
       f.hash_state, f.attempts, f.restarts, f.lease_until, m.hf_name, m.revision, m.source
FROM model_files f JOIN model_records m ON m.uuid = f.model_uuid
WHERE f.model_uuid = $1 AND f.path = $2 AND m.status = 'downloading' AND f.status = 'transferring'
  AND f.upload_id IS NOT NULL AND f.lease_until > now();

-- name: lease_stretch
-- The first stretch of an upload, from $4 to $5, that nobody holds; taken: whether nobody was faster. No row: all are held,
-- or the file is gone.
WITH free AS MATERIALIZED (
    SELECT stretch.number FROM model_files f, generate_series($4::int, $5::int) AS stretch (number)
    WHERE f.model_uuid = $1 AND f.path = $2 AND NOT EXISTS (
        SELECT 1 FROM stretch_leases l
        WHERE l.model_uuid = $1 AND l.path = $2 AND l.upload_id = $3 AND l.number = stretch.number
          AND l.lease_until > now() AND l.lease_until <= now() + interval '2 minutes'
    )
    ORDER BY stretch.number LIMIT 1
), taken AS (
    INSERT INTO stretch_leases AS held (model_uuid, path, upload_id, number, holder, lease_until)
    SELECT f.model_uuid, f.path, $3, number, $6, now() + $7::float8 * interval '1 second'
    FROM free, model_files f WHERE f.model_uuid = $1 AND f.path = $2 FOR KEY SHARE OF f
    ON CONFLICT (model_uuid, path, upload_id, number) DO UPDATE SET holder = $6, lease_until = excluded.lease_until
    WHERE held.lease_until <= now() OR held.lease_until > now() + interval '2 minutes'
    RETURNING number
)
SELECT number, EXISTS (SELECT 1 FROM taken) AS taken FROM free;

-- name: renew_stretches
-- The worker lives.
UPDATE stretch_leases SET lease_until = now() + $2::float8 * interval '1 second' WHERE holder = $1;

-- name: free_stretches
-- The worker is done with them; what it has not finished somebody else may take at once.
DELETE FROM stretch_leases WHERE holder = $1;

-- name: verify_file
-- The file is in S3 and its digest is right: keep the digest, forget the transfer.
UPDATE model_files
SET status = $4, sha256 = $5, bytes_done = size_bytes, rate_bps = 0, attempts = 0, error = NULL,
    upload_id = NULL, hash_state = NULL, lease_until = NULL, updated_at = now()
WHERE model_uuid = $1 AND path = $2 AND lease_until = $3
RETURNING path;

-- name: count_unverified
-- How many files of the model are still to come.
SELECT count(*) FROM model_files WHERE model_uuid = $1 AND status <> 'verified';

-- name: fail_file
-- The file that failed its model, with the reason.
UPDATE model_files SET status = $4, error = $5, rate_bps = 0, lease_until = NULL, updated_at = now()
WHERE model_uuid = $1 AND path = $2 AND status = ANY ($3::text[]);

-- name: abandon_files
-- The model stops: running transfers lose their lease and their bytes; what is verified stays for a retry.
UPDATE model_files
SET status = $3, bytes_done = 0, rate_bps = 0, hash_state = NULL, etag = NULL, lease_until = NULL, updated_at = now()
WHERE model_uuid = $1 AND status = ANY ($2::text[]);

-- name: forget_upload
-- The multipart upload is aborted.
UPDATE model_files SET upload_id = NULL WHERE model_uuid = $1 AND path = $2 AND upload_id = $3;

-- name: retry_files
-- What failed may be tried again.
UPDATE model_files SET status = $3, attempts = 0, restarts = 0, error = NULL, updated_at = now()
WHERE model_uuid = $1 AND status = ANY ($2::text[]);

-- name: drop_plan
-- Nothing of the model is stored yet, so a retry plans anew: it takes the source as it is now.
DELETE FROM model_files f
WHERE f.model_uuid = $1
  AND NOT EXISTS (SELECT 1 FROM model_files v WHERE v.model_uuid = $1 AND v.status = 'verified');

-- name: drop_files
-- The objects of a deleted model are gone.
DELETE FROM model_files WHERE model_uuid = $1;

-- name: stalled_files
-- Files that nobody works on although they should be; touched, so that the next tick does not send them again.
-- MATERIALIZED: as a mere subquery, PostgreSQL may choose to run it once per row, and then takes more than its limit.
WITH stalled AS MATERIALIZED (
    SELECT f.model_uuid, f.path FROM model_files f JOIN model_records m ON m.uuid = f.model_uuid
    WHERE m.status = 'downloading' AND f.status IN ('pending', 'transferring')
      AND (coalesce(f.lease_until, f.updated_at) < now() - $1::float8 * interval '1 second'
           OR coalesce(f.lease_until, f.updated_at) > now() + interval '2 minutes')
      AND (f.updated_at < now() - $1::float8 * interval '1 second' OR f.updated_at > now() + interval '2 minutes')
    ORDER BY f.updated_at LIMIT 500 FOR UPDATE OF f SKIP LOCKED
)
UPDATE model_files AS f SET updated_at = now()
FROM stalled WHERE (f.model_uuid, f.path) = (stalled.model_uuid, stalled.path)
RETURNING f.model_uuid, f.path;

-- name: stalled_plans
-- Requests without a plan, or with every file verified but not published: their event or their worker was lost.
WITH stalled AS MATERIALIZED (
    SELECT uuid FROM model_records m
    WHERE status = 'downloading'
      AND (updated_at < now() - $1::float8 * interval '1 second' OR updated_at > now() + interval '2 minutes')
      AND NOT EXISTS (SELECT 1 FROM model_files f WHERE f.model_uuid = m.uuid AND f.status <> 'verified')
    LIMIT 100 FOR UPDATE SKIP LOCKED
)
UPDATE model_records AS m SET updated_at = now() FROM stalled WHERE m.uuid = stalled.uuid
RETURNING m.uuid, m.actor;

-- name: leftovers
-- Models that ended and still have uploads, and deleted ones that still have files: clean them up.
SELECT DISTINCT m.uuid, m.status FROM model_records m JOIN model_files f ON f.model_uuid = m.uuid
WHERE m.status = 'deleted' OR (m.status = 'failed' AND f.upload_id IS NOT NULL)
LIMIT 100;

-- name: was_active
-- Whether any model changed lately: only then can an upload have been orphaned.
SELECT EXISTS (SELECT 1 FROM model_records WHERE updated_at > now() - interval '1 hour')
    OR EXISTS (SELECT 1 FROM model_files WHERE updated_at > now() - interval '1 hour');

-- name: known_upload
-- Whether an upload belongs to a transfer, or may be about to (its file is leased).
SELECT EXISTS (
    SELECT 1 FROM model_files WHERE model_uuid = $1 AND path = $2 AND (upload_id = $3 OR lease_until > now())
);
