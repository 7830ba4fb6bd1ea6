-- Content-addressed storage: one object per SHA-256, which any number of models refer to.

-- Who refers to a blob is asked of model_files and counted nowhere: a counter would be wrong after the first crash.
CREATE TABLE blobs (
    digest              TEXT PRIMARY KEY,
    size_bytes          BIGINT NOT NULL,
    -- filling: one file's transfer brings it. stored: it was verified, and the object with this ETag is it.
    state               TEXT NOT NULL CHECK (state IN ('filling', 'stored')),
    etag                TEXT,
    -- The file that fills it; another takes over when its model stops, or when it has not begun a slice before lease_until.
    holder_uuid         VARCHAR(255),
    holder_path         TEXT,
    lease_until         TIMESTAMPTZ,
    created_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    stored_at           TIMESTAMPTZ,
    -- When the collector first found that no model refers to it; NULL while one does.
    unreferenced_since  TIMESTAMPTZ
);
CREATE INDEX blobs_unreferenced ON blobs (unreferenced_since) WHERE unreferenced_since IS NOT NULL;
CREATE INDEX blobs_by_holder ON blobs (holder_uuid) WHERE holder_uuid IS NOT NULL;
-- Who refers to a digest.
CREATE INDEX model_files_by_sha256 ON model_files (sha256) WHERE sha256 IS NOT NULL;
-- The same version of the same file, fetched before: its digest is known though the source does not tell it.
CREATE INDEX model_files_by_git_oid ON model_files (git_oid) WHERE git_oid IS NOT NULL AND status = 'verified';
CREATE INDEX model_files_by_url ON model_files (md5(url)) WHERE status = 'verified';

-- What became of the model's signature: {"outcome": ..., "key": ..., "detail": ...}; NULL where nobody has looked.
ALTER TABLE model_records ADD COLUMN signature JSONB;
