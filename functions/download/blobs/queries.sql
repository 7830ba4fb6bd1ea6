-- Blobs: one object per SHA-256. Who refers to one is asked of the view referring_files, and not counted.

-- name: known_digests
-- Digests that the source does not tell, of files that were verified before: the same git blob of the same repository,
-- or the same address with the same strong ETag (no date). $1: the repository, NULL without one.
SELECT DISTINCT ON (wanted.path) wanted.path, f.sha256
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[]) AS wanted (path, size_bytes, git_oid, url, etag)
JOIN model_files f ON f.status = 'verified' AND f.sha256 IS NOT NULL AND f.size_bytes = wanted.size_bytes
    AND (f.git_oid = wanted.git_oid
         OR (md5(f.url) = md5(wanted.url) AND f.url = wanted.url AND f.etag = wanted.etag
             AND wanted.etag <> '' AND wanted.etag NOT LIKE 'W/%' AND wanted.etag NOT LIKE '%GMT'))
JOIN model_records m ON m.uuid = f.model_uuid AND m.status <> 'deleted' AND m.hf_name IS NOT DISTINCT FROM $1::text
ORDER BY wanted.path, f.updated_at DESC;

-- name: stored_blobs
-- Those of these digests that are stored. They stay so to the end of the transaction: the collector passes by.
SELECT digest, size_bytes, etag FROM blobs WHERE digest = ANY ($1::text[]) AND state = 'stored' ORDER BY digest FOR SHARE;

-- name: reuse_files
-- Files of a new plan whose content is stored: verified, though nothing of them was fetched.
UPDATE model_files f
SET status = $3, sha256 = known.sha256, bytes_done = f.size_bytes, updated_at = now()
FROM unnest($4::text[], $5::text[]) AS known (path, sha256)
WHERE f.model_uuid = $1 AND f.path = known.path AND f.status = ANY ($2::text[])
RETURNING f.path;

-- name: hold_blob
-- Fill a blob that nobody fills; the holder's next slice renews the hold. Answers nothing when it is stored or held.
INSERT INTO blobs (digest, size_bytes, state, holder_uuid, holder_path, lease_until)
VALUES ($1, $2, 'filling', $3, $4, now() + $5::float8 * interval '1 second')
ON CONFLICT (digest) DO UPDATE
SET size_bytes = excluded.size_bytes, holder_uuid = excluded.holder_uuid, holder_path = excluded.holder_path,
    lease_until = excluded.lease_until
WHERE blobs.state = 'filling'
  AND ((blobs.holder_uuid = excluded.holder_uuid AND blobs.holder_path = excluded.holder_path)
       OR blobs.lease_until IS NULL OR blobs.lease_until < now()
       OR blobs.lease_until > now() + 2 * $5::float8 * interval '1 second'
       OR NOT EXISTS (SELECT 1 FROM model_files f JOIN model_records m ON m.uuid = f.model_uuid
                      WHERE f.model_uuid = blobs.holder_uuid AND f.path = blobs.holder_path
                        AND m.status = 'downloading' AND f.status IN ('pending', 'transferring')))
RETURNING digest;

-- name: find_blob
-- One blob, with the name of the model that fills it.
SELECT b.state, b.size_bytes, b.etag, m.model_name AS holder
FROM blobs b LEFT JOIN model_records m ON m.uuid = b.holder_uuid WHERE b.digest = $1;

-- name: find_blobs
-- The stored ones of these digests.
SELECT digest, size_bytes, etag FROM blobs WHERE digest = ANY ($1::text[]) AND state = 'stored';

-- name: store_blob
-- The object is there and was verified.
INSERT INTO blobs (digest, size_bytes, state, etag, stored_at) VALUES ($1, $2, 'stored', $3, now())
ON CONFLICT (digest) DO UPDATE
SET state = 'stored', size_bytes = excluded.size_bytes, etag = excluded.etag, stored_at = now(), holder_uuid = NULL,
    holder_path = NULL, lease_until = NULL, unreferenced_since = NULL;

-- name: lose_blob
-- The object is gone, or another one: whoever wants it next fills it again.
UPDATE blobs SET state = 'filling', etag = NULL, stored_at = NULL WHERE digest = $1 AND state = 'stored';

-- name: want_again
-- Files of a model that were verified and whose objects are gone: new records of the same files, at the start.
UPDATE model_files
SET status = $2, bytes_done = 0, hash_state = NULL, upload_id = NULL, attempts = 0, error = $4, updated_at = now()
WHERE model_uuid = $1 AND path = ANY ($3::text[]) AND status = 'verified'
RETURNING path;

-- name: let_go
-- A file, or every file of a model (NULL), fills nothing any more. Answers what others may fill now.
UPDATE blobs SET holder_uuid = NULL, holder_path = NULL, lease_until = NULL
WHERE state = 'filling' AND holder_uuid = $1 AND holder_path = coalesce($2::text, holder_path)
RETURNING digest;

-- name: waiting_files
-- Files of other models that want one of these digests and are not there yet.
SELECT f.model_uuid, f.path FROM model_files f JOIN model_records m ON m.uuid = f.model_uuid
WHERE f.sha256 = ANY ($1::text[]) AND f.status IN ('pending', 'transferring') AND m.status = 'downloading'
  AND (f.model_uuid, f.path) <> ($2::text, $3::text);

-- name: is_known_upload
-- Whether an upload to this digest's key belongs to a transfer, or may be about to: a holder may have just begun it.
SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = $1 AND state = 'filling' AND lease_until > now())
    OR EXISTS (SELECT 1 FROM model_files WHERE sha256 = $1 AND (upload_id = $2 OR lease_until > now()));

-- name: mark_unreferenced
-- From now on the blob's days are counted. Rows are locked in the order of stored_blobs, here and below: a plan or another
-- collector is waited for, and never waits for this one in its turn.
WITH found AS MATERIALIZED (
    SELECT b.digest FROM blobs b
    WHERE b.unreferenced_since IS NULL AND NOT EXISTS (SELECT 1 FROM referring_files f WHERE f.sha256 = b.digest)
    ORDER BY b.digest FOR UPDATE
)
UPDATE blobs b SET unreferenced_since = now() FROM found WHERE b.digest = found.digest;

-- name: unmark_referenced
-- Somebody wants it again.
WITH found AS MATERIALIZED (
    SELECT b.digest FROM blobs b
    WHERE b.unreferenced_since IS NOT NULL AND EXISTS (SELECT 1 FROM referring_files f WHERE f.sha256 = b.digest)
    ORDER BY b.digest FOR UPDATE
)
UPDATE blobs b SET unreferenced_since = NULL FROM found WHERE b.digest = found.digest;

-- name: collectable
-- What nobody has referred to for $1 seconds, the oldest first: for a dry run, which marks and takes nothing.
SELECT b.digest, b.size_bytes, b.unreferenced_since FROM blobs b
WHERE coalesce(b.unreferenced_since, now()) <= now() - $1::float8 * interval '1 second'
  AND NOT EXISTS (SELECT 1 FROM referring_files f WHERE f.sha256 = b.digest)
ORDER BY b.unreferenced_since NULLS LAST, b.digest;

-- name: lock_collectable
-- A batch of these, locked: a plan that wants one waits, one that a plan has locked is passed by.
WITH locked AS MATERIALIZED (
    SELECT digest FROM blobs WHERE unreferenced_since <= now() - $1::float8 * interval '1 second'
    ORDER BY unreferenced_since LIMIT $2 FOR UPDATE SKIP LOCKED
)
SELECT digest FROM locked;

-- name: remove_unreferenced
-- Asked after the lock, with eyes that see what was committed before it: who referred to a blob meanwhile keeps it.
DELETE FROM blobs b
WHERE b.digest = ANY ($1::text[]) AND b.unreferenced_since IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM referring_files f WHERE f.sha256 = b.digest)
RETURNING b.digest, b.size_bytes;

-- name: adopt_orphans
-- Objects under blob keys that no row knows: nobody trusts them, the collector takes them when their time is over.
INSERT INTO blobs (digest, size_bytes, state, unreferenced_since)
SELECT orphan.digest, orphan.size_bytes, 'filling', now() FROM unnest($1::text[], $2::bigint[]) AS orphan (digest, size_bytes)
ON CONFLICT (digest) DO NOTHING RETURNING digest;

-- name: unfinished_models
-- Those of these models that are on their way.
SELECT uuid FROM model_records WHERE uuid = ANY ($1::text[]) AND status = 'downloading';

-- name: lock_room
-- Two plans do not both take the last bytes: whoever asks holds this to the end of the transaction. A number of our own
-- among advisory locks.
SELECT pg_advisory_xact_lock(7305522);

-- name: bytes_taken
-- Each content once: what blobs hold or are about to, and the files that have no blob (not yet, or since before blobs).
SELECT (SELECT coalesce(sum(size_bytes), 0) FROM blobs)::bigint + coalesce(sum(size_bytes), 0)::bigint
FROM (
    SELECT DISTINCT ON (coalesce(f.sha256, f.model_uuid || '/' || f.path)) f.size_bytes
    FROM referring_files f WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = f.sha256)
) AS beside;
